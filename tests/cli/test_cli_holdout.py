"""`readingroom holdout split`, and what `deid` may read afterwards: nobody is on both sides, whatever moment it stops at."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from readingroom.adapters.clinical_policy import clinical_policy
from readingroom.adapters.holdout_files import SplitFolders, SplitInputs, split_batches
from readingroom.adapters.landing import CommittedBatches
from readingroom.adapters.originals import LandingOriginals
from readingroom.adapters.tree import Tree
from readingroom.application.split_holdout import split_holdout
from readingroom.domain.errors import TryAgain
from readingroom.domain.holdout import Ledger, Rule, SplitKey
from readingroom.domain.opt_out import NAMELESS, Names
from readingroom.entrypoints.settings import policies_folder
from tests.cli.command import Done, one_line, run, start
from tests.unit.clinical.engine import record
from tests.unit.data.stopping import stops
from tests.unit.optout.people import ONE, THREE, TWO, image, spaced

# TWO is seen at the held-out centre XYZ and, under another spelling and other numbers, at three others. THREE is only at XYZ.
BATCHES = {
    "ABC": {"1.dcm": image(ONE), "2.dcm": image(spaced(TWO)), f"{TWO}_data.json": b" " * 200 + record(TWO, Age=52)},
    "XYZ": {"3.dcm": image("RXH0000002", x00101000=("LO", TWO)), "4.dcm": image(THREE)},
    "LMN": {"5.dcm": image("RXH0000002", 2)},
    "QRS": {"6.dcm": image("RXH0000004"), f"{ONE}_data.json": b" " * 200 + record(ONE, Age=41)},
}
MEMBERS = {
    BATCHES["ABC"]["2.dcm"],
    BATCHES["ABC"][f"{TWO}_data.json"],
    *BATCHES["XYZ"].values(),
    *BATCHES["LMN"].values(),
}
OTHERS = {BATCHES["ABC"]["1.dcm"], *BATCHES["QRS"].values()}
LATER = {"7.dcm": image(TWO, 7), "8.dcm": image(ONE, 8)}
SECRETS = (ONE, TWO, THREE, spaced(TWO), "RXH000000", "XYZ")

_folder, _second = (tempfile.TemporaryDirectory(prefix="holdout-") for _ in range(2))  # they go with the process


@functools.cache
def made() -> Path:
    """A landing of four centres, which no test changes."""
    work = Path(_folder.name)
    (work / "key").write_bytes(b"s" * 32)
    (work / "project-key").write_bytes(b"p" * 32)
    (work / "holdout-key").write_bytes(b"h" * 32)
    (work / "centres").write_text("XYZ\n")
    for centre, files in BATCHES.items():
        send(work, centre, files)
    return work


def send(work: Path, centre: str, files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as inbox:
        for name, content in files.items():
            Path(inbox, name).write_bytes(content)
        done = run("ingest", inbox, "--centre", centre, "--landing", work / "landing")
        assert done.returncode == 0, done.stderr


@pytest.fixture
def landed(tmp_path: Path) -> Path:
    return shutil.copytree(made(), tmp_path / "work")


NAMES: dict[str, Names | None] = {}
KEY = SplitKey(b"s" * 32)
POLICY = functools.cache(lambda: clinical_policy(policies_folder()))


@pytest.fixture(autouse=True)
def looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking depends on bytes and key alone, so what a child once said of a file is known from then on."""
    real = LandingOriginals.names

    def names(self: LandingOriginals) -> Iterator[tuple[str, Names | None]]:
        files = [(place, Path(place).stem) for place in self._files]
        if self._inbox._key != KEY.names or any(content not in NAMES for _, content in files):
            for place, found in real(self):
                yield place, found
                if self._inbox._key == KEY.names:
                    NAMES[Path(place).stem] = found
        else:
            yield from ((place, NAMES[content]) for place, content in files)

    monkeypatch.setattr(LandingOriginals, "names", names)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})  # one child each


def splitting(work: Path, *more: object, by: Callable[..., Done] = run, share: int = 0) -> Done:
    given = ("--key-file", work / "key", "--centre-file", work / "centres", "--share", share)
    return by("holdout", "split", "--landing", work / "landing", "--holdout", work / "h", *given, *more)


