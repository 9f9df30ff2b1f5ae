"""The port `People` on PostgreSQL. A unit is a transaction under one advisory lock."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from datetime import datetime

from allauth.idp.oidc.models import Token
from django.db import DatabaseError, OperationalError, ProgrammingError, connection, transaction

from readingroom.adapters.db.models import Person, ProjectHandle, Role, SignIn
from readingroom.application.ports_people import T
from readingroom.contract import hub_client
from readingroom.domain.errors import TryAgain
from readingroom.domain.people import Account, Handle, Membership, Subject, mint_handle
from readingroom.domain.people import Role as RoleName

LOCK = 0x52500001  # of pg_advisory_xact_lock: one roster at a time


class DjangoPeople:
    """People, roles and handles in the tables of `models.py`."""

    def unit(self, work: Callable[[], T]) -> T:
        """Runs `work` as one change."""
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
                return work()
        except (OperationalError, ProgrammingError) as error:
            raise away(error) from error

    def add(self, account: Account) -> Subject:
        """The subject of the person with that user name, made if absent."""
        values = {"display": account.display, "password": account.password_hash}
        person, _ = Person.objects.get_or_create(username=account.username, defaults=values)
        return Subject(str(person.id))

    def find(self, username: str) -> Subject | None:
        """The subject of a user name, closed ones included."""
        found = Person.objects.filter(username=username).values_list("id", flat=True).first()
        return Subject(str(found)) if found else None

    def usernames(self) -> frozenset[str]:
        """Everybody's user name, closed ones included."""
        return frozenset(Person.objects.values_list("username", flat=True))

    def is_open(self, subject: Subject) -> bool:
        """Whether the person may sign in."""
        return Person.objects.get(id=subject).is_active

    def close(self, subject: Subject) -> None:
        """Ends the person's right to sign in, and every session and token with it."""
        Person.objects.filter(id=subject).update(is_active=False)
        end_sign_ins(subject)

    def reopen(self, subject: Subject) -> None:
        """Restores the person's right to sign in."""
        Person.objects.filter(id=subject).update(is_active=True)

    def memberships(self, subject: Subject) -> frozenset[Membership]:
        """What the person holds now."""
        rows = Role.objects.filter(person_id=subject, ended__isnull=True)
        return frozenset(Membership(row.project, RoleName(row.role)) for row in rows)

    def give(self, subject: Subject, membership: Membership, now: datetime) -> None:
        """The person holds the role from now on."""
        Role.objects.get_or_create(
            person_id=subject,
            project=membership.project,
            role=membership.role.value,
            ended__isnull=True,
            defaults={"since": now},
        )
        if self.handle(subject, membership.project) is None:
            ProjectHandle.objects.create(person_id=subject, project=membership.project, handle=_new_handle())

    def end(self, subject: Subject, membership: Membership, now: datetime) -> None:
        """The person no longer holds the role, and tokens for the project's hub end with it."""
        rows = Role.objects.filter(person_id=subject, project=membership.project, role=membership.role.value)
        if rows.filter(ended__isnull=True).update(ended=now):
            Token.objects.filter(user_id=subject, client_id=hub_client(membership.project)).delete()

    def handle(self, subject: Subject, project: str) -> Handle | None:
        """The person's handle in the project."""
        found = ProjectHandle.objects.filter(person_id=subject, project=project).first()
        return Handle(found.handle) if found else None

    def by_handle(self, handle: Handle, project: str) -> Subject | None:
        """Whose handle it is, while the membership lives."""
        found = ProjectHandle.objects.filter(
            handle=handle,
            project=project,
            person__is_active=True,
            person__roles__in=Role.objects.filter(project=project, ended__isnull=True),
        ).first()
        return Subject(str(found.person_id)) if found else None


def end_sign_ins(subject: Subject, keep: Iterable[str] = ()) -> None:
    """Ends every token of the person and every session but those whose keys are kept."""
    end_tokens(subject)
    SignIn.objects.filter(person=subject).exclude(session_key__in=list(keep)).delete()


def end_tokens(subject: Subject) -> None:
    """Ends every token of the person: no hub learns anything more."""
    Token.objects.filter(user_id=subject).delete()


def away(error: DatabaseError) -> TryAgain:
    """What a database that does not answer, or has no tables yet, means to the caller."""
    why = "it does not answer" if isinstance(error, OperationalError) else "its tables are not there yet"
    return TryAgain(what="the portal's database", why=why, next_step="wait for the portal to be ready, then try again")


def _new_handle() -> Handle:
    """One that nobody has or had; the column is unique besides."""
    while True:
        handle = mint_handle(secrets.token_bytes(16))
        if not ProjectHandle.objects.filter(handle=handle).exists():
            return handle
