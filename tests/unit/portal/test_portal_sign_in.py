"""Signing in: password, code, recovery codes, and what a thief of one of them gets."""

from __future__ import annotations

import time

import pytest
from django.core.signing import JSONSerializer, TimestampSigner

from tests.cluster.browser import totp
from tests.portal import PASSWORD, Answer, Site, Visitor

TOO_MANY = "Too many attempts"


def with_code(site: Site, name: str, code: str) -> tuple[Visitor, Answer]:
    """A fresh browser through both steps."""
    visitor = site.visitor()
    assert visitor.sign_in(name).location == "/sign-in/code"
    visitor.ask("/sign-in/code")
    return visitor, visitor.send("/sign-in/code", code=code)


def next_code(secret: str) -> str:
    """The code of the next half minute, which one step of tolerance lets in."""
    return totp(secret, time.time() + 30)


def test_password_and_code_open_the_start_page(site: Site) -> None:
    _, name, secret = site.proven("demo:researcher")
    visitor, done = with_code(site, name, next_code(secret))
    assert done.location == "/"
    page = visitor.ask("/")
    assert page.heading == "Your projects"
    assert f"Dr {name.capitalize()}" in page.text


def test_the_start_page_says_what_each_role_may_and_until_when(site: Site) -> None:
    visitor, _, _ = site.proven("demo:researcher", "other:checker", "ended:researcher")
    page = visitor.ask("/").text
    assert "Reading chest CT: a first &lt;look&gt;" in page
    assert "Work on 120 CT studies" in page
    assert 'href="https://demo.workspace.localhost:8443/"' in page
    assert "days left" in page
    assert "Output checker" in page
    assert "Ended on" in page
    assert "other.workspace.localhost" not in page.partition("<main")[2]
    assert "ended.workspace.localhost" not in page.partition("<main")[2]
    nobody, _, _ = site.proven()
    assert "No project yet" in nobody.ask("/").text


def test_a_wrong_password_says_the_same_for_everybody(site: Site) -> None:
    name = site.person("demo:researcher")
    answers = [site.visitor().sign_in(who, "wrong password").text for who in (name, "nobody-at-all")]
    answers += [site.visitor().sign_in(name, "x" * 300).text, site.visitor().sign_in("y" * 65).text]
    assert ["User name or password is wrong." in text for text in answers] == [True, True, True, False]
    assert "person" not in answers[1].partition("nobody-at-all")[0]


def test_passwords_cannot_be_tried_for_long(site: Site) -> None:
    name = site.person("demo:researcher")
    for _ in range(5):
        assert TOO_MANY not in site.visitor().sign_in(name, "wrong password").text
    last = site.visitor().sign_in(name)
    assert last.status == 200
    assert TOO_MANY in last.text
    assert site.visitor().sign_in(site.person()).status == 302  # somebody else is not locked out with them


def test_codes_cannot_be_tried_for_long(site: Site) -> None:
    _, name, secret = site.proven("demo:researcher")
    wrong = "000000" if next_code(secret) != "000000" else "111111"
    for _ in range(5):
        assert TOO_MANY not in with_code(site, name, wrong)[1].text
    visitor, last = with_code(site, name, next_code(secret))
    assert TOO_MANY in last.text
    assert visitor.ask("/").location.startswith("/sign-in")


def test_a_code_is_good_once_also_the_one_that_enrolled(site: Site) -> None:
    name, visitor = site.person("demo:researcher"), site.visitor()
    visitor.sign_in(name)
    secret = visitor.secret()
    first = totp(secret)
    assert visitor.send("/second-factor", code=first).status == 302
    assert "was used already" in with_code(site, name, first)[1].text
    second = next_code(secret)
    assert with_code(site, name, f"{second[:3]} {second[3:]}")[1].location == "/"
    assert "was used already" in with_code(site, name, second)[1].text


def test_a_wrong_code_does_not_enrol(site: Site) -> None:
    visitor = site.visitor()
    visitor.sign_in(site.person("demo:researcher"))
    secret = visitor.secret()
    wrong = "000000" if totp(secret) != "000000" else "111111"
    assert "This code is wrong" in visitor.send("/second-factor", code=wrong).text
    assert visitor.ask("/").location == "/second-factor"
    assert visitor.send("/second-factor", code=totp(secret)).location == "/second-factor/codes"


def test_recovery_codes_are_shown_once_and_each_signs_in_once(site: Site) -> None:
    visitor, name, _ = site.proven("demo:researcher")
    codes = visitor.codes()
    assert len(set(codes)) == 10
    assert {len(code) for code in codes} == {10}
    again = visitor.ask("/second-factor/codes")
    assert "You have 10 of 10 left" in again.text
    assert not [code for code in codes if code in again.text]
    assert with_code(site, name, codes[0])[1].location == "/"
    assert "was used already" in with_code(site, name, codes[0])[1].text
    assert "You have 9 of 10 left" in visitor.ask("/second-factor/codes").text


