"""What any implementation of the port `People` must do: the fake in memory, and Django on a real PostgreSQL."""

from __future__ import annotations

import functools
import re
import secrets
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.management import call_command

from readingroom.adapters.memory.people import MemoryPeople
from readingroom.application.enrol_people import enrol_people
from readingroom.application.ports_people import People
from readingroom.domain.errors import Refused, TryAgain, WrongSetUp
from readingroom.domain.people import Account, Membership, Role, Roster, Subject
from readingroom.entrypoints.web.settings import tables
from tests.postgres import shared

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DEMO = Membership("demo", Role.RESEARCHER)
OTHER = Membership("other", Role.RESEARCHER)


@functools.cache
def configured() -> None:
    """Django on a database of its own, as the enrolling Job has it: no key of the portal, no cache."""
    settings.configure(**tables(shared().database("people")))
    django.setup()
    call_command("migrate", verbosity=0, interactive=False)


@pytest.fixture
def real() -> Iterator[People]:
    configured()
    from django.db import connection

    from readingroom.adapters.db.people import DjangoPeople

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE people_person, people_signin, allauth_idp_oidc_client CASCADE")
    yield DjangoPeople()
    connection.close()


@pytest.fixture(params=["memory", "postgresql"])
def people(request: pytest.FixtureRequest) -> People:
    if request.param == "memory":
        return MemoryPeople(secrets.token_bytes)
    found: People = request.getfixturevalue("real")
    return found


def account(name: str = "ada", stored: str = "hash") -> Account:
    return Account(username=name, display=f"Dr {name}", password_hash=stored)


def test_a_person_is_added_once_and_keeps_the_password(people: People) -> None:
    ada = people.add(account())
    assert people.add(account(stored="another")) == ada == people.find("ada")
    assert people.find("ben") is None
    assert people.is_open(ada)
    assert people.memberships(ada) == frozenset()
    assert people.usernames() == {"ada"}


def test_closing_and_opening_again_have_no_effect_when_repeated(people: People) -> None:
    ada = people.add(account())
    for expected, act in ((False, people.close), (True, people.reopen)):
        for _ in range(2):
            act(ada)
            assert people.is_open(ada) is expected
    people.close(ada)
    assert people.usernames() == {"ada"}
    assert people.find("ada") == ada


def test_a_handle_is_minted_with_the_first_role_and_stays(people: People) -> None:
    ada = people.add(account())
    assert people.handle(ada, "demo") is None
    people.give(ada, DEMO, NOW)
    handle = people.handle(ada, "demo")
    assert handle is not None
    assert re.fullmatch(r"r[a-z0-9]{7}", handle)
    people.give(ada, Membership("demo", Role.AUDITOR), NOW)
    people.give(ada, DEMO, NOW)
    assert people.handle(ada, "demo") == handle
    people.end(ada, DEMO, NOW)
    people.end(ada, DEMO, NOW)
    assert people.memberships(ada) == {Membership("demo", Role.AUDITOR)}
    people.end(ada, Membership("demo", Role.AUDITOR), NOW)
    assert people.handle(ada, "demo") == handle
    people.give(ada, DEMO, NOW)
    assert people.handle(ada, "demo") == handle


def test_handles_differ_between_projects_and_between_people(people: People) -> None:
    ada, ben = people.add(account()), people.add(account("ben"))
    for person in (ada, ben):
        for membership in (DEMO, OTHER):
            people.give(person, membership, NOW)
    assert len({people.handle(person, project) for person in (ada, ben) for project in ("demo", "other")}) == 4


def test_a_handle_is_somebody_only_while_the_membership_lives(people: People) -> None:
    ada = people.add(account())
    people.give(ada, DEMO, NOW)
    people.give(ada, OTHER, NOW)
    handle = people.handle(ada, "demo")
    assert handle is not None
    assert people.by_handle(handle, "demo") == ada
    assert people.by_handle(handle, "other") is None
    people.close(ada)
    assert people.by_handle(handle, "demo") is None
    people.reopen(ada)
    people.end(ada, DEMO, NOW)
    assert people.by_handle(handle, "demo") is None


def test_of_a_unit_that_fails_nothing_stays(people: People) -> None:
    ben = people.add(account("ben"))

    def work() -> None:
        ada = people.add(account())
        people.give(ada, DEMO, NOW)
        people.give(ben, DEMO, NOW)
        people.close(ben)
        raise Refused(what="this", why="for the test", next_step="nothing")

    with pytest.raises(Refused):
        people.unit(work)
    assert people.usernames() == {"ben"}
    assert people.is_open(ben)
    assert people.memberships(ben) == frozenset()
    assert people.handle(ben, "demo") is None


def roster(*names: str, roles: tuple[tuple[str, Membership], ...] = ()) -> Roster:
    return Roster(accounts=tuple(account(name) for name in names), memberships=roles)


