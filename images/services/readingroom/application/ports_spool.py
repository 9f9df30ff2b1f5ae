"""The port of the network door: what came over an association and waits to be ingested."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from readingroom.application.ports_ingest import Inbox


@dataclass(frozen=True, kw_only=True, slots=True)
class Association:
    """An association that is over. Names sort by time; one name is given once."""

    name: str
    centre: str


class Spool(Protocol):
    """Associations that are over, until they are ingested.

    1. `finished` gives each that is over and not done, oldest first; what was acknowledged to a peer is in one of them.
    2. `inbox` holds every object that was acknowledged and every one that was refused, with its reason.
    3. `done` forgets one for good; before it, the same objects are there again at the next read and after any kill.
    """

    def finished(self) -> Sequence[Association]:
        """1."""
        ...

    def inbox(self, association: Association) -> AbstractContextManager[Inbox]:
        """2."""
        ...

    def done(self, association: Association) -> None:
        """3."""
        ...
