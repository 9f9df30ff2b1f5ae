"""The hold-out in the cluster: split and de-identified by Jobs of its own; no cut is mounted before it is cleared of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

from images import build
from infra import cli_jobs, job_runner, places
from infra.jobs import manifest
from readingroom.contract import ADMISSION, ADMITTED_CUT, STRANGER_UID, workspace_namespace
from tests.cluster.probes import listed
from tests.cluster.site import Room, command
from tests.unit.optout.people import image

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
CENTRE = "HELDOUT"
# What a submission tries from inside; its answer is its user, the images it sees, and whatever got through.
TRIES = """
import os, socket
got = []
def tried(name, call):
    try:
        call()
    except OSError:
        return
    got.append(name)
tried("socket", socket.socket)
token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
for place in ("/holdout", "/room", "/submissions", "/evaluated", token):
    tried(place, lambda: os.stat(place))
for place in ("/cases/x", "/images/x", "/x", "/tmp/x"):
    tried("write " + place, lambda: open(place, "w"))
tried("program", lambda: os.execv("/usr/bin/python3.11", ["x"]))
images = sum(len(files) for *_, files in os.walk("/images"))
open("predictions.csv", "w").write(f"{os.getuid()} {images} {','.join(got)}")
"""
# Ours, in the place of `readingroom evaluate`: it hands the submission over and leaves its answer as its last word.
OURS = f"""
from pathlib import Path
from readingroom.adapters.pod_run import run_beside
from readingroom.domain.evaluation.plan import Costs
folder = Path("/room/cases/submission")
folder.mkdir()
(folder / "predict.py").write_text({TRIES!r})
costs = Costs(seconds=60, memory=1 << 30, scratch=32 << 20, processes=16, submission=1)
Path("/dev/termination-log").write_bytes(run_beside(Path("/room"), Path("/"), costs, 1000))
"""


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
        for name in ("holdout", "cleared", "submissions"):
            for path in places.volume(name).iterdir():
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

    submission = places.volume("submissions") / room.project / "net"
    submission.mkdir(parents=True)
    (submission / "predict.py").write_text("")
    few = command(
        "platform", "job", "evaluate", "net", "--project", room.project, "--plan", "nccid-status", check=False
    )
    assert (few.returncode, "does not name it" in few.stderr) == (3, True)

    costs = {"seconds": 60, "memory_mib": 1024, "scratch_mib": 32}
    work = cli_jobs.evaluate_work(room.project, "net", "nccid-status", costs, "5" * 64, build.references()["services"])
    work = replace(work, command=("python", "-I", "-c", OURS))
    assert job_runner.run(manifest(work), print) == f"{STRANGER_UID} 2 "
