"""`readingroom cohort retract`: a patient's originals leave landing, when confirmed, and nothing else does."""

from __future__ import annotations

import fcntl
import functools
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from readingroom.adapters.clinical_policy import clinical_policy
from readingroom.adapters.originals import LandingOriginals
from readingroom.adapters.tree import Tree
from readingroom.application.retract import Retracted, retract, retract_studies, retract_within
from readingroom.domain.errors import TryAgain
from readingroom.entrypoints.settings import policies_folder
from tests.cli.command import Done, one_line, run
from tests.unit.clinical.engine import record
from tests.unit.data.stopping import stops
from tests.unit.optout.people import ONE, TWO, UID, image, opted_out, spaced

BATCHES = {
    "ABC": {"1.dcm": image(ONE), "2.dcm": image(spaced(TWO)), f"{TWO}_data.json": b" " * 200 + record(TWO, Age=52)},
    "XYZ": {"3.dcm": image("RXH0000002", x00101000=("LO", TWO)), "4.dcm": image("RXH0000003")},
    "LMN": {"5.dcm": image("RXH0000002", 2)},
    "QRS": {"6.dcm": image("RXH0000004")},
}
THEIRS = [BATCHES["ABC"]["2.dcm"], BATCHES["ABC"][f"{TWO}_data.json"], BATCHES["XYZ"]["3.dcm"], BATCHES["LMN"]["5.dcm"]]
SECRETS = (ONE, TWO, spaced(TWO), "RXH000000")


_folder = tempfile.TemporaryDirectory(prefix="retract-")  # goes with the process


@functools.cache
def made() -> Path:
    """A landing of four centres, which no test changes."""
    work = Path(_folder.name)
    for centre, files in BATCHES.items():
        (work / centre).mkdir()
        for name, content in files.items():
            (work / centre / name).write_bytes(content)
        done = run("ingest", work / centre, "--centre", centre, "--landing", work / "landing")
        assert done.returncode == 0, done.stderr
    (work / "patient").write_text(f"{TWO}\n")
    return work


@pytest.fixture
def landed(tmp_path: Path) -> Path:
    return shutil.copytree(made(), tmp_path / "work")


def retracting(work: Path, *more: object) -> Done:
    return run("cohort", "retract", "--landing", work / "landing", "--patient-file", work / "patient", *more)


def contents(work: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(work / "landing")): path.read_bytes()
        for path in (work / "landing").rglob("*")
        if path.is_file()
    }


def records(work: Path) -> dict[str, dict[str, Any]]:
    return {
        name.split("/")[0]: json.loads(content)
        for name, content in contents(work).items()
        if name.endswith("batch.json")
    }


def check_gone(work: Path, before: dict[str, bytes]) -> None:
    """Theirs are gone, everything else lies where it lay, and each record names what is there."""
    after = contents(work)
    left = {name: content for name, content in before.items() if content not in THEIRS}
    assert {name: after[name] for name in after if not name.endswith("batch.json")} == {
        name: content for name, content in left.items() if not name.endswith("batch.json")
    }
    for centre, kept in records(work).items():
        named = {entry["sha256"] for kind in ("instances", "clinical") for entry in kept.get(kind, ())}
        assert named == {
            Path(name).stem for name in after if name.startswith(centre) and not name.endswith("batch.json")
        }
    lost = {centre: kept["counts"].get("retracted", 0) for centre, kept in records(work).items()}
    assert lost == {"ABC": 2, "XYZ": 1, "LMN": 1, "QRS": 0}


