"""Every DICOM file of the packages pydicom and pydicom-data: one receipt line each, no crash, no leak, the same pixels."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from readingroom.adapters.dicom.dictionary import REGISTERED
from tests.cli.command import PROGRESS
from tests.unit.deid.engine import Result, run

STORE = importlib.util.find_spec("data_store")
ROOTS = [Path(pydicom.__file__).parent / "data", Path(next(iter((STORE and STORE.submodule_search_locations) or [])))]
FILES = [
    path for root in ROOTS for path in sorted(root.rglob("*")) if path.is_file() and path.suffix not in {".py", ".pyc"}
]
# What is released when each file comes alone. CT and MR, native and compressed, clean; the rest is held or rejected.
RELEASED = {
    "CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm", "MR_small_expb.dcm", "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "MR_small_padded.dcm", "MR-SIEMENS-DICOM-WithOverlays.dcm", "MR2_J2KI.dcm",
    "MR2_J2KR.dcm", "MR2_UNCI.dcm", "MR2_UNCR.dcm", "examples_overlay.dcm", "explicit_VR-UN.dcm",
}  # fmt: skip


HEADS = {
    "693_J2KI.dcm",
    "693_J2KR.dcm",
    "693_UNCI.dcm",
    "693_UNCR.dcm",
}  # a real head, which no word of its header says


def elements(dataset: Dataset) -> Iterator[pydicom.DataElement]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from dataset.iterall()


NUMBERS = {"PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "DeviceSerialNumber"}
PLACES = {"InstitutionName", "InstitutionAddress", "StationName"}
OURS = {"TOSHIBA", "00000"}  # the maker for an institution; no number


def identifiers(dataset: Dataset) -> set[bytes]:
    """Names, numbers, places, UIDs and dates, as pydicom reads them."""
    found: set[str] = set()
    for element in elements(dataset):
        values = element.value if isinstance(element.value, pydicom.multival.MultiValue) else [element.value]
        texts = [str(value) for value in values if value is not None]
        if element.VR == "PN":
            found.update(part for text in texts for part in text.replace("=", "^").split("^"))
        elif element.keyword in NUMBERS | PLACES:
            found.update(texts)
        elif element.VR == "UI":
            found.update(text for text in texts if text not in REGISTERED)
        elif element.VR in {"DA", "DT"}:
            found.update(text[:8] for text in texts)
    long = {text.strip() for text in found if len(text.strip()) >= 4} - OURS
    return {text.encode("latin-1", "ignore") for text in long}


def check(source: Path, result: Result) -> None:
    """A released file: read by pydicom, nothing of the input's identifiers, the same samples."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, after = pydicom.dcmread(source), result.dataset
        at = result.data.rindex(b"\xe0\x7f\x10\x00")
        for identifier in identifiers(before):
            assert identifier.lower() not in result.data[:at].lower()
            assert len(identifier) < 8 or identifier.lower() not in result.data[at:].lower()
        assert np.array_equal(before.pixel_array, after.pixel_array)
        for name in (
            "Rows",
            "Columns",
            "PixelSpacing",
            "ImagePositionPatient",
            "RescaleSlope",
            "KVP",
            "EchoTime",
            "Modality",
            "PatientSex",
        ):
            assert before.get(name) == after.get(name)


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_each_file_alone(path: Path) -> None:
    result = run(path.read_bytes())
    outcome = result.answer["outcome"]
    assert outcome in {"released", "held", "rejected"}
    of_media = path.parent.name in {"CT2N", "CT5N", "MR1", "MR2"} and bool(result.data)
    assert (outcome == "released") == (path.name in RELEASED or of_media)
    assert result.answer.get("reason") not in {"crash", "verifier"}
    assert path.name not in HEADS or result.outcome == "held faces-possible"
    if result.data:
        check(path, result)


def test_all_of_them_at_once_get_one_line_each(tmp_path: Path) -> None:
    for number, root in enumerate(ROOTS):
        shutil.copytree(
            root, tmp_path / "in" / str(number), ignore=shutil.ignore_patterns("*.py", "*.pyc", "__pycache__")
        )
    (tmp_path / "key").write_bytes(bytes(range(32)))
    done = subprocess.run(
        ["readingroom", "deid", tmp_path / "in", tmp_path / "out", "--project", "demo", "--key-file", tmp_path / "key",
         "--receipt", tmp_path / "receipt"],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert PROGRESS.sub("", done.stderr) == ""
    receipt = [json.loads(line) for line in (tmp_path / "receipt").read_text().splitlines()]
    expected = [path.relative_to(tmp_path / "in").as_posix() for path in (tmp_path / "in").rglob("*") if path.is_file()]
    assert [line["input"] for line in receipt] == sorted(expected, key=os.fsencode)
    assert {line["reason"] for line in receipt} & {"crash", "time-out", "verifier", "unreadable"} == set()
    assert sum(line["outcome"] == "released" for line in receipt) >= 10
    names = {path.name.encode() for path in FILES if len(path.name) > 6}
    written = {
        path.relative_to(tmp_path / "out").as_posix().encode() + path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert [name for name in names if any(name in data for data in written)] == []


MUTATED = {"CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm",
           "MR_small_implicit.dcm", "MR_small_bigendian.dcm"}  # fmt: skip
SMALL = [path for path in FILES if path.name in MUTATED]


@given(
    path=st.sampled_from(SMALL),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.one_of(st.none(), st.floats(0, 1)),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_mutant_ends_released_and_readable_or_held_or_rejected(
    path: Path, changes: list[tuple[float, int]], cut: float | None
) -> None:
    data = bytearray(path.read_bytes())
    for place, byte in changes:
        data[int(place * (len(data) - 1))] = byte
    result = run(bytes(data[: int(cut * len(data))] if cut is not None else data))
    assert result.answer.get("reason") not in {"crash", "verifier"}
    if result.data:
        found = result.dataset
        assert found.PatientIdentityRemoved == "YES"
        assert found.pixel_array.shape == (found.Rows, found.Columns)
