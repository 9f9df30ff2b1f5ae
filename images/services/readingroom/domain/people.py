"""Who may hold which role, and what a person must do before a sign-in counts: pure rules.

Seven roles, none implied by another (the names sheet of the design). A person is known to logs by `Subject`, to a project by
a `Handle` that no other project shares; the name and the password's hash mask themselves. Nothing here sets a state.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NewType

from readingroom.contract import PROJECT_ID
from readingroom.domain.errors import Refused, WrongSetUp

Subject = NewType("Subject", str)  # of one person, everywhere; the only form in which a log names somebody
Handle = NewType("Handle", str)  # of one person in one project: `r` and seven of a-z0-9

USERNAME: Final = re.compile(r"[a-z][a-z0-9._-]{0,62}[a-z0-9]")
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


class Role(StrEnum):
    """What a person may be in a project."""

    RESEARCHER = "researcher"
    COMMITTEE = "committee"
    CHECKER = "checker"
    ADJUDICATOR = "adjudicator"
    DATA_MANAGER = "data-manager"
    OPERATOR = "operator"
    AUDITOR = "auditor"


# Governance, section 1: a member of a project neither decides about it nor lets its results out.
NEVER_IN_ONE_PROJECT: Final = tuple(
    frozenset({Role.RESEARCHER, other}) for other in (Role.COMMITTEE, Role.DATA_MANAGER, Role.CHECKER, Role.ADJUDICATOR)
)
# Governance, section 1: `operator` and `committee` never meet in anyone, whatever the projects.
NEVER_IN_ONE_PERSON: Final = (frozenset({Role.OPERATOR, Role.COMMITTEE}),)


@dataclass(frozen=True, order=True)
class Membership:
    """One role of one person in one project."""

    project: str
    role: Role


@dataclass(frozen=True, kw_only=True)
class Account:
    """A login to be made. What names a person or opens a door is kept out of `repr`."""

    username: str = field(repr=False)
    display: str = field(repr=False)
    password_hash: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Roster:
    """All accounts and memberships there shall be: absent means no."""

    accounts: tuple[Account, ...]
    memberships: tuple[tuple[str, Membership], ...] = field(repr=False)  # (username, membership)


def check_can_hold(held: Iterable[Membership], wanted: Membership) -> None:
    """Some roles never meet in one person: for one project, or at all.

    Raises `Refused` with the role that is in the way. Governance, section 1.
    """
    for other in held:
        pair = frozenset({other.role, wanted.role})
        if pair in NEVER_IN_ONE_PERSON or (other.project == wanted.project and pair in NEVER_IN_ONE_PROJECT):
            raise Refused(
                what=f"the role {wanted.role} in project {wanted.project}",
                which=f"the person is {other.role} in project {other.project}",
                why="these two roles never meet in one person",
                next_step="give the role to somebody else, or end the other one first",
            )


def check_can_enter_hub(project: str, memberships: Iterable[Membership]) -> None:
    """Only the project's researchers get an identity for its hub; no other role opens a workspace.

    Raises `Refused` W01. The first of two keys: the hub asks its grant as well. Workspaces, section 3.
    """
    if Membership(project, Role.RESEARCHER) not in memberships:
        raise Refused(
            what=f"entry to project {project}",
            which="W01",
            why="you are not a researcher of this project",
            next_step="ask the project's lead to have you added to its grant",
        )


def groups(project: str, memberships: Iterable[Membership]) -> list[str]:
    """The `groups` claim for a project's client: this project's roles, no other project's."""
    return sorted(f"{project}:{held.role}" for held in memberships if held.project == project)


def mint_handle(chance: bytes) -> Handle:
    """A handle from at least 16 random bytes, so that nobody can tell whose it is or what the next one will be.

    The caller makes sure that it was never given to anyone. Raises `ValueError` on less chance.
    """
    if len(chance) < 16:
        raise ValueError("a handle needs 16 random bytes")
    number = int.from_bytes(hashlib.sha256(chance).digest())
    return Handle("r" + "".join(_ALPHABET[number // len(_ALPHABET) ** place % len(_ALPHABET)] for place in range(7)))


def check_roster(roster: Roster) -> None:
    """A roster names each account once, uses good names only, and gives nobody two roles that never meet.

    Raises `WrongSetUp` or, for the roles, `Refused`. Called before anything is written: a bad roster changes nothing.
    """
    names = [account.username for account in roster.accounts]
    if len(set(names)) != len(names):
        raise _bad_roster("an account is named twice")
    if any(not USERNAME.fullmatch(name) for name in names):
        raise _bad_roster("a user name is not lower-case letters, digits and . _ -")
    held: dict[str, list[Membership]] = {name: [] for name in names}
    for name, membership in roster.memberships:
        if name not in held:
            raise _bad_roster(f"a membership in project {membership.project} names no listed account")
        if not PROJECT_ID.fullmatch(membership.project):
            raise _bad_roster("a project id is off the pattern")
        check_can_hold(held[name], membership)
        held[name].append(membership)


def _bad_roster(why: str) -> WrongSetUp:
    return WrongSetUp(what="the roster of accounts", why=why, next_step="correct the roster and run it again")


class Gate(StrEnum):
    """Where a signed-in person stands before the portal shows or gives anything."""

    ENROL = "enrol"  # no second factor yet: the password alone opens nothing but the enrolment page
    KEEP_CODES = "keep-codes"  # the recovery codes were never shown
    PROVE = "prove"  # enrolled, but not proven in this session
    OPEN = "open"


def gate(*, enrolled: bool, codes_seen: bool, proven: bool) -> Gate:
    """Nothing before the second factor; a session that began before enrolment has not proven it.

    `proven`: this very session gave a code, or did the enrolment. Without that last test a thief of the password alone,
    signed in first, would be let through by the owner's enrolment.
    """
    if not enrolled:
        return Gate.ENROL
    if not proven:
        return Gate.PROVE
    return Gate.OPEN if codes_seen else Gate.KEEP_CODES
