"""Cut the approved subset out of a project's warehouse: filters from the decision only, one archive, one digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime

from readingroom.application.ports_cut import Cuts, Warehouse
from readingroom.domain.access import Decision, check_can_cut
from readingroom.domain.cut import CutRecord, Ground, Stored, count, covered_by, in_layers, manifest


def cut_cohort(
    decision: Decision, record_sha256: str, warehouse: Warehouse, cuts: Cuts, now: datetime, say: Callable[[str], None]
) -> tuple[CutRecord, bool]:
    """The record of the cut, and whether anything changed. Same decision and warehouse: same digest.

    Raises `Refused` for an ended decision, a warehouse that is not this project's or not as its manifest says, and an
    empty result; `WrongSetUp` and `TryAgain` where the folders are in the way. `data.md` section 12.
    """
    check_can_cut(decision, now)
    ground = Ground(decision=decision.id, request=decision.request, record_sha256=record_sha256)
    lines, steps = covered_by(decision, warehouse.released())
    images, table = ([line for line in lines if line.is_table is wanted] for wanted in (False, True))
    layers = in_layers({line: warehouse.size(line) for line in images})
    with cuts.draft() as draft:
        stored: list[Stored] = []
        for number, layer in enumerate(layers, start=1):
            say(f"layer {number} of {len(layers)}: {len(layer)} files")
            stored += draft.add_layer(layer)
        index = draft.add_index(stored)
        if table:
            stored += draft.add_table(table, {line.patient for line in images})
        cut, text = manifest(decision, ground, [*stored, *index], steps)
        record = CutRecord(
            project=decision.project,
            cut=cut,
            digest=draft.seal(text),
            manifest_sha256=hashlib.sha256(text).hexdigest(),
            ground=ground,
            counts=count(lines),
            attrition=steps,
        )
        return record, draft.keep(record)
