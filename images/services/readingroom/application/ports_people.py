"""The port through which use-cases reach people, their roles and their handles."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeVar

from readingroom.domain.people import Account, Handle, Membership, Subject

T = TypeVar("T")


class People(Protocol):
    """People, roles and handles. What ended stays on record; a handle is never given to anyone else.

    1. `unit(work)` runs `work` alone: no other unit of this port runs meanwhile, and if `work` raises, nothing of it
       stays.
    2. `add` makes an active person who holds nothing; a person of that user name is left as is, password included.
       Repeated: no effect.
    3. `close` and `reopen` end and restore a person's right to sign in; `close` also ends sessions and tokens.
       Repeated: no effect.
    4. `give` and `end` set one membership; `end` also ends tokens for that project. Repeated: no effect. A role given
       again after its end brings the old handle back.
    5. `handle` is minted when a person first gets any role in the project, and stays for ever, role or no role.
    6. `by_handle` answers only while the person is active and holds a role in that project: an ended membership is nobody.
    7. Reads see every write before them.
    """

    def unit(self, work: Callable[[], T]) -> T:
        """Runs `work` as one change."""
        ...

    def add(self, account: Account) -> Subject:
        """The subject of the person with that user name, made if absent."""
        ...

    def find(self, username: str) -> Subject | None:
        """The subject of a user name, closed ones included."""
        ...

    def usernames(self) -> frozenset[str]:
        """Everybody's user name, closed ones included."""
        ...

    def is_open(self, subject: Subject) -> bool:
        """Whether the person may sign in."""
        ...

    def close(self, subject: Subject) -> None:
        """Ends the person's right to sign in."""
        ...

    def reopen(self, subject: Subject) -> None:
        """Restores the person's right to sign in."""
        ...

    def memberships(self, subject: Subject) -> frozenset[Membership]:
        """What the person holds now."""
        ...

    def give(self, subject: Subject, membership: Membership, now: datetime) -> None:
        """The person holds the role from now on."""
        ...

    def end(self, subject: Subject, membership: Membership, now: datetime) -> None:
        """The person no longer holds the role."""
        ...

    def handle(self, subject: Subject, project: str) -> Handle | None:
        """The person's handle in the project."""
        ...

    def by_handle(self, handle: Handle, project: str) -> Subject | None:
        """Whose handle it is, while the membership lives."""
        ...
