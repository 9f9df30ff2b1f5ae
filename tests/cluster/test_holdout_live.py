"""The hold-out in the cluster: split and de-identified by Jobs of its own; no cut is mounted before it is cleared of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from infra import places
from readingroom.contract import ADMISSION, ADMITTED_CUT, workspace_namespace
from tests.cluster.probes import listed
from tests.cluster.site import Room, command
from tests.unit.optout.people import image

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
CENTRE = "HELDOUT"


@pytest.fixture
def sent() -> Iterator[None]:
    """Two patients of a centre that is wholly held out; afterwards there is no hold-out here, as before."""
    inbox, storage, landing = places.volume("inbox") / CENTRE, places.volume("holdout"), places.volume("landing")
    assert not (landing / ".split.json").exists()
    inbox.mkdir()
    for number in range(2):
        (inbox / f"{number}.dcm").write_bytes(image(f"RXH000000{number}"))
    (storage / "centres").write_text(f"{CENTRE}\n")
    try:
        yield
    finally:
        (landing / ".split.json").unlink(missing_ok=True)
        for folder in (inbox, landing / CENTRE):
            shutil.rmtree(folder, ignore_errors=True)
        for path in [*storage.iterdir(), *places.volume("cleared").iterdir()]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (places.volume("receipts") / f"ingest-{CENTRE}.jsonl").unlink(missing_ok=True)


def test_a_centre_is_held_out_and_a_cut_is_mounted_once_it_is_cleared(room: Room, sent: None) -> None:
    landing, storage = places.volume("landing"), places.volume("holdout")
    before = {path for path in landing.rglob("*.dcm") if CENTRE not in path.parts}
    command("platform", "job", "ingest", "--centre", CENTRE)
    assert len(list((landing / CENTRE).rglob("*.dcm"))) == 2
    command("platform", "job", "holdout", "--share", "0")
    assert not list((landing / CENTRE).rglob("*.dcm")), "its members have left landing"
    assert set(landing.rglob("*.dcm")) == before, "and nobody else has"
    lines = [json.loads(line) for line in (storage / "warehouse/manifest.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert {line["project"] for line in lines} == {"holdout"}

    refused = command("platform", "up", "--project", room.project, check=False)
    assert refused.returncode == 3
    assert "not cleared" in refused.stderr
    command("platform", "job", "holdout-check", "--project", room.project)
    command("platform", "up", "--project", room.project)
    found = listed("configmap", "-n", workspace_namespace(room.project), ADMISSION)["data"][ADMITTED_CUT]
    assert found == room.grant["cut_image"]
