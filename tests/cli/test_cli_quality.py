"""`readingroom quality` over a landing that `ingest` made of the synthetic NCCID, judged by receipts and the answer key."""

from __future__ import annotations

import collections
import json
from pathlib import Path

import pydicom
import pytest

from tests.cli.command import Done, one_line, run, start
from tests.unit.synth.trees import bytes_of, made

CODE = "SYN01"


def received(work: Path, code: str = CODE) -> Path:
    """One centre's upload, received twice: the second receipt answers for the same files."""
    receipt = work / f"{code}.jsonl"
    done = run("ingest", made().identified / f"raw-{code.lower()}", "--centre", code, "--landing", work / "landing",
               "--receipt", receipt)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return receipt


def quality(work: Path, *more: object, out: str = "out") -> Done:
    return run("quality", work / "landing", "--out", work / out, *more)


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("quality")
    receipt = received(work)
    done = quality(work, "--receipt", f"{CODE}={receipt}")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return work


def test_counts_are_those_of_the_receipt_and_of_landing(reported: Path) -> None:
    document = json.loads((reported / "out" / f"{CODE}.json").read_text())
    lines = [json.loads(line) for line in (reported / f"{CODE}.jsonl").read_text().splitlines()]
    told = collections.Counter((line["outcome"], line["reason"] or "new") for line in lines)
    assert {(each["outcome"], each["reason"]): each["count"] for each in document["door"]["answers"]} == told
    assert document["door"]["inputs"] == len(lines)
    assert len(told) > 2, "the synthetic centre has files that are held or rejected"

    images = list((reported / "landing").rglob("*.dcm"))
    assert document["landing"]["instances"] == len(images)
    assert document["landing"]["records"] == len(list((reported / "landing").rglob("clinical/*.json")))
    assert document["landing"]["unreadable"] == 0
    headers = [pydicom.dcmread(path, stop_before_pixels=True, force=True) for path in images]
    assert document["landing"]["studies"] == len({header.StudyInstanceUID for header in headers})
    by_modality = collections.Counter(header.Modality for header in headers)
    assert {each["modality"]: each["instances"] for each in document["fields"]} == by_modality
    [ct] = [each for each in document["fields"] if each["modality"] == "CT"]
    thick = {each["field"]: each["filled"] for each in ct["fields"]}["SliceThickness"]
    expected = sum(1 for header in headers if header.Modality == "CT" and header.get("SliceThickness") is not None)
    assert thick in {expected, "hidden"}
    assert document["columns"], "there are records enough to count"


def test_nothing_of_the_answer_key_is_in_page_or_document(reported: Path) -> None:
    lines = made().lines("removed", "date-shifted", "uid-changed", "patient-consistent")
    secrets = {
        bytes_of(line) for line in lines if isinstance(line.get("was"), str) and line.get("encoding") != "nibbles"
    }
    names = {path.name.encode() for path in made().files()}
    assert len(secrets) > 100
    for path in (reported / "out").iterdir():
        content = path.read_bytes().lower()
        assert not [secret for secret in secrets | names if len(secret) >= 5 and secret.lower() in content]


def test_the_same_landing_gives_the_same_bytes(reported: Path) -> None:
    quality(reported, "--receipt", f"{CODE}={reported / CODE}.jsonl", "--centre", CODE, out="again")
    for path in (reported / "out").iterdir():
        assert (reported / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_file_that_is_gone_or_odd_by_now_is_counted_and_ends_nothing(reported: Path, tmp_path: Path) -> None:
    (tmp_path / "landing").symlink_to(reported / "landing")
    one, other = sorted((reported / "landing").rglob("*.dcm"))[:2]
    kept = one.read_bytes(), other.read_bytes()
    one.chmod(0o640)
    one.write_bytes(b"no DICOM")
    other.unlink()
    try:
        done = quality(tmp_path, "--json")
    finally:
        one.write_bytes(kept[0])
        other.write_bytes(kept[1])
    document = json.loads(done.stdout)
    assert document["landing"]["unreadable"] == 1
    assert document["door"]["receipts"] == 0
    assert "could not be looked at" in (tmp_path / "out" / f"{CODE}.html").read_text()


def test_an_empty_landing_has_no_report(tmp_path: Path) -> None:
    (tmp_path / "landing" / "<script>").mkdir(parents=True)
    (tmp_path / "landing" / ".batch-left").mkdir()
    done = start("quality", tmp_path / "landing", "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no centre has sent anything" in done.stderr
    (tmp_path / "landing" / "EMPTY").mkdir()
    assert quality(tmp_path).returncode == 0
    assert json.loads((tmp_path / "out" / "EMPTY.json").read_text())["batches"]["number"] == 0


def test_wrong_use_is_one_line(reported: Path, tmp_path: Path) -> None:
    landing = reported / "landing"
    for more in (["--receipt", "SYN01"], ["--receipt", "x=y"], ["--centre", "NOBODY"], ["--receipt", "NOBODY=y"]):
        assert quality(reported, *more, out="never").returncode == 2
    assert run("quality", landing, "--out", landing / "q").returncode == 2
    assert not (reported / "never").exists()
    gone = run("quality", tmp_path / "gone", "--out", tmp_path / "out")
    assert gone.returncode == 1
    one_line(gone)
    foreign = tmp_path / "r"
    foreign.write_text('{"input": "a", "outcome": "received", "reason": null, "output": "OTHER/x"}\n')
    refused = quality(reported, "--receipt", f"{CODE}={foreign}", out="never")
    assert refused.returncode == 1
    assert "not of centre" in one_line(refused)
