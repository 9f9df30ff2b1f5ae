"""The rules of the clinical table from their files: columns, spellings, units by centre. Whatever cannot be obeyed is an error.

Resolved into one document, whose hash names the rules of a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

from readingroom.adapters.policy_files import Document, checked, off, resolved_of, twice
from readingroom.application.ports_deid import Resolved
from readingroom.domain.clinical.policy import FLAGS, PRESENT, Type
from readingroom.domain.clinical.table import AGREED
from readingroom.domain.deid.profile import folded, normal

FOLDER: Final = Path("deid", "clinical")
_ONCE: Final = (Type.PATIENT, Type.CENTRE)
_NEEDED: Final = {"age": Type.AGE, "sex": Type.CODE, **dict.fromkeys(FLAGS, Type.FLAG)}  # columns that code fills
_SEXES: Final = {"F", "M"}  # what images say


def clinical_policy(policies: Path) -> Resolved:
    """The rules of the table. Raises `WrongSetUp` naming the file and the place that is off."""
    files = {
        name: checked(policies / FOLDER / f"{name}.yaml", policies / "schema" / f"clinical-{name}.schema.json")
        for name in ("columns", "spellings", "units")
    }
    columns = files["columns"]["columns"]
    check_days(files["columns"]["window"])
    _check_made(columns)
    for name, column in columns.items():
        check_column(name, column)
    _check_words("truth", files["columns"]["truth"].values())
    _check_contradictions(files["columns"]["contradictions"], columns)
    _check_spellings(columns, files["spellings"]["spellings"])
    _check_units(files["units"]["centres"], columns)
    return resolved_of(
        {
            **files["columns"],
            # as a list: canonical JSON sorts keys, and a table has an order
            "columns": [
                [name, _with_fields(column, files["spellings"]["spellings"].get(name, []))]
                for name, column in columns.items()
            ],
            "centres": files["units"]["centres"],
        }
    )


def _with_fields(column: Document, spellings: Iterable[str]) -> Document:
    return {**column, "fields": [column["field"], *spellings]} if "field" in column else column


def _check_spellings(columns: Mapping[str, Document], spellings: Mapping[str, Any]) -> None:
    for name in spellings:
        if "field" not in columns.get(name, {}):
            off("spellings.yaml", f"{name} is no column that a field fills")
    headers = [column["field"] for column in columns.values() if "field" in column]
    if again := twice(map(normal, [*headers, *(header for each in spellings.values() for header in each)])):
        off("spellings.yaml", f"{again!r} stands for two columns, or twice")


def check_days(window: Document, called: str = "columns.yaml") -> None:
    """The days of a window are some, in their order. Raises `WrongSetUp`, as all checks here do."""
    try:
        earliest, latest = (date.fromisoformat(window[end]) for end in ("earliest", "latest"))
    except ValueError:
        off(called, "the window has a day that is none")
    if latest < earliest:
        off(called, "the window ends before it begins")


def _check_made(columns: Mapping[str, Document]) -> None:
    """What code fills is there, and nothing that no code fills."""
    for name, kind in _NEEDED.items():
        if columns.get(name, {}).get("type") != kind:
            off("columns.yaml", f"{name} is missing, or no {kind}")
    for name in AGREED:
        if name not in columns:
            off("columns.yaml", f"{name} is missing")
    for name, column in columns.items():
        if column["type"] == Type.FLAG and name not in FLAGS:
            off("columns.yaml", f"no code fills {name}")
    for kind in _ONCE:
        if sum(column["type"] == kind for column in columns.values()) != 1:
            off("columns.yaml", f"there must be one column of type {kind}")
    if set(columns["sex"]["codes"]) != _SEXES:
        off("columns.yaml", f"sex must have the codes of images: {', '.join(sorted(_SEXES))}")


def check_column(name: str, column: Document, called: str = "columns.yaml") -> None:
    """Its ranges have an order, its conversions stay inside, and no word means two things."""
    ranges = [column["range"]] if "range" in column else []
    ranges += [unit["range"] for unit in column.get("units", {}).values()]
    if any(low >= high for low, high in ranges):
        off(called, f"{name}: a range ends before it begins")
    if "units" in column:
        _check_conversions(name, column)
        _check_words(name, ([unit, *each.get("words", ())] for unit, each in column["units"].items()))
    if "codes" in column:
        _check_words(name, (each["words"] for each in column["codes"].values()), called)


def _check_conversions(name: str, column: Document) -> None:
    """Whatever a unit, a table or a word gives lies in the column's range."""
    if column["units"].get(column["unit"], {}).get("factor") != 1:
        off("columns.yaml", f"{name}: its own unit is none of those in which it may come, as it is")
    given = [*column.get("named", {}).values()]
    for unit in column["units"].values():
        given += unit["table"].values() if "table" in unit else [end * unit["factor"] for end in unit["range"]]
    low, high = column["range"]
    if not all(low <= value <= high for value in given):
        off("columns.yaml", f"{name}: a unit or a word gives what is outside its range")


def _check_words(name: str, lists: Iterable[Iterable[str]], called: str = "columns.yaml") -> None:
    """No word stands in two lists."""
    if again := twice(word for words in lists for word in {folded(each) for each in words}):
        off(called, f"{name}: {again!r} means two things")


def _check_contradictions(contradictions: Iterable[Document], columns: Mapping[str, Document]) -> None:
    for each in contradictions:
        for name, said in each.get("together", {}).items():
            column = columns.get(name, {})
            truth = column.get("type") in {Type.TRUTH, Type.FLAG}
            if not column or not (
                said == PRESENT or (truth and isinstance(said, bool)) or said in column.get("codes", {})
            ):
                off("columns.yaml", f"contradictions: {name} cannot be {said}")
        for name in each.get("order", ()):
            if columns.get(name, {}).get("type") != Type.DATE:
                off("columns.yaml", f"contradictions: {name} is no date")


def _check_units(centres: Mapping[str, Mapping[str, str]], columns: Mapping[str, Document]) -> None:
    if again := twice(map(normal, centres)):
        off("units.yaml", f"{again!r} stands twice")
    for units in centres.values():
        for name, unit in units.items():
            if unit not in columns.get(name, {}).get("units", {}):
                off("units.yaml", f"{name} may not come in {unit}")
