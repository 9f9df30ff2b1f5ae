"""Take a patient's originals out of landing: their images and clinical records, under every name that landing knows.

A dry run until confirmed. `data.md` section 11. Warehouses follow with their next `deid`, cuts with the next cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from readingroom.application.ports_opt_out import Originals
from readingroom.domain.errors import TryAgain, WrongSetUp
from readingroom.domain.opt_out import Names, OptOuts, barred

BATCH = 3  # parts of a place that name its batch: centre, day, batch


@dataclass(frozen=True, kw_only=True)
class Retracted:
    """How many originals of theirs each batch holds, by the folder they lie in: what goes, or went."""

    batches: dict[str, Counter[str]]


def retract(patients: OptOuts, originals: Originals, say: Callable[[str], None], *, confirm: bool) -> Retracted:
    """What goes; it is gone if confirmed. Before anything goes, raises `WrongSetUp` when nobody is named, and `TryAgain` when an
    original cannot be looked at.
    """
    if not patients.opted_out:
        raise WrongSetUp(
            what="retract", which="the patient file", why="it names nobody", next_step="write one identifier a line"
        )
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
    places = sorted(barred(found, patients.known_as(originals.token)))
    batches: dict[str, Counter[str]] = {}
    for place in places:
        *batch, folder = place.split("/")[: BATCH + 1]
        batches.setdefault("/".join(batch), Counter())[folder] += 1
    if confirm:
        originals.remove(places)
    return Retracted(batches=batches)