def deid(work: Path, *more: object, source: str = "landing", out: str = "w", project: str = "demo") -> Done:
    key = work / ("holdout-key" if project == "holdout" else "project-key")
    return run("deid", work / source, work / out, "--project", project, "--key-file", key, "--jobs", 1, *more)


@functools.cache
def opened() -> Path:
    """The same landing, split and read by a project, which no test changes."""
    work = shutil.copytree(made(), Path(_second.name) / "work")
    assert splitting(work, "--nothing-released", "--confirm").returncode == 0
    done = deid(work, "--landing", "--receipt", work / "receipt.jsonl")
    assert done.stdout.startswith("3 files: 3 released")
    return work


def held(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix in {".dcm", ".json"}
            and len(path.stem) == 64}  # fmt: skip


def contents(work: Path) -> dict[str, bytes]:
    return {str(path.relative_to(work)): path.read_bytes() for path in work.rglob("*") if path.is_file()}


def check_whole(landing: Path) -> None:
    """Each record names what lies beside it, and nothing else lies there."""
    for path in landing.rglob("batch.json"):
        kept = json.loads(path.read_bytes())
        named = {entry["sha256"] for kind in ("instances", "clinical") for entry in kept.get(kind, ())}
        assert named == {file.stem for file in path.parent.rglob("*") if file.is_file() and file != path}


def test_it_says_what_would_move_moves_nothing_and_then_what_it_was_told_to(landed: Path) -> None:
    before = contents(landed)
    dry = splitting(landed, "--nothing-released", by=start)
    assert (dry.returncode, dry.stderr) == (0, "")
    assert dry.stdout.splitlines() == [
        "new people: 2 hold-out, 2 open",
        "originals: 5 would move to the hold-out, 0 apart, for neither side",
        "next: the same command with --confirm splits landing",
    ]
    assert contents(landed) == before

    done = splitting(landed, "--nothing-released", "--confirm", "--json")
    assert json.loads(done.stdout) == {
        "moved": True,
        "new_people": {"holdout": 2, "open": 2},
        "originals": {"holdout": 5, "apart": 0},
    }
    assert held(landed / "landing") == OTHERS
    assert held(landed / "h" / "landing") == MEMBERS
    check_whole(landed / "landing")
    check_whole(landed / "h" / "landing")
    assert not list(landed.rglob(".batch-*"))
    left = {path.parent.parent.parent.name for path in (landed / "landing").rglob("batch.json")}
    assert left == {"ABC", "QRS"}  # no empty batch tells whose centre is held out
    assert (landed / "h").stat().st_mode & 0o777 == 0o700
    assert not any(secret in dry.stdout + done.stdout + done.stderr for secret in SECRETS)
    ledger, mark = (landed / "h" / "holdout-ledger.json").read_text(), (landed / "landing" / ".split.json").read_text()
    assert not any(secret in ledger for secret in SECRETS if secret != "XYZ")
    assert not any(secret in mark for secret in SECRETS)

    after = contents(landed)
    again = splitting(landed, "--confirm", share=0)
    assert again.stdout.splitlines()[0] == "new people: 0 hold-out, 0 open"
    assert contents(landed) == after


