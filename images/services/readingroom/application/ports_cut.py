"""The two ports of a cut: where released files come from, and where the archive is made."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from readingroom.domain.access import Released
from readingroom.domain.cut import CutRecord, Stored
from readingroom.domain.ids import Digest


class Warehouse(Protocol):
    """One project's de-identified files, as `deid` left them. Read-only.

    1. `released` gives the manifest's lines: what the manifest does not name does not exist.
    2. `size` is of a regular file inside the warehouse, reached without a link; anything else is `Refused`.
    """

    def released(self) -> list[Released]:
        """Every line of the manifest. Raises `WrongSetUp` without a manifest, `Refused` for a line that is none."""
        ...

    def size(self, line: Released) -> int:
        """Bytes of that file now."""
        ...


class Draft(Protocol):
    """An archive in the making, seen by nobody.

    1. `add_layer` stores the files of these lines and reads them back: what it returns is what the archive holds.
       `add_table` stores the files of the clinical table with the rows of these patients and no others.
       `add_index` stores the index of series, made of the headers of what the layers so far hold.
    2. `seal` adds the manifest; after it nothing can be added.
    3. `keep` shows archive and record, whole, in this order; killed at any point, the earlier record stands. Repeated
       with an equal archive and record: changes nothing and says so. Raises `Refused` for a digest that was retired.
    4. Equal lines and manifest give equal bytes, whatever machine, time, owner or order.
    """

    def add_layer(self, lines: Sequence[Released]) -> list[Stored]:
        """Raises `Refused` when a file's bytes are not those of its line."""
        ...

    def add_table(self, lines: Sequence[Released], patients: Collection[str]) -> list[Stored]:
        """Raises as `add_layer` does."""
        ...

    def add_index(self, images: Sequence[Stored]) -> list[Stored]:
        """Raises `Refused` when one of these files, which `add_layer` returned, is no DICOM file."""
        ...

    def seal(self, manifest: bytes) -> Digest:
        """The digest of the whole."""
        ...

    def keep(self, record: CutRecord) -> bool:
        """Whether anything changed."""
        ...


class Cuts(Protocol):
    """Where cuts lie, each under its digest, and the record of the last one. One draft at a time."""

    def draft(self) -> AbstractContextManager[Draft]:
        """A draft; leaving the context removes what was not kept. Raises `TryAgain` while another is made there."""
        ...
