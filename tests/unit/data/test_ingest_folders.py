"""From a folder to landing: nothing lost, nothing twice, nothing half, whatever moment the process dies at."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import pydicom
import pytest

from readingroom.adapters import landing
from readingroom.adapters.landing import InboxFolder, LandingFolder, ReceiptFile
from readingroom.adapters.tree import Tree
from readingroom.application.ingest import Ingested, ingest
from readingroom.domain.door import Answer, Seen
from readingroom.domain.errors import TryAgain
from tests.unit.data.instances import instance
from tests.unit.data.stopping import stops

DAY = date(2026, 11, 25)
FILES = {
    "a.dcm": instance(instance="1.1.1.1", study="1.1"),
    "deep/er/b": instance(instance="1.1.1.2", study="1.1", filling="b"),
    "c copy of a.dcm": instance(instance="1.1.1.1", study="1.1"),
    "d.dcm": instance(instance="1.2.1.1", study="1.2", patient="P-2"),
    "one uid, one way": instance(instance="1.3.1.1", study="1.3", patient="P-3"),
    "one uid, another way": instance(instance="1.3.1.1", study="1.3", patient="P-3", filling="x"),
    "one study, Jane": instance(instance="1.4.1.1", study="1.4", patient="P-4"),
    "one study, Joan": instance(instance="1.4.1.2", study="1.4", patient="P-5"),
    "born once": instance(instance="1.6.1.1", study="1.6", patient="P-6", birth="19600101"),
    "born twice": instance(instance="1.6.2.1", study="1.6.2", patient="P-6", birth="19610101"),
    "letter to the editor.txt": b"Dear Zebediah Quux",
    "short.dcm": instance()[:-8],
}
RECEIVED = ("a.dcm", "c copy of a.dcm", "d.dcm", "deep/er/b")
ANSWERS = {
    "a.dcm": ("received", None),
    "c copy of a.dcm": ("received", "same-as-another"),
    "deep/er/b": ("received", None),
    "d.dcm": ("received", None),
    "one uid, one way": ("held", "uid-conflict"),
    "one uid, another way": ("held", "uid-conflict"),
    "one study, Jane": ("held", "identity-conflict"),
    "one study, Joan": ("held", "identity-conflict"),
    "born once": ("held", "identity-conflict"),
    "born twice": ("held", "identity-conflict"),
    "letter to the editor.txt": ("rejected", "not-dicom"),
    "short.dcm": ("rejected", "truncated"),
}


def put(folder: Path, names: Sequence[str] = tuple(FILES)) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILES[name])
    return folder


def receive(work: Path, *, inbox: InboxFolder | None = None, day: date = DAY, centre: str = "ABC") -> Ingested:
    with Tree(work / "in") as tree:
        return ingest(
            centre,
            inbox or InboxFolder(tree, jobs=2),
            LandingFolder(work / "landing", centre, day),
            ReceiptFile(work / "receipt.jsonl"),
            lambda _: None,
        )


def receipt(work: Path) -> dict[str, tuple[str, str | None, str | None]]:
    lines = [json.loads(line) for line in (work / "receipt.jsonl").read_text().splitlines()]
    found = {line["input"]: (line["outcome"], line["reason"], line["output"]) for line in lines}
    assert len(found) == len(lines)
    assert all(line.keys() == {"input", "outcome", "reason", "output"} for line in lines)
    return found


def tree(folder: Path) -> dict[str, bytes]:
    """Every file, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_input_has_one_answer_and_landing_holds_what_was_received_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path / "in")
    before = tree(tmp_path / "in")
    done = receive(tmp_path)
    told = receipt(tmp_path)
    assert {name: answer[:2] for name, answer in told.items()} == ANSWERS
    assert sum(done.counts.values()) == len(FILES)
    landed = tree(tmp_path / "landing")
    record = json.loads(landed.pop(f"ABC/2026-11-25/{done.batch}/batch.json"))
    wanted = {hashlib.sha256(FILES[name]).hexdigest(): FILES[name] for name in RECEIVED}
    place = f"ABC/2026-11-25/{done.batch}/instances"
    assert landed == {f"{place}/{digest[:2]}/{digest}.dcm": content for digest, content in wanted.items()}
    for name in RECEIVED:
        assert landed[told[name][2] or ""] == FILES[name]
    assert [told[name][2] for name in FILES if name not in RECEIVED] == [None] * 8
    assert record == {
        "schema": "readingroom/batch/v1",
        "centre": "ABC",
        "batch": done.batch,
        "instances": [{"sha256": digest, "size": len(wanted[digest])} for digest in sorted(wanted)],
        "counts": {"received": 4, "held": 6, "rejected": 2},
    }
    assert tree(tmp_path / "in") == before