def test_it_says_what_would_go_removes_nothing_and_then_what_it_was_told_to(landed: Path) -> None:
    before = contents(landed)
    dry = retracting(landed)
    assert (dry.returncode, dry.stderr) == (0, "")
    told = dry.stdout.splitlines()
    assert told[0] == "4 originals in 3 batches would go"
    assert [line.split()[1:] for line in told[1:4]] == [
        ["clinical", "1,", "instances", "1"],
        ["instances", "1"],
        ["instances", "1"],
    ]
    assert told[4] == "next: the same command with --confirm removes them"
    assert contents(landed) == before

    done = retracting(landed, "--confirm", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["removed"] is True
    assert sorted(kinds for kinds in map(str, found["batches"].values())) == sorted(
        ["{'clinical': 1, 'instances': 1}", "{'instances': 1}", "{'instances': 1}"]
    )
    check_gone(landed, before)
    assert not any(secret in dry.stdout + done.stdout + done.stderr for secret in SECRETS)
    assert all(path.stat().st_mode & 0o777 == 0o440 for path in (landed / "landing").rglob("batch.json"))

    after = contents(landed)
    again = retracting(landed, "--confirm")
    assert (again.returncode, again.stdout) == (0, "0 originals in 0 batches are removed\n")
    assert contents(landed) == after


def test_what_is_left_is_a_landing_and_the_warehouse_follows(landed: Path) -> None:
    (landed / "key").write_bytes(b"k" * 32)
    deid = ("deid", landed / "landing", landed / "w", "--landing", "--project", "demo", "--key-file", landed / "key")
    assert run(*deid).stdout.splitlines()[0] == "7 files: 7 released, 0 held, 0 rejected"
    assert retracting(landed, "--confirm").returncode == 0
    assert run(*deid).stdout.splitlines()[0] == "3 files: 3 released, 0 held, 0 rejected"
    assert len(list((landed / "w").rglob("*.dcm"))) == 3
    assert not list((landed / "w").glob("clinical*"))
    sent = run(
        "ingest", landed / "ABC", "--centre", "ABC", "--landing", landed / "landing", "--json"
    )  # the centre resends
    assert json.loads(sent.stdout)["received"] == {"new": 3}
    assert run(*deid).stdout.splitlines()[0] == "5 files: 5 released, 0 held, 0 rejected"


def in_process(work: Path) -> Retracted:
    with Tree(work / "landing") as tree:
        originals = LandingOriginals(work / "landing", tree, clinical_policy(policies_folder()), jobs=1)
        return retract(opted_out(TWO), originals, lambda _: None, confirm=True)


def test_killed_at_any_point_and_repeated_it_comes_to_the_same_end(landed: Path) -> None:
    """The looking changes nothing, so the removing alone is stopped: before each of its changes, from the start each time."""
    before = contents(landed)
    places = sorted(name for name, content in before.items() if content in THEIRS)
    with Tree(landed / "landing") as tree:
        originals = LandingOriginals(landed / "landing", tree, clinical_policy(policies_folder()), jobs=1)
    kills = 0
    for kills in stops(lambda: originals.remove(places)):  # noqa: B007 (how many there were counts afterwards)
        for kept in records(landed).values():  # whole at any moment
            named = [entry["sha256"] for kind in ("instances", "clinical") for entry in kept.get(kind, ())]
            assert len(named) + kept["counts"].get("retracted", 0) == kept["counts"]["received"]
            assert set(named) <= {Path(name).stem for name in contents(landed)}
        originals.remove([place for place in places if (landed / "landing" / place).exists()])
        check_gone(landed, before)
        shutil.rmtree(landed / "landing")
        shutil.copytree(made() / "landing", landed / "landing")
    assert kills > 10
    check_gone(landed, before)


@pytest.mark.parametrize("left", ["record", "bytes"])
def test_what_a_killed_run_left_goes_with_the_next(landed: Path, left: str) -> None:
    before = contents(landed)
    [place] = [name for name, content in before.items() if content == THEIRS[2]]
    in_process(landed)
    if left == "bytes":  # the record is without it already
        (landed / "landing" / place).write_bytes(THEIRS[2])
    else:
        (landed / "landing" / "XYZ" / ".batch-killed").mkdir()
        (landed / "landing" / "XYZ" / ".batch-killed" / "x.dcm").write_bytes(THEIRS[2])
    in_process(landed)
    check_gone(landed, before)
    assert not list((landed / "landing").rglob(".*"))


def rewritten(path: Path, content: str) -> None:
    path.unlink()
    path.write_text(content)


def spoil(work: Path) -> None:
    rewritten(next((work / "landing" / "ABC").rglob("batch.json")), "{")


WRONG: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "an empty patient file": (lambda w: rewritten(w / "patient", "\n"), 1, "names nobody"),
    "a mistyped number": (lambda w: rewritten(w / "patient", "999 214 8579"), 1, "line 1"),
    "no patient file": (lambda w: (w / "patient").unlink(), 1, "cannot be read"),
    "no landing": (lambda w: (w / "landing").rename(w / "elsewhere"), 1, "cannot be read"),
    "no landing, but files": (lambda w: [p.unlink() for p in (w / "landing").rglob("batch.json")], 1, "no batch"),
    "a record that is off": (spoil, 1, "batch"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_wrong_input_is_one_line_and_removes_nothing(landed: Path, name: str) -> None:
    prepare, status, words = WRONG[name]
    prepare(landed)
    before = contents(landed) if (landed / "landing").exists() else None
    done = retracting(landed, "--confirm")
    assert done.returncode == status, done.stderr
    assert words in one_line(done)
    assert not any(secret in done.stderr for secret in (*SECRETS, "999 214 8579"))
    assert before is None or contents(landed) == before


def test_identifiers_come_from_a_file_that_lies_apart(landed: Path) -> None:
    (landed / "landing" / "patient").write_text(TWO)
    done = run("cohort", "retract", "--landing", landed / "landing", "--patient-file", landed / "landing" / "patient")
    assert done.returncode == 2
    assert run("cohort", "retract", "--landing", landed / "landing", TWO).returncode == 2


def test_while_a_centre_sends_it_waits_for_another_time(landed: Path) -> None:
    folder = os.open(landed / "landing" / "ABC", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    done = retracting(landed, "--confirm")
    os.close(folder)
    assert done.returncode == 1
    assert "being received" in one_line(done)


class Unread:
    """Originals of which one cannot be looked at."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def names(self) -> Any:
        return iter([("A/2026-01-01/b-1/instances/00/x.dcm", None)])

    def token(self, name: str) -> str:
        return name

    def remove(self, places: Any) -> None:
        self.removed += places

    def places(self, within: str) -> list[str]:
        return [f"{within}/2026-01-01/b-1/instances/00/x.dcm"]


def test_where_one_original_cannot_be_looked_at_nothing_is_removed() -> None:
    originals = Unread()
    with pytest.raises(TryAgain, match="1 originals"):
        retract(opted_out(TWO), originals, lambda _: None, confirm=True)
    with pytest.raises(TryAgain, match="1 originals"):
        retract_studies({UID}, originals, lambda _: None, confirm=True)
    assert originals.removed == []
    retract_within("A", originals, confirm=True)  # whose it is does not matter
    assert originals.removed == originals.places("A")


def batch(work: Path, centre: str) -> str:
    [found] = (work / "landing" / centre).glob("*/*")
    return str(found.relative_to(work / "landing"))


def study_of(centre: str, name: str) -> str:
    return pydicom.dcmread(io.BytesIO(BATCHES[centre][name])).StudyInstanceUID


CHOSEN: dict[str, tuple[Callable[[Path], tuple[object, ...]], list[bytes]]] = {
    "a centre": (lambda w: ("--centre", "ABC"), list(BATCHES["ABC"].values())),
    "a batch": (lambda w: ("--batch", batch(w, "XYZ")), list(BATCHES["XYZ"].values())),
    "a study, and no more of its patient": (
        lambda w: ("--study-file", written(w, study_of("ABC", "2.dcm"))),
        [BATCHES["ABC"]["2.dcm"]],
    ),
}


def written(work: Path, line: str) -> Path:
    (work / "studies").write_text(f"{line}\n")
    return work / "studies"


@pytest.mark.parametrize("name", sorted(CHOSEN))
def test_a_study_a_batch_or_a_centre_goes_when_confirmed_and_nothing_else(landed: Path, name: str) -> None:
    choice, theirs = CHOSEN[name]
    command = ("cohort", "retract", "--landing", landed / "landing", *choice(landed))
    before = contents(landed)
    dry = run(*command)
    assert (dry.returncode, dry.stdout.splitlines()[0]) == (0, f"{len(theirs)} originals in 1 batches would go")
    assert contents(landed) == before
    done = run(*command, "--confirm")
    assert done.returncode == 0, done.stderr
    after = contents(landed)
    kept = {path: content for path, content in before.items() if not path.endswith("batch.json")}
    assert {path: content for path, content in after.items() if not path.endswith("batch.json")} == {
        path: content for path, content in kept.items() if content not in theirs
    }
    assert sum(each["counts"].get("retracted", 0) for each in records(landed).values()) == len(theirs)
    again = run(*command, "--confirm")
    assert (again.returncode, again.stdout) == (0, "0 originals in 0 batches are removed\n")
    assert not any(secret in dry.stdout + done.stdout + done.stderr for secret in (*SECRETS, study_of("ABC", "2.dcm")))


UNCLEAR: dict[str, tuple[Callable[[Path], tuple[object, ...]], int, str]] = {
    "no choice": (lambda w: (), 2, "give one of"),
    "two choices": (lambda w: ("--centre", "ABC", "--batch", batch(w, "ABC")), 2, "give one of"),
    "an empty centre": (lambda w: ("--centre", ""), 2, "capital letters"),
    "a path for a centre": (lambda w: ("--centre", ".."), 2, "capital letters"),
    "a path for a batch": (lambda w: ("--batch", "ABC/../XYZ"), 2, "CODE/DAY/BATCH"),
    "a centre that sent nothing": (lambda w: ("--centre", "NONE"), 1, "no such centre"),
    "no UID": (lambda w: ("--study-file", written(w, "1.2.x")), 1, "line 1"),
    "no study": (lambda w: ("--study-file", written(w, "")), 1, "names nobody"),
}


@pytest.mark.parametrize("name", sorted(UNCLEAR))
def test_a_choice_that_is_not_clear_removes_nothing(landed: Path, name: str) -> None:
    choice, status, words = UNCLEAR[name]
    before = contents(landed)
    done = run("cohort", "retract", "--landing", landed / "landing", *choice(landed), "--confirm")
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert "1.2.x" not in done.stderr
    assert contents(landed) == before