def test_each_side_is_de_identified_by_itself_and_follows_its_people(tmp_path: Path) -> None:
    landed = shutil.copytree(opened(), tmp_path / "work")
    marked = split_batches(landed / "landing")
    there = {"/".join(path.parts[-4:-1]) for path in (landed / "landing").rglob("batch.json")}
    assert marked == there  # one that left whole and comes again is not split
    own = {"source": "h/landing", "out": "h/warehouse", "project": "holdout"}
    assert deid(landed, "--landing", **own).stdout.startswith("5 files: 5 released")
    patients = [
        {path.parent.parent.parent.name for path in (landed / place / "images").rglob("*.dcm")}
        for place in ("w", "h/warehouse")
    ]
    assert [len(found) for found in patients] == [2, 3]  # a name of TWO's is a patient of its own, on the same side
    assert not patients[0] & patients[1]
    manifest = (landed / "h/warehouse/manifest.jsonl").read_text()
    assert {json.loads(line)["project"] for line in manifest.splitlines()} == {"holdout"}
    cut = run("cohort", "cut", "--project", "holdout", "--warehouse", landed / "h/warehouse", "--out", landed / "c")
    assert cut.returncode == 3

    send(landed, "ABC", LATER)
    before = contents(landed / "w")
    refused = deid(landed, "--landing")
    assert refused.returncode == 3
    assert "changed since it was split" in one_line(refused)
    assert not any(secret in refused.stderr for secret in SECRETS)
    assert contents(landed / "w") == before
    (landed / "centres").write_text("")  # once held out stays so, and another share concerns new people
    again = splitting(landed, "--deid-receipt", landed / "receipt.jsonl", "--confirm", share=100)
    assert again.stdout.splitlines()[0] == "new people: 0 hold-out, 0 open"
    assert held(landed / "landing") == {*OTHERS, LATER["8.dcm"]}
    assert held(landed / "h" / "landing") == {*MEMBERS, LATER["7.dcm"]}
    with Tree(landed / "landing") as tree:
        assert len(SplitInputs(CommittedBatches(tree), split_batches(landed / "landing")).files()) == 4


def test_a_project_cannot_tell_who_was_kept_apart_from_who_never_came(tmp_path: Path) -> None:
    """The warehouse and all it says are byte for byte those of a landing to which the hold-out was never sent."""
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(made() / "project-key", other)
    for centre, files in BATCHES.items():
        if left := {name: content for name, content in files.items() if content in OTHERS}:
            send(other, centre, left)
    assert deid(other, "--landing").returncode == 0
    assert contents(opened() / "w") == contents(other / "w")


def test_a_retraction_needs_no_new_split(landed: Path) -> None:
    assert splitting(landed, "--nothing-released", "--confirm").returncode == 0
    gone = run("cohort", "retract", "--landing", landed / "landing", "--centre", "QRS", "--confirm")
    assert gone.returncode == 0
    with Tree(landed / "landing") as tree:
        assert len(SplitInputs(CommittedBatches(tree), split_batches(landed / "landing")).files()) == 1


def test_whom_a_project_was_given_is_never_hold_out(landed: Path) -> None:
    receipt = landed / "receipt.jsonl"  # of a `deid` that released all but one of TWO's
    places = [
        path.relative_to(landed / "landing") for path in (landed / "landing").rglob("*/*") if len(path.stem) == 64
    ]
    lines = [{"input": str(place), "outcome": "released", "reason": None, "output": "x"} for place in places]
    [other] = [number for number, place in enumerate(places) if place.parts[0] == "LMN"]
    lines[other] |= {"outcome": "held", "reason": "pixels-doubtful"}
    receipt.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    untold = splitting(landed, "--confirm")
    assert untold.returncode == 1
    assert "--nothing-released" in one_line(untold)
    done = splitting(landed, "--deid-receipt", receipt, "--confirm", "--json", share=100)
    assert json.loads(done.stdout)["new_people"] == {"holdout": 0, "open": 4}
    assert json.loads(done.stdout)["originals"] == {"holdout": 0, "apart": 2}
    assert held(landed / "h" / "apart") == set(BATCHES["XYZ"].values())


def in_process(work: Path) -> None:
    sides = SplitFolders(work / "landing", work / "h", POLICY(), KEY, jobs=1)
    rule = Rule(key=KEY, share=0, centres=frozenset({"XYZ"}))
    split_holdout(rule, frozenset(), sides, lambda _: None, confirm=True)


