"""What an evaluation asks and may tell, fixed before any model is seen: tasks, groups, limits, budget. Policy data.

Absent means no: a project that the plan does not name asks nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

BINS: Final = 5  # of the calibration, from 0 to 1 in equal parts


@dataclass(frozen=True, kw_only=True)
class Task:
    """A yes or no about each case: the column of the clinical table that answers it, and the score from which on it is a yes."""

    name: str
    column: str
    positive: frozenset[str]
    negative: frozenset[str]
    threshold: float

    def label(self, row: Mapping[str, str]) -> bool | None:
        """The truth about a case, None where its cell says neither."""
        cell = row.get(self.column, "")
        return True if cell in self.positive else False if cell in self.negative else None


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Cases in groups that do not overlap: by a cell's word, or by where a number falls between bounds."""

    name: str
    column: str
    values: tuple[str, ...] = ()
    bounds: tuple[int, ...] = ()

    def levels(self) -> list[str]:
        """The groups' names, in order."""
        if self.values:
            return list(self.values)
        first, last = self.bounds[0], self.bounds[-1]
        between = zip(self.bounds, self.bounds[1:], strict=False)
        return [f"below {first}", *(f"{low} to {high - 1}" for low, high in between), f"{last} and over"]

    def level(self, row: Mapping[str, str]) -> str | None:
        """The group of a case, None where its cell says none."""
        cell = row.get(self.column, "")
        if self.values:
            return cell if cell in self.values else None
        if not (cell.isascii() and cell.isdecimal()):
            return None
        return self.levels()[sum(int(cell) >= bound for bound in self.bounds)]


@dataclass(frozen=True, kw_only=True)
class Telling:
    """How much is told. No group of fewer cases, positives or negatives than `smallest` has a figure.

    A figure moves in steps that `blur` cases together are needed for, and never in finer ones than `step`.
    """

    smallest: int
    blur: int
    step: float
    calibration: bool


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How often a project may ask, in a number of days and in all, and how many bits about each case it may be told in all."""

    queries: int
    days: int
    queries_in_all: int
    bits_per_case: float


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a run of a submission may cost."""

    seconds: int
    memory: int  # bytes, of all its processes together
    scratch: int  # bytes
    processes: int
    submission: int  # bytes


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One plan, as its file says it. `sha256` names it."""

    name: str
    sha256: str
    question: str
    projects: frozenset[str]
    decimals: int
    tasks: tuple[Task, ...]
    groupings: tuple[Grouping, ...]
    telling: Telling
    budget: Budget
    costs: Costs


def plan_from(document: Mapping[str, Any], sha256: str) -> Plan:
    """A plan out of a document that follows its schema. Raises `ValueError` naming what contradicts itself."""
    tasks = tuple(_task(name, each) for name, each in document["tasks"].items())
    groupings = tuple(_grouping(name, each) for name, each in document.get("groups", {}).items())
    costs = document["costs"]
    return Plan(
        name=document["plan"],
        sha256=sha256,
        question=document["question"],
        projects=frozenset(document["projects"]),
        decimals=document["decimals"],
        tasks=tasks,
        groupings=groupings,
        telling=Telling(**{"calibration": False} | document["telling"]),
        budget=Budget(**document["budget"]),
        costs=Costs(
            seconds=costs["seconds"],
            memory=costs["memory_mib"] << 20,
            scratch=costs["scratch_mib"] << 20,
            processes=costs["processes"],
            submission=costs["submission_mib"] << 20,
        ),
    )


def _task(name: str, given: Mapping[str, Any]) -> Task:
    positive, negative = frozenset(given["positive"]), frozenset(given["negative"])
    if positive & negative:
        raise ValueError(f"tasks.{name}: a cell is positive and negative")
    threshold = float(given["threshold"])
    return Task(name=name, column=given["column"], positive=positive, negative=negative, threshold=threshold)


def _grouping(name: str, given: Mapping[str, Any]) -> Grouping:
    bounds: Sequence[int] = given.get("bounds", ())
    if list(bounds) != sorted(set(bounds)):
        raise ValueError(f"groups.{name}: its bounds do not rise")
    return Grouping(name=name, column=given["column"], values=tuple(given.get("values", ())), bounds=tuple(bounds))
