"""Take back what was released: out of a project's warehouse, out of its cuts, and out of the workspaces that mount them.

The order is the promise: what holds any of it is retired first, so that nothing mounts it any more; then what runs is stopped;
then the warehouse is narrowed, and a cut made of what is left. Every step looks at what is there, so that a killed run is
ended by the same command again. `data.md` section 11, `governance.md` section 10.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from readingroom.application.ports_retract import Retractable, Shelf
from readingroom.domain.access import Released
from readingroom.domain.cut import Counts, CutRecord, count
from readingroom.domain.errors import Refused, TryAgain
from readingroom.domain.ids import Digest
from readingroom.domain.retraction import Chosen


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What goes, or went: files, rows of the clinical table, and cuts."""

    files: int
    counts: Counts  # of the images among them
    rows: int
    cuts: tuple[Digest, ...]


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What carries a retraction out beyond the folders. `recut` makes a cut of what is left of the warehouse."""

    stop: Callable[[frozenset[Digest]], None]  # the workspaces that mount one of these
    recut: Callable[[], CutRecord]


@dataclass(frozen=True, kw_only=True)
class Taken:
    """How a retraction ended."""

    retired: frozenset[Digest]  # ever
    cut: CutRecord | None  # the one that takes the place of the last
    uncut: Refused | None = None  # why there is none
    unstopped: TryAgain | Refused | None = None  # why the cluster was not told: all else is done


def reach(chosen: Chosen, store: Retractable, shelf: Shelf, granted: Digest | None) -> Reach:
    """What a retraction would take. `granted` is the cut of the grant in force: unless its archive is there to be looked at,
    nobody can say that it is clean.
    """
    lines = store.released()
    taken = [line for line in lines if chosen.takes(line)]
    return Reach(
        files=len(taken),
        counts=count(taken),
        rows=store.rows(chosen.names) if chosen.names else 0,
        cuts=_reached(chosen, lines, shelf, granted),
    )


def retract_released(
    chosen: Chosen, store: Retractable, shelf: Shelf, effects: Effects, granted: Digest | None
) -> Taken:
    """Carry it out. Raises as the ports do; what was retired before stays so."""
    lines = store.released()

    def keep_out() -> TryAgain | Refused | None:
        shelf.retire(set(_reached(chosen, lines, shelf, granted)))
        try:
            if retired := shelf.retired():
                effects.stop(retired)
        except (TryAgain, Refused) as error:
            return error
        return None

    keep_out()
    store.retract({line.path for line in lines if chosen.takes(line)}, chosen.names)
    unstopped = keep_out()  # again, for a cut that somebody made meanwhile of the warehouse as it was
    last, retired = shelf.last(), shelf.retired()
    made, uncut = last, None
    if last and last.digest in retired:
        try:
            made = effects.recut()
        except Refused as error:
            made, uncut = None, error
    shelf.sweep()
    return Taken(retired=retired, cut=made, uncut=uncut, unstopped=unstopped)


def _reached(chosen: Chosen, lines: list[Released], shelf: Shelf, granted: Digest | None) -> tuple[Digest, ...]:
    left = {line.path for line in lines if not chosen.takes(line)}
    held = shelf.held()
    found = {cut.digest for cut in held if chosen.reaches(cut, left)}
    if granted and granted not in {cut.digest for cut in held}:
        found.add(granted)
    return tuple(sorted(found - shelf.retired()))