def test_killed_at_any_point_nothing_is_lost_and_no_project_reads_what_is_not_split(tmp_path: Path) -> None:
    """Of one batch some, of another all: XYZ's goes whole, and ABC's loses an image and a record."""
    work = tmp_path / "work"
    for centre in ("ABC", "XYZ"):
        shutil.copytree(made() / "landing" / centre, work / "landing" / centre)
    everything, members = held(work), MEMBERS - set(BATCHES["LMN"].values())
    shutil.copytree(work, tmp_path / "kept")
    in_process(work)  # so that all are looked at
    kills = 0
    shutil.rmtree(work)
    shutil.copytree(tmp_path / "kept", work)
    for kills in stops(lambda: in_process(work)):  # noqa: B007 (how many there were counts afterwards)
        assert held(work) == everything
        split = split_batches(work / "landing")
        if split is None:
            assert not (work / "h" / "holdout-ledger.json").exists()  # nothing was decided
        else:
            assert not split or held(work / "landing") == everything - members
        in_process(work)
        assert held(work / "landing") == everything - members
        assert held(work / "h" / "landing") == members
        check_whole(work / "landing")
        check_whole(work / "h" / "landing")
        assert not list(work.rglob(".batch-*"))
        shutil.rmtree(work)
        shutil.copytree(tmp_path / "kept", work)
    assert kills > 40


