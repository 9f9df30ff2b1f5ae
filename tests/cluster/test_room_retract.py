"""A study of the cut is taken back while somebody is at work with it: gone within a minute, and the old cut never comes back."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from playwright.sync_api import Error

from infra import places
from infra.node import images as node_images
from readingroom.contract import ADMISSION, ADMITTED_CUT, workspace_namespace
from tests.cluster.kernel import Kernel
from tests.cluster.probes import listed
from tests.cluster.site import Room, command
from tests.cluster.test_room_entry import pods, refused_within, until_gone

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
WITHIN = 60.0  # seconds, from the command to the end of the last workspace: governance.md section 10


def images(kernel: Kernel) -> list[str]:
    """The images below /data, as the workspace sees them."""
    code = "import glob, json; print(json.dumps(sorted(glob.glob('/data/images/*/*/*/*.dcm'))))"
    found: list[str] = kernel.ask(code)
    return found


def admitted(room: Room) -> str:
    """The cut that admission lets a workspace of the room mount."""
    found = listed("configmap", "-n", workspace_namespace(room.project), ADMISSION)["data"][ADMITTED_CUT]
    return str(found)


def test_a_study_that_is_taken_back_is_gone_within_a_minute_and_its_cut_never_mounted_again(
    room: Room, tmp_path: Path
) -> None:
    room.grant = json.loads(command("project", "show", room.project, "--json").stdout)
    old, name = room.grant["cut_image"], f"ws-{room.ben.handle}"
    warehouse, cuts = (places.volume(f"{kind}-{room.project}") for kind in ("warehouse", "cuts"))
    with room.working(room.ben) as (page, kernel):
        before = images(kernel)
        study = before[0].split("/")[4]
        theirs = [path for path in before if path.split("/")[4] == study]
        assert 0 < len(theirs) < len(before), "something is taken and something is left"
        assert admitted(room) == old
        (tmp_path / "names").write_text(f"{study}\n")
        retract = (
            "cohort", "retract", "--warehouse", str(warehouse), "--cuts", str(cuts), "--project", room.project,
            "--pseudonym-file", str(tmp_path / "names"), "--json",
        )  # fmt: skip
        dry = json.loads(command(*retract).stdout)
        assert (dry["removed"], dry["files"]) == (False, len(theirs))
        assert old.partition("@")[2] in dry["cuts"]
        assert images(kernel) == before, "a dry run takes nothing"

        asked = time.monotonic()
        done = json.loads(command(*retract, "--confirm").stdout)
        until_gone(room, room.ben, WITHIN - (time.monotonic() - asked))
        assert time.monotonic() - asked < WITHIN
        with pytest.raises((Error, AssertionError)):
            kernel.run("print(1)", seconds=5)

        # before the next `up`: the hub still has the old grant, and nothing opens under it
        assert admitted(room) == ""
        refused_within(page, f"{room.url}/hub/spawn", 30, "W03")
        assert name not in pods(room)

    command("platform", "up", "--project", room.project)
    room.grant = json.loads(command("project", "show", room.project, "--json").stdout)
    assert (room.grant["cut_image"], done["cut"]["image"]) == (admitted(room), admitted(room))
    assert room.grant["cut_image"] != old
    assert old not in node_images.present(), "the runtime keeps nothing of it"
    with room.working(room.ben) as (_, kernel):
        assert images(kernel) == [path for path in before if path not in theirs]
    command("workspace", "stop", room.project, room.ben.handle)
    until_gone(room, room.ben, 20)
