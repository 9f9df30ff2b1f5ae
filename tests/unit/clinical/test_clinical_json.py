"""Strict JSON at both doors: what two readers could read differently is no record, and costs little."""

from __future__ import annotations

import json
import os
import tempfile
import time
import tracemalloc

import pytest

from readingroom.adapters.clinical_json import LARGEST
from readingroom.adapters.clinical_worker import ClinicalWorker
from readingroom.adapters.door_worker import factory
from readingroom.domain.deid.keys import PurposeKeys
from readingroom.entrypoints.deid_wiring import Rules, setup_document
from tests import dicom_factory as make
from tests.unit.clinical.engine import RULES, deid, record
from tests.unit.deid.engine import KEY, resolved

GOOD = record(Age=7)
HOSTILE = {
    "empty": b"",
    "no JSON": b"{Pseudonym: 1}",
    "cut short": GOOD[:-1],
    "something behind it": GOOD + b"{}",
    "a list": b'[{"Pseudonym": "Covid1"}]',
    "a text": b'"Covid1"',
    "a key twice": b'{"Pseudonym": "Covid1", "Age": 7, "Age": 8}',
    "a key twice, nested": b'{"Pseudonym": "Covid1", "x": {"a": 1, "a": 1}}',
    "NaN": b'{"Pseudonym": "Covid1", "Age": NaN}',
    "Infinity": b'{"Pseudonym": "Covid1", "Age": -Infinity}',
    "a number beyond numbers": b'{"Pseudonym": "Covid1", "Age": 1e999}',
    "a number without end": b'{"Pseudonym": "Covid1", "Age": ' + b"9" * 5000 + b"}",
    "broken UTF-8": b'{"Pseudonym": "Covid\xff1"}',
    "UTF-16": GOOD.decode().encode("utf-16"),
    "half a character": b'{"Pseudonym": "Covid\\ud8001"}',
    "nine levels": b'{"Pseudonym": "Covid1", "x": ' + b"[" * 8 + b"]" * 8 + b"}",
    "a hundred thousand levels": b'{"Pseudonym": "Covid1", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "levels that never end": b'{"a":' * 150_000,
    "a quotation that never ends": b'{"Pseudonym": "' + b'\\"' * 500_000,
    "over a mebibyte": b'{"Pseudonym": "Covid1"' + b" " * LARGEST + b"}",
    "good, and a mebibyte of nothing": GOOD + b" " * LARGEST,
    "raw control characters": b'{"Pseudonym": "Covid1\n"}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_strict_json_is_rejected_by_both_doors_quickly_and_in_little_memory(name: str) -> None:
    door = factory({"key": "00" * 32, "clinical": RULES.document})
    with tempfile.TemporaryFile() as file:
        file.write(HOSTILE[name])
        file.flush()
        tracemalloc.start()
        began = time.process_time()
        assert door({"sort": "data"}, [file.fileno()]) == {"reason": "clinical-malformed"}
        assert time.process_time() - began < 5
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
        tracemalloc.stop()
    found = deid({"a_data.json": HOSTILE[name], "b_data.json": GOOD})
    assert found.receipt == {"a_data.json": "rejected clinical-malformed", "b_data.json": "released"}
    assert len(found.rows) == 1


def test_eight_levels_a_mebibyte_and_brackets_in_texts_are_within_the_limits() -> None:
    head = b'{"Pseudonym": "Covid1", "x": ' + b"[" * 7 + b"]" * 7 + b', "y": "' + b'[{\\"[' * 50 + b'", "z": "'
    file = head + b"-" * (LARGEST - len(head) - 2) + b'"}'
    assert len(file) == LARGEST
    assert deid({"a_data.json": file}).receipt == {"a_data.json": "released"}


def test_a_mark_that_says_utf_8_is_no_fault() -> None:
    assert deid({"a_data.json": b"\xef\xbb\xbf" + GOOD}).receipt == {"a_data.json": "released"}


def test_a_record_is_known_by_its_content_and_json_of_no_patient_is_none() -> None:
    found = deid({"x": GOOD, "package.json": b'{"name": "x"}', "y": b'{"Pseudonym": 1', "z": b'{"Pseudonym": "."}'})
    assert found.receipt == {
        "x": "released",
        "package.json": "rejected not-dicom",
        "y": "rejected not-dicom",
        "z": "rejected identity-missing",
    }


def test_dicom_is_an_image_whatever_its_name_or_preamble() -> None:
    preamble = GOOD.ljust(128)
    assert len(preamble) == 128
    files = {
        "a_data.json": make.part10(make.ct()),
        "b": make.part10(make.ct(x00080018=("UI", "1.2.9")), preamble=preamble),
    }
    found = deid(files)
    assert set(found.receipt.values()) == {"released"}
    assert not found.rows
    door = factory({"key": "00" * 32, "clinical": RULES.document})
    with tempfile.TemporaryFile() as file:
        file.write(files["a_data.json"])
        file.flush()
        assert "identity" in door({"sort": "data"}, [file.fileno()])


def test_a_record_whose_bytes_are_others_by_now_is_rejected() -> None:
    rules = Rules(profile=resolved(), clinical=RULES)
    worker = ClinicalWorker(setup_document(rules, "demo", PurposeKeys.from_secret(KEY), explain=False))
    with tempfile.TemporaryFile() as file:
        file.write(GOOD)
        file.flush()
        look = worker.look(file.fileno(), "data")
        assert look is not None
        assert worker.clean(file.fileno(), look)["outcome"] == "released"
        for other in (record("Covid2", Age=7), GOOD[:5], make.part10(make.ct())):
            os.ftruncate(file.fileno(), 0)
            os.pwrite(file.fileno(), other, 0)
            assert worker.clean(file.fileno(), look)["outcome"] == "rejected"


def test_a_whole_number_is_a_pseudonym() -> None:
    found = deid({"a_data.json": record(12345678), "b_data.json": record("12345678", Age=1)})
    assert len(found.rows) == 1
    assert json.dumps(found.rows).count("12345678") == 0
