"""The provider that hubs ask: the whole dance, and every way in which it is refused."""

from __future__ import annotations

import base64
import functools
import json

import jwt
import pytest

from readingroom.contract import OIDC_ISSUER, OIDC_KEYS, OIDC_TOKEN, OIDC_USERINFO
from tests.portal import INSIDE, Site, Visitor
from tests.unit.portal.hub import Hub


def test_a_researcher_is_known_to_the_hub_by_a_handle_and_the_project_s_roles(site: Site) -> None:
    visitor, name, _ = site.proven("demo:researcher", "demo:auditor", "other:researcher")
    hub = Hub(site)
    tokens = hub.tokens(visitor)
    handle = site.handle(name)
    assert hub.who(tokens["access_token"]).json == {
        "sub": handle,
        "handle": handle,
        "groups": ["demo:auditor", "demo:researcher"],
    }
    assert tokens["token_type"] == "Bearer"
    assert int(tokens["expires_in"]) == 300
    assert 43190 <= int(tokens["refresh_expires_in"]) <= 43200
    other = Hub(site, "other")
    claims = other.who(other.tokens(visitor)["access_token"]).json
    assert claims["groups"] == ["other:researcher"]
    assert claims["handle"] == site.handle(name, "other") != handle


def test_the_identity_token_is_signed_by_the_published_key(site: Site) -> None:
    visitor, name, _ = site.proven("demo:researcher")
    token = Hub(site).tokens(visitor)["id_token"]
    published = jwt.PyJWKSet.from_dict(site.visitor(INSIDE).ask(OIDC_KEYS).json)
    assert len(published.keys) == 1
    claims = jwt.decode(token, published.keys[0].key, algorithms=["RS256"], audience="hub-demo", issuer=OIDC_ISSUER)
    assert claims["sub"] == claims["handle"] == site.handle(name)
    assert claims["groups"] == ["demo:researcher"]
    assert claims["exp"] - claims["iat"] == 300
    assert set(claims) == {"iss", "aud", "iat", "exp", "jti", "at_hash", "sub", "handle", "groups"}
    assert name not in json.dumps(claims)


def test_who_is_no_researcher_of_the_project_is_refused_with_the_code(site: Site) -> None:
    visitor, _, _ = site.proven("demo:auditor", "other:researcher")
    refused = visitor.ask(Hub(site).path())
    assert refused.status == 403
    assert refused.heading == "You cannot enter this project"
    assert "W01" in refused.text
    assert Hub(site, "other").code(visitor)


@pytest.mark.parametrize(
    "changed",
    [
        {"code_challenge": ""},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": ""},
        {"code_challenge": "short"},
        {"redirect_uri": "https://demo.workspace.localhost:8443/hub/oauth_callback?x=1"},
        {"redirect_uri": "https://demo.workspace.localhost:9443/hub/oauth_callback"},
        {"redirect_uri": "https://evil.workspace.localhost:8443/hub/oauth_callback"},
        {"redirect_uri": "https://other.workspace.localhost:8443/hub/oauth_callback"},
        {"redirect_uri": ""},
        {"response_type": "token"},
        {"response_type": "code id_token"},
        {"client_id": "hub-nowhere"},
        {"client_id": "hub-other"},
        {"scope": "openid"},
        {"scope": "openid handle email"},
        {"state": ""},
        {"prompt": "none"},
        {"request": "x"},
        {"resource": "https://x.test"},
    ],
    ids=str,
)
def test_a_question_that_is_not_ours_gets_no_answer(site: Site, changed: dict[str, str]) -> None:
    visitor = _somebody(site)
    answer = visitor.ask(Hub(site).path(**changed))
    assert answer.status == 400
    assert answer.location == ""
    assert answer.heading == "This sign-in link is not right"


@functools.cache
def _somebody(site: Site) -> Visitor:
    """One researcher's browser, shared by the cells that change nothing."""
    return site.proven("demo:researcher", "other:researcher")[0]


