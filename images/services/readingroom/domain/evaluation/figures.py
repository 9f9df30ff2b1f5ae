"""Figures of a model that says yes or no, told in steps, and intervals that are worked out from what is told alone.

An interval therefore tells nothing more of anybody: from the same figures everybody gets the same one. It covers the whole step
that a figure may lie in, so it is wider than one from the exact figure.

- Area under the ROC curve: ties count a half; interval of Hanley and McNeil (1982).
- Sensitivity and specificity at the plan's threshold; Wilson's interval (1927).
- Brier score: Wilson's too, which no mean of numbers from 0 to 1 needs more than.
- Calibration in the large: mean score less the share of positives; normal, the variance at most the Brier score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

Z: Final = 1.959963984540054  # 95 per cent
CHANCE: Final = 0.5  # the area of whoever guesses
STEPS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Judged:
    """One case: its score and the truth."""

    score: float
    positive: bool


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure as it is told: within half a step of the value, and 95 per cent sure to be between low and high."""

    value: float
    low: float
    high: float
    step: float


def auroc(cases: Sequence[Judged]) -> float:
    """How often a positive case scores above a negative one, half for a tie. The caller has some of each."""
    positives = sum(case.positive for case in cases)
    below = wins = 0.0
    for _, tied in groupby(sorted(cases, key=lambda case: case.score), key=lambda case: case.score):
        labels = [case.positive for case in tied]
        more = sum(labels)
        wins += more * (below + (len(labels) - more) / 2)
        below += len(labels) - more
    return wins / (positives * (len(cases) - positives))


def sensitivity(cases: Sequence[Judged], threshold: float) -> float:
    """The share of positive cases that are called so."""
    called = [case.score >= threshold for case in cases if case.positive]
    return sum(called) / len(called)


def specificity(cases: Sequence[Judged], threshold: float) -> float:
    """The share of negative cases that are called so."""
    called = [case.score < threshold for case in cases if not case.positive]
    return sum(called) / len(called)


def brier(cases: Sequence[Judged]) -> float:
    """The mean squared distance of score and truth."""
    return math.fsum((case.score - case.positive) ** 2 for case in cases) / len(cases)


def in_the_large(cases: Sequence[Judged]) -> float:
    """The mean score less the share of positives: above 0, the model promises too much."""
    return math.fsum(case.score - case.positive for case in cases) / len(cases)


def step_for(least: int, blur: int, finest: float) -> float:
    """The step in which a figure of `least` positives or negatives is told: `blur` of them together move it by one."""
    return next(step for step in STEPS if step >= max(finest, min(1.0, blur / least)) - 1e-9)


def stepped(value: float, step: float, middle: float = 0.0) -> float:
    """The value in whole steps from a middle, which is told as it is: what guessing comes to lies on no edge of a step."""
    return round(middle + round((value - middle) / step) * step, 2)


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's interval of a share of a count."""
    shrunk = 1 + Z * Z / count
    middle = (share + Z * Z / (2 * count)) / shrunk
    reach = Z / shrunk * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def hanley_mcneil(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """Hanley and McNeil's interval of an area under the ROC curve."""
    first, second = area / (2 - area), 2 * area * area / (1 + area)
    spread = area * (1 - area) + (positives - 1) * (first - area * area) + (negatives - 1) * (second - area * area)
    reach = Z * math.sqrt(max(0.0, spread) / (positives * negatives))
    return max(0.0, area - reach), min(1.0, area + reach)


def area_told(exact: float, step: float, positives: int, negatives: int) -> Figure:
    """The area as it is told. Counts, here and below, are those that are told."""
    value = stepped(exact, step, CHANCE)
    low, high = _edges(value, step)
    return _figure(
        value, step, hanley_mcneil(low, positives, negatives)[0], hanley_mcneil(high, positives, negatives)[1]
    )


def share_told(exact: float, step: float, count: int) -> Figure:
    """A share, or another mean of numbers from 0 to 1, as it is told."""
    value = stepped(exact, step)
    low, high = _edges(value, step)
    return _figure(value, step, wilson(low, count)[0], wilson(high, count)[1])


def difference_told(exact: float, step: float, count: int, score: Figure) -> Figure:
    """Calibration in the large as it is told, beside a Brier score as told."""
    value = stepped(exact, step)
    reach = step / 2 + Z * math.sqrt(min(1.0, score.value + score.step / 2) / count)
    return _figure(value, step, max(-1.0, value - reach), min(1.0, value + reach))


def _edges(value: float, step: float) -> tuple[float, float]:
    return max(0.0, value - step / 2), min(1.0, value + step / 2)


def _figure(value: float, step: float, low: float, high: float) -> Figure:
    """Bounds are rounded outwards."""
    return Figure(
        value=value, step=step, low=math.floor(low * 100 + 1e-9) / 100, high=math.ceil(high * 100 - 1e-9) / 100
    )
