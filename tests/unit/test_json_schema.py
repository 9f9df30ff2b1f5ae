"""The checker of schemas: the same fault each time, and no second and a half for a format that nobody names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from readingroom.adapters.json_schema import fault_in

SCHEMAS = sorted((Path(__file__).resolve().parents[2] / "policies" / "schema").glob("*.json"))
TWO_WORDS = {"required": ["a", "b"], "properties": {"a": {"type": "string"}}, "additionalProperties": False}


def test_a_document_that_follows_has_no_fault() -> None:
    assert fault_in({"a": "x", "b": 1}, {**TWO_WORDS, "additionalProperties": True}) is None


def test_the_fault_of_a_document_is_the_same_each_time() -> None:
    faults = [fault_in({"a": 1, "c": 2}, TWO_WORDS) for _ in range(3)]
    assert [fault.message for fault in faults if fault] == ["'b' is a required property"] * 3


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda path: path.name)
def test_no_schema_names_the_format_whose_grammar_is_left_out(schema: Path) -> None:
    assert '"iri' not in schema.read_text(encoding="utf-8")


def test_the_grammar_is_not_compiled() -> None:
    code = "import sys; from readingroom.adapters.json_schema import fault_in; fault_in({}, {}); print('lark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
