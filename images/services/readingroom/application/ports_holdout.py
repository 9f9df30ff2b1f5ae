"""What a split needs from the world: a landing that projects read, and the hold-out's own storage, which none of them sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from readingroom.domain.holdout import Ledger, Side
from readingroom.domain.opt_out import Names


class Sides(Protocol):
    """Both sides and the ledger.

    1. `originals` gives each original of landing and of the hold-out: its place, which names its side, its names as tokens
       under the split's key, or None for one that cannot be looked at.
    2. `ledger` is what was kept last, None before the first. `keep` puts another in its place, whole and on the disk.
    3. `shut` lets no project's `deid` read landing, until `open` says that what `originals` gave is split; what came later
       still is not.
    4. `move` puts originals on another side: each is there, whole and on the disk, before it goes from here. Killed at any
       point, nothing is lost; repeated with what `originals` then gives, it comes to the same end. `TryAgain` while a centre
       sends.
    5. One split at a time: `alone` raises `TryAgain` for a second.
    """

    def originals(self) -> Iterator[tuple[str, Names | None]]:
        """1."""
        ...

    def ledger(self) -> Ledger | None:
        """2."""
        ...

    def keep(self, ledger: Ledger) -> None:
        """2."""
        ...

    def shut(self) -> None:
        """3."""
        ...

    def open(self) -> None:
        """3."""
        ...

    def move(self, moves: Mapping[str, Side]) -> None:
        """4."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """5."""
        ...
