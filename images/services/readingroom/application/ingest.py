"""Receive what a centre sends: each input gets one answer, and what is received is durable before anybody is told.

First every file is seen, then all are judged together, then what is received is stored as one batch, which appears at
once. A run that was killed has done nothing, and the next one does it all; a run over files that lie in landing already
finds them there and gives the same answers. `data.md` sections 3 and 4.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from readingroom.application.ports_ingest import Batch, Inbox, Landing, Receipt
from readingroom.domain.clinical.record import Told, strongest
from readingroom.domain.deid.outcome import FileRejected, Reason
from readingroom.domain.door import Answer, Seen, Verdict, judge
from readingroom.domain.opt_out import NOBODY, OptOuts

SCHEMA: Final = "readingroom/batch/v1"
EVERY: Final = 500  # files between two lines of progress


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What a run did: inputs by answer and reason, and the batch that is new."""

    counts: Counter[tuple[Answer, Reason | None]]
    batch: str | None


def ingest(
    centre: str,
    inbox: Inbox,
    landing: Landing,
    receipt: Receipt | None,
    say: Callable[[str], None],
    opt_outs: OptOuts = NOBODY,
) -> Ingested:
    """Every input gets one answer and one line of the receipt; new contents become one batch.

    Who opted out is refused before anything is stored, and nothing is kept of the refusal but the receipt's line.

    Raises `WrongSetUp` and `TryAgain` where folders are in the way; what a file holds ends that file, never the run.
    """
    verdicts = judge(_seen(inbox, say), opt_outs.known_as(inbox.token))
    with landing.batch() as batch:
        there = frozenset(landing.stored())
        verdicts, new = _stored(verdicts, there, inbox, batch)
        name = batch_id(centre, (seen.sha256 for seen in new)) if new else None
        if name is not None:
            batch.commit(name, _record(centre, name, new, verdicts))
    if receipt is not None:
        places = landing.stored()
        receipt.write([_line(verdict, places) for verdict in verdicts])
    return Ingested(counts=_counted(verdicts), batch=name)


def _seen(inbox: Inbox, say: Callable[[str], None]) -> list[Seen]:
    found: list[Seen] = []
    for seen in inbox.seen():
        found.append(seen)
        if len(found) % EVERY == 0 or len(found) == len(inbox):
            say(f"seen {len(found)} of {len(inbox)} files")
    return found


def _stored(
    verdicts: Iterable[Verdict], there: frozenset[str], inbox: Inbox, batch: Batch
) -> tuple[list[Verdict], list[Seen]]:
    """The verdicts after storing, and what is new. Of several inputs with the same bytes, the first is received.

    An input whose bytes are not those that were judged is rejected: nobody knows what it is now.
    """
    done: list[Verdict] = []
    new: list[Seen] = []
    met: set[str] = set()
    for verdict in verdicts:
        seen = verdict.seen
        if verdict.answer is not Answer.RECEIVED:
            done.append(verdict)
        elif seen.sha256 in met:
            done.append(replace(verdict, reason=Reason.SAME_AS_ANOTHER))
        elif seen.sha256 in there:
            met.add(seen.sha256)
            done.append(verdict)
        elif _store(seen, inbox, batch):
            met.add(seen.sha256)
            new.append(seen)
            done.append(verdict)
        else:
            done.append(replace(verdict, answer=Answer.REJECTED, reason=Reason.UNREADABLE))
    return done, new


def _store(seen: Seen, inbox: Inbox, batch: Batch) -> bool:
    try:
        return batch.store(inbox.pieces(seen.input), seen.sha256, clinical=seen.clinical is not None)
    except FileRejected:
        return False


def batch_id(centre: str, contents: Iterable[str]) -> str:
    """A batch is named by what is in it, by SHA-256, so that the same files make the same batch."""
    return "b-" + hashlib.sha256("\n".join([centre, *sorted(contents)]).encode()).hexdigest()[:16]


def _record(centre: str, name: str, new: Iterable[Seen], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """`batch.json`: contents by hash, and counts; no name of a file, no value of one.

    Of a clinical record also its sort and the day it was sent on: both stood in names, which go.
    """
    answers = Counter(verdict.answer for verdict in verdicts)
    contents = sorted(new, key=lambda seen: seen.sha256)
    told: dict[str, list[Told]] = {}  # what all names of the same bytes say
    for verdict in verdicts:
        if verdict.seen.clinical is not None:
            told.setdefault(verdict.seen.sha256, []).append(verdict.seen.clinical)
    clinical = [
        {"sha256": seen.sha256, "size": seen.size, **asdict(strongest(told[seen.sha256]))}
        for seen in contents
        if seen.clinical is not None
    ]
    return {
        "schema": SCHEMA,
        "centre": centre,
        "batch": name,
        "instances": [{"sha256": seen.sha256, "size": seen.size} for seen in contents if seen.clinical is None],
        **({"clinical": clinical} if clinical else {}),
        "counts": {answer.value: answers[answer] for answer in Answer},
    }


def _line(verdict: Verdict, places: dict[str, str]) -> dict[str, Any]:
    received = verdict.answer is Answer.RECEIVED
    return {
        "input": verdict.seen.input,
        "outcome": verdict.answer.value,
        "reason": verdict.reason.value if verdict.reason else None,
        "output": places[verdict.seen.sha256] if received else None,
    }


def _counted(verdicts: Iterable[Verdict]) -> Counter[tuple[Answer, Reason | None]]:
    return Counter((verdict.answer, verdict.reason) for verdict in verdicts)
