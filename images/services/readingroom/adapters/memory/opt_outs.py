"""`OptOutProvider` without files: it keeps the same contract, under the same tests."""

from __future__ import annotations

from collections.abc import Iterable, Set
from datetime import date

from readingroom.domain.errors import Refused, WrongSetUp
from readingroom.domain.opt_out import Answer, OptOuts, opt_outs_of


class MemoryOptOuts:
    """Questions, answers and a list, as a test puts them there."""

    def __init__(self, local: Iterable[str] = ()) -> None:
        """`local` holds names as `domain.opt_out.listed` gives them."""
        self._local, self._asked = frozenset(local), dict[date, frozenset[str]]()
        self._answers: list[Answer] = []

    def opt_outs(self, today: date) -> OptOuts:
        """See the port."""
        if self._asked and not self._answers:
            raise Refused(what="opt-outs", why="the question is not answered", next_step="wait for the answer")
        return opt_outs_of(self._answers, self._local, today)

    def ask(self, numbers: Set[str], today: date) -> bool:
        """See the port."""
        if today in self._asked and self._asked[today] != numbers:
            raise WrongSetUp(what="opt-outs", why="today's question is there already", next_step="ask tomorrow")
        new = today not in self._asked
        self._asked[today] = frozenset(numbers)
        return new

    def answer(self, day: date, free: Iterable[str]) -> None:
        """What the service does: it says who of those asked about did not opt out."""
        self._answers.append(Answer(day=day, asked=self._asked[day], free=frozenset(free)))
