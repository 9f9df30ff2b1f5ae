"""The path of real files through four commands: ingest, deid, decide, cut. What comes out is what was decided, and nobody's."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_testdata_file

from tests.cli.command import one_line, run
from tests.cli.test_cli_decide import deciding
from tests.unit.data.warehouses import unpacked

REAL = ("CT_small.dcm", "explicit_VR-UN.dcm", "JPEG-LL.dcm", "MR_truncated.dcm", "rtplan.dcm", "MR2_J2KR.dcm")


def path_of(work: Path, names: tuple[str, ...], key: bytes) -> dict[str, Any]:
    """All four commands over files of these names; the record of the cut."""
    (work / "in").mkdir(parents=True)
    for number, name in enumerate(names):
        found = get_testdata_file(name, download=False)
        assert found, name
        shutil.copy(str(found), work / "in" / f"{number} {name}")
    (work / "key").write_bytes(key)
    commands = (
        ["ingest", f"{work}/in", "--centre", "ABC", "--landing", f"{work}/landing"],
        ["deid", f"{work}/landing", f"{work}/w", "--landing", "--project", "demo", "--key-file", f"{work}/key"],
        ["cohort", "cut", "--project", "demo", "--warehouse", f"{work}/w", "--out", f"{work}/out", "--decision", "{}"],
    )
    decision = work.parent / "readingroom" / "decisions" / "demo" / "d1.json"
    if not decision.exists():
        assert run(*deciding(), state=work.parent).returncode == 0
    for command in commands:
        done = run(*(str(decision) if word == "{}" else word for word in command), state=work)
        assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads((work / "out" / "cut.json").read_text())
    return record


def test_real_files_become_a_cut_that_names_nobody_and_is_the_same_whatever_their_names(tmp_path: Path) -> None:
    record = path_of(tmp_path / "a", REAL, b"k" * 32)
    inside = unpacked(tmp_path / "a" / "out" / record["tar"])
    images = {name: content for name, content in inside.items() if name.endswith(".dcm") and isinstance(content, bytes)}
    assert images
    assert record["counts"]["instances"] == len(images)
    everything = b"\0".join(
        [*(name.encode() for name in inside), *(c for c in inside.values() if isinstance(c, bytes))]
    )
    for name in REAL:
        source = pydicom.dcmread(str(get_testdata_file(name, download=False)))
        for secret in (source.PatientID, source.SOPInstanceUID, source.StudyInstanceUID):
            assert str(secret).encode() not in everything, name
    for content in images.values():
        found = pydicom.dcmread(io.BytesIO(content))
        assert found.Modality == "CT"
        assert found.pixel_array.size
    again = path_of(tmp_path / "b", tuple(reversed(REAL)), b"k" * 32)
    assert again == record
    other = path_of(tmp_path / "c", REAL, b"x" * 32)
    assert other["digest"] != record["digest"]
    assert other["counts"] == record["counts"]


def test_of_a_landing_only_the_instances_of_committed_batches_are_inputs(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"k" * 32)
    landing, receipt = tmp_path / "landing", tmp_path / "receipt.jsonl"
    deid = ["deid", landing, tmp_path / "w", "--project", "demo", "--key-file", tmp_path / "key", "--receipt", receipt]

    def inputs(*more: str) -> dict[str, str]:
        done = run(*deid, *more)
        assert done.returncode == 0, done.stderr
        return {line["input"]: line["outcome"] for line in map(json.loads, receipt.read_text().splitlines())}

    for name in ("CT_small.dcm", "MR2_J2KR.dcm", "MR_small.dcm"):
        (tmp_path / name).mkdir()
        shutil.copy(str(get_testdata_file(name, download=False)), tmp_path / name)
        assert run("ingest", tmp_path / name, "--centre", "ABC", "--landing", landing).returncode == 0
    whole, half, killed = (record.parent for record in sorted(landing.rglob("batch.json")))
    (half / "batch.json").unlink()
    killed.rename(landing / "ABC" / ".batch-left")
    found = inputs("--landing")
    assert found == {str(file.relative_to(landing)): "released" for file in whole.rglob("*.dcm")}
    assert len(found) == 1
    assert len(list((tmp_path / "w").rglob("*.dcm"))) == 1
    assert len(inputs()) == 3 + 2, "without the option every regular file is tried"


def test_a_folder_that_is_no_landing_empties_no_warehouse(tmp_path: Path) -> None:
    path_of(tmp_path / "a", REAL[:1], b"k" * 32)
    before = sorted((tmp_path / "a" / "w").rglob("*"))
    deid = [
        "deid",
        tmp_path / "a" / "in",
        tmp_path / "a" / "w",
        "--project",
        "demo",
        "--key-file",
        tmp_path / "a" / "key",
    ]
    done = run(*deid, "--landing")
    assert done.returncode == 1
    assert "no batch" in one_line(done)
    assert sorted((tmp_path / "a" / "w").rglob("*")) == before
