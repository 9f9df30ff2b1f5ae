"""The two ports of a retraction after release: a warehouse that can lose files, and the cuts that were made of it."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Protocol

from readingroom.domain.access import Released
from readingroom.domain.cut import CutRecord
from readingroom.domain.ids import Digest
from readingroom.domain.retraction import Held


class Retractable(Protocol):
    """One project's warehouse.

    1. `released` gives the manifest's lines. Raises `Refused` when one is of another project.
    2. `rows` counts the rows of these patients in the clinical table.
    3. `retract` takes these files and the rows of these patients out: the manifest first, by rename, the bytes after.
       Killed before the rename, nothing has happened; killed after it, a cut refuses what is not as the manifest says,
       and the same call again comes to the same end. Repeated, it changes nothing. Raises `TryAgain` while `deid` runs.
    """

    def released(self) -> list[Released]:
        """1."""
        ...

    def rows(self, patients: Set[str]) -> int:
        """2."""
        ...

    def retract(self, gone: Set[str], patients: Set[str]) -> None:
        """3."""
        ...


class Shelf(Protocol):
    """A project's cuts: every archive, the record of the last, and what was retired.

    1. `held` tells what each archive holds. Raises `WrongSetUp` for one that is no cut: nobody could say what is in it.
    2. `retired` are the digests that are never mounted again. Raises `WrongSetUp` when they cannot be read.
    3. `retire` adds to them, whole or not at all; nothing ever takes one away. Raises `TryAgain` while a cut is made.
    4. `last` is the record of the last cut, if there is one.
    5. `sweep` deletes the archives of retired cuts, and what a killed making left of any. Raises as `retire` does.
    """

    def held(self) -> Sequence[Held]:
        """1."""
        ...

    def retired(self) -> frozenset[Digest]:
        """2."""
        ...

    def retire(self, digests: Set[Digest]) -> None:
        """3."""
        ...

    def last(self) -> CutRecord | None:
        """4."""
        ...

    def sweep(self) -> None:
        """5."""
        ...
