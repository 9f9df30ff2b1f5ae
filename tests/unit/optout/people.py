"""Invented numbers of the test range, and images and answers made of them."""

from __future__ import annotations

from typing import Any

from readingroom.domain.opt_out import OptOuts, listed
from tests.dicom_factory import ct, part10

ONE, TWO, THREE = "9991246924", "9992148578", "9994509233"  # begin with 999: given to nobody
UID = "1.2.826.0.1.3680043.8.498.7"


def spaced(number: str) -> str:
    return f"{number[:3]} {number[3:6]} {number[6:]}"


def image(patient: str, number: int = 1, *, study: str = "", **changes: Any) -> bytes:
    """A slice of its own series and, unless a study is given, its patient's own study."""
    own = study or f"{UID}.{sum(patient.encode()) * 1000 + len(patient)}"
    uids = {"x0020000D": ("UI", own), "x0020000E": ("UI", f"{own}.{number}"), "x00080018": ("UI", f"{own}.{number}.1")}
    return part10(ct(**{"x00100020": ("LO", patient), **uids, **changes}))


def opted_out(*identifiers: str, asked: tuple[str, ...] | None = None) -> OptOuts:
    """A local list, and the numbers that an answer covers."""
    names = [listed(identifier) for identifier in identifiers]
    assert None not in names
    covered = None if asked is None else frozenset(f"nhs:{number}" for number in asked)
    return OptOuts(opted_out=frozenset().union(*(name for name in names if name)), asked=covered)
