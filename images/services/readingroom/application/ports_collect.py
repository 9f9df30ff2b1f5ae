"""The ports of a collection: the PACS that is asked, the place where instances go, and the journal that outlives a kill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from readingroom.domain.collection import Content, Found, Instance, Query, Question, Study


class Pacs(Protocol):
    """The archive of a site. What it answers costs bounded memory and time.

    1. `studies` and `content` ask and change nothing. Raise `TryAgain` when the PACS is away or busy, and `Rejected` when its
       answer is no answer: too long, or of no sense.
    2. `retrieve` asks for instances of one series. Afterwards those that came are in the journal's keeping; it may be any part
       of them. Raises `TryAgain` when the PACS is away or busy. Whatever else went wrong shows in what did not come.
    """

    def studies(self, query: Query) -> Sequence[Study]:
        """1."""
        ...

    def content(self, study: Study, question: Question) -> Content:
        """1: series of the question's modalities alone."""
        ...

    def retrieve(self, study: Study, instances: Sequence[Instance]) -> None:
        """2."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrived:
    """An instance on the disk, its bytes by SHA-256, and the reason why it goes no further, if there is one."""

    uid: str
    path: str
    sha256: str
    reason: str = ""


class Keeping(Protocol):
    """Instances of one study that came and wait to be delivered, and what became of each.

    1. `content` is what `listed` was told, also after a kill; None before.
    2. `settled` gives each instance that is through: "" where it was acknowledged, else why not.
    3. `came` are instances on the disk that are not through; whatever moment the process dies at, they are there.
    4. `judged` looks at each of them: whether it is the instance, of the study, that it came as, and whole.
    5. `settle` is durable when it returns; the instance's bytes go with it.
    """

    @property
    def content(self) -> Content | None:
        """1."""
        ...

    @property
    def settled(self) -> Mapping[str, str]:
        """2."""
        ...

    def listed(self, content: Content) -> None:
        """1."""
        ...

    def came(self) -> frozenset[str]:
        """3."""
        ...

    def judged(self) -> Sequence[Arrived]:
        """4."""
        ...

    def settle(self, uid: str, reason: str = "") -> None:
        """5."""
        ...


class Journal(Protocol):
    """One question and its answer. `found` is None until `note` was told, which happens once and whole."""

    @property
    def found(self) -> Found | None:
        """The studies, by their UIDs alone."""
        ...

    def note(self, found: Found) -> None:
        """All of them. Durable when it returns."""
        ...

    def of(self, study: Study) -> AbstractContextManager[Keeping]:
        """The keeping of one study, for as long as it is worked on."""
        ...


class Destination(Protocol):
    """The platform's door, or a folder that goes to it."""

    def deliver(self, instances: Sequence[Arrived]) -> Iterator[tuple[str, str]]:
        """Hands over each, and gives its UID with "" once it is acknowledged, else with the reason why it is refused.

        Raises `TryAgain` when the other side is away or has no room; what was said before holds. What is handed over again
        is there once.
        """
        ...


class Clock(Protocol):
    """Time, and waiting for it."""

    def local(self) -> datetime:
        """The site's own time."""
        ...

    def seconds(self) -> float:
        """Of a clock that never goes back."""
        ...

    def wait(self, seconds: float) -> None:
        """Until so many seconds are over."""
        ...
