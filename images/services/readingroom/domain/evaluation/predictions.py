"""What a submission gives back: `predictions.csv`, a line for each case that was asked, a number for each task, nothing else.

It has no text, no column and no line of the submission's own, and a number is rounded before it is looked at: the one thing that
can be said in it is how likely each case is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence, Set
from enum import StrEnum
from typing import Final

CASE: Final = re.compile(r"[0-9a-f]{16}")
CASE_COLUMN: Final = "case"
_NUMBER: Final = re.compile(r"[0-9]{1,2}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?")
_LONGEST: Final = 32  # characters of a number, with its comma

Scores = Mapping[str, Sequence[float]]


class Reason(StrEnum):
    """Why a run has no figures. The only words that come out of one, and they say nothing of a case."""

    TIME_OUT = "time-out"
    OVER_LIMIT = "over-limit"
    FAILED = "failed"
    NO_PREDICTIONS = "no-predictions"
    MALFORMED = "predictions-malformed"
    INCOMPLETE = "predictions-incomplete"


class Unusable(Exception):
    """There are no predictions to judge."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def largest(cases: int, tasks: int) -> int:
    """Bytes that predictions of so many cases can have, line ends included."""
    return 256 + (cases + 1) * (18 + tasks * _LONGEST)


def predictions_from(content: bytes, tasks: Sequence[str], cases: Set[str], decimals: int) -> Scores:
    """The scores of each case, in the order of the tasks. Raises `Unusable`: what is not exactly as asked is nothing."""
    if len(content) > largest(len(cases), len(tasks)):
        raise Unusable(Reason.MALFORMED)
    try:
        lines = content.decode("ascii").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise Unusable(Reason.MALFORMED) from error
    if lines[-1] == "":
        lines.pop()
    if not lines or lines[0].split(",") != [CASE_COLUMN, *tasks]:
        raise Unusable(Reason.MALFORMED)
    found: dict[str, list[float]] = {}
    for line in lines[1:]:
        case, *numbers = line.split(",")
        if not CASE.fullmatch(case) or case not in cases or case in found or len(numbers) != len(tasks):
            raise Unusable(Reason.MALFORMED)
        found[case] = [_score(number, decimals) for number in numbers]
    if found.keys() != cases:
        raise Unusable(Reason.INCOMPLETE)
    return found


def _score(text: str, decimals: int) -> float:
    if len(text) >= _LONGEST or not _NUMBER.fullmatch(text):
        raise Unusable(Reason.MALFORMED)
    number = float(text)
    if not math.isfinite(number) or number > 1.0:
        raise Unusable(Reason.MALFORMED)
    return round(number, decimals)