def test_what_was_received_can_be_changed_by_nobody_and_read_by_its_group_only(tmp_path: Path) -> None:
    put(tmp_path / "in", ["a.dcm"])
    receive(tmp_path)
    for path in (tmp_path / "landing").rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o777 == 0o440
    assert (tmp_path / "receipt.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_second_run_finds_it_all_there_and_gives_the_same_answers_another_day(tmp_path: Path) -> None:
    put(tmp_path / "in")
    receive(tmp_path)
    before, told = tree(tmp_path / "landing"), receipt(tmp_path)
    (tmp_path / "receipt.jsonl").unlink()
    done = receive(tmp_path, day=date(2026, 11, 27))
    assert done.batch is None
    assert tree(tmp_path / "landing") == before
    assert receipt(tmp_path) == told


def test_only_what_is_new_makes_a_new_batch(tmp_path: Path) -> None:
    put(tmp_path / "in", ["a.dcm"])
    first = receive(tmp_path)
    before = tree(tmp_path / "landing")
    put(tmp_path / "in", ["d.dcm"])
    second = receive(tmp_path)
    assert second.batch not in (None, first.batch)
    after = tree(tmp_path / "landing")
    assert before.items() <= after.items()
    assert len(after) == 4
    assert first.batch in (receipt(tmp_path)["a.dcm"][2] or "")


def test_a_batch_is_named_by_its_content_and_its_centre_not_by_names_of_files(tmp_path: Path) -> None:
    names = []
    for number, centre in enumerate(("ABC", "ABC", "XYZ")):
        folder = put(tmp_path / str(number) / "in", ["a.dcm", "d.dcm"])
        if number:
            (folder / "a.dcm").rename(folder / "z.dcm")
        names.append(receive(tmp_path / str(number), centre=centre).batch)
    assert names[0] == names[1] != names[2]


def test_links_and_pipes_are_no_files_and_get_no_answer(tmp_path: Path) -> None:
    put(tmp_path / "in", ["a.dcm"])
    (tmp_path / "secret").write_bytes(FILES["d.dcm"])
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / "folder").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "in" / "pipe")
    receive(tmp_path)
    assert set(receipt(tmp_path)) == {"a.dcm"}


def test_a_name_that_is_no_text_gets_its_answer(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with open(os.fsencode(tmp_path / "in") + b"/\xff\n.dcm", "wb") as file:  # noqa: PTH123 (a name of bytes)
        file.write(FILES["a.dcm"])
    receive(tmp_path)
    assert receipt(tmp_path)["\udcff\n.dcm"][0] == "received"


class SeenBefore(InboxFolder):
    """The inbox after it was seen: the answers are remembered, the bytes are read again."""

    def __init__(self, tree: Tree, seen: Sequence[Seen]) -> None:
        super().__init__(tree, jobs=1)
        self._seen_before = seen

    def seen(self) -> Iterator[Seen]:
        yield from self._seen_before


def remembered(work: Path) -> SeenBefore:
    inbox = Tree(work / "in")
    return SeenBefore(inbox, list(InboxFolder(inbox, jobs=2).seen()))


def test_bytes_that_changed_after_they_were_seen_are_not_received_and_the_copy_is(tmp_path: Path) -> None:
    put(tmp_path / "in", ["a.dcm", "c copy of a.dcm", "d.dcm"])
    inbox = remembered(tmp_path)
    (tmp_path / "in" / "a.dcm").write_bytes(FILES["a.dcm"][:-2] + b"xx")
    (tmp_path / "in" / "d.dcm").unlink()
    receive(tmp_path, inbox=inbox)
    told = {name: answer[:2] for name, answer in receipt(tmp_path).items()}
    assert told == {
        "a.dcm": ("rejected", "unreadable"),
        "c copy of a.dcm": ("received", None),
        "d.dcm": ("rejected", "unreadable"),
    }
    assert [content for name, content in tree(tmp_path / "landing").items() if name.endswith(".dcm")] == [
        FILES["a.dcm"]
    ]


def test_killed_before_any_change_of_the_disk_nothing_is_half_there_and_the_next_run_does_it_all(
    tmp_path: Path,
) -> None:
    for name in ("good", "w"):
        put(tmp_path / name / "in")
    receive(tmp_path / "good")
    landed, told = tree(tmp_path / "good" / "landing"), receipt(tmp_path / "good")
    work = tmp_path / "w"
    inbox = remembered(work)
    points = committed = 0
    for _ in stops(lambda: receive(work, inbox=inbox)):
        points += 1
        there = tree(work / "landing") if (work / "landing").exists() else {}
        visible = {name: content for name, content in there.items() if "/." not in name}
        assert visible in ({}, landed)
        committed += bool(visible)
        if (work / "receipt.jsonl").exists():
            assert visible == landed
            assert receipt(work) == told
        receive(work, inbox=inbox)
        assert tree(work / "landing") == landed
        assert receipt(work) == told
        shutil.rmtree(work / "landing")
        for left in work.glob("*receipt*"):
            left.unlink()
    assert points > 20
    assert 0 < committed < points
    assert tree(work / "landing") == landed


def test_whatever_a_file_does_to_its_reader_every_input_gets_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "DOOR", "tests.unit.data.rough_door:rough")
    folder = put(tmp_path / "in", ["a.dcm", "d.dcm", "deep/er/b"])
    for deed in ("die", "raise", "leave", "memory"):
        for place in ("0", "b", "z"):
            (folder / f"{place} {deed}").write_bytes(f"{deed}!".encode())
    (folder / "gone").write_bytes(b"")
    with (folder / "large").open("wb") as file:
        file.truncate((2 << 30) + 1)
    with Tree(folder) as source:
        inbox = InboxFolder(source, jobs=2)
        (folder / "gone").unlink()
        receive(tmp_path, inbox=inbox)
    told = {name: answer[:2] for name, answer in receipt(tmp_path).items()}
    expected: dict[str, tuple[str, str | None]] = dict.fromkeys(("a.dcm", "d.dcm", "deep/er/b"), ("received", None))
    for deed in ("die", "raise", "leave", "memory"):
        for place in ("0", "b", "z"):
            expected[f"{place} {deed}"] = ("rejected", "over-limit" if deed == "memory" else "crash")
    assert told == {**expected, "gone": ("rejected", "unreadable"), "large": ("rejected", "over-limit")}


