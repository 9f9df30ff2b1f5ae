"""Makes accounts, roles and handles what a roster says: absent means no.

Repeated with the same roster it changes nothing. It never changes a password: an account that exists keeps the one it has.
"""

from __future__ import annotations

from datetime import datetime

from readingroom.application.ports_people import People
from readingroom.domain.people import Handle, Membership, Roster, Subject, check_roster

Handles = dict[str, dict[str, Handle]]  # project → user name → handle


def enrol_people(people: People, roster: Roster, now: datetime) -> Handles:
    """Every account and membership of the roster exists afterwards, and no other; returns the handles.

    Whoever is not listed can no longer sign in; whatever role is not listed ends. Raises what `check_roster` raises, before
    any change; a failure half-way leaves everything as it was.
    """
    check_roster(roster)
    return people.unit(lambda: _apply(people, roster, now))


def _apply(people: People, roster: Roster, now: datetime) -> Handles:
    wanted: dict[str, set[Membership]] = {account.username: set() for account in roster.accounts}
    for username, membership in roster.memberships:
        wanted[username].add(membership)
    for username in people.usernames() - wanted.keys():
        if subject := people.find(username):
            _end(people, subject, people.memberships(subject), now)
            people.close(subject)
    handles: Handles = {}
    for account in roster.accounts:
        subject = people.add(account)
        people.reopen(subject)
        held = people.memberships(subject)
        _end(people, subject, held - wanted[account.username], now)  # first: an ended role is in nobody's way
        for membership in sorted(wanted[account.username]):
            people.give(subject, membership, now)
            if handle := people.handle(subject, membership.project):
                handles.setdefault(membership.project, {})[account.username] = handle
    return handles


def _end(people: People, subject: Subject, memberships: frozenset[Membership], now: datetime) -> None:
    for membership in memberships:
        people.end(subject, membership, now)
