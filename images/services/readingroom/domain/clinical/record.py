"""One clinical file: whose it is, which of its fields the table knows, and what its name says of it.

A record is an object of named fields; `OtherDataSources.SegmentationData` is a later source and lies over the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from readingroom.domain.clinical.policy import Policy, Type
from readingroom.domain.deid.outcome import FileHeld, FileRejected, Reason
from readingroom.domain.deid.profile import normal

NESTED: Final = ("OTHERDATASOURCES", "SEGMENTATIONDATA")
_NAME: Final = re.compile(r"(?:.*_)?(data|status)(?:_\d{4}-\d\d-\d\d)?\.json", re.IGNORECASE | re.DOTALL)
_DAY: Final = re.compile(r"(?<!\d)\d{4}-\d\d-\d\d(?!\d)", re.ASCII)


class Sort(StrEnum):
    """Which template a file follows."""

    DATA = "data"  # a positive patient's
    STATUS = "status"  # a negative patient's


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the way to a file says: NCCID keeps the sort in the name, and the day in it or in a folder above."""

    sort: Sort | None = None
    day: str = ""  # as written, YYYY-MM-DD: such texts sort by time


@dataclass(frozen=True, kw_only=True, repr=False)
class Record:
    """The fields of one file by column: per layer, the nested one first, what stood under each spelling, the best first."""

    pseudonym: str
    layers: tuple[Mapping[str, tuple[Any, ...]], ...]
    unknown: int  # fields that no column wants


def told_by(path: str) -> Told:
    """The sort and the day that a path tells, for a file that is named as clinical files are."""
    *_, name = path.split("/")
    match = _NAME.fullmatch(name)
    days = _DAY.findall(path)
    return Told(sort=Sort(match.group(1).lower()), day=days[-1] if days else "") if match else Told()


def strongest(told: Iterable[Told]) -> Told:
    """What several names of the same bytes say together: a positive patient's, and the newest day."""
    found = list(told)
    return Told(sort=min((each.sort for each in found if each.sort), default=None), day=max(each.day for each in found))


def record_from(document: Any, policy: Policy) -> Record:
    """The record of a parsed document.

    Raises `FileRejected` (clinical-malformed) for what is no object of fields, (identity-missing) for one that names
    nobody, and `FileHeld` (identity-conflict) for one that names two.
    """
    if not isinstance(document, Mapping):
        raise FileRejected(Reason.CLINICAL_MALFORMED)
    top = dict(document)
    nested, unknown = _taken(top)
    layers = []
    for fields in (nested, top):
        known, others = _by_column(fields, policy)
        layers.append(known)
        unknown += others
    column = next(column.name for column in policy.columns if column.type is Type.PATIENT)
    names = {name for layer in layers for given in layer.get(column, ()) if (name := _pseudonym(given))}
    if len(names) > 1:
        raise FileHeld(Reason.IDENTITY_CONFLICT)
    if not names:
        raise FileRejected(Reason.IDENTITY_MISSING)
    return Record(pseudonym=names.pop(), layers=tuple(layers), unknown=unknown)


def sort_of(record: Record) -> Sort:
    """Which template a file follows whose name does not say: only a negative patient's has the swab's own status."""
    fields = {name for layer in record.layers for name in layer}
    return Sort.STATUS if "swab_status" in fields and "date_of_positive_covid_swab" not in fields else Sort.DATA


def _taken(top: dict[str, Any]) -> tuple[Mapping[str, Any], int]:
    """The nested source, its container taken away, and how many fields the container had besides."""
    outer, inner = NESTED
    for key, container in top.items():
        if normal(key) == outer and isinstance(container, Mapping):
            for name, fields in container.items():
                if normal(name) == inner and isinstance(fields, Mapping):
                    top.pop(key)
                    return fields, len(container) - 1
    return {}, 0


def _by_column(fields: Mapping[str, Any], policy: Policy) -> tuple[Mapping[str, tuple[Any, ...]], int]:
    found: dict[str, list[tuple[int, str, Any]]] = {}
    unknown = 0
    for key, value in fields.items():
        column, rank = policy.headers.get(normal(key), ("", 0))
        if column:
            found.setdefault(column, []).append((rank, key, value))
        else:
            unknown += 1
    ordered = {name: sorted(given, key=lambda each: each[:2]) for name, given in found.items()}
    return {name: tuple(value for *_, value in given) for name, given in ordered.items()}, unknown


def _pseudonym(given: Any) -> str:
    """A text, or a whole number as one. Raises `FileRejected` for anything else, and for half a character."""
    if given is None:
        return ""
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise FileRejected(Reason.CLINICAL_MALFORMED)
    text = str(given).strip()
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise FileRejected(Reason.CLINICAL_MALFORMED)
    return text
