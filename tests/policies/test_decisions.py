"""Decision records: one number each, one form, and no reference to one that is not there."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORDS = sorted((ROOT / "policies" / "decisions").iterdir())
SECTIONS = ["Context", "Decision", "Refused", "Consequence"]
REFERENCE = re.compile(r"\bdecisions?[ /]((?:\d{4})(?:(?:, | and | to )\d{4})*)", re.IGNORECASE)


def test_a_number_is_given_once() -> None:
    assert RECORDS
    counted = Counter(record.name[:4] for record in RECORDS)
    assert [number for number, times in counted.items() if times > 1] == []


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_a_record_bears_its_number_and_says_context_decision_what_was_refused_and_consequence(record: Path) -> None:
    assert re.fullmatch(r"\d{4}(-[a-z0-9]+)+\.md", record.name)
    text = record.read_text(encoding="utf-8")
    assert re.match(rf"# {record.name[:4]} [^\n]{{10,}}\n\n", text)
    assert re.findall(r"^\*\*([^*]+)\.\*\*\s+\S", text, re.MULTILINE) == SECTIONS


def test_every_decision_that_is_named_somewhere_exists() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    known = {record.name[:4] for record in RECORDS}
    named = {}
    for name in filter(None, listed.split("\0")):
        file = ROOT / name
        if file.suffix in {".py", ".md", ".yaml", ".toml", ".hcl", ".conf"} and file.is_file():
            for found in REFERENCE.findall(file.read_text(encoding="utf-8")):
                named.update(dict.fromkeys(re.findall(r"\d{4}", found), name))
    assert named
    assert {number: name for number, name in named.items() if number not in known} == {}
