"""Check a cut against the hold-out: no image of the one has the pixels of an image of the other. `data.md` section 10.

On the hold-out's side, where both may be seen: the project is handed no list, and hears nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from readingroom.domain.errors import Refused, TryAgain

Marks = Iterable[
    tuple[str, str | None]
]  # place of an image; mark of its pixels, empty for none, None if nobody could look


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How many images have pixels to compare."""

    holdout: int
    cut: int


def check_holdout(holdout: Marks, cut: Marks) -> Compared:
    """Raises `Refused` if an image of the cut is in the hold-out, `TryAgain` if an image cannot be looked at."""
    known, kept = _marks(holdout), _marks(cut)
    if met := sorted(place for mark, place in kept.items() if mark in known):
        raise Refused(
            what="cut",
            which=f"{len(met)} images, the first is {met[0]}",
            why="they have the pixels of images of the hold-out",
            next_step="grant nothing on this cut; find how they came to both sides",
        )
    return Compared(holdout=len(known), cut=len(kept))


def _marks(marks: Marks) -> dict[str, str]:
    found: dict[str, str] = {}
    unread = 0
    for place, mark in marks:
        unread += mark is None
        if mark:
            found.setdefault(mark, place)
    if unread:
        raise TryAgain(
            what="hold-out",
            which=f"{unread} images",
            why="they cannot be looked at, so nobody knows whether they are on both sides",
            next_step="see to them, then run the same command again",
        )
    return found