def test_two_batches_of_one_centre_at_once_are_one_too_many(tmp_path: Path) -> None:
    put(tmp_path / "in", ["a.dcm"])
    (tmp_path / "landing" / "ABC").mkdir(parents=True)
    held = os.open(tmp_path / "landing" / "ABC", os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(held, fcntl.LOCK_SH)  # shared: only who wants it alone is stopped
    try:
        with pytest.raises(TryAgain):
            receive(tmp_path)
        assert receive(tmp_path, centre="XYZ").batch
    finally:
        os.close(held)
    assert receive(tmp_path).batch


def test_every_dicom_file_of_the_test_packages_gets_one_answer_and_the_right_one(tmp_path: Path) -> None:
    sources = {
        "pydicom": Path(pydicom.__file__).parent / "data",
        "data": Path((find_spec("data_store") or pytest.fail("no pydicom-data")).origin or "").parent / "data",
    }
    for name, folder in sources.items():
        shutil.copytree(folder, tmp_path / "in" / name, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    inputs = {name: hashlib.sha256(content).hexdigest() for name, content in tree(tmp_path / "in").items()}
    done = receive(tmp_path)
    told = receipt(tmp_path)
    assert set(told) == set(inputs)
    landed = tree(tmp_path / "landing")
    received = {name: output for name, (outcome, _, output) in told.items() if outcome == "received"}
    assert len(received) > 60
    for name, output in received.items():
        assert hashlib.sha256(landed[output or ""]).hexdigest() == inputs[name]
    assert set(landed) - {f"ABC/2026-11-25/{done.batch}/batch.json"} == set(received.values())
    instances: dict[str, str] = {}
    patients: dict[str, str] = {}
    for output in set(received.values()):  # another reader's view of what got in
        found = pydicom.dcmread(tmp_path / "landing" / (output or ""), stop_before_pixels=True, defer_size=64)
        assert found.PatientID
        assert instances.setdefault(str(found.SOPInstanceUID), str(output)) == output
        assert patients.setdefault(str(found.StudyInstanceUID), str(found.PatientID)) == found.PatientID
    by_file = {name.rsplit("/", 1)[-1]: answer[:2] for name, answer in told.items()}
    for name, answer in {
        "CT_small.dcm": ("received", None),
        "MR_truncated.dcm": ("rejected", "truncated"),
        "emri_small_jpeg_2k_lossless_too_short.dcm": ("rejected", "truncated"),
        "no_meta.dcm": ("rejected", "not-dicom"),
        "zipMR.gz": ("rejected", "not-dicom"),
        "DICOMDIR": ("rejected", "sop-class"),
        "priv_SQ.dcm": ("rejected", "uid-malformed"),
        "test-SR.dcm": ("rejected", "identity-missing"),
        "badVR.dcm": ("rejected", "malformed"),
        "MR_small.dcm": ("held", "uid-conflict"),
        "MR_small_RLE.dcm": ("held", "uid-conflict"),
    }.items():
        assert by_file[name] == answer, name
    assert done.counts[Answer.RECEIVED, None] == len(set(received.values()))