def test_while_a_centre_sends_or_another_splits_it_waits_for_another_time(landed: Path) -> None:
    folder = os.open(landed / "landing" / "ABC", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    done = splitting(landed, "--nothing-released", "--confirm")
    os.close(folder)
    assert done.returncode == 1
    assert "being received" in one_line(done)
    assert deid(landed, "--landing").returncode == 3  # half a split opens nothing
    folder = os.open(landed / "h", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    assert "another split" in one_line(splitting(landed, "--confirm"))
    os.close(folder)
    assert splitting(landed, "--confirm").returncode == 0
    assert held(landed / "landing") == OTHERS


WRONG_SIDE: dict[str, tuple[dict[str, str], tuple[str, ...], str]] = {
    "a landing that is not read as one": ({}, (), "read as a landing"),
    "a centre of it": ({"source": "landing/ABC"}, (), "part of a landing"),
    "what lies above it": ({"source": "above"}, (), "read as a landing"),
    "the hold-out's landing": ({"source": "h/landing"}, ("--landing",), "hold-out's storage"),
    "what was set apart": ({"source": "h/apart"}, (), "hold-out's storage"),
    "a warehouse in the hold-out": ({"out": "h/warehouse"}, ("--landing",), "hold-out's storage"),
    "the hold-out reading landing": ({"project": "holdout", "out": "h/w"}, ("--landing",), "reserved"),
    "the hold-out writing elsewhere": ({"project": "holdout", "source": "h/landing"}, ("--landing",), "reserved"),
    "the hold-out reading no landing": ({"project": "holdout", "source": "h/landing", "out": "h/w"}, (), "reserved"),
    "the hold-out writing apart": (
        {"project": "holdout", "source": "h/landing", "out": "h/apart"},
        ("--landing",),
        "reserved",
    ),
}


def test_no_project_reads_around_the_split_and_the_hold_out_reads_nothing_else(landed: Path) -> None:
    assert splitting(landed, "--nothing-released", "--confirm").returncode == 0
    (landed / "above").mkdir()
    (landed / "landing").rename(landed / "above" / "landing")
    (landed / "landing").symlink_to(landed / "above" / "landing")
    before = contents(landed)
    for name, (given, more, words) in WRONG_SIDE.items():
        done = deid(landed, *more, **given)
        assert (name, done.returncode) == (name, 3), done.stderr
        assert words in one_line(done), name
        assert contents(landed) == before


WRONG: dict[str, tuple[Callable[[Path], object], tuple[str, ...], int, str]] = {
    "a mistyped centre": (lambda w: (w / "centres").write_text("ABC\nx y\n"), (), 1, "line 2"),
    "a centre file of bytes": (lambda w: (w / "centres").write_bytes(b"\xff"), (), 1, "centre file"),
    "a centre file without end": (
        lambda w: (w / "centres").write_text("ABC\n" * (1 << 18) + "X"),
        (),
        1,
        "centre file",
    ),
    "no centre file": (lambda w: (w / "centres").unlink(), (), 1, "centre file"),
    "no key": (lambda w: (w / "key").unlink(), (), 1, "key file"),
    "a short key": (lambda w: (w / "key").write_bytes(b"x" * 31), (), 1, "31 bytes"),
    "no landing": (lambda w: (w / "landing").rename(w / "l"), (), 1, "cannot be read"),
    "no landing, but files": (lambda w: [p.unlink() for p in (w / "landing").rglob("batch.json")], (), 1, "no batch"),
    "a share that is none": (Path.exists, ("--share", "101"), 2, "--share"),
    "both words": (lambda w: (w / "r").write_text(""), ("--nothing-released", "--deid-receipt", "r"), 2, "either"),
    "a storage inside landing": (Path.exists, ("--holdout", "landing/h"), 2, "apart"),
    "a landing inside the storage": (Path.exists, ("--holdout", "."), 2, "apart"),
    "two keys": (Path.exists, ("--vault",), 2, "either --key-file FILE or --vault"),
    "a key inside landing": (Path.exists, ("--key-file", "landing/key"), 2, "--key-file"),
    "the hold-out's own receipt": (
        lambda w: ((w / "h").mkdir(), (w / "h" / "r").write_text("")),
        ("--deid-receipt", "h/r"),
        2,
        "a project's",
    ),
    "a storage that is a file": (Path.exists, ("--holdout", "key"), 2, "--holdout"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_line_and_moves_nothing(landed: Path, name: str) -> None:
    prepare, more, status, words = WRONG[name]
    prepare(landed)
    before = contents(landed)
    with pytest.MonkeyPatch.context() as surroundings:
        surroundings.chdir(landed)
        done = splitting(landed, *(() if "--deid-receipt" in more else ("--nothing-released",)), "--confirm", *more)
    assert done.returncode == status, done.stderr
    assert words in (one_line(done) if status != 2 else done.stderr)
    assert not any(secret in done.stderr for secret in SECRETS)
    assert contents(landed) == before


def spoil(path: Path, content: str) -> None:
    path.unlink()
    path.write_text(content)


SPOILED: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "another key": (lambda w: (w / "key").write_bytes(b"o" * 32), 3, "another key"),
    "a lost ledger": (lambda w: (w / "h/holdout-ledger.json").unlink(), 1, "gone"),
    "another storage": (lambda w: (w / "h").rename(w / "h2"), 1, "gone"),
    "a broken ledger": (lambda w: (w / "h/holdout-ledger.json").write_text("{"), 1, "ledger"),
    "a ledger of something": (lambda w: (w / "h/holdout-ledger.json").write_text("[]"), 1, "ledger"),
    "a receipt of something": (lambda w: (w / "r").write_text("{}\n"), 1, "receipt"),
    "a receipt of an inbox": (
        lambda w: (w / "r").write_text('{"input": "x", "outcome": "released", "reason": null}\n'),
        1,
        "line 1",
    ),
}


def test_what_was_decided_is_never_decided_anew(landed: Path) -> None:
    assert splitting(landed, "--nothing-released", "--confirm").returncode == 0
    kept = shutil.copytree(landed, landed.parent / "kept")
    for name, (prepare, status, words) in SPOILED.items():
        prepare(landed)
        before = contents(landed)
        receipt = ("--deid-receipt", landed / "r") if (landed / "r").exists() else ("--nothing-released",)
        done = splitting(landed, *receipt, "--confirm")
        assert (name, done.returncode) == (name, status), done.stderr
        assert words in one_line(done)
        assert contents(landed) == before
        shutil.rmtree(landed)
        shutil.copytree(kept, landed)
    spoil(landed / "landing" / ".split.json", "{")
    assert deid(landed, "--landing").returncode == 1


class Unread:
    """Sides of which one original cannot be looked at."""

    def __init__(self, names: Names | None) -> None:
        self.names, self.done = names, list[str]()

    def originals(self) -> Iterator[tuple[str, Names | None]]:
        yield "open/A/2026-01-01/b-1/instances/00/x.dcm", self.names

    def ledger(self) -> Ledger:
        return Ledger()

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.done.append(name)


@pytest.mark.parametrize("names", [None, NAMELESS])
def test_where_one_original_cannot_be_looked_at_nothing_moves(names: Names | None) -> None:
    sides = Unread(names)
    rule = Rule(key=KEY, share=20)
    with pytest.raises(TryAgain, match="1 originals"):
        split_holdout(rule, frozenset(), sides, lambda _: None, confirm=False)
    assert sides.done == []
