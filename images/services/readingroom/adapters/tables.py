"""The clinical table as CSV, as Parquet, and its data dictionary; the index of series likewise.

The only module that imports PyArrow, and late.

What is equal gives equal bytes: rows come in order, nothing of time or machine is written, one version of PyArrow is locked.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from readingroom.domain import catalogue
from readingroom.domain.clinical.cells import Value
from readingroom.domain.clinical.policy import Kind, TableColumn

CSV: Final = "clinical.csv"
PARQUET: Final = "clinical.parquet"
DICTIONARY: Final = "clinical-dictionary.csv"
TABLES: Final = frozenset({CSV, PARQUET, DICTIONARY})
SERIES: Final = "series.parquet"
SERIES_DICTIONARY: Final = "series-dictionary.csv"
PATIENT: Final = "patient"


class TableFiles:
    """See the port `Tables`."""

    def files(self, columns: Sequence[TableColumn], rows: Sequence[Mapping[str, Value]]) -> Mapping[str, bytes]:
        """See the port `Tables`."""
        return {CSV: _csv(columns, rows), PARQUET: _parquet(columns, rows), DICTIONARY: dictionary(columns)}


def series_files(rows: Sequence[Mapping[str, Value]]) -> Mapping[str, bytes]:
    """The index of series and its data dictionary, by their names in a cut."""
    return {SERIES: _parquet(catalogue.COLUMNS, rows), SERIES_DICTIONARY: dictionary(catalogue.COLUMNS)}


def restricted(name: str, content: bytes, patients: Collection[str]) -> bytes:
    """A file of the table with the rows of these patients and no others; the dictionary as it is.

    Raises `ValueError` for a file that is no such table.
    """
    return _kept(name, content, lambda patient: patient in patients)


def without(name: str, content: bytes, patients: Collection[str]) -> bytes:
    """The same without the rows of these patients; as it is where it has none."""
    gone: list[str] = []

    def stays(patient: str) -> bool:
        if patient in patients:
            gone.append(patient)
        return patient not in patients

    narrowed = _kept(name, content, stays)
    return narrowed if gone else content


def _kept(name: str, content: bytes, stays: Callable[[str], bool]) -> bytes:
    if name == DICTIONARY:
        return content
    if name == CSV:
        head, *rows = csv.reader(io.StringIO(content.decode("ascii"), newline=""))
        place = head.index(PATIENT)
        return _lines([head, *(row for row in rows if stays(row[place]))])
    import pyarrow as arrow  # noqa: PLC0415 (as below)
    from pyarrow import parquet  # noqa: PLC0415 (as below)

    table = parquet.read_table(arrow.BufferReader(content))
    theirs = [stays(patient) for patient in table.column(PATIENT).to_pylist()]
    return _stored(table.filter(arrow.array(theirs, arrow.bool_())))


def dictionary(columns: Sequence[TableColumn]) -> bytes:
    """What each column means: for who gets the table."""
    head = ["column", "type", "unit", "lowest", "highest", "codes", "meaning"]
    lines = [
        [
            column.name,
            column.kind,
            column.unit,
            "" if column.low is None else f"{column.low:f}",
            "" if column.high is None else f"{column.high:f}",
            "; ".join(f"{code} = {meaning}" for code, meaning in column.codes.items()),
            column.meaning,
        ]
        for column in columns
    ]
    return _lines([head, *lines])


def _csv(columns: Sequence[TableColumn], rows: Sequence[Mapping[str, Value]]) -> bytes:
    """One line a patient; null is nothing, a truth value is `true` or `false`."""
    return _lines(
        [[column.name for column in columns], *([_shown(row[column.name]) for column in columns] for row in rows)]
    )


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _lines(lines: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode("ascii")


def _parquet(columns: Sequence[TableColumn], rows: Sequence[Mapping[str, Value]]) -> bytes:
    import pyarrow as arrow  # noqa: PLC0415 (slow to import, and few runs need it)

    kinds = {
        Kind.CODE: arrow.string(),
        Kind.WHOLE: arrow.int32(),
        Kind.NUMBER: arrow.float64(),
        Kind.TRUTH: arrow.bool_(),
        Kind.DATE: arrow.date32(),
    }
    schema = arrow.schema([(column.name, kinds[column.kind]) for column in columns])
    cells = [[_typed(column, row[column.name]) for row in rows] for column in columns]
    return _stored(
        arrow.table([arrow.array(each, kind.type) for each, kind in zip(cells, schema, strict=True)], schema=schema)
    )


def _stored(table: Any) -> bytes:
    from pyarrow import parquet  # noqa: PLC0415 (as below)

    written = io.BytesIO()
    parquet.write_table(table, written, compression="zstd", store_schema=False)
    return written.getvalue()


def _typed(column: TableColumn, value: Value) -> Any:
    return date.fromisoformat(value) if column.kind is Kind.DATE and isinstance(value, str) else value
