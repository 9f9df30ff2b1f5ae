"""The table in a cut: of the patients whose images are in it, and only if the decision says so."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from readingroom.adapters.cuts import CutFolder, WarehouseFolder
from readingroom.adapters.tables import TABLES
from readingroom.application.cut_cohort import cut_cohort
from readingroom.domain.access import from_document
from readingroom.domain.cut import CutRecord
from readingroom.domain.errors import Refused, WrongSetUp
from tests.unit.clinical.engine import deid, pseudonyms, record
from tests.unit.clinical.test_clinical_table import ct
from tests.unit.data.warehouses import NOW, decision_document, unpacked

IN_CUT = [pseudonyms().patient(f"local::Covid{number}") for number in (1, 2)]


def warehouse(folder: Path, **fields: Any) -> Path:
    """Two patients with images and records, and one whose record stands alone."""
    files = {f"{number}_data.json": record(f"Covid{number}", Age=number + 20, **fields) for number in (1, 2, 3)}
    for name, content in deid({**files, "i.dcm": ct("Covid1", 1), "j.dcm": ct("Covid2", 2)}).files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def cut(work: Path, **data: Any) -> tuple[CutRecord, dict[str, Any]]:
    decision = from_document(decision_document(data={"modalities": ["CT"], **data}))
    files = WarehouseFolder(work / "w")
    found, _ = cut_cohort(decision, "0" * 64, files, CutFolder(work / "out", files), NOW, lambda _: None)
    return found, unpacked(work / "out" / f"{found.digest.removeprefix('sha256:')}.tar")


def test_a_cut_holds_the_rows_of_its_own_patients_in_both_forms(tmp_path: Path) -> None:
    warehouse(tmp_path / "w")
    found, inside = cut(tmp_path, clinical=True)
    rows = list(csv.DictReader(inside["clinical.csv"].decode().splitlines()))
    table = parquet.read_table(io.BytesIO(inside["clinical.parquet"])).to_pylist()
    assert [row["patient"] for row in rows] == [row["patient"] for row in table] == sorted(IN_CUT)
    assert [int(row["age"]) for row in rows] == [row["age"] for row in table]
    assert inside["clinical-dictionary.csv"] == (tmp_path / "w" / "clinical-dictionary.csv").read_bytes()
    stranger = pseudonyms().patient("local::Covid3").encode()
    assert stranger in (tmp_path / "w" / "clinical.csv").read_bytes()
    assert not any(stranger in content for content in inside.values() if isinstance(content, bytes))
    manifest = json.loads(inside["MANIFEST.json"])
    tables = {file["path"]: file for file in manifest["files"] if file["modality"] == "clinical"}
    assert set(tables) == TABLES
    for path, file in tables.items():
        assert file["sha256"] == hashlib.sha256(inside[path]).hexdigest()
        assert (file["size"], file["sop_class_uid"]) == (len(inside[path]), None)
        assert inside[f"{path}:"].mode == 0o444
    assert manifest["counts"] == {"patients": 2, "studies": 2, "series": 2, "instances": 2}
    assert found.attrition[0].left.instances == 2


def test_without_a_word_of_the_decision_there_is_no_table(tmp_path: Path) -> None:
    warehouse(tmp_path / "w")
    _, inside = cut(tmp_path)
    assert not any(name.startswith("clinical") for name in inside)
    with pytest.raises(WrongSetUp, match="clinical"):
        cut(tmp_path, clinical=False)


def test_a_table_alone_is_no_cut(tmp_path: Path) -> None:
    warehouse(tmp_path / "w")
    decision = from_document(decision_document(data={"modalities": ["MR"], "clinical": True}))
    files = WarehouseFolder(tmp_path / "w")
    with pytest.raises(Refused, match="no file of the warehouse"):
        cut_cohort(decision, "0" * 64, files, CutFolder(tmp_path / "out", files), NOW, lambda _: None)


def test_the_same_warehouse_gives_the_same_digest_and_another_table_another(tmp_path: Path) -> None:
    digests = []
    for name, fields in (("a", {}), ("b", {}), ("c", {"Ferritin": 7})):
        warehouse(tmp_path / name / "w", **fields)
        digests.append(cut(tmp_path / name, clinical=True)[0].digest)
    assert digests[0] == digests[1] != digests[2]


def altered(work: Path) -> None:
    (work / "clinical.csv").write_bytes(b"patient\n")


def gone(work: Path) -> None:
    (work / "clinical.parquet").unlink()


def linked(work: Path) -> None:
    (work / "clinical.csv").rename(work / "elsewhere")
    (work / "clinical.csv").symlink_to(work / "elsewhere")


def no_table(work: Path) -> None:
    _named(work, "clinical.parquet", b"PAR1 no table")


def no_patients(work: Path) -> None:
    _named(work, "clinical.csv", b"name,age\nFeatherstone,7\n")


def a_line_of_another_place(work: Path) -> None:
    lines = (work / "manifest.jsonl").read_text()
    (work / "manifest.jsonl").write_text(lines.replace('"clinical.csv"', '"../clinical.csv"'))


def a_class_of_its_own(work: Path) -> None:
    lines = (work / "manifest.jsonl").read_text()
    (work / "manifest.jsonl").write_text(lines.replace('"sop_class_uid":null', '"sop_class_uid":"1.2"', 1))


def _named(work: Path, name: str, content: bytes) -> None:
    """That content under that name, and the manifest agrees."""
    old = hashlib.sha256((work / name).read_bytes()).hexdigest()
    (work / name).write_bytes(content)
    lines = (work / "manifest.jsonl").read_text()
    (work / "manifest.jsonl").write_text(lines.replace(old, hashlib.sha256(content).hexdigest()))


@pytest.mark.parametrize(
    "harm", [altered, gone, linked, no_table, no_patients, a_line_of_another_place, a_class_of_its_own]
)
def test_a_table_that_is_not_as_its_manifest_says_stops_the_cut(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    warehouse(tmp_path / "w")
    harm(tmp_path / "w")
    with pytest.raises(Refused) as raised:
        cut(tmp_path, clinical=True)
    assert "Featherstone" not in str(raised.value)
    assert not list((tmp_path / "out").glob("*.tar"))
