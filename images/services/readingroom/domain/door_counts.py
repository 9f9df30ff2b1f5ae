"""What a centre may read about its own files: how many wait, were accepted, held, rejected, released. Counts and codes only.

A file counts once: by what was said of it last at the door, and of an original in landing by the best that a project's
`deid` said of it. `data.md` section 3.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from readingroom.domain.deid.outcome import Outcome
from readingroom.domain.door import Answer

Line = Mapping[str, Any]
_SENT: Final = re.compile(r"\d{6}_(.+)")  # what came over the network: its number in the association, its instance UID
_BEST: Final = (Outcome.RELEASED, Outcome.HELD, Outcome.REJECTED)


@dataclass(frozen=True, kw_only=True)
class CentreCounts:
    """Counts of one centre; held and rejected by reason."""

    pending: int = 0  # acknowledged over the network, not ingested yet
    accepted: int = 0  # originals in landing
    held: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    released: int = 0  # originals that are in a warehouse of at least one project


def counts_of(pending: int, accepted: int, door: Iterable[Line], deid: Iterable[Line]) -> CentreCounts:
    """`door` holds the lines of its receipts, oldest first; `deid` those about its originals, of any number of projects."""
    last = {_which(line["input"]): line for line in door}
    best: dict[str, Line] = {}
    for line in deid:
        known = best.get(line["input"])
        if known is None or _BEST.index(line["outcome"]) < _BEST.index(known["outcome"]):
            best[line["input"]] = line
    told = [*last.values(), *best.values()]
    return CentreCounts(
        pending=pending,
        accepted=accepted,
        held=_by_reason(told, Answer.HELD),
        rejected=_by_reason(told, Answer.REJECTED),
        released=sum(line["outcome"] == Outcome.RELEASED for line in best.values()),
    )


def _by_reason(lines: Iterable[Line], outcome: str) -> dict[str, int]:
    return dict(Counter(line["reason"] for line in lines if line["outcome"] == outcome))


def _which(name: str) -> str:
    sent = _SENT.fullmatch(name)
    return sent[1] if sent else name
