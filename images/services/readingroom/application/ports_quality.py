"""The ports of the quality report: what lies in landing, what receipts say, and where a report goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from readingroom.domain.quality import BatchLook, ImageLook, RecordLook


class Received(Protocol):
    """Landing, read and never written: committed batches alone.

    1. `looks` gives each content of a centre once, in any order, looked at in a bounded place; None for one that cannot
       be looked at any more. Tokens are equal in one run where the values are equal, and in no other run.
    2. No more than one batch's list of contents is held at a time.
    """

    def centres(self) -> Sequence[str]:
        """Centres that have sent something, sorted."""
        ...

    def batches(self, centre: str) -> Iterator[BatchLook]:
        """What the record of each batch says. Raises `WrongSetUp` for one that cannot be read."""
        ...

    def looks(self, centre: str) -> Iterator[ImageLook | RecordLook | None]:
        """1, 2."""
        ...


class Receipts(Protocol):
    """Receipts of `ingest` by centre."""

    def of(self, centre: str) -> Iterator[Iterator[tuple[str, str]]]:
        """Each receipt's lines as outcome and reason, one line held at a time. Raises `WrongSetUp` for what is none."""
        ...


class Reports(Protocol):
    """Where reports are put, each whole and in place of an earlier one."""

    def put(self, centre: str, document: Mapping[str, Any]) -> None:
        """The report of one centre: as a page and as JSON. Equal documents give equal bytes."""
        ...
