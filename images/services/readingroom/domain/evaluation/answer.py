"""What is told of a run: figures of groups that are large enough, in steps, and counts in tens. And how many bits that can be.

A group is hidden if it is small, and another with it where what is hidden could be worked out by subtraction from what is shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from readingroom.domain.evaluation import figures
from readingroom.domain.evaluation.figures import STEPS, Judged
from readingroom.domain.evaluation.plan import BINS, Grouping, Plan, Task, Telling
from readingroom.domain.evaluation.predictions import Reason, Scores

SCHEMA: Final = "readingroom/evaluation/v1"
FIGURES: Final = ("auroc", "sensitivity", "specificity", "brier", "calibration_in_the_large")
HIDDEN: Final[Mapping[str, Any]] = {"hidden": True}
_REST: Final = ""  # cases that no group names: they are told of nowhere, and count as hidden

Row = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who asked what of which hold-out: three digests and two names."""

    project: str
    plan: str
    plan_sha256: str
    submission_sha256: str
    holdout_sha256: str


def answered(asked: Asked, plan: Plan, rows: Mapping[str, Row], scores: Scores) -> dict[str, Any]:
    """The report of a run that gave predictions: `rows` of the clinical table and scores by case."""
    tasks = {}
    for place, task in enumerate(plan.tasks):
        labels = {case: task.label(row) for case, row in rows.items()}
        judged = {
            case: Judged(scores[case][place], label) for case, label in sorted(labels.items()) if label is not None
        }
        tasks[task.name] = _task(task, plan, judged, rows)
    return {"schema": SCHEMA, **asdict(asked), "outcome": "answered", "tasks": tasks}


def failed(asked: Asked, reason: Reason) -> dict[str, Any]:
    """The report of a run that gave none: a word."""
    return {"schema": SCHEMA, **asdict(asked), "outcome": "failed", "reason": reason.value}


def too_small(plan: Plan, rows: Mapping[str, Row]) -> bool:
    """Whether any task has too few cases of either kind for any figure."""
    groups = ([task.label(row) for row in rows.values()] for task in plan.tasks)
    return any(min(labels.count(True), labels.count(False)) < plan.telling.smallest for labels in groups)


def bits(plan: Plan) -> float:
    """The most that one answer can tell: the logarithm of how many answers there are. Counts of cases are always the same."""
    values = round(1 / next(step for step in STEPS if step >= plan.telling.step - 1e-9)) + 2  # a value more for hidden
    figure = math.log2(values)
    task = (len(FIGURES) - 1) * figure + math.log2(2 * values)
    task += sum(len(grouping.levels()) for grouping in plan.groupings) * figure
    task += plan.telling.calibration * BINS * (figure + math.log2(len(STEPS)))
    return len(plan.tasks) * task + math.log2(1 + len(Reason))


def hidden_of(groups: Mapping[str, Sequence[Judged]], smallest: int) -> frozenset[str]:
    """The groups that are not shown: small ones, and then the next smallest until they are large enough together."""

    def least(*names: str) -> int:
        cases = [case for name in names for case in groups[name]]
        positives = sum(case.positive for case in cases)
        return min(positives, len(cases) - positives)

    hidden = {name for name in groups if name == _REST or least(name) < smallest}
    shown = sorted(set(groups) - hidden, key=lambda name: (least(name), name))
    while shown and any(groups[name] for name in hidden) and least(*hidden) < smallest:
        hidden.add(shown.pop(0))
    return frozenset(hidden)


def _task(task: Task, plan: Plan, judged: Mapping[str, Judged], rows: Mapping[str, Row]) -> dict[str, Any]:
    telling, cases = plan.telling, list(judged.values())
    found = {"threshold": task.threshold, "overall": _overall(cases, task.threshold, telling)}
    if telling.calibration:
        found["calibration"] = _calibration(cases, telling)
    if plan.groupings:
        found["groups"] = {each.name: _groups(each, judged, rows, telling) for each in plan.groupings}
    return found


def _overall(cases: Sequence[Judged], threshold: float, telling: Telling) -> dict[str, Any]:
    positives, negatives, told = _counts(cases, telling)
    if min(positives, negatives) < telling.smallest:
        return dict(HIDDEN)
    step = figures.step_for(min(positives, negatives), telling.blur, telling.step)
    score = figures.share_told(figures.brier(cases), step, told["cases"])
    found = (
        figures.area_told(figures.auroc(cases), step, told["positives"], told["negatives"]),
        figures.share_told(figures.sensitivity(cases, threshold), step, told["positives"]),
        figures.share_told(figures.specificity(cases, threshold), step, told["negatives"]),
        score,
        figures.difference_told(figures.in_the_large(cases), step, told["cases"], score),
    )
    return {**told, **{name: asdict(each) for name, each in zip(FIGURES, found, strict=True)}}


def _groups(
    grouping: Grouping, judged: Mapping[str, Judged], rows: Mapping[str, Row], telling: Telling
) -> dict[str, Any]:
    groups: dict[str, list[Judged]] = {level: [] for level in [*grouping.levels(), _REST]}
    for name, case in judged.items():
        groups[grouping.level(rows[name]) or _REST].append(case)
    hidden = hidden_of(groups, telling.smallest)
    return {level: dict(HIDDEN) if level in hidden else _area(groups[level], telling) for level in grouping.levels()}


def _area(cases: Sequence[Judged], telling: Telling) -> dict[str, Any]:
    positives, negatives, told = _counts(cases, telling)
    step = figures.step_for(min(positives, negatives), telling.blur, telling.step)
    area = figures.area_told(figures.auroc(cases), step, told["positives"], told["negatives"])
    return {**told, "auroc": asdict(area)}


def _calibration(cases: Sequence[Judged], telling: Telling) -> list[dict[str, Any]]:
    """The share of positives where the score lies in each fifth. Which cases do is the submission's to choose: no counts."""
    bins: dict[str, list[Judged]] = {str(number): [] for number in range(BINS)}
    for case in cases:
        bins[str(min(BINS - 1, int(case.score * BINS)))].append(case)
    hidden = hidden_of(bins, telling.smallest)
    return [dict(HIDDEN) if name in hidden else _share(bins[name], telling) for name in bins]


def _share(cases: Sequence[Judged], telling: Telling) -> dict[str, Any]:
    positives = sum(case.positive for case in cases)
    step = figures.step_for(min(positives, len(cases) - positives), telling.blur, telling.step)
    fewest = max(2, math.ceil(2 * telling.blur / step))  # what the step says of how many there are
    return {"positives": asdict(figures.share_told(positives / len(cases), step, fewest))}


def _counts(cases: Sequence[Judged], telling: Telling) -> tuple[int, int, dict[str, int]]:
    """Positives, negatives, and what is told of both: rounded down, to tens where the smallest group is ten."""
    positives = sum(case.positive for case in cases)
    negatives = len(cases) - positives
    tens = [count // telling.smallest * telling.smallest for count in (positives, negatives)]
    return positives, negatives, {"cases": sum(tens), "positives": tens[0], "negatives": tens[1]}