def test_a_roster_says_who_there_is_and_absent_means_no(people: People) -> None:
    first = enrol_people(people, roster("ada", "ben", roles=(("ada", DEMO), ("ben", DEMO), ("ben", OTHER))), NOW)
    assert {project: set(handles) for project, handles in first.items()} == {"demo": {"ada", "ben"}, "other": {"ben"}}
    same = enrol_people(people, roster("ada", "ben", roles=(("ada", DEMO), ("ben", DEMO), ("ben", OTHER))), NOW)
    assert same == first
    later = enrol_people(people, roster("ben", "eve", roles=(("ben", OTHER), ("eve", DEMO))), NOW)
    ada, ben = people.find("ada"), people.find("ben")
    assert ada is not None
    assert ben is not None
    assert not people.is_open(ada)
    assert people.memberships(ada) == frozenset()
    assert people.memberships(ben) == {OTHER}
    assert later["other"]["ben"] == first["other"]["ben"]
    assert later["demo"]["eve"] not in {handle for each in first.values() for handle in each.values()}
    back = enrol_people(people, roster("ada", roles=(("ada", DEMO),)), NOW)
    assert back["demo"]["ada"] == first["demo"]["ada"]


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (roster("ada", roles=(("eve", DEMO),)), WrongSetUp),
        (roster("ada", "ada"), WrongSetUp),
        (roster("Ada"), WrongSetUp),
        (roster("ada", roles=(("ada", Membership("holdout!", Role.RESEARCHER)),)), WrongSetUp),
        (roster("ada", roles=(("ada", DEMO), ("ada", Membership("demo", Role.CHECKER)))), Refused),
        (
            roster(
                "ada", roles=(("ada", Membership("x1x", Role.OPERATOR)), ("ada", Membership("y1y", Role.COMMITTEE)))
            ),
            Refused,
        ),
    ],
)
def test_a_bad_roster_changes_nothing(people: People, wrong: Roster, kind: type[Exception]) -> None:
    enrol_people(people, roster("ben", roles=(("ben", DEMO),)), NOW)
    with pytest.raises(kind):
        enrol_people(people, wrong, NOW)
    assert people.usernames() == {"ben"}


# --- what only a real database has ------------------------------------------------------------------------------------


def signed_in(ada: Subject, project: str = "demo") -> None:
    """A session and a token for one project's hub, as the portal writes them."""
    from allauth.idp.oidc.models import Client, Token

    from readingroom.adapters.db.models import SignIn

    client, _ = Client.objects.get_or_create(id=f"hub-{project}")
    Token.objects.create(type="rt", hash=secrets.token_hex(8), client=client, user_id=ada)
    SignIn.objects.create(session_key=secrets.token_hex(16), session_data="unreadable", expire_date=NOW, person=ada)


def left(ada: Subject) -> tuple[int, list[str]]:
    from allauth.idp.oidc.models import Token

    from readingroom.adapters.db.models import SignIn

    tokens = [str(name) for name in Token.objects.filter(user_id=ada).values_list("client_id", flat=True)]
    return SignIn.objects.filter(person=ada).count(), sorted(tokens)


def test_closing_an_account_ends_sessions_and_tokens_of_that_person_alone(real: People) -> None:
    ada, ben = real.add(account()), real.add(account("ben"))
    for person in (ada, ben):
        signed_in(person)
    real.close(ada)
    assert left(ada) == (0, [])
    assert left(ben) == (1, ["hub-demo"])


def test_ending_a_role_ends_the_tokens_of_that_project_alone(real: People) -> None:
    ada = real.add(account())
    real.give(ada, DEMO, NOW)
    real.give(ada, OTHER, NOW)
    signed_in(ada)
    signed_in(ada, "other")
    real.end(ada, DEMO, NOW)
    assert left(ada) == (2, ["hub-other"])


def test_what_ended_stays_on_record(real: People) -> None:
    ada = real.add(account())
    for _ in range(2):
        real.give(ada, DEMO, NOW)
        real.end(ada, DEMO, NOW)
    rows = shared().sql("people", "SELECT role, ended IS NOT NULL FROM people_role")
    assert rows.split() == ["researcher|t", "researcher|t"]


def test_units_run_one_after_the_other(real: People) -> None:
    from django.db import connection

    inside, go, seen = threading.Event(), threading.Event(), []

    def first() -> None:
        def work() -> None:
            inside.set()
            go.wait(20)
            real.add(account())

        real.unit(work)
        connection.close()

    def second() -> None:
        real.unit(lambda: seen.append(real.usernames()))
        connection.close()

    one, two = threading.Thread(target=first), threading.Thread(target=second)
    one.start()
    assert inside.wait(20)
    two.start()
    two.join(0.5)
    assert two.is_alive()
    assert seen == []
    go.set()
    one.join(20)
    two.join(20)
    assert seen == [{"ada"}]


def test_the_database_refuses_a_handle_given_twice(real: People) -> None:
    from django.db import IntegrityError

    from readingroom.adapters.db.models import ProjectHandle

    ada, ben = real.add(account()), real.add(account("ben"))
    real.give(ada, DEMO, NOW)
    with pytest.raises(IntegrityError):
        ProjectHandle.objects.create(person_id=ben, project="demo", handle=real.handle(ada, "demo") or "")


def test_the_migrations_are_complete(real: People) -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_a_database_without_tables_or_without_an_answer_is_one_clear_line(real: People) -> None:
    from django.db import OperationalError, ProgrammingError

    def raising(error: type[Exception]) -> Any:
        raise error

    for error, word in ((OperationalError, "does not answer"), (ProgrammingError, "tables")):
        with pytest.raises(TryAgain, match=word):
            real.unit(functools.partial(raising, error))
