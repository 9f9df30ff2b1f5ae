"""What every answer carries, and what nothing ever holds: headers, cookies, pages, log and database."""

from __future__ import annotations

import re
import socket
import ssl

import pytest

from readingroom.contract import OIDC_KEYS, PORTAL_HOST
from tests.cluster.browser import totp
from tests.portal import INSIDE, OUTSIDE, PASSWORD, Site, Visitor
from tests.unit.portal.hub import Hub

PAGES = ("/", "/sign-in", "/sign-in/code", "/second-factor", "/second-factor/codes", "/nothing", "/static/portal.css",
         "/static/nothing", "/health", OIDC_KEYS, "/identity/o/authorize", "/sign-out")  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_carries_the_headers(site: Site, path: str) -> None:
    headers = site.visitor().ask(path).headers
    hubs = "".join(f" https://{name}.workspace.localhost:8443" for name in ("demo", "other", "ended"))
    assert headers["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self'{hubs}"
    )
    assert headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    found = headers["Cache-Control"]
    assert found.startswith("max-age=3600") if path == "/static/portal.css" else found == "no-store"


def test_cookies_are_bound_to_this_host_and_out_of_reach(site: Site) -> None:
    visitor = site.visitor()
    page, done = visitor.ask("/sign-in"), visitor.sign_in(site.person())
    cookies = [*(page.headers.get_all("Set-Cookie") or []), *(done.headers.get_all("Set-Cookie") or [])]
    assert {cookie.partition("=")[0] for cookie in cookies} == {"__Host-csrf", "__Host-session"}
    for cookie in cookies:
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"secure", "httponly", "path=/", "samesite=lax"} <= attributes
        assert not [part for part in attributes if part.startswith(("domain", "max-age", "expires"))]


def pages(site: Site) -> list[str]:
    """Every page that a person meets, as text."""
    visitor, found = site.visitor(), []
    found.append(visitor.ask("/sign-in").text)
    name = site.person("demo:researcher", "other:auditor")
    found.append(visitor.sign_in(name, "wrong password").text)
    visitor.sign_in(name)
    secret = visitor.secret()
    found.append(visitor.page)
    found.append(visitor.send("/second-factor", code="1").text)
    visitor.send("/second-factor", code=totp(secret))
    paths = ("/second-factor/codes", "/second-factor/codes", "/second-factor/new-codes", "/second-factor/prove", "/",
             "/sign-out", "/nothing", "/identity/o/authorize", Hub(site, "other").path())  # fmt: skip
    found += [visitor.ask(path).text for path in paths]
    second = site.visitor()
    second.sign_in(name)
    found.append(second.ask("/sign-in/code").text)
    return found


def test_no_page_needs_anything_that_the_policy_forbids(site: Site) -> None:
    for text in pages(site):
        title = re.search(r"<title>(.*)</title>", text)
        assert title
        assert not re.search(r"<script|javascript:|<iframe|<object|\son[a-z]+=|\sstyle=|<style|url\(", text), title[1]
        outside = [
            link for link in re.findall(r'(?:src|href|action)="([^"]+)"', text) if not link.startswith(("/", "#"))
        ]
        assert set(outside) <= {"https://demo.workspace.localhost:8443/"}, title[1]


def test_every_page_can_be_used_by_who_cannot_see_it(site: Site) -> None:
    for text in pages(site):
        assert '<html lang="en">' in text
        assert len(re.findall(r"<h1", text)) == 1
        assert '<main id="main">' in text
        assert 'href="#main"' in text
        labels = set(re.findall(r'<label for="([^"]+)"', text))
        fields = re.findall(r"<input[^>]*>", text, re.DOTALL)
        asked = {found[1] for each in fields if (found := re.search(r'\sid="([^"]+)"', each))}
        assert asked == labels
        for described in re.findall(r'aria-describedby="([^"]*)"', text):
            assert {f'id="{each}"' in text for each in described.split()} <= {True}
        for picture in re.findall(r"<svg[^>]*>", text):
            assert "aria-hidden" in picture or "aria-label" in picture


@pytest.mark.parametrize("host", ["evil.test", PORTAL_HOST, f"{PORTAL_HOST}:443", "127.0.0.1:8443", ""])
def test_another_host_name_finds_nothing(site: Site, host: str) -> None:
    answer = site.visitor().ask("/sign-in", Host=host)
    assert answer.status in {400, 404}
    assert "Sign in" not in answer.text
    assert site.visitor().ask("/health", Host=host or "x").status == 200


def test_nobody_in_front_of_the_portal_may_say_who_asks(site: Site) -> None:
    forged = {"X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "http"}
    answer = site.visitor().ask("/sign-in", None, **forged)
    assert answer.status == 200
    assert "evil.test" not in answer.text


def test_log_and_database_hold_no_name_password_secret_or_token_in_clear(site: Site) -> None:
    visitor, name, secret = site.proven("demo:researcher")
    codes, hub = visitor.codes(), Hub(site)
    code = hub.code(visitor)
    tokens = hub.exchange(code).json
    visitor.ask("/nothing")
    site.visitor().sign_in(name, "a wrong passphrase")
    hub.refresh("x" * 40)
    log = site.log.read_text()
    for planted in (name, name.capitalize(), PASSWORD, "a wrong passphrase", secret, code, *codes, *tokens.values(),
                    *site.secrets.values(), visitor.cookies["__Host-session"]):  # fmt: skip
        assert str(planted) not in log or str(planted) in {"300", "43200", "43199", "Bearer", "openid handle"}
    factors = site.sql("SELECT data FROM mfa_authenticator")
    rows = site.sql("SELECT * FROM allauth_idp_oidc_token") + site.sql("SELECT * FROM allauth_idp_oidc_client")
    assert secret not in factors
    for token in (tokens["access_token"], tokens["refresh_token"], site.secrets["oidc-demo"]):
        assert token not in rows


def test_a_renewed_certificate_is_served_without_a_restart(site: Site) -> None:
    def served() -> bytes:
        context = ssl.create_default_context(cafile=site.authority)
        with (
            socket.create_connection(("127.0.0.1", site.port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname=INSIDE.partition(":")[0]) as found,
        ):
            return found.getpeercert(binary_form=True) or b""

    before = [served() for _ in range(4)]
    site.renew()
    after = [served() for _ in range(4)]
    assert len(set(before)) == len(set(after)) == 1
    assert before[0] != after[0]


def test_the_style_sheet_is_ours_and_kept_an_hour(site: Site) -> None:
    answer = Visitor(site.port, site.authority, OUTSIDE).ask("/static/portal.css")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/css")
    assert "http" not in answer.text
