"""People kept in memory: the fake that keeps the contract of `application.ports_people.People`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from readingroom.application.ports_people import T
from readingroom.domain.people import Account, Handle, Membership, Subject, mint_handle


@dataclass
class _Person:
    account: Account
    open: bool = True
    held: set[Membership] = field(default_factory=set)
    handles: dict[str, Handle] = field(default_factory=dict)


class MemoryPeople:
    """Nothing survives the process."""

    def __init__(self, chance: Callable[[int], bytes]) -> None:
        self._chance = chance
        self._people: dict[Subject, _Person] = {}

    def unit(self, work: Callable[[], T]) -> T:
        """Runs `work` as one change."""
        before = copy.deepcopy(self._people)
        try:
            return work()
        except BaseException:
            self._people = before  # the edge of a unit: whatever went wrong, nothing of it stays
            raise

    def add(self, account: Account) -> Subject:
        """The subject of the person with that user name, made if absent."""
        if subject := self.find(account.username):
            return subject
        subject = Subject(f"s-{len(self._people) + 1}")
        self._people[subject] = _Person(account)
        return subject

    def find(self, username: str) -> Subject | None:
        """The subject of a user name, closed ones included."""
        return next((s for s, person in self._people.items() if person.account.username == username), None)

    def usernames(self) -> frozenset[str]:
        """Everybody's user name, closed ones included."""
        return frozenset(person.account.username for person in self._people.values())

    def is_open(self, subject: Subject) -> bool:
        """Whether the person may sign in."""
        return self._people[subject].open

    def close(self, subject: Subject) -> None:
        """Ends the person's right to sign in."""
        self._people[subject].open = False

    def reopen(self, subject: Subject) -> None:
        """Restores the person's right to sign in."""
        self._people[subject].open = True

    def memberships(self, subject: Subject) -> frozenset[Membership]:
        """What the person holds now."""
        return frozenset(self._people[subject].held)

    def give(self, subject: Subject, membership: Membership, now: datetime) -> None:
        """The person holds the role from now on."""
        person = self._people[subject]
        person.held.add(membership)
        taken = {handle for other in self._people.values() for handle in other.handles.values()}
        while membership.project not in person.handles:
            handle = mint_handle(self._chance(16))
            if handle not in taken:
                person.handles[membership.project] = handle

    def end(self, subject: Subject, membership: Membership, now: datetime) -> None:
        """The person no longer holds the role."""
        self._people[subject].held.discard(membership)

    def handle(self, subject: Subject, project: str) -> Handle | None:
        """The person's handle in the project."""
        return self._people[subject].handles.get(project)

    def by_handle(self, handle: Handle, project: str) -> Subject | None:
        """Whose handle it is, while the membership lives."""
        for subject, person in self._people.items():
            lives = person.open and any(held.project == project for held in person.held)
            if lives and person.handles.get(project) == handle:
                return subject
        return None
