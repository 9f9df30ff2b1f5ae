"""Evaluate a submission on the hold-out: a question is spent, then run, then answered, in this order. `governance.md` section 15.

Killed at any point, the same command goes on without spending again and without a second answer: what was answered once is what
is answered always. A run that fails is an answer too, so failing is no way to ask for free.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from readingroom.application.ports_evaluate import HoldOut, Memory, Names, Room
from readingroom.domain.errors import Refused
from readingroom.domain.evaluation.answer import Asked, answered, bits, failed, too_small
from readingroom.domain.evaluation.budget import ATTEMPTS, Left, Spent, check_can_ask, left
from readingroom.domain.evaluation.plan import Plan
from readingroom.domain.evaluation.predictions import Reason, Unusable
from readingroom.domain.ids import ProjectId


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The report, whether it was there already, and what the project may still ask."""

    question: str
    report: Mapping[str, Any]
    again: bool
    left: Left


def evaluate(  # noqa: PLR0913 (who asks what of whom, where, and when)
    project: ProjectId, plan: Plan, holdout: HoldOut, room: Room, memory: Memory, *, names: Names, now: datetime
) -> Evaluated:
    """Raises `Refused` for a project that the plan does not name, a hold-out too small for it, or a budget that is spent."""
    if project not in plan.projects:
        raise _refused(f"project {project}", f"the plan {plan.name} does not name it")
    images, rows = holdout.images(), holdout.rows()
    cases = {
        patient: rows[patient]
        for patient in images.keys() & rows.keys()
        if any(task.label(rows[patient]) is not None for task in plan.tasks)
    }
    if too_small(plan, cases):
        raise _refused(f"plan {plan.name}", f"the hold-out has fewer than {plan.telling.smallest} cases of a kind")
    asked = Asked(
        project=project,
        plan=plan.name,
        plan_sha256=plan.sha256,
        submission_sha256=room.sha256,
        holdout_sha256=holdout.sha256,
    )
    question = hashlib.sha256(json.dumps(asdict(asked), sort_keys=True).encode("ascii")).hexdigest()
    costs = bits(plan)
    with memory.alone():
        report = memory.report(question)
        again = report is not None
        if report is None:
            if question not in {each.question for each in memory.spent()}:
                check_can_ask(plan.budget, memory.spent(), now, costs, len(cases))
                holdout.check(cases.keys())
                memory.spend(Spent(question=question, at=now, bits=costs))
            report = _run(asked, plan, cases, images, room, names, attempt=memory.attempt(question))
            memory.keep(question, report)
        return Evaluated(
            question=question,
            report=report,
            again=again,
            left=left(plan.budget, memory.spent(), now, costs, len(cases)),
        )


def _run(  # noqa: PLR0913 (as above)
    asked: Asked,
    plan: Plan,
    rows: Mapping[str, Mapping[str, str]],
    images: Mapping[str, Any],
    room: Room,
    names: Names,
    *,
    attempt: int,
) -> Mapping[str, Any]:
    if attempt > ATTEMPTS:
        return failed(asked, Reason.OVER_LIMIT)
    named = {names(patient): patient for patient in rows}
    try:
        scores = room.scores({case: images[named[case]] for case in sorted(named)})
    except Unusable as error:
        return failed(asked, error.reason)
    return answered(asked, plan, {case: rows[patient] for case, patient in named.items()}, scores)


def _refused(which: str, why: str) -> Refused:
    return Refused(
        what="evaluation", which=which, why=why, next_step="ask the data access committee for a plan that fits"
    )
