"""The partner's cells: cleaned by the policy on one side, checked by it on the other. No text survives either."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from readingroom.adapters.linked_policy import linked_policy
from readingroom.adapters.sealed_rows import SealedRows
from readingroom.domain.clinical.policy import Kind
from readingroom.domain.errors import Refused, WrongSetUp
from readingroom.domain.linkage.table import LINKED_BY, PATIENT, check_fields, linked_row, offered
from tests.unit.deid.engine import POLICIES
from tests.unit.optout.people import ONE, spaced

POLICY = linked_policy(POLICIES, "follow-up")
ROW = {
    "NHS NUMBER": spaced(ONE),
    "SURNAME": "O'Brien",
    "DATE OF BIRTH": "03/04/1950",
    "SEX": "Female",
    "DATE OF VISIT": "2021-05-04",
    "VITAL STATUS": "Alive",
    "DATE OF DEATH": "",
    "MMRC": "3",
    "FVC": "3.456",
    "HOME OXYGEN": "y",
}
CLEAN = {
    "followed_up_on": "2021-05-04",
    "followed_up_on_assumed": False,
    "vital_status": "A",
    "died_on": None,
    "died_on_assumed": None,
    "breathlessness": 3,
    "fvc": 3.46,
    "oxygen_at_home": True,
}


def test_a_row_is_its_identifiers_apart_and_its_cells_by_the_policy() -> None:
    one = offered(ROW, POLICY)
    assert one.number == ONE
    assert one.said is not None
    assert (one.said.family, one.said.born, one.said.sex) == ("obrien", date(1950, 4, 3), "F")
    assert one.cells == CLEAN
    assert ONE not in repr(one)


def test_a_number_whose_check_digit_does_not_hold_is_none() -> None:
    assert offered({**ROW, "NHS NUMBER": f"{ONE[:-1]}{(int(ONE[-1]) + 1) % 10}"}, POLICY).number is None


def test_an_identifier_in_a_field_of_another_stays_in_no_cell() -> None:
    planted = dict.fromkeys(POLICY.cells.headers, f"{ONE} O'Brien") | {"FVC": "3.4", "MMRC": ONE}
    cells = offered({**ROW, **planted}, POLICY).cells
    assert {name for name, value in cells.items() if value is not None} == {"fvc"}
    assert offered({**ROW, "NHS NUMBER": "34567", "FVC": "3.4567"}, POLICY).cells["fvc"] is None


@given(st.fixed_dictionaries(dict.fromkeys(POLICY.cells.headers, st.text(max_size=12))))
def test_whatever_stands_in_a_field_what_goes_out_is_taken_by_the_other_side(fields: dict[str, str]) -> None:
    cells = offered({**ROW, **fields}, POLICY).cells
    row = linked_row("P", "number", cells, 40, POLICY)
    texts = {value for name, value in row.items() if isinstance(value, str)}
    kinds = {column.name: column for column in POLICY.table()}
    for name, value in row.items():
        if isinstance(value, str) and name not in {PATIENT, LINKED_BY}:
            assert kinds[name].kind is Kind.DATE or value in kinds[name].codes
    assert not any(field in texts for field in fields.values() if len(field) > 3 and not field[:1].isdigit())


def test_dates_move_by_the_days_of_the_patient_and_nothing_else_moves() -> None:
    row = linked_row("P", "number", CLEAN, 400, POLICY)
    moved = (date(2021, 5, 4) - timedelta(days=400)).isoformat()
    assert row == {PATIENT: "P", LINKED_BY: "number", **CLEAN, "followed_up_on": moved}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("vital_status", "Featherstone"),
        ("vital_status", 1),
        ("oxygen_at_home", "yes"),
        ("oxygen_at_home", 1),
        ("breathlessness", 5),
        ("breathlessness", True),
        ("breathlessness", 3.0),
        ("fvc", 3.4567),
        ("fvc", float("nan")),
        ("fvc", 9991246924.0),
        ("fvc", "3.4"),
        ("followed_up_on", "1950-04-03"),  # a birth date is no date of the follow-up
        ("followed_up_on", "2021-05-04T10:00"),
        ("followed_up_on", "20210504"),
        ("followed_up_on_assumed", "no"),
    ],
)
def test_the_project_takes_nobodys_word_for_a_cell(column: str, value: Any) -> None:
    with pytest.raises(Refused) as error:
        linked_row("P", "number", {**CLEAN, column: value}, 40, POLICY)
    assert column in str(error.value)
    assert str(value) not in str(error.value) or len(str(value)) < 5


@pytest.mark.parametrize("cells", [{}, None, [], {**CLEAN, "surname": None}, {**CLEAN, "patient": "Q"}])
def test_a_row_with_other_columns_is_refused(cells: object) -> None:
    with pytest.raises(Refused):
        linked_row("P", "number", cells, 40, POLICY)


def test_a_header_that_lacks_a_field_or_has_it_twice_is_refused_by_the_fields_name() -> None:
    check_fields([*ROW, "NOTES"], POLICY)
    for header in (list(ROW)[1:], [*ROW, "NHS NUMBER"]):
        with pytest.raises(Refused, match="NHS NUMBER"):
            check_fields(header, POLICY)


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    document = yaml.safe_load((POLICIES / "deid" / "linked" / "follow-up.yaml").read_text())
    change(document)
    (folder / "deid" / "linked").mkdir(parents=True)
    (folder / "schema").symlink_to(POLICIES / "schema")
    (folder / "deid" / "linked" / "changed.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(extra=1),
        lambda d: d["columns"]["fvc"].update(free=True),
        lambda d: d["columns"].update(note={"type": "text", "field": "Note", "meaning": "Anything."}),
        lambda d: d["columns"].update(patient={"type": "truth", "field": "Note", "meaning": "Anything."}),
        lambda d: d["columns"].update(note={"type": "truth", "field": "surname", "meaning": "Anything."}),
        lambda d: d["columns"]["fvc"].update(range=[9, 1]),
        lambda d: d["columns"]["vital_status"]["codes"]["D"]["words"].append("alive"),
        lambda d: d.update(match=["demographics"]),
        lambda d: d.update(match=["number"]),  # and still reads names
        lambda d: d["identifiers"].pop("sex"),
        lambda d: d["window"].update(latest="2018-01-01"),
    ],
)
def test_a_policy_that_cannot_be_obeyed_is_none(change: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    with pytest.raises(WrongSetUp, match="changed"):
        linked_policy(changed(tmp_path, change), "changed")


def test_demographics_join_only_where_the_policy_says_so(tmp_path: Path) -> None:
    def numbers_alone(document: dict[str, Any]) -> None:
        document["match"], document["identifiers"] = ["number"], {"number": "NHS Number"}

    policy = linked_policy(changed(tmp_path, numbers_alone), "changed")
    assert not policy.by_demographics
    assert offered(ROW, policy).said is None
    assert policy.sha256 != POLICY.sha256


@pytest.mark.parametrize("name", ["../clinical/columns", "Follow-up", "", "gone"])
def test_only_names_of_the_folder_are_policies(name: str) -> None:
    with pytest.raises(WrongSetUp):
        linked_policy(POLICIES, name)


def test_sealed_rows_open_for_their_reference_alone_have_one_length_and_are_equal_again() -> None:
    rows = [("a" * 40, CLEAN), ("b" * 40, CLEAN), ("c" * 40, {**CLEAN, "died_on": "2021-06-07"})]
    sealed = SealedRows(b"s" * 64).sealed(rows)
    assert sealed == SealedRows(b"s" * 64).sealed(rows)
    assert len(set(sealed)) == 3
    assert len({len(each) for each in sealed}) == 1
    opener = SealedRows(b"s" * 64)
    assert [opener.opened(reference, row) for (reference, _), row in zip(rows, sealed, strict=True)] == [
        row for _, row in rows
    ]
    for reference, row, key in (("b" * 40, sealed[0], b"s"), ("a" * 40, sealed[0], b"t"), ("a" * 40, "AAAA", b"s")):
        with pytest.raises(Refused):
            SealedRows(key * 64).opened(reference, row)
