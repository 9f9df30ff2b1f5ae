"""`series.parquet` of a cut: one row a series, out of the headers of the files that the archive holds."""

from __future__ import annotations

import csv
import hashlib
import io
import struct
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from readingroom.adapters.cuts import CutFolder, WarehouseFolder
from readingroom.adapters.dicom.headers import header_of
from readingroom.adapters.dicom.source import Source
from readingroom.adapters.tables import series_files
from readingroom.application.cut_cohort import cut_cohort
from readingroom.contract import cut_file
from readingroom.domain.access import Released
from readingroom.domain.catalogue import COLUMNS, READ, Catalogue
from readingroom.domain.errors import Refused
from tests.unit.data.instances import element, part10, us
from tests.unit.data.warehouses import CT, NOW, File, build, decision, unpacked, write_lines

DATE, THICKNESS, MODEL = 0x00080020, 0x00180050, 0x00081090


def header(thickness: str = "1.50", day: str = "20190412", model: str = "SOMATOM Force") -> dict[int, bytes]:
    return {
        0x00080008: element(0x00080008, "CS", b"ORIGINAL\\PRIMARY\\AXIAL"),
        DATE: element(DATE, "DA", day.encode()),
        MODEL: element(MODEL, "LO", model.encode()),
        0x00101010: element(0x00101010, "AS", b"065Y"),
        THICKNESS: element(THICKNESS, "DS", thickness.encode()),
        0x00280008: element(0x00280008, "IS", b"3"),
        0x00280010: us(0x00280010, 512),
        0x00280030: element(0x00280030, "DS", b"0.7\\0.8"),
        0x00282110: element(0x00282110, "CS", b"01"),
    }


FILES = (
    File("PB", "2", "2.1", "2.1.1", "DX", b"film"),
    File("PA", "1", "1.2", "1.2.1", content=b"c", header=header()),
    File("PA", "1", "1.1", "1.1.2", content=b"b", header=header("1.5")),
    File("PA", "1", "1.1", "1.1.1", content=b"a", header=header("3", model="")),
)


def made(folder: Path, *modalities: str) -> dict[str, Any]:
    files = WarehouseFolder(folder / "w")
    record, _ = cut_cohort(
        decision(*modalities), "7" * 64, files, CutFolder(folder / "out", files), NOW, lambda _: None
    )
    return dict(unpacked(folder / "out" / cut_file(record.digest)))


def rows(inside: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(io.BytesIO(inside["series.parquet"])).to_pylist()
    return found


def test_a_series_is_one_row_of_what_its_files_say(tmp_path: Path) -> None:
    build(tmp_path / "w", FILES)
    first, second, film = rows(made(tmp_path, "CT", "DX"))
    assert [(row["patient"], row["study"], row["series"]) for row in (first, second, film)] == [
        ("PA", "1", "1.1"),
        ("PA", "1", "1.2"),
        ("PB", "2", "2.1"),
    ]
    assert (first["instances"], first["frames"]) == (2, 6)
    assert first["study_date"] == date(2019, 4, 12)
    assert (first["age"], first["rows"], first["lossy"]) == (65, 512, True)
    assert (first["pixel_spacing_row"], first["pixel_spacing_column"]) == (0.7, 0.8)
    assert first["image_type"] == "ORIGINAL\\PRIMARY\\AXIAL"
    assert (first["modality"], first["sop_class_uid"]) == ("CT", CT)
    assert first["megabytes"] == sum(len(file.content) for file in FILES[2:]) / 1e6
    assert (first["slice_thickness"], first["varies"]) == (None, "slice_thickness"), "instances differ: no guess"
    assert first["model"] == "SOMATOM Force", "an instance that says nothing does not contradict"
    assert (second["slice_thickness"], second["varies"]) == (1.5, None)
    assert (film["instances"], film["frames"], film["rows"], film["varies"]) == (1, 1, None, None)


def test_the_index_knows_nothing_that_the_cut_does_not_hold(tmp_path: Path) -> None:
    build(tmp_path / "w", FILES)
    inside = made(tmp_path, "DX")
    assert [row["patient"] for row in rows(inside)] == ["PB"]
    assert b"SOMATOM" not in inside["series.parquet"]


def test_every_column_is_explained(tmp_path: Path) -> None:
    build(tmp_path / "w", FILES)
    inside = made(tmp_path, "CT")
    explained = list(csv.DictReader(io.StringIO(inside["series-dictionary.csv"].decode())))
    assert [line["column"] for line in explained] == list(rows(inside)[0])
    assert all(line["meaning"] for line in explained)


def test_a_file_that_is_no_dicom_file_makes_no_cut(tmp_path: Path) -> None:
    build(tmp_path / "w", FILES)
    path, content = tmp_path / "w" / FILES[1].path, b"no header at all"
    path.write_bytes(content)
    lines = [file.line() for file in FILES]
    lines[1]["sha256"] = hashlib.sha256(content).hexdigest()
    write_lines(tmp_path / "w", lines)
    with pytest.raises(Refused, match="no DICOM file"):
        made(tmp_path, "CT")
    assert not (tmp_path / "out" / "cut.json").exists()


VALUES = st.sampled_from([None, 1, 2])
ENTRIES = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), VALUES), min_size=1, max_size=12)


@given(entries=ENTRIES, chance=st.randoms(use_true_random=False))
def test_order_changes_no_byte(entries: list[tuple[str, str, int | None]], chance: Any) -> None:
    def index(given: list[tuple[str, str, int | None]]) -> bytes:
        catalogue = Catalogue()
        for patient, series, value in given:
            path = f"images/{patient}/1/{series}/1.dcm"
            line = Released(path=path, sha256="", sop_class_uid=CT, modality="CT", profile_sha256="", project="demo")
            catalogue.add(line, 10, {"rows": value})
        return series_files(catalogue.rows())["series.parquet"]

    assert index(entries) == index(chance.sample(entries, len(entries)))


def read(folder: Path, elements: dict[int, bytes]) -> dict[str, Any]:
    (folder / "one").write_bytes(part10(elements))
    with (folder / "one").open("rb") as file:
        return dict(header_of(Source(file.fileno())))


def test_what_reads_as_no_value_of_its_column_is_null(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {
            DATE: element(DATE, "DA", b"20190231"),
            0x00101010: element(0x00101010, "AS", b"007M"),
            THICKNESS: element(THICKNESS, "DS", b"nan"),
            0x00280030: element(0x00280030, "DS", b"0.7"),
            0x00200011: element(0x00200011, "IS", b"-1"),
            0x00280010: element(0x00280010, "US", b""),
            MODEL: element(MODEL, "LO", b"m" * 2000),
        },
    )
    assert {name for name, value in found.items() if value is not None} == {"pixel_spacing_row"}
    assert set(found) == {"frames", *(column.name for column in READ)}
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)


def test_an_enhanced_object_says_its_spacing_for_all_its_frames(tmp_path: Path) -> None:
    spacing = element(0x00280030, "DS", b"0.5\\0.6")
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(spacing)) + spacing
    measures = element(0x00289110, "SQ", item)
    shared = struct.pack("<HHI", 0xFFFE, 0xE000, len(measures)) + measures
    found = read(tmp_path, {0x52009229: element(0x52009229, "SQ", shared)})
    assert (found["pixel_spacing_row"], found["pixel_spacing_column"]) == (0.5, 0.6)