def test_a_parameter_given_twice_gets_no_answer(site: Site) -> None:
    assert _somebody(site).ask(Hub(site).path() + "&client_id=hub-demo").status == 400


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"client_secret": "0" * 64}, 401, "invalid_client"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"client_id": ""}, 401, "invalid_client"),
        ({"client_id": "hub-other"}, 401, "invalid_client"),
        ({"code_verifier": ""}, 400, "invalid_request"),
        ({"code_verifier": "x" * 64}, 400, "invalid_grant"),
        ({"redirect_uri": "https://demo.workspace.localhost:8443/"}, 400, "invalid_request"),
        ({"grant_type": "password", "username": "x", "password": "y"}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, 400, "unsupported_grant_type"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:device_code"}, 400, "unsupported_grant_type"),
    ],
    ids=str,
)
def test_a_code_is_not_exchanged(site: Site, changed: dict[str, str], status: int, error: str) -> None:
    hub = Hub(site)
    code = hub.code(_somebody(site))
    answer = hub.exchange(code, **changed)
    assert (answer.status, answer.json["error"]) == (status, error)
    assert "token" not in answer.json


def test_a_code_of_one_hub_opens_nothing_for_another(site: Site) -> None:
    demo, other = Hub(site), Hub(site, "other")
    code = demo.code(_somebody(site))
    answer = other.exchange(code, code_verifier=demo.verifier, redirect_uri=demo.question["redirect_uri"])
    assert (answer.status, answer.json["error"]) == (400, "invalid_grant")


def test_a_client_named_by_a_header_cannot_leave_out_the_verifier(site: Site) -> None:
    hub = Hub(site)
    code = hub.code(_somebody(site))
    basic = base64.b64encode(f"hub-demo:{site.secrets['oidc-demo']}".encode()).decode()
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": hub.question["redirect_uri"]}
    assert hub.post(form, Authorization=f"Basic {basic}").status == 401
    assert hub.post({**form, "code_verifier": hub.verifier}, Authorization=f"Basic {basic}").status == 401


def test_a_code_works_once(site: Site) -> None:
    hub = Hub(site)
    code = hub.code(_somebody(site))
    assert hub.exchange(code).status == 200
    for dead in (code, "nothing"):
        assert hub.exchange(dead).json == {"error": "invalid_grant"}
    again = hub.exchange(code)
    assert (again.status, again.json["error"]) == (400, "invalid_grant")


def test_a_code_lives_for_a_minute(site: Site) -> None:
    hub = Hub(site)
    code = hub.code(_somebody(site))
    kept = "CREATE OR REPLACE VIEW codes AS SELECT * FROM portal_cache WHERE cache_key LIKE '%authorization_code%'"
    site.sql(kept)
    left = site.sql("SELECT extract(epoch FROM expires - now()) FROM codes WHERE cache_key ~ :'code'", code=code)
    assert 0 < float(left) <= 60
    site.sql("UPDATE codes SET expires = now() - interval '1 second' WHERE cache_key ~ :'code'", code=code)
    assert hub.exchange(code).status == 400


def test_a_refresh_gives_new_tokens_and_ends_the_old_refresh_token(site: Site) -> None:
    visitor, _, _ = site.proven("demo:researcher")
    hub = Hub(site)
    first = hub.tokens(visitor)
    second = hub.refresh(first["refresh_token"])
    assert second.status == 200
    assert hub.who(second.json["access_token"]).status == 200
    assert hub.refresh(first["refresh_token"]).json["error"] == "invalid_grant"
    assert hub.refresh(second.json["refresh_token"], client_secret="0" * 64).status == 401
    assert Hub(site, "other").refresh(second.json["refresh_token"]).status == 400


def test_tokens_end_on_time(site: Site) -> None:
    visitor, name, _ = site.proven("demo:researcher")
    hub = Hub(site)
    tokens = hub.tokens(visitor)
    assert hub.who(tokens["access_token"]).status == 200
    site.sql(
        "UPDATE allauth_idp_oidc_token SET expires_at = now() - interval '1 second' "
        "FROM people_person p WHERE user_id = p.id AND p.username = :'name'",
        name=name,
    )
    assert hub.who(tokens["access_token"]).status == 401
    assert hub.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"


