"""Each control of `policies/README.md` names a file and a test that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|\n ").split("|")]
    for line in (ROOT / "policies" / "README.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| control ")
]


def test_controls_have_names_of_their_own() -> None:
    names = [row[0] for row in ROWS]
    assert len(names) == len(set(names)) >= 10


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_control_is_held_by_a_file_and_proved_by_a_test(row: list[str]) -> None:
    _, sentence, held, proof = row
    assert sentence.endswith(".")
    assert (ROOT / held).is_file(), held
    file, _, name = proof.partition("::")
    text = (ROOT / file).read_text()
    wanted = rf"def {name}\(" if name else r"def test_"
    assert re.search(wanted, text), proof
