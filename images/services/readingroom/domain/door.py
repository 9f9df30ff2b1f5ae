"""What becomes of each file that a centre sends: received, held or rejected. `data.md` section 3, points 5 to 7.

A conflict concerns several files and holds all of them, never "the second", so the order of the files cannot matter.
Who a file is about comes in as tokens, equal where the values are equal and telling nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from readingroom.domain.clinical.record import Told
from readingroom.domain.deid.conflicts import Marks, contradictions
from readingroom.domain.deid.outcome import Reason
from readingroom.domain.opt_out import NAMELESS, NOBODY, Names, OptOuts, barred

CENTRE: Final = re.compile(r"[A-Z0-9]{2,12}")  # a centre's code, which is a folder's name in landing


class Answer(StrEnum):
    """Received: its bytes are in landing. Held: a person must look. Rejected: not accepted."""

    RECEIVED = "received"
    HELD = "held"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Tokens of what a file says it is; `birth` is empty where the file does not say."""

    instance: str
    study: str
    patient: str
    birth: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One input as the door saw it: what it is, or why it is not accepted."""

    input: str
    sha256: str = ""
    size: int = 0
    identity: Identity | None = None
    clinical: Told | None = None  # of a clinical record: its sort and day
    names: Names = NAMELESS  # by tokens
    reason: Reason | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The answer to one input."""

    seen: Seen
    answer: Answer
    reason: Reason | None = None


def token(value: str, key: bytes) -> str:
    """What stands for a value in one run, under the run's key; nothing stands for nothing."""
    whole = value.encode(errors="surrogateescape")
    return hashlib.blake2b(whole, key=key, digest_size=16).hexdigest() if whole else ""


def judge(inputs: Sequence[Seen], opt_outs: OptOuts = NOBODY) -> list[Verdict]:
    """One verdict for each input, in the order of their names whatever order they come in.

    Who opted out is refused before anything else is said of their files. `opt_outs` knows names by the same tokens.
    """
    ordered = sorted(inputs, key=lambda seen: seen.input.encode(errors="surrogateescape"))
    held = contradictions(
        {
            seen.input: Marks(
                content=seen.sha256, instance=who.instance, study=who.study, patient=who.patient, born=who.birth
            )
            for seen in ordered
            if (who := seen.identity) is not None
        }
    )
    away = barred({seen.input: seen.names for seen in ordered}, opt_outs)
    verdicts = []
    for seen in ordered:
        if (why := away.get(seen.input)) is Reason.OPTED_OUT:
            verdicts.append(Verdict(seen=seen, answer=Answer.REJECTED, reason=why))
        elif seen.identity is None and seen.clinical is None:
            two = seen.reason is Reason.IDENTITY_CONFLICT  # a record that names two patients
            verdicts.append(Verdict(seen=seen, answer=Answer.HELD if two else Answer.REJECTED, reason=seen.reason))
        elif reason := held.get(seen.input, why):
            verdicts.append(Verdict(seen=seen, answer=Answer.HELD, reason=reason))
        else:
            verdicts.append(Verdict(seen=seen, answer=Answer.RECEIVED))
    return verdicts
