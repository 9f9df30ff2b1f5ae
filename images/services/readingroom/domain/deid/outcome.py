"""What becomes of one file. Every input gets one outcome; a held or rejected one has a reason code.

The codes are data (`policies/deid/reasons.yaml`); those that code raises stand here, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from readingroom.domain.errors import Held, Rejected


class Outcome(StrEnum):
    """Released: a file was written. Held: a person must look. Rejected: not accepted."""

    RELEASED = "released"
    HELD = "held"
    REJECTED = "rejected"


class Reason(StrEnum):
    """Reason codes that our code gives."""

    NOT_DICOM = "not-dicom"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    OVER_LIMIT = "over-limit"
    OUT_OF_SPACE = "out-of-space"
    TIME_OUT = "time-out"
    CRASH = "crash"
    SOP_CLASS = "sop-class"
    TRANSFER_SYNTAX = "transfer-syntax"
    UID_MALFORMED = "uid-malformed"
    IDENTITY_MISSING = "identity-missing"
    VERIFIER = "verifier"
    CLINICAL_MALFORMED = "clinical-malformed"
    OPTED_OUT = "opted-out"
    PIXELS_DOUBTFUL = "pixels-doubtful"
    FACES_POSSIBLE = "faces-possible"
    IDENTITY_CONFLICT = "identity-conflict"
    UID_CONFLICT = "uid-conflict"
    OPT_OUT_UNKNOWN = "opt-out-unknown"
    CODESTREAM_DOUBTFUL = "codestream-doubtful"
    SAME_AS_ANOTHER = "same-as-another"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the receipt says of one input."""

    outcome: str
    reason: str | None = None
    output: str | None = None

    def of_the_same(self) -> Verdict:
        """What this verdict on the first of several inputs with the same bytes means for the others."""
        reason = Reason.SAME_AS_ANOTHER if self.outcome == Outcome.RELEASED else self.reason
        return Verdict(outcome=self.outcome, reason=reason, output=self.output)


def turned_away(answer: Mapping[str, Any]) -> Verdict:
    """The verdict on a file that a worker did not release."""
    return Verdict(outcome=Outcome(answer["outcome"]), reason=Reason(answer["reason"]))


class FileRejected(Rejected):
    """This file is not accepted. Its message holds the code and nothing of the file."""

    outcome = Outcome.REJECTED

    def __init__(self, reason: Reason) -> None:
        super().__init__(what="a file", which=reason, why="see reasons.yaml", next_step="correct it at its source")
        self.reason = reason


class FileHeld(Held):
    """A person must look at this file. Its message holds the code and nothing of the file."""

    outcome = Outcome.HELD

    def __init__(self, reason: Reason) -> None:
        super().__init__(what="a file", which=reason, why="see reasons.yaml", next_step="let a data manager look")
        self.reason = reason
