"""`readingroom holdout check`: no image of a cut has the pixels of the hold-out, and the answer is one line."""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import Done, one_line, run, start
from tests.unit.data.instances import element, part10
from tests.unit.data.warehouses import File, build, decision_document

CUT = (
    File("PA", "1.1", "1.1.1", "1.1.1.1", content=b"of the first patient"),
    File("PB", "2.1", "2.1.1", "2.1.1.1", content=b"of the other patient"),
    File("PB", "2.1", "2.1.1", "2.1.1.2", content=b"\x10\xfc" * 60),  # air
)


_folder = tempfile.TemporaryDirectory(prefix="holdout-check-")  # goes with the process


@functools.cache
def made() -> Path:
    """A cut of three images, and a hold-out with an original and what was released of it."""
    work = Path(_folder.name) / "work"
    build(work / "w", CUT)
    (work / "d.json").write_text(json.dumps(decision_document()))
    given = ("--decision", work / "d.json", "--warehouse", work / "w", "--out", work / "out")
    assert run("cohort", "cut", "--project", "demo", *given).returncode == 0
    put(work, "landing/ABC/2026-01-01/b-1/instances/00/x.dcm", b"of somebody kept apart")
    put(work, "warehouse/images/P/S/E/I.dcm", b"of somebody  kept apart!")
    put(work, "warehouse/images/P/S/E/J.dcm", b"\x10\xfc" * 60)
    (work / "h" / "holdout-ledger.json").write_text("{}")
    return work


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})  # one child each
    return shutil.copytree(made(), tmp_path / "work")


def put(work: Path, place: str, pixels: bytes) -> None:
    path = work / "h" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(part10({0x7FE00010: element(0x7FE00010, "OW", pixels)}))


def checking(work: Path, *more: object, by: Callable[..., Done] = run) -> Done:
    return by("holdout", "check", work / "out", "--holdout", work / "h", *more)


def test_a_cut_that_is_apart_passes_and_air_is_nobodys(work: Path) -> None:
    done = checking(work, by=start)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "2 different images of the cut, 2 of the hold-out: none is in both\n"
    put(work, "apart/ABC/2026-01-01/b-1/instances/00/y.dcm", b"of the first patient")  # of a patient in the cut
    assert json.loads(checking(work, "--json").stdout) == {"holdout": 2, "cut": 2, "met": 0}


@pytest.mark.parametrize("place", ["landing/ABC/2026-01-01/b-2/instances/00/y.dcm", "warehouse/images/P/S/E/K.dcm"])
def test_the_same_pixels_on_both_sides_are_refused(work: Path, place: str) -> None:
    put(work, place, b"of the other patient")
    done = checking(work)
    assert (done.returncode, done.stdout) == (3, "")
    assert "1 images, the first is images/PB/2.1/2.1.1/2.1.1.1.dcm" in one_line(done)
    assert "ABC" not in done.stderr
    assert "K.dcm" not in done.stderr


def test_a_cut_is_cleared_by_its_digest_if_nothing_met_and_nothing_else_is_said(work: Path) -> None:
    assert checking(work, "--cleared", work / "c").returncode == 0
    digest = json.loads((work / "out/cut.json").read_bytes())["digest"]
    (file,) = (work / "c").iterdir()
    assert file.name == f"{digest.removeprefix('sha256:')}.json"
    assert json.loads(file.read_bytes()) == {"schema": "readingroom/clearance/v1", "digest": digest}
    assert checking(work, "--cleared", work / "c").returncode == 0
    put(work, "landing/ABC/2026-01-01/b-2/instances/00/y.dcm", b"of the other patient")
    assert checking(work, "--cleared", work / "d").returncode == 3
    assert not (work / "d").exists()


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no ledger": (lambda w: (w / "h/holdout-ledger.json").unlink(), "ledger"),
    "no cut": (lambda w: (w / "out/cut.json").unlink(), "cut.json"),
    "an archive that is gone": (lambda w: [path.unlink() for path in (w / "out").glob("*.tar")], "archive"),
    "a file that is no image": (lambda w: (w / "h/landing/z.dcm").write_bytes(b"x"), "cannot be looked at"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_compared_is_one_line_and_no_pass(work: Path, name: str) -> None:
    prepare, words = WRONG[name]
    prepare(work)
    done = checking(work)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in one_line(done)
