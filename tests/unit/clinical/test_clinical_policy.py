"""The rules of the table as data: what is written wrongly stops the run, and every column says what it means."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from readingroom.adapters.clinical_policy import clinical_policy
from readingroom.adapters.tables import dictionary
from readingroom.domain.errors import WrongSetUp
from tests.unit.clinical.engine import RULES, policy
from tests.unit.deid.engine import POLICIES

COLUMNS, SPELLINGS, UNITS = "columns.yaml", "spellings.yaml", "units.yaml"


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    shutil.copytree(POLICIES / "deid", tmp_path / "deid")
    shutil.copytree(POLICIES / "schema", tmp_path / "schema")
    return tmp_path


def edit(policies: Path, file: str, old: str, new: str) -> None:
    path = policies / "deid" / "clinical" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


WRONG = [
    (COLUMNS, "version: 1", "version: 1\nkeep_text: true", "keep_text"),
    (COLUMNS, "version: 1", "version: 1\nversion: 2", "stands twice"),
    (COLUMNS, 'earliest: "2019-06-01"', 'earliest: "2019-06-31"', "a day that is none"),
    (COLUMNS, 'latest: "2030-12-31"', 'latest: "2018-12-31"', "ends before it begins"),
    (COLUMNS, "  death: {type: truth,", "  death: {type: text,", "'text'"),
    (COLUMNS, "  death: {type: truth,", "  death: {type: truth, default: false,", "death"),
    (
        COLUMNS,
        '  death: {type: truth, field: Death, meaning: "Died."}',
        "  death: {type: truth, field: Death}",
        "meaning",
    ),
    (COLUMNS, "  positive: {type: flag", "  negative: {type: flag", "positive is missing"),
    (COLUMNS, "  positive: {type: flag", "  negative: {type: flag, meaning: abc}\n  positive: {type: flag", "negative"),
    (COLUMNS, "  age: {type: age", "  years: {type: age", "age is missing"),
    (COLUMNS, "  centre: {type: centre", "  centre: {type: patient", "one column of type patient"),
    (COLUMNS, "      F: {meaning: Female", "      X: {meaning: Female", "F, M"),
    (COLUMNS, "range: [25, 45]", "range: [45, 25]", "temperature_on_admission"),
    (COLUMNS, "fraction: {factor: 100, range: [0.21, 1]}", "fraction: {factor: 100}", "fio2"),
    (COLUMNS, '"%": {factor: 1, range: [21, 100]', "pct: {factor: 1, range: [21, 100]", "its own unit"),
    (
        COLUMNS,
        'mm[Hg]": {factor: 0.133322, range: [25, 600]',
        'mm[Hg]": {factor: 0.133322, range: [25, 700]',
        "pao2: a unit",
    ),
    (COLUMNS, '"green valve": 60}', '"green valve": 600}', "fio2: a unit or a word"),
    (COLUMNS, '"15": 100}', '"15": 101}', "fio2: a unit"),
    (COLUMNS, 'words: ["0", "female"', 'words: ["0", "male"', "'male' means two things"),
    (COLUMNS, '"1es"]', '"1es", "NO"]', "'no' means two things"),
    (COLUMNS, "words: [mmhg", "words: [kpa, mmhg", "'kpa' means two things"),
    (COLUMNS, "cap: 90", "cap: 120", "cap"),
    (COLUMNS, "  - order: [date_of_admission,", "  - order: [death,", "death is no date"),
    (COLUMNS, "death: false, date_of_death", 'death: "0", date_of_death', "death cannot be 0"),
    (COLUMNS, "death: false, date_of_death", "dead: false, date_of_death", "dead cannot be"),
    (SPELLINGS, "sex: [Gender]", "gender: [Gender]", "gender is no column"),
    (SPELLINGS, "sex: [Gender]", "conflict: [Gender]", "conflict is no column"),
    (SPELLINGS, "sex: [Gender]", "sex: [Gender, death]", "'DEATH' stands for two columns"),
    (SPELLINGS, "sex: [Gender]", 'sex: ["Gender "]', "spellings.yaml"),
    (UNITS, "centres: {}", "centres: {A Hospital: {pao2: mg/L}}", "pao2 may not come in mg/L"),
    (UNITS, "centres: {}", "centres: {A Hospital: {ferritin: ug/L}}", "ferritin may not come"),
    (UNITS, "centres: {}", "centres: {A B: {pao2: kPa}, a-b: {pao2: kPa}}", "'A B' stands twice"),
    (UNITS, "centres: {}", "centres: {}\ndefault: {pao2: kPa}", "default"),
]


@pytest.mark.parametrize(("file", "old", "new", "word"), WRONG)
def test_a_file_that_cannot_be_obeyed_is_refused_by_name(
    policies: Path, file: str, old: str, new: str, word: str
) -> None:
    edit(policies, file, old, new)
    with pytest.raises(WrongSetUp) as raised:
        clinical_policy(policies)
    assert file in str(raised.value)
    assert word in str(raised.value)


def test_a_file_that_is_not_there_is_refused_by_name(policies: Path) -> None:
    (policies / "deid" / "clinical" / UNITS).unlink()
    with pytest.raises(WrongSetUp, match=UNITS):
        clinical_policy(policies)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (COLUMNS, "range: [25, 45]", "range: [25, 44]"),
        (COLUMNS, "  death: {type: truth", "  death2: {type: truth"),
        (SPELLINGS, "sex: [Gender]", "sex: [Gender, Sexe]"),
        (UNITS, "centres: {}", "centres: {A Hospital: {pao2: kPa}}"),
    ],
)
def test_what_can_change_a_table_changes_the_hash_of_its_rules(policies: Path, file: str, old: str, new: str) -> None:
    assert clinical_policy(policies).sha256 == RULES.sha256
    edit(policies, COLUMNS, "  - together: {death: false, date_of_death: present}\n", "")
    before = clinical_policy(policies).sha256
    edit(policies, file, old, new)
    assert clinical_policy(policies).sha256 != before


def test_the_order_of_columns_is_part_of_the_rules(policies: Path) -> None:
    lines = (policies / "deid" / "clinical" / COLUMNS).read_text().splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("  pmh_ckd:"))
    lines[place], lines[place - 1] = lines[place - 1], lines[place]
    moved = "\n".join(line for line in lines if not line.startswith("  pmh_ckd:"))
    ckd = next(line for line in lines if line.startswith("  pmh_ckd:"))
    moved = moved.replace("  itu_admission: {", f"{ckd}\n  itu_admission: {{", 1)
    (policies / "deid" / "clinical" / COLUMNS).write_text(moved)
    assert clinical_policy(policies).sha256 != RULES.sha256


def test_every_column_of_the_table_is_in_the_dictionary_with_what_it_means() -> None:
    lines = {line["column"]: line for line in csv.DictReader(dictionary(tuple(policy().table())).decode().splitlines())}
    assert list(lines) == [column.name for column in policy().table()]
    assert all(line["meaning"].endswith(".") and len(line["meaning"]) > 4 for line in lines.values())
    assert all(line["codes"] for line in lines.values() if line["column"] in {"sex", "ethnicity", "covid_code"})
    assert all(line["unit"] and line["lowest"] for line in lines.values() if line["type"] in {"number", "whole"})
    assert {name for name, _ in RULES.document["columns"]} <= set(lines)
