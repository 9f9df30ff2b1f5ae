"""A plan as small as the rules allow, and cases made up for it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from readingroom.domain.evaluation.answer import Asked
from readingroom.domain.evaluation.plan import Plan, plan_from

DOCUMENT: Mapping[str, Any] = {
    "plan": "small",
    "version": 1,
    "question": "Is it so?",
    "projects": ["demo"],
    "decimals": 3,
    "tasks": {"covid": {"column": "status", "positive": ["1"], "negative": ["0"], "threshold": 0.5}},
    "groups": {"sex": {"column": "sex", "values": ["F", "M"]}, "age": {"column": "age", "bounds": [40, 60]}},
    "telling": {"smallest": 10, "blur": 5, "step": 0.02, "calibration": True},
    "budget": {"queries": 2, "days": 30, "queries_in_all": 3, "bits_per_case": 1},
    "costs": {"seconds": 20, "memory_mib": 512, "scratch_mib": 16, "processes": 16, "submission_mib": 4},
}
ASKED = Asked(project="demo", plan="small", plan_sha256="1" * 64, submission_sha256="2" * 64, holdout_sha256="3" * 64)


def plan(**changes: Any) -> Plan:
    return plan_from({**DOCUMENT, **changes}, "1" * 64)


def people(number: int, seed: int = 7, share: float = 0.4) -> dict[str, dict[str, str]]:
    """Rows of a clinical table, by the name of a case."""
    chance = random.Random(seed)  # noqa: S311 (made-up cases)
    return {
        f"{case:016x}": {
            "status": "1" if chance.random() < share else "0",
            "sex": chance.choice(("F", "M", "")),
            "age": str(chance.randrange(20, 90)),
        }
        for case in range(number)
    }


def guesses(rows: Mapping[str, Mapping[str, str]], seed: int = 3) -> dict[str, list[float]]:
    """What a fair model says."""
    chance = random.Random(seed)  # noqa: S311 (made-up cases)
    middle = {"1": 0.6, "0": 0.4}
    return {case: [round(min(1, max(0, chance.gauss(middle[row["status"]], 0.2))), 3)] for case, row in rows.items()}
