"""`readingroom ingest`: one line for wrong input, counts for the rest, and nothing that says who."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from readingroom.contract import SERVICE_UID
from tests.cli.command import one_line, run, start, status_of
from tests.unit.data.instances import instance

SECRETS = ("Quux", "Zebediah", "9434765919", "19390817", "1.2.826.0.1.77")
NAME = "Quux_Zebediah.dcm"


def inbox(work: Path) -> Path:
    """One file that is received, one of a conflict's two, one that is short; names and values that tell who."""
    folder = work / "in" / "Quux"
    folder.mkdir(parents=True)
    said = {"patient": "9434765919", "birth": "19390817", "study": "1.2.826.0.1.77", "instance": "1.2.826.0.1.77.1"}
    (folder / NAME).write_bytes(instance(**said))
    (folder / "short").write_bytes(instance(**said)[:-4])
    for other in ("Quux^A", "Quux^B"):
        (folder / other).write_bytes(instance(**{**said, "instance": "1.2.826.0.1.77.2", "name": other}))
    return work / "in"


def receiving(work: Path, *more: str, centre: str = "ABC") -> list[str]:
    return ["ingest", f"{work}/in", "--centre", centre, "--landing", f"{work}/landing", *more]


def test_what_is_received_and_what_is_said_about_it(tmp_path: Path) -> None:
    inbox(tmp_path)
    done = start(*receiving(tmp_path, "--receipt", f"{tmp_path}/receipt.jsonl"), state=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[:3] == [
        ["received", "1", "(new", "1)"],
        ["held", "2", "(uid-conflict", "2)"],
        ["rejected", "1", "(truncated", "1)"],
    ]
    assert done.stderr.splitlines() == ["seen 4 of 4 files"]
    lines = [json.loads(line) for line in (tmp_path / "receipt.jsonl").read_text().splitlines()]
    assert [line["input"] for line in lines] == ["Quux/Quux^A", "Quux/Quux^B", f"Quux/{NAME}", "Quux/short"]
    [record] = (tmp_path / "landing").rglob("batch.json")
    names = " ".join(str(path.relative_to(tmp_path)) for path in (tmp_path / "landing").rglob("*"))
    for secret in SECRETS:
        assert secret not in done.stdout + done.stderr + record.read_text() + names

    again = run(*receiving(tmp_path, "--json"), state=tmp_path)
    assert json.loads(again.stdout) == {
        "batch": None,
        "received": {"new": 1},
        "held": {"uid-conflict": 2},
        "rejected": {"truncated": 1},
    }


def make_landing_a_file(work: Path) -> None:
    (work / "landing").write_text("")


WRONG: dict[str, tuple[Callable[[Path], object], Callable[[Path], list[str]], int, str]] = {
    "a centre in small letters": (inbox, lambda w: receiving(w, centre="abc"), 2, "centre"),
    "a centre of one letter": (inbox, lambda w: receiving(w, centre="A"), 2, "centre"),
    "a centre of thirteen": (inbox, lambda w: receiving(w, centre="A" * 13), 2, "centre"),
    "a centre that is a path": (inbox, lambda w: receiving(w, centre="../ABC"), 2, "centre"),
    "a centre with a line end": (inbox, lambda w: receiving(w, centre="ABC\n"), 2, "centre"),
    "no centre": (inbox, lambda w: ["ingest", f"{w}/in", "--landing", f"{w}/l"], 2, "--centre"),
    "no landing": (inbox, lambda w: ["ingest", f"{w}/in", "--centre", "ABC"], 2, "--landing"),
    "no inbox": (Path.exists, receiving, 1, "folder"),
    "landing inside the inbox": (inbox, lambda w: [*receiving(w)[:-1], f"{w}/in/landing"], 2, "inside"),
    "a receipt inside the inbox": (inbox, lambda w: receiving(w, "--receipt", f"{w}/in/r.jsonl"), 2, "inside"),
    "a file where landing should be": (make_landing_a_file, receiving, 2, "landing"),
    "a receipt in no folder": (inbox, lambda w: receiving(w, "--receipt", f"{w}/none/r.jsonl"), 1, "none"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_wrong_input_is_one_line_and_the_right_status(tmp_path: Path, name: str) -> None:
    prepare, arguments, status, word = WRONG[name]
    prepare(tmp_path)
    told = run(*arguments(tmp_path))
    assert told.returncode == status, told.stderr
    assert word in told.stderr
    assert "Traceback" not in told.stderr
    assert status == 2 or len([line for line in told.stderr.splitlines() if not line.startswith("seen ")]) == 1
    assert told.stdout == ""
    for secret in SECRETS:
        assert secret not in told.stderr


def test_a_full_disk_is_one_line_and_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    """No bytecode is written: this Python would leave it cut off at the limit, and broken for every later process."""
    inbox(tmp_path)
    done = subprocess.run(
        ["prlimit", "--fsize=16", "readingroom", *receiving(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 1
    assert "Next:" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "landing").rglob("*.dcm"))


def children_of(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def works(process: int) -> bool:
    """Whether it is there and not only waiting to be reaped."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(what: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.parametrize("moment", ["seeing", "storing"])
def test_killed_at_work_it_leaves_no_process_and_the_next_run_does_it_all(tmp_path: Path, moment: str) -> None:
    folder = inbox(tmp_path)
    for number in range(2000):
        uid = f"1.2.{number + 1}"
        (folder / str(number)).write_bytes(instance(instance=uid, study=uid, patient=f"P-{number}"))
    making = tmp_path / "landing" / "ABC"
    with subprocess.Popen(["readingroom", *receiving(tmp_path)], stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: children_of(process.pid))
        children = children_of(process.pid)
        if moment == "storing":
            wait_for(lambda: list(making.glob(".batch-*/instances/*/*.dcm")))
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    wait_for(lambda: not any(works(child) for child in children))
    assert not list((tmp_path / "landing").rglob("batch.json"))
    done = run(*receiving(tmp_path, "--json"), state=tmp_path)
    assert json.loads(done.stdout)["received"] == {"new": 2001}
    assert len(list(making.glob("*/b-*/instances/*/*.dcm"))) == 2001
    assert not list(making.glob(".batch-*"))


def test_the_job_of_the_cluster_can_do_it(capfd: pytest.CaptureFixture[str]) -> None:
    """As uid 10001, which owns landing and receipts only: no other file is written."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        work.chmod(0o755)
        inbox(work)
        for folder in ("landing", "receipts"):
            (work / folder).mkdir()
            os.chown(work / folder, SERVICE_UID, SERVICE_UID)
        child = os.fork()
        if not child:
            status = 1
            try:
                os.setgroups([])
                os.setgid(SERVICE_UID)
                os.setuid(SERVICE_UID)
                status = status_of(receiving(work, "--receipt", f"{work}/receipts/ingest-ABC.jsonl"))
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == 0, capfd.readouterr().err
        assert len((work / "receipts" / "ingest-ABC.jsonl").read_text().splitlines()) == 4
        assert len(list((work / "landing").rglob("*.dcm"))) == 1


def test_an_empty_inbox_is_done_at_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = run(*receiving(tmp_path, "--receipt", f"{tmp_path}/receipt.jsonl"), state=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no new batch" in done.stdout
    assert (tmp_path / "receipt.jsonl").read_bytes() == b""
    wrong = run("ingest", f"{tmp_path}/nowhere", "--centre", "ABC", "--landing", f"{tmp_path}/landing", state=tmp_path)
    assert wrong.returncode == 1
    one_line(wrong)