def test_an_ended_membership_ends_login_refresh_and_question_of_that_project_alone(site: Site) -> None:
    visitor, name, _ = site.proven("demo:researcher", "other:researcher")
    demo, other = Hub(site), Hub(site, "other")
    mine, theirs = demo.tokens(visitor), other.tokens(visitor)
    code = demo.code(visitor)
    site.set_roles(name, "other:researcher")
    assert demo.who(mine["access_token"]).status == 401
    assert demo.refresh(mine["refresh_token"]).json == {"error": "invalid_grant"}
    assert demo.exchange(code).json == {"error": "invalid_grant"}
    assert visitor.ask(demo.path()).status == 403
    assert other.who(theirs["access_token"]).status == 200
    assert other.refresh(theirs["refresh_token"]).status == 200


def test_the_rule_is_asked_again_even_if_a_token_were_left(site: Site) -> None:
    visitor, name, _ = site.proven("demo:researcher", "demo:auditor")
    hub = Hub(site)
    tokens, code = hub.tokens(visitor), hub.code(visitor)
    site.sql(
        "UPDATE people_role SET ended = now() FROM people_person p "
        "WHERE role = 'researcher' AND person_id = p.id AND p.username = :'name'",
        name=name,
    )
    asked = hub.who(tokens["access_token"])
    assert (asked.status, asked.json["error"]) == (401, "invalid_token")
    for refused in (hub.refresh(tokens["refresh_token"]), hub.exchange(code)):
        assert (refused.status, refused.json["error"]) == (400, "invalid_grant")
        assert "access_token" not in refused.json


def test_a_closed_account_ends_sessions_tokens_and_codes(site: Site) -> None:
    visitor, name, _ = site.proven("demo:researcher")
    hub = Hub(site)
    tokens, code = hub.tokens(visitor), hub.code(visitor)
    site.close(name)
    assert hub.who(tokens["access_token"]).status == 401
    assert hub.refresh(tokens["refresh_token"]).status == 400
    assert hub.exchange(code).status == 400
    assert visitor.ask("/").location.startswith("/sign-in")
    left = "SELECT count(*) FROM people_signin JOIN people_person p ON p.id = person WHERE p.username = :'name'"
    assert site.sql(left, name=name) == "0"


def test_signing_out_ends_what_the_hubs_were_given(site: Site) -> None:
    visitor, _, _ = site.proven("demo:researcher")
    hub = Hub(site)
    tokens = hub.tokens(visitor)
    visitor.ask("/")
    assert visitor.send("/sign-out").location == "/sign-in"
    assert hub.who(tokens["access_token"]).status == 401
    assert hub.refresh(tokens["refresh_token"]).status == 400
    assert visitor.ask("/").location.startswith("/sign-in")


def test_hubs_find_three_pages_inside_and_no_other(site: Site) -> None:
    inside = site.visitor(INSIDE)
    assert inside.ask(OIDC_KEYS).status == 200
    assert inside.ask(OIDC_USERINFO).status == 401
    assert inside.ask(OIDC_TOKEN, {}).status == 401
    assert inside.ask(OIDC_TOKEN).status == 405
    for page in ("/", "/sign-in", "/second-factor", Hub(site).path(), "/static/portal.css"):
        assert inside.ask(page).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/openid-configuration", "/identity/o/device", "/identity/o/logout", "/identity/o/api/revoke",
        "/identity/o/api/introspect", "/identity/o/api/clients", "/identity/o/api/device/code",
    ],
)  # fmt: skip
def test_what_we_did_not_ask_of_the_library_is_not_there(site: Site, path: str) -> None:
    assert site.visitor(INSIDE).ask(path).status == 404
    assert site.visitor().ask(path).status == 404


def test_an_access_token_in_an_address_is_no_token(site: Site) -> None:
    tokens = Hub(site).tokens(_somebody(site))
    assert site.visitor(INSIDE).ask(f"{OIDC_USERINFO}?access_token={tokens['access_token']}").status == 401
