"""State × page, restated by hand: nothing opens before the second factor is proven and the recovery codes were seen."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.cluster.browser import totp
from tests.portal import Site, Visitor
from tests.unit.portal.hub import Hub

LOGIN, FACTOR, CODES, PROVE, CODE = (
    "/sign-in", "/second-factor", "/second-factor/codes", "/second-factor/prove", "/sign-in/code",
)  # fmt: skip
PAGES = ("/", LOGIN, CODE, FACTOR, PROVE, "/second-factor/new-codes", "/sign-out", "hub", CODES)
# For each state, in the order of PAGES: a heading that is shown, or where the browser is sent.
GRID = {
    "nobody": ("/sign-in?next=%2F", "Sign in", LOGIN, LOGIN, LOGIN, LOGIN, LOGIN, "/sign-in?next=hub", LOGIN),
    "password": ("/sign-in?next=%2F", CODE, "Second step", LOGIN, LOGIN, LOGIN, LOGIN, "/sign-in?next=hub", LOGIN),
    "enrol": (FACTOR, "/", "/", "Set up your second factor", FACTOR, FACTOR, "Sign out?", FACTOR, FACTOR),
    "prove": (PROVE, "/", "/", PROVE, "Show that it is you", PROVE, "Sign out?", PROVE, PROVE),
    "keep-codes": (CODES, "/", "/", CODES, CODES, CODES, "Sign out?", CODES, "Keep these recovery codes"),
    "open": (
        "Your projects", "/", "/", "/", "Show that it is you", "New recovery codes", "Sign out?", "back to the hub",
        "Recovery codes",
    ),
}  # fmt: skip


def nobody(site: Site) -> Visitor:
    return site.visitor()


def password(site: Site) -> Visitor:
    _, name, _ = site.proven("demo:researcher")
    visitor = site.visitor()
    assert visitor.sign_in(name).location == CODE
    return visitor


def enrol(site: Site) -> Visitor:
    visitor = site.visitor()
    assert visitor.sign_in(site.person("demo:researcher")).location == "/"
    return visitor


def prove(site: Site) -> Visitor:
    """Enrolment ends every other session; this one slips through, as one that begins in the same instant would."""
    name, early, owner = site.person("demo:researcher"), site.visitor(), site.visitor()
    early.sign_in(name)
    site.sql("CREATE TABLE IF NOT EXISTS kept AS SELECT * FROM people_signin WHERE false")
    key = early.cookies["__Host-session"]
    site.sql("INSERT INTO kept SELECT * FROM people_signin WHERE session_key = :'key'", key=key)
    owner.sign_in(name)
    owner.enrol()
    assert early.ask("/").location.startswith(LOGIN)
    early.cookies["__Host-session"] = key
    site.sql("INSERT INTO people_signin SELECT * FROM kept WHERE session_key = :'key'", key=key)
    return early


def keep_codes(site: Site) -> Visitor:
    visitor = enrol(site)
    secret = visitor.secret()
    assert visitor.send("/second-factor", code=totp(secret)).location == CODES
    return visitor


def opened(site: Site) -> Visitor:
    return site.proven("demo:researcher")[0]


REACH: dict[str, Callable[[Site], Visitor]] = {
    "nobody": nobody, "password": password, "enrol": enrol, "prove": prove, "keep-codes": keep_codes, "open": opened,
}  # fmt: skip


@pytest.mark.parametrize("state", GRID)
def test_the_grid(site: Site, state: str) -> None:
    visitor, hub = REACH[state](site), Hub(site)
    found = []
    for page in PAGES:
        answer = visitor.ask(hub.path() if page == "hub" else page)
        if answer.status == 200:
            found.append(answer.heading)
        elif answer.location.startswith("https://demo.workspace.localhost:8443/hub/oauth_callback?code="):
            found.append("back to the hub")
        elif "authorize" in answer.location:
            found.append("/sign-in?next=hub")
        else:
            assert answer.status == 302
            found.append(answer.location)
    assert tuple(found) == GRID[state]


def test_no_form_of_a_later_step_works_at_an_earlier_one(site: Site) -> None:
    visitor = enrol(site)
    visitor.ask(FACTOR)
    for path in (PROVE, "/second-factor/new-codes", "/"):
        assert visitor.send(path, code="123456").location == FACTOR
    stranger = site.visitor()
    stranger.ask(LOGIN)
    for path in (FACTOR, PROVE, "/second-factor/new-codes"):
        assert stranger.send(path, code="123456").location == LOGIN


def test_the_way_to_a_hub_is_kept_through_every_gate(site: Site) -> None:
    hub, name, visitor = Hub(site), site.person("demo:researcher"), site.visitor()
    away = visitor.ask(hub.path())
    assert away.location.startswith("/sign-in?next=%2Fidentity%2Fo%2Fauthorize%3F")
    entered = visitor.sign_in(name, to=away.location)
    assert entered.location == hub.path()
    assert visitor.ask(entered.location).location == FACTOR
    visitor.send("/second-factor", code=totp(visitor.secret()))
    page = visitor.ask(CODES)
    onward = page.text.partition('id="onward" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert onward == hub.path()
    assert visitor.ask(onward).location.startswith("https://demo.workspace.localhost:8443/hub/oauth_callback?code=")


def test_a_hub_s_question_begins_a_half_done_sign_in_anew_and_is_not_forgotten(site: Site) -> None:
    _, name, secret = site.proven("demo:researcher")
    visitor, hub = site.visitor(), Hub(site)
    assert visitor.sign_in(name).location == CODE
    away = visitor.ask(hub.path())
    assert visitor.sign_in(name, to=away.location).location == CODE
    visitor.ask(CODE)
    assert visitor.send(CODE, code=totp(secret, time.time() + 30)).location == hub.path()
