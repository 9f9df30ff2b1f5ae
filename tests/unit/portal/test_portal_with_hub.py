"""The real portal and a real JupyterHub with our configuration: no fake stands between who somebody is and who may work."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from readingroom.contract import OIDC_AUTHORIZE, OIDC_ISSUER
from tests.portal import INSIDE, Site, Visitor
from tests.ports import free_port
from tests.unit.hub.grants import document
from tests.unit.hub.surroundings import Quiet, Surroundings, surroundings
from tests.unit.hub.test_hub_process import HOST, Answer, Browser, running_hub


class Inside(Quiet, BaseHTTPRequestHandler):
    """The cluster's network: what the hub says to the portal's Service arrives there, over TLS, under the Service's name."""

    site: Site

    def do_GET(self) -> None:
        self.carry(None)

    def do_POST(self) -> None:
        self.carry({name: values[0] for name, values in parse_qs(self.body().decode(), keep_blank_values=True).items()})

    def carry(self, form: dict[str, str] | None) -> None:
        sent = {name: self.headers[name] for name in ("Authorization",) if name in self.headers}
        answer = self.site.visitor(INSIDE).ask(self.path, form, **sent)
        self.say(answer.status, answer.json)


@dataclass
class Joined:
    """One hub of project demo, the portal it trusts, and what stands around it."""

    site: Site
    around: Surroundings
    port: int
    members: dict[str, tuple[Visitor, str]]

    def sign_in(self, name: str) -> tuple[Browser, Answer]:
        """Hub → portal → hub, by the addresses that each sends."""
        browser, visitor = Browser(self.port), self.members[name][0]
        away = browser.ask("/hub/oauth_login?next=%2Fhub%2Fspawn")
        assert away.location.startswith(f"{OIDC_ISSUER}{OIDC_AUTHORIZE}?")
        back = visitor.ask(away.location.removeprefix(OIDC_ISSUER))
        assert back.location.startswith(f"https://{HOST}/hub/oauth_callback?"), (back.status, back.heading)
        parts = urlsplit(back.location)
        return browser, browser.ask(f"{parts.path}?{parts.query}")


@pytest.fixture(scope="module")
def joined(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Joined]:
    folder, port = tmp_path_factory.mktemp("hub"), free_port()
    members = {each: site.proven("demo:researcher")[:2] for each in ("ada", "ben", "eve")}
    for name in ("cookie_secret", "auth_state_key", "proxy_token"):
        (folder / name).write_text(secrets.token_hex(32))
    (folder / "client_secret").write_text(site.secrets["oidc-demo"])
    grant = document(datetime.now(UTC))
    until = grant["members"][0]["until"]
    listed = [site.handle(members[name][1]) for name in ("ada", "ben")]
    (folder / "grant.json").write_text(
        json.dumps({**grant, "members": [{"handle": each, "until": until} for each in listed]})
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Inside", (Inside,), {"site": site}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with surroundings() as around:
        told = {
            "portal_url": OIDC_ISSUER,
            "portal_inside": f"http://127.0.0.1:{server.server_address[1]}",
            "portal_ca": str(site.authority),
        }
        try:
            with running_hub(folder, around, port, told):
                yield Joined(site, around, port, members)
        finally:
            server.shutdown()
            server.server_close()


def test_a_researcher_of_the_grant_signs_in_and_opens_a_workspace_of_their_handle(joined: Joined) -> None:
    browser, done = joined.sign_in("ada")
    assert done.status == 302, done.text
    handle = joined.site.handle(joined.members["ada"][1])
    page = browser.ask("/hub/spawn")
    assert page.status == 200
    started = browser.spawn(size="medium", image="imaging-cpu")
    assert started.location.endswith(f"/user/{handle}/"), started.text
    assert joined.around.api.created[-1]["metadata"]["name"] == f"ws-{handle}"


def test_a_researcher_whom_the_grant_does_not_list_is_refused_by_the_hub(joined: Joined) -> None:
    _, refused = joined.sign_in("eve")
    assert refused.status == 403
    assert "W01" in refused.text


def test_when_the_roster_ends_a_membership_the_hub_s_old_session_opens_nothing(joined: Joined) -> None:
    browser, done = joined.sign_in("ben")
    assert done.status == 302
    assert browser.ask("/hub/spawn").status == 200
    name, before = joined.members["ben"][1], len(joined.around.api.created)
    joined.site.set_roles(name)
    refused = browser.spawn(size="small", image="imaging-cpu")
    assert refused.status == 403
    assert len(joined.around.api.created) == before
