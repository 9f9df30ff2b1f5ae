"""Count what each centre has sent and put a report of it: counts, never a value. See `domain.quality`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from readingroom.application.ports_quality import Receipts, Received, Reports
from readingroom.domain.quality import ImageLook, Tally

Progress = Callable[[str, int, int], None]


def report_quality(
    centres: Iterable[str], received: Received, receipts: Receipts, reports: Reports, rules: str, progress: Progress
) -> list[dict[str, Any]]:
    """The report of each of these centres, put and given back. Raises `WrongSetUp` where landing or a receipt is off."""
    documents = []
    for centre in centres:
        tally = _tally(centre, received, progress)
        for lines in receipts.of(centre):
            tally.receipt(lines)
        document = tally.document(centre, rules)
        reports.put(centre, document)
        documents.append(document)
    return documents


def _tally(centre: str, received: Received, progress: Progress) -> Tally:
    tally, total = Tally(), 0
    for batch in received.batches(centre):
        tally.batch(batch)
        total += batch.instances + batch.records
    for number, look in enumerate(received.looks(centre), 1):
        if look is None:
            tally.unreadable += 1
        elif isinstance(look, ImageLook):
            tally.image(look)
        else:
            tally.record(look)
        progress(f"{centre}: looked at", number, total)
    return tally