def test_new_recovery_codes_ask_for_a_code_and_make_the_old_ones_void(site: Site) -> None:
    visitor, name, secret = site.proven("demo:researcher")
    old = visitor.codes()
    visitor.ask("/second-factor/new-codes")
    assert "This code is wrong" in visitor.send("/second-factor/new-codes", code="1").text
    assert visitor.send("/second-factor/new-codes", code=next_code(secret)).location == "/second-factor/codes"
    visitor.ask("/second-factor/codes")
    new = visitor.codes()
    assert len(new) == 10
    assert not set(new) & set(old)
    assert with_code(site, name, old[0])[1].status == 200
    assert with_code(site, name, new[0])[1].location == "/"


def test_a_stolen_password_does_not_survive_the_owner_s_enrolment(site: Site) -> None:
    name, thief, owner = site.person("demo:researcher"), site.visitor(), site.visitor()
    thief.sign_in(name)
    assert thief.ask("/").location == "/second-factor"
    stolen = thief.secret()
    owner.sign_in(name)
    owner.enrol()
    assert thief.ask("/").location.startswith("/sign-in")
    assert thief.send("/second-factor", code=totp(stolen)).location == "/sign-in"
    assert thief.sign_in(name).location == "/sign-in/code"
    thief.ask("/sign-in/code")
    assert "This code is wrong" in thief.send("/sign-in/code", code=totp(stolen)).text


def test_a_session_gets_a_new_key_at_each_step(site: Site) -> None:
    visitor, keys = site.visitor(), []
    visitor.sign_in(site.person("demo:researcher"))
    keys.append(visitor.cookies["__Host-session"])
    visitor.enrol()
    keys.append(visitor.cookies["__Host-session"])
    assert len(set(keys)) == 2
    visitor.cookies["__Host-session"] = keys[0]
    assert visitor.ask("/").location.startswith("/sign-in")


def test_an_account_that_ends_between_password_and_code_does_not_get_in(site: Site) -> None:
    _, name, secret = site.proven("demo:researcher")
    visitor = site.visitor()
    visitor.sign_in(name)
    site.close(name)
    visitor.ask("/sign-in/code")
    visitor.send("/sign-in/code", code=next_code(secret))
    assert visitor.ask("/").location.startswith("/sign-in")
    assert "User name or password is wrong." in site.visitor().sign_in(name).text


def test_no_session_outlives_twelve_hours_however_much_it_is_used(site: Site) -> None:
    visitor, _, _ = site.proven("demo:researcher")
    key = visitor.cookies["__Host-session"]
    signer = TimestampSigner(
        key=site.secrets["django_secret_key"], salt="django.contrib.sessions.SessionStore", fallback_keys=[]
    )
    data = signer.unsign_object(
        site.sql("SELECT session_data FROM people_signin WHERE session_key = :'key'", key=key),
        serializer=JSONSerializer,
    )
    for record in data["account_authentication_methods"]:
        record["at"] -= 12 * 3600 + 60
    aged = signer.sign_object(data, serializer=JSONSerializer)
    site.sql("UPDATE people_signin SET session_data = :'aged' WHERE session_key = :'key'", aged=aged, key=key)
    assert visitor.ask("/").location.startswith("/sign-in")
    assert site.sql("SELECT count(*) FROM people_signin WHERE session_key = :'key'", key=key) == "0"


@pytest.mark.parametrize(
    "to", ["https://evil.test/", "//evil.test/", "https:evil.test", "javascript:alert(1)", "\\\\evil.test"]
)
def test_a_sign_in_leads_nowhere_else(site: Site, to: str) -> None:
    visitor, name = site.visitor(), site.person()
    visitor.ask("/sign-in")
    answer = visitor.send("/sign-in", login=name, password=PASSWORD, next=to)
    assert answer.location == "/"


@pytest.mark.parametrize(
    "path",
    ["/sign-up", "/signup", "/accounts/signup/", "/password/reset", "/sign-in/reset", "/admin", "/sign-in/trust"],
)
def test_there_is_no_other_way_in(site: Site, path: str) -> None:
    assert site.visitor().ask(path).status == 404


def test_a_form_from_elsewhere_is_refused(site: Site) -> None:
    name, visitor = site.person("demo:researcher"), site.visitor()
    visitor.ask("/sign-in")
    form = {"login": name, "password": PASSWORD}
    assert visitor.ask("/sign-in", form).heading == "This form has expired"
    hidden = visitor.page
    assert "csrfmiddlewaretoken" not in hidden
    visitor.ask("/sign-in")
    foreign = visitor.send("/sign-in", **form)
    assert foreign.status == 302
    visitor = site.visitor()
    visitor.ask("/sign-in")
    token = visitor.page.partition('csrfmiddlewaretoken" value="')[2].partition('"')[0]
    evil = visitor.ask(
        "/sign-in", {**form, "csrfmiddlewaretoken": token}, Origin="https://demo.workspace.localhost:8443"
    )
    assert evil.status == 403
