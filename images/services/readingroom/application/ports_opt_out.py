"""What opting out needs from the world: somebody who knows, and files that say of whom to ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from datetime import date
from typing import Protocol

from readingroom.domain.opt_out import Names, OptOuts


class OptOutProvider(Protocol):
    """Who may not be used: the nation's answers to our questions, and what a hospital or a patient told us.

    1. `opt_outs` reads all of it anew and gives all of it, or raises: `WrongSetUp` for one line that is off, `Refused` when
       a question has no answer that is young enough. Nothing read is kept, here or on any record.
    2. `ask` leaves the question of a day to be picked up, whole, once: repeated with the same numbers, nothing changes; with
       others, `WrongSetUp`, since the first may be on its way. Whatever it asks, 1 covers nothing of it before the answer.
    """

    def opt_outs(self, today: date) -> OptOuts:
        """1."""
        ...

    def ask(self, numbers: Set[str], today: date) -> bool:
        """2. Whether the question is new."""
        ...


class Named(Protocol):
    """Identified files, somebody else's: each is looked at in a bounded place, and none ends the run."""

    def numbers(self) -> Iterator[frozenset[str]]:
        """The NHS numbers that each file gives its patient; of a file that cannot be read, none."""
        ...


class Originals(Protocol):
    """What landing holds, of all centres.

    1. `names` gives each original of a committed batch with the names of its patient, as tokens of this run, which `token`
       gives; of one that cannot be looked at, None.
    2. `remove` takes originals out of their batches for good: first a batch's record is without them, then they are gone.
       Killed at any point and repeated with what `names` still gives, it comes to the same end. `TryAgain` while a centre
       sends.
    3. `places` gives the originals of a centre or of one batch, looking at none of them; `WrongSetUp` where landing has no
       such centre or batch.
    """

    def names(self) -> Iterator[tuple[str, Names | None]]:
        """1."""
        ...

    def token(self, name: str) -> str:
        """1."""
        ...

    def remove(self, places: Sequence[str]) -> None:
        """2."""
        ...

    def places(self, within: str) -> list[str]:
        """3."""
        ...
