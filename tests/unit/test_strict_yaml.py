"""Strict YAML: what two parsers could read differently is read by none."""

from __future__ import annotations

from pathlib import Path

import pytest

from readingroom.adapters.access_terms import terms_from
from readingroom.adapters.strict_yaml import from_yaml
from readingroom.domain.errors import WrongSetUp

POLICIES = Path(__file__).resolve().parents[2] / "policies"


def test_every_key_is_a_text() -> None:
    assert from_yaml("{1: a, no: b, x: {2020-01-01: [1, yes]}}") == {
        "1": "a",
        "no": "b",
        "x": {"2020-01-01": [1, True]},
    }


@pytest.mark.parametrize(
    "text",
    ["a: 1\na: 2", "x: [{a: 1, 'a': 2}]", "a: [", "a: !!python/object:object {}", "{" * 3000],
    ids=["twice", "twice below", "unfinished", "an object", "deep"],
)
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="it is no YAML, or a key stands twice"):
        from_yaml(text)


@pytest.mark.parametrize(
    "file", sorted(POLICIES.rglob("*.yaml")), ids=lambda file: file.relative_to(POLICIES).as_posix()
)
def test_every_policy_file_is_strict_whoever_reads_it(file: Path) -> None:
    assert isinstance(from_yaml(file.read_text(encoding="utf-8")), dict)


def test_access_terms_say_each_thing_once(tmp_path: Path) -> None:
    text, schema = (POLICIES / "access" / "terms.yaml").read_text(), POLICIES / "schema" / "access-terms.schema.json"
    terms = tmp_path / "terms.yaml"
    terms.write_text(text)
    known = terms_from(terms, schema)
    terms.write_text(f"{text}\n{min(known)}: again\n")
    with pytest.raises(WrongSetUp, match="stands twice"):
        terms_from(terms, schema)
