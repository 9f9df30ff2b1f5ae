"""How often a project may still ask, and how much it may still be told, so that no number of questions gives the answers away.

A question is spent before it runs and never comes back, whatever becomes of the run. The same question again is no new one.

What the limit of bits is worth: of N cases whose answers nobody can guess, whoever is told B bits in all gets on average no more
than N/2 + sqrt(N·B·ln 2 / 2) right, however cleverly he asks (each bit is at most one bit of information about all of them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from readingroom.domain.errors import Refused, TryAgain
from readingroom.domain.evaluation.plan import Budget

ATTEMPTS = 3  # of one question: a machine may die, but not at will


@dataclass(frozen=True, kw_only=True)
class Spent:
    """One question that a project has asked."""

    question: str
    at: datetime
    bits: float


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a project may still ask: now, and in all."""

    now: int
    in_all: int


def left(budget: Budget, spent: Sequence[Spent], now: datetime, bits: float, cases: int) -> Left:
    """What is left before the next question of so many bits about so many cases."""
    recent = sum(each.at > now - timedelta(days=budget.days) for each in spent)
    afford = int((budget.bits_per_case * cases - sum(each.bits for each in spent)) / bits + 1e-9)
    in_all = max(0, min(budget.queries_in_all - len(spent), afford))
    return Left(now=max(0, min(budget.queries - recent, in_all)), in_all=in_all)


def check_can_ask(budget: Budget, spent: Sequence[Spent], now: datetime, bits: float, cases: int) -> None:
    """Raises `Refused` if nothing is left, `TryAgain` if the clock runs behind what was spent."""
    if any(each.at > now for each in spent):
        raise TryAgain(
            what="evaluation",
            which="the clock",
            why="it is before the last question was asked",
            next_step="set the clock, then run the same command again",
        )
    found = left(budget, spent, now, bits, cases)
    if not found.now:
        again = f"wait until {budget.days} days after the first of the last {budget.queries}"
        raise Refused(
            what="evaluation",
            which=f"{len(spent)} questions were asked",
            why=f"the plan allows {budget.queries} in {budget.days} days, {budget.queries_in_all} in all, and "
            f"{budget.bits_per_case:g} bits a case: {'none is left for now' if found.in_all else 'nothing is left'}",
            next_step=again if found.in_all else "ask the data access committee for a plan of another version",
        )
