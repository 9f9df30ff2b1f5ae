"""Take originals out of landing: a patient's, under every name that landing knows; a study's; a centre's, or one batch of it.

A dry run until confirmed. `data.md` section 11. Warehouses follow with their next `deid`, cuts with the next cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from readingroom.application.ports_opt_out import Originals
from readingroom.domain.errors import TryAgain, WrongSetUp
from readingroom.domain.opt_out import Names, OptOuts, barred, of_studies

BATCH = 3  # parts of a place that name its batch: centre, day, batch


@dataclass(frozen=True, kw_only=True)
class Retracted:
    """How many of these originals each batch holds, by the folder they lie in: what goes, or went."""

    batches: dict[str, Counter[str]]


def retract(patients: OptOuts, originals: Originals, say: Callable[[str], None], *, confirm: bool) -> Retracted:
    """What goes of patients; it is gone if confirmed. Before anything goes, raises `WrongSetUp` when nobody is named, and
    `TryAgain` when an original cannot be looked at.
    """
    _check_named(patients.opted_out, "the patient file", "identifier")
    found = _looked_at(originals, say)
    return _taken(sorted(barred(found, patients.known_as(originals.token))), originals, confirm=confirm)


def retract_studies(studies: Set[str], originals: Originals, say: Callable[[str], None], *, confirm: bool) -> Retracted:
    """The same of studies, by their UIDs: their images alone, nothing else of their patients."""
    _check_named(studies, "the study file", "Study Instance UID")
    found = _looked_at(originals, say)
    return _taken(sorted(of_studies(found, studies, originals.token)), originals, confirm=confirm)


def retract_within(within: str, originals: Originals, *, confirm: bool) -> Retracted:
    """The same of a centre, or of one batch: all of it, whatever can be looked at. Raises `WrongSetUp` where there is none."""
    return _taken(originals.places(within), originals, confirm=confirm)


def _check_named(names: Set[str], which: str, kind: str) -> None:
    if not names:
        raise WrongSetUp(what="retract", which=which, why="it names nobody", next_step=f"write one {kind} a line")


def _looked_at(originals: Originals, say: Callable[[str], None]) -> dict[str, Names]:
    found: dict[str, Names] = {}
    unread = 0
    for number, (place, names) in enumerate(originals.names(), 1):
        if names is None:
            unread += 1
        else:
            found[place] = names
        if number % 500 == 0:
            say(f"looked at {number} originals")
    if unread:
        raise TryAgain(
            what="retract",
            which=f"{unread} originals",
            why="they cannot be looked at, so nobody knows whose they are",
            next_step="see to them, then run the same command again",
        )
    return found


def _taken(places: Sequence[str], originals: Originals, *, confirm: bool) -> Retracted:
    batches: dict[str, Counter[str]] = {}
    for place in places:
        *batch, folder = place.split("/")[: BATCH + 1]
        batches.setdefault("/".join(batch), Counter())[folder] += 1
    if confirm:
        originals.remove(places)
    return Retracted(batches=batches)
