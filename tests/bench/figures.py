"""Seconds to percentiles, ratios and tables. Pure."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

DRAWS = 2000
SEED = 1  # the same times give the same interval


@dataclass(frozen=True)
class Start:
    """One start of one server: how long from the request to usable, or why it failed; `stages` are seconds after the request."""

    arm: str
    concurrent: int
    round: int
    seconds: float | None
    failure: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians with its 90 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def nearest_rank(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed; of few values a high one is simply the largest."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def ratio(over: Sequence[float], under: Sequence[float]) -> Ratio:
    """Median over median; the interval comes from drawing both samples again, starts of one round as if independent."""
    chance = random.Random(SEED)  # noqa: S311 (a resampling, not a secret)

    def again(values: Sequence[float]) -> float:
        return statistics.median(chance.choices(values, k=len(values)))

    drawn = [again(over) / again(under) for _ in range(DRAWS)]
    value = statistics.median(over) / statistics.median(under)
    return Ratio(value, nearest_rank(drawn, 0.05), nearest_rank(drawn, 0.95))


def times(starts: Iterable[Start], arm: str, concurrent: int) -> list[float]:
    """Seconds of those that became usable."""
    return [one.seconds for one in starts if (one.arm, one.concurrent) == (arm, concurrent) and one.seconds is not None]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns side by side: the first to the left, the others to the right."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def spawn_table(starts: Sequence[Start], arms: Sequence[str], levels: Sequence[int]) -> str:
    """One line for each arm and number of concurrent starts."""
    rows = []
    for concurrent in levels:
        for arm in arms:
            all_of_it = [one for one in starts if (one.arm, one.concurrent) == (arm, concurrent)]
            good = times(starts, arm, concurrent)
            shown = [statistics.median(good), nearest_rank(good, 0.95), max(good)] if good else [math.nan] * 3
            failed = sum(one.seconds is None for one in all_of_it)
            rows.append(
                [arm, str(concurrent), str(len(all_of_it)), str(failed), *(f"{seconds:.2f}" for seconds in shown)]
            )
    return table(["arm", "at once", "starts", "failed", "p50 s", "p95 s", "max s"], rows)


def ratio_lines(starts: Sequence[Start], over: str, unders: Sequence[str], levels: Sequence[int]) -> list[str]:
    """Sentences, for each pair of arms that both have times."""
    found = []
    for under in unders:
        for concurrent in levels:
            pair = times(starts, over, concurrent), times(starts, under, concurrent)
            if all(pair):
                found.append(f"{over} / {under}, {concurrent} at once: {ratio(*pair)}")
    return found


def stage_table(starts: Sequence[Start], arms: Sequence[str], levels: Sequence[int], stages: Sequence[str]) -> str:
    """Median seconds after the request at which each stage was reached; a dash where an arm has no such stage."""
    rows = []
    for concurrent in levels:
        for arm in arms:
            mine = [
                one.stages
                for one in starts
                if (one.arm, one.concurrent) == (arm, concurrent) and one.seconds is not None
            ]
            reached = [[one[stage] for one in mine if stage in one] for stage in stages]
            rows.append(
                [arm, str(concurrent), *(f"{statistics.median(each):.2f}" if each else "-" for each in reached)]
            )
    return table(["arm", "at once", *stages], rows)
