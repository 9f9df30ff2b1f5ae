"""What an evaluation needs from the world: the hold-out, a place to run a stranger's program, and a memory of what was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from typing import Any, Protocol

from readingroom.domain.evaluation.budget import Spent
from readingroom.domain.evaluation.predictions import Scores

Images = Mapping[str, Sequence[str]]  # a patient's stand-in → where the images lie, as a submission is told


class HoldOut(Protocol):
    """The de-identified hold-out: what a submission is shown, and what it is not.

    1. `sha256` names this version of it: images and clinical table.
    2. `images` and `rows` are by patient; `rows` are not for a submission.
    3. `check` raises `WrongSetUp` unless each image of these patients is the one that the version names.
    """

    @property
    def sha256(self) -> str:
        """1."""
        ...

    def images(self) -> Images:
        """2."""
        ...

    def rows(self) -> Mapping[str, Mapping[str, str]]:
        """2."""
        ...

    def check(self, patients: Set[str]) -> None:
        """3."""
        ...


class Room(Protocol):
    """Runs the submission, which is the one that its digest names, on these cases, sealed."""

    @property
    def sha256(self) -> str:
        """The digest."""
        ...

    def scores(self, cases: Images) -> Scores:
        """Raises `Unusable` for a run without predictions that are as asked, `WrongSetUp` where it cannot be sealed."""
        ...


class Memory(Protocol):
    """What one project has asked. Everything is on the disk before a call returns, whole or not at all.

    1. `report` is what was answered to a question, None before.
    2. `spent` is every question; `spend` adds one.
    3. `attempt` counts, before a run begins, how often a question was run: 1 for the first.
    4. `keep` an answer; it is never changed.
    5. One evaluation of a project at a time: `alone` raises `TryAgain` for a second.
    """

    def report(self, question: str) -> Mapping[str, Any] | None:
        """1."""
        ...

    def spent(self) -> Sequence[Spent]:
        """2."""
        ...

    def spend(self, spent: Spent) -> None:
        """2."""
        ...

    def attempt(self, question: str) -> int:
        """3."""
        ...

    def keep(self, question: str, report: Mapping[str, Any]) -> None:
        """4."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """5."""
        ...


Names = Callable[[str], str]  # a patient's stand-in → the name of a case, new for each run
