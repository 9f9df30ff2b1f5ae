"""Turn associations that are over into batches: each goes through the same `ingest` as a folder does.

An association is forgotten after its batch is committed and its receipt written, in this order. Killed anywhere between,
the next run finds the contents in landing, writes the same receipt and forgets it then. `data.md` sections 3 and 14.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from readingroom.application.ingest import ingest
from readingroom.application.ports_ingest import Landing, Receipt
from readingroom.application.ports_spool import Association, Spool
from readingroom.domain.door import Answer
from readingroom.domain.errors import ReadingRoomError
from readingroom.domain.opt_out import OptOuts


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What an association is ingested with. Each is asked anew: days pass while a door is open."""

    landing: Callable[[str], Landing]  # of a centre
    receipt: Callable[[Association], Receipt]
    opt_outs: Callable[[], OptOuts]


def receive_associations(spool: Spool, desk: Desk, say: Callable[[str], None]) -> int:
    """Ingests what is over, and says how many are left: what stands in the way of one stops no other."""
    left = 0
    for association in spool.finished():
        try:
            _receive(association, spool, desk, say)
        except ReadingRoomError as error:
            left += 1
            say(f"{association.name} of {association.centre} waits: {error}")
    return left


def _receive(association: Association, spool: Spool, desk: Desk, say: Callable[[str], None]) -> None:
    with spool.inbox(association) as inbox:
        done = ingest(
            association.centre,
            inbox,
            desk.landing(association.centre),
            desk.receipt(association),
            lambda _: None,
            desk.opt_outs(),
        )
    spool.done(association)
    totals = {answer: sum(n for (one, _), n in done.counts.items() if one is answer) for answer in Answer}
    told = ", ".join(f"{answer} {totals[answer]}" for answer in Answer)
    say(
        f"{association.name} of {association.centre}: {told}; {f'batch {done.batch}' if done.batch else 'no new batch'}"
    )
