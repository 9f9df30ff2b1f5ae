"""Split landing: whoever is hold-out leaves it, before any project's `deid` may read it. `data.md` section 10.

The door is shut first, the ledger kept next, then originals move, then the door opens: killed at any point, no project can
read what is not split, and the same command again ends what was begun.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import PurePosixPath

from readingroom.application.ports_holdout import Sides
from readingroom.domain.errors import TryAgain, WrongSetUp
from readingroom.domain.holdout import Ledger, Original, Rule, Side, split

EVERY = 500  # originals between two lines of progress


@dataclass(frozen=True, kw_only=True)
class Done:
    """Counts, for the identified side alone: people who were decided now, and originals that change sides."""

    people: Mapping[Side, int]
    originals: Mapping[Side, int]


def split_holdout(
    rule: Rule, released: Set[str] | None, sides: Sides, say: Callable[[str], None], *, confirm: bool
) -> Done:
    """What a split would do; it is done if confirmed. `released` are contents that projects were given so far.

    Raises `WrongSetUp` where the first split is not told about that, `TryAgain` when an original cannot be looked at.
    """
    with sides.alone() if confirm else contextlib.nullcontext():
        ledger = sides.ledger()
        if ledger is None and released is None:
            raise WrongSetUp(
                what="hold-out",
                which="the first split",
                why="nobody said what projects were given so far, and whoever may be in a cut never is hold-out",
                next_step="give --deid-receipt FILE for each project's warehouse, or --nothing-released",
            )
        done = split(ledger or Ledger(), _looked_at(sides, released or frozenset(), say), rule)
        if confirm:
            sides.shut()
            sides.keep(done.ledger)
            sides.move(done.moves)
            sides.open()
    return Done(people=done.new, originals=Counter(done.moves.values()))


def _looked_at(sides: Sides, released: Set[str], say: Callable[[str], None]) -> dict[str, Original]:
    found: dict[str, Original] = {}
    unread = 0
    for number, (place, names) in enumerate(sides.originals(), 1):
        if names is None or not names.sought:
            unread += 1
        else:
            path = PurePosixPath(place)
            found[place] = Original(
                names=names, centre=path.parts[1], side=Side(path.parts[0]), released=path.stem in released
            )
        if number % EVERY == 0:
            say(f"looked at {number} originals")
    if unread:
        raise TryAgain(
            what="hold-out",
            which=f"{unread} originals",
            why="they cannot be looked at, so nobody knows whose they are",
            next_step="see to them or retract their batches, then run the same command again",
        )
    return found
