"""The quality report's counts: what is suppressed, and that memory grows by studies and not by files."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.adapters.clinical_policy import clinical_policy
from readingroom.adapters.quality_landing import ReceiptFiles
from readingroom.adapters.quality_worker import factory
from readingroom.domain.clinical.cells import How
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.quality import (
    FIELDS,
    HIDDEN,
    SMALL,
    BatchLook,
    ImageLook,
    RecordLook,
    Tally,
    partition,
    shown,
)
from readingroom.entrypoints import settings
from tests.unit.data import instances
from tests.unit.data.instances import element, part10

IMAGE = ImageLook(study="s1", patient="p1", modality="CT", maker="GE", month="2020-04", filled=1)
RECORD = RecordLook(
    patient="p1", how={"age": How.OK, "fio2": How.UNMAPPED}, unclear=("fio2",), assumed=(), conflict=True, unknown=2
)


def test_counts_of_one_to_nine_are_not_shown() -> None:
    assert [shown(count) for count in (0, 1, 9, 10)] == [0, SMALL, SMALL, 10]


def test_no_small_count_can_be_had_by_subtraction() -> None:
    assert partition({"a": 100, "b": 3, "c": 40}) == {"a": 100, "b": SMALL, "c": HIDDEN}
    assert partition({"a": 100, "b": 3, "c": 4}) == {"a": 100, "b": SMALL, "c": SMALL}
    assert partition({"a": 100, "b": 1, "c": 1}) == {"a": HIDDEN, "b": SMALL, "c": SMALL}, "both would be known"
    assert partition({"a": 100, "b": 0}) == {"a": 100, "b": 0}
    assert partition({}) == {}


@given(counts=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 60), min_size=2))
def test_every_small_count_could_be_another(counts: dict[str, int]) -> None:
    """Whoever knows the sum cannot tell what a small one is, unless nothing else could hide it."""
    cells = partition(counts)
    small = [name for name, cell in cells.items() if cell == SMALL]
    left = sum(counts.values()) - sum(cell for cell in cells.values() if isinstance(cell, int))
    if HIDDEN not in cells.values() and small and any(isinstance(cell, int) and cell for cell in cells.values()):
        assert len(small) < left < 9 * len(small)
    assert all(cell == counts[name] for name, cell in cells.items() if isinstance(cell, int))
    assert all(not 0 < cell < 10 for cell in cells.values() if isinstance(cell, int))


def document(tally: Tally) -> dict[str, Any]:
    return tally.document("SYN01", "f" * 64)


def test_studies_are_counted_once_however_many_images_they_have() -> None:
    tally = Tally()
    for number in range(40):
        for _ in range(3):
            tally.image(replace(IMAGE, study=f"s{number}", patient=f"p{number % 20}"))
    tally.image(replace(IMAGE, study="s1", modality="SR"))
    found = document(tally)
    assert found["landing"] == {"instances": 121, "records": 0, "studies": 40, "unreadable": 0}
    assert found["patients"] == {"all": 20, "images_and_record": 0, "images_alone": 20, "record_alone": 0}
    assert found["modalities"] == [{"modality": "CT", "studies": HIDDEN}, {"modality": "SR", "studies": SMALL}]
    assert found["months"] == [{"month": "2020-04", "studies": 40}]
    [images, reports] = found["fields"]
    assert images["fields"][0] == {"field": FIELDS[0].keyword, "tag": "00080020", "filled": 120, "empty": 0}
    assert reports == {"modality": "SR", "instances": 1, "fields": []}


def test_a_field_is_asked_of_the_modalities_that_have_it() -> None:
    tally = Tally()
    for _ in range(10):
        tally.image(replace(IMAGE, modality="DX"))
        tally.image(IMAGE)
    asked = {each["modality"]: {row["field"] for row in each["fields"]} for each in document(tally)["fields"]}
    assert "SliceThickness" in asked["CT"] - asked["DX"]
    assert "ViewPosition" in asked["DX"] - asked["CT"]


def test_records_are_counted_by_column_and_few_of_them_not_at_all() -> None:
    tally = Tally()
    for number in range(9):
        tally.record(replace(RECORD, patient=f"p{number}"))
    assert document(tally)["columns"] == []
    for number in range(20):
        tally.record(replace(RECORD, patient=f"q{number}", how={"age": How.NULL, "fio2": How.REPAIRED}, unclear=()))
    age, fio2 = document(tally)["columns"]
    assert age == {"column": "age", "ok": SMALL, "repaired": 0, "null": HIDDEN, "unmapped": 0, "unit_unclear": 0,
                   "date_assumed": 0}  # fmt: skip
    assert fio2["unit_unclear"] == SMALL
    assert document(tally)["records"] == {"conflict": 29, "unknown_fields": 58}


LOOKS = st.builds(
    ImageLook,
    study=st.sampled_from(["s1", "s2", "s3"]),
    patient=st.sampled_from(["p1", "p2"]),
    modality=st.sampled_from(["CT", "DX"]),
    maker=st.sampled_from(["GE", "other"]),
    month=st.sampled_from(["2020-04", "absent"]),
    filled=st.integers(0, 2 ** len(FIELDS) - 1),
)


@given(looks=st.lists(LOOKS, max_size=30), chance=st.randoms(use_true_random=False))
def test_order_changes_nothing(looks: list[ImageLook], chance: Any) -> None:
    first, second = Tally(), Tally()
    for look in looks:
        first.image(look)
    for look in chance.sample(looks, len(looks)):
        second.image(look)
    assert document(first) == document(second)


def test_memory_does_not_grow_by_files(tmp_path: Path) -> None:
    receipt = tmp_path / "receipt"
    line = json.dumps({"input": "x" * 200, "outcome": "received", "reason": None, "output": "SYN01/a"})
    receipt.write_text(f"{line}\n" * 20_000)
    tally = Tally()
    tally.image(IMAGE)
    tally.batch(BatchLook(day="2026-11-26", instances=1, records=0, counts={"received": 1}))
    tracemalloc.start()
    try:
        for lines in ReceiptFiles([("SYN01", receipt)]).of("SYN01"):
            tally.receipt(lines)
        for _ in range(5_000):
            tally.image(replace(IMAGE, study="s1"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tally.door == Counter({("received", "new"): 20_000})
    assert peak < 600_000, f"a receipt of {receipt.stat().st_size} bytes took {peak}"


ODD: Mapping[str, bytes] = {
    "no JSON": b"{",
    "no receipt": b"{}\n",
    "an unknown answer": b'{"input": "a", "outcome": "released", "reason": null, "output": null}\n',
    "an unknown reason": b'{"input": "a", "outcome": "held", "reason": "<b>", "output": null}\n',
    "another centre": b'{"input": "a", "outcome": "received", "reason": null, "output": "SYN011/x"}\n',
    "a longer line than any": b"[" * (2 << 20),
}


@pytest.mark.parametrize("case", ODD)
def test_what_is_no_receipt_of_the_centre_is_an_error_that_shows_nothing_of_it(case: str, tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(
        b'{"input": "Quux", "outcome": "held", "reason": "uid-conflict", "output": null}\n' + ODD[case]
    )
    with pytest.raises(WrongSetUp, match="line 2") as caught:
        _all(ReceiptFiles([("SYN01", tmp_path / "r")]).of("SYN01"))
    assert "<b>" not in str(caught.value)
    with pytest.raises(WrongSetUp, match="cannot be read"):
        _all(ReceiptFiles([("SYN01", tmp_path / "gone")]).of("SYN01"))


def _all(receipts: Iterator[Iterator[tuple[str, str]]]) -> list[list[tuple[str, str]]]:
    return [list(lines) for lines in receipts]


def looked_at(folder: Path, elements: Mapping[int, bytes]) -> dict[str, Any]:
    policies = settings.policies_folder()
    setup = {"key": "00" * 32, "clinical": clinical_policy(policies).document, "makers": ["SIEMENS"]}
    (folder / "one").write_bytes(part10(dict(elements)))
    with (folder / "one").open("rb") as file:
        return dict(factory(setup)({"sort": None}, [file.fileno()]))


def said(day: str = "20200412", modality: str = "CT", maker: str = "siemens") -> dict[int, bytes]:
    return {
        **instances.elements(),
        0x00080020: element(0x00080020, "DA", day.encode()),
        0x00080060: element(0x00080060, "CS", modality.encode()),
        0x00080070: element(0x00080070, "LO", maker.encode()),
        0x00180050: element(0x00180050, "DS", b"  "),
    }


def test_no_word_of_a_file_leaves_the_child(tmp_path: Path) -> None:
    plain, odd = looked_at(tmp_path, said()), looked_at(tmp_path, said("Quux", "QUUX", "Quux Zebediah <b>"))
    assert [plain[name] for name in ("modality", "maker", "month")] == ["CT", "SIEMENS", "2020-04"]
    assert [odd[name] for name in ("modality", "maker", "month")] == ["other", "other", "no date"]
    assert looked_at(tmp_path, said("19500102"))["month"] == "outside"
    absent = looked_at(tmp_path, said("", "", ""))
    assert [absent[name] for name in ("modality", "maker", "month")] == ["absent"] * 3
    filled = {each.keyword for place, each in enumerate(FIELDS) if plain["filled"] >> place & 1}
    assert {"StudyDate", "PatientBirthDate", "Manufacturer"} <= filled
    assert "SliceThickness" not in filled, "spaces are no value"
    assert plain["patient"] == odd["patient"] != "P-1", "a token of the run"
