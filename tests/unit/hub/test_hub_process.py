"""A real JupyterHub with our configuration, between an API server, a proxy and a portal in memory."""

from __future__ import annotations

import html
import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.mortal import mortal
from tests.ports import free_port
from tests.unit.hub.grants import ADA, BEN, CUT, EVE, IMAGE, document
from tests.unit.hub.surroundings import Surroundings, surroundings

ROOT = Path(__file__).parents[3]
HOST = "demo.workspace.localhost:8443"
SECRETS = ("cookie_secret", "auth_state_key", "proxy_token", "client_secret")


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def location(self) -> str:
        return self.headers.get("Location", "")


@dataclass
class Browser:
    """Keeps cookies and speaks as the edge forwards a browser."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, path: str, form: dict[str, str] | None = None, method: str = "") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {
            "Host": HOST,
            "X-Scheme": "https",
            "X-Forwarded-Proto": "https",
            "Origin": f"https://{HOST}",
            "Sec-Fetch-Site": "same-origin",
            "Sec-Fetch-Mode": "navigate",
            "Accept": "text/html",
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
        }
        body = None
        if form is not None:
            body, headers["Content-Type"] = urlencode(form), "application/x-www-form-urlencoded"
        connection.request(method or ("GET" if form is None else "POST"), path, body, headers)
        response = connection.getresponse()
        text = response.read().decode()
        for cookie in response.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.split(";")[0].partition("=")
            self.cookies[name] = value
        connection.close()
        return Answer(response.status, response.headers, text)

    def sign_in(self) -> Answer:
        """The whole code flow; the portal's own pages are left out."""
        away = self.ask("/hub/oauth_login?next=%2Fhub%2Fspawn")
        asked = parse_qs(urlsplit(away.location).query)
        return self.ask(f"/hub/oauth_callback?{urlencode({'code': 'c', 'state': asked['state'][0]})}")

    def spawn(self, **choice: str) -> Answer:
        """Send the start page's own form, and follow what it leads to until nothing is pending any more."""
        page = self.ask("/hub/spawn")
        action = re.search(r'action="([^"]*)"', page.text)
        answer = self.ask(html.unescape(action[1]) if action else "/hub/spawn", choice)
        return self.outcome(answer.location) if "/hub/spawn-pending/" in answer.location else answer

    def outcome(self, path: str) -> Answer:
        """What the waiting page says in the end: a way to the notebook, or a refusal."""
        for _ in range(600):
            answer = self.ask(urlsplit(path).path)
            if answer.status != 200 or "progress-bar" not in answer.text:
                return answer
            time.sleep(0.1)
        raise AssertionError("still pending after a minute")


@dataclass
class Hub:
    around: Surroundings
    port: int
    log: Path
    secrets: dict[str, str]

    def browser(self, handle: str, group: str = "demo:researcher") -> Browser:
        portal = self.around.portal
        portal.handle, portal.groups, portal.member = handle, [group], True
        return Browser(self.port)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    port = free_port()
    made = {name: secrets.token_hex(32) for name in SECRETS}
    for name, value in made.items():
        (folder / name).write_text(value)
    (folder / "grant.json").write_text(json.dumps(document(datetime.now(UTC))))
    with surroundings() as around:
        told = {
            "portal_url": "https://portal.readingroom.localhost:8443",
            "portal_inside": f"http://127.0.0.1:{around.ports['portal']}",
            "portal_ca": str(folder / "ca.crt"),
        }
        with running_hub(folder, around, port, told) as log:
            yield Hub(around, port, log, made)


@contextmanager
def running_hub(folder: Path, around: Surroundings, port: int, told: dict[str, str]) -> Iterator[Path]:
    """A real hub with our configuration over the secrets and the grant in `folder`; its log. `told`: who signs people in."""
    settings = {
        "project": "demo",
        "public_url": f"https://{HOST}/",
        "listen": f"http://127.0.0.1:{port}",
        "hub_url": f"http://127.0.0.1:{port}",
        "proxy_api_url": f"http://127.0.0.1:{around.ports['proxy']}",
        "gate_host": "localhost",
        "gate_port": 8082,
        "grant": str(folder / "grant.json"),
        "grant_schema": str(ROOT / "policies" / "schema" / "grant.schema.json"),
        "secrets": str(folder),
        "database": str(folder / "hub.sqlite"),
        "image_pull_policy": "Never",
        "user_namespaces": False,
        **told,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "kubeconfig").write_text(kubeconfig(around.ports["api"]))
    log = folder / "hub.log"
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "RR_HUB_SETTINGS": str(folder / "settings.json"),
        "KUBECONFIG": str(folder / "kubeconfig"),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'images' / 'services'}",
    }
    command = [sys.executable, "-m", "jupyterhub", "-f", str(ROOT / "hub_config" / "jupyterhub_config.py")]
    with log.open("wb") as file:
        process = subprocess.Popen(mortal(command, "TERM"), cwd=folder, env=variables, stdout=file, stderr=file)
    try:
        wait_for_health(process, port, log)
        yield log
    finally:
        process.terminate()
        process.wait(20)


def wait_for_health(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(1200):  # a loaded machine is no failure; a hub that ended is seen at once
        if process.poll() is not None:
            raise AssertionError(log.read_text())
        try:
            if Browser(port).ask("/hub/health").status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def until(look: Callable[[], Any]) -> Any:
    """What `look` finds, within a minute."""
    for _ in range(600):
        if (found := look()) is not None:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in a minute")


def kubeconfig(port: int) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "u", "user": {}}],
        }
    )


def test_a_login_goes_to_the_portal_with_pkce(hub: Hub) -> None:
    away = hub.browser(ADA).ask("/hub/oauth_login")
    assert away.status == 302
    assert away.location.startswith("https://portal.readingroom.localhost:8443/identity/o/authorize?")
    asked = parse_qs(urlsplit(away.location).query)
    assert asked["client_id"] == ["hub-demo"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == [f"https://{HOST}/hub/oauth_callback"]


def test_both_keys_open_the_start_page_and_a_workspace_with_our_pod(hub: Hub) -> None:
    browser = hub.browser(ADA)
    assert browser.sign_in().status == 302
    page = browser.ask("/hub/spawn")
    assert page.status == 200
    assert "Lungs &amp; ribs" in page.text
    assert "29 days left" in page.text
    started = browser.spawn(size="medium", image="imaging-cpu")
    assert started.location.endswith(f"/user/{ADA}/"), started.text
    pod = until(lambda: hub.around.api.created[-1] if hub.around.api.created else None)
    assert pod["metadata"]["name"] == f"ws-{ADA}"
    assert pod["metadata"]["namespace"] == "p-demo-ws"
    assert hub.around.api.selectors == {f"component={pod['metadata']['labels']['component']}"}
    container = pod["spec"]["containers"][0]
    assert container["image"] == IMAGE
    assert container["command"] == ["rr-workspace"]
    assert container["resources"]["limits"]["memory"] == "4Gi"
    assert [v["image"]["reference"] for v in pod["spec"]["volumes"] if v["name"] == "data"] == [CUT]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert variables["JUPYTERHUB_API_URL"] == "http://127.0.0.1:8082/hub/api"
    assert variables["JUPYTERHUB_API_TOKEN"]
    until(lambda: f"/user/{ADA}" in "".join(hub.around.routes) or None)
    log = hub.log.read_text()
    assert variables["JUPYTERHUB_API_TOKEN"] not in log
    assert not [name for name, value in hub.secrets.items() if value in log]
    assert stop(browser, ADA).status in {202, 204}
    until(lambda: f"ws-{ADA}" not in hub.around.api.pods or None)
    assert hub.around.api.deleted[-1]["gracePeriodSeconds"] == 1
    assert {verb for verb, _ in hub.around.api.calls} <= {"list", "watch", "create", "delete"}


def stop(browser: Browser, handle: str) -> Answer:
    token = browser.cookies.get("_xsrf", "")
    return browser.ask(f"/hub/api/users/{handle}/server?_xsrf={token}", method="DELETE")


def test_the_group_alone_is_one_key_and_not_enough(hub: Hub) -> None:
    refused = hub.browser(EVE).sign_in()
    assert refused.status == 403
    assert "W01" in refused.text


def test_the_grant_alone_is_one_key_and_not_enough(hub: Hub) -> None:
    refused = hub.browser(BEN, group="other:researcher").sign_in()
    assert refused.status == 403
    assert "W01" in refused.text


@pytest.mark.parametrize("name", ["Ada Lovelace", "../x", "raaaaaaa.", ""])
def test_a_name_that_is_no_handle_ends_the_login(hub: Hub, name: str) -> None:
    assert hub.browser(name).sign_in().status >= 400


@pytest.mark.parametrize(
    "choice",
    [
        {"size": "huge", "image": "imaging-cpu"},
        {"size": "small", "image": "rr.local/evil@sha256:" + "0" * 64},
        {"size": "small", "image": "imaging-cpu", "namespace": "kube-system"},
        {"size": "{username}"},
        {"profile": "x"},
    ],
)
def test_a_choice_that_the_grant_does_not_list_makes_no_pod(hub: Hub, choice: dict[str, str]) -> None:
    browser = hub.browser(BEN)
    browser.sign_in()
    before = len(hub.around.api.created)
    refused = browser.spawn(**choice)
    assert "W04" in refused.text
    assert len(hub.around.api.created) == before


def test_options_over_the_api_meet_the_same_parser(hub: Hub) -> None:
    browser = hub.browser(BEN)
    browser.sign_in()
    browser.ask("/hub/spawn")
    before = len(hub.around.api.created)
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=60)
    headers = {"Host": HOST, "Cookie": "; ".join(f"{k}={v}" for k, v in browser.cookies.items())}
    path = f"/hub/api/users/{BEN}/server?_xsrf={browser.cookies['_xsrf']}"
    connection.request("POST", path, json.dumps({"image": IMAGE, "extra_pod_config": {"hostNetwork": True}}), headers)
    response = connection.getresponse()
    assert response.status in {202, 400, 403}
    response.read()
    connection.close()
    assert "W04" in browser.outcome(f"/hub/spawn-pending/{BEN}").text
    assert len(hub.around.api.created) == before


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("admission: image is not approved", "W11"),
        ("ValidatingAdmissionPolicy denied request: this person is not in the grant", "W01"),
        ("ValidatingAdmissionPolicy denied request: the data of this project were taken back", "W03"),
        ("pods is forbidden: exceeded quota: quota, requested: pods=1", "W07"),
    ],
)
def test_a_refusal_of_the_api_server_is_a_code_and_the_log_holds_no_token(hub: Hub, reason: str, code: str) -> None:
    browser = hub.browser(BEN)
    browser.sign_in()
    hub.around.api.refuses = (403, reason)
    try:
        refused = browser.spawn(size="small", image="imaging-cpu")
    finally:
        hub.around.api.refuses = None
    assert code in refused.text
    assert reason in hub.log.read_text()
    assert "JUPYTERHUB_API_TOKEN" not in hub.log.read_text()


def test_a_person_whose_membership_ended_cannot_spawn_with_an_old_session(hub: Hub) -> None:
    browser = hub.browser(BEN)
    browser.sign_in()
    assert browser.ask("/hub/spawn").status == 200
    hub.around.portal.member = False
    before = len(hub.around.api.created)
    refused = browser.spawn(size="small", image="imaging-cpu")
    assert refused.status == 403
    assert len(hub.around.api.created) == before
    assert "/hub/spawn-pending" not in refused.location


def test_nobody_opens_the_server_of_another(hub: Hub) -> None:
    browser = hub.browser(BEN)
    browser.sign_in()
    assert browser.ask(f"/hub/spawn/{ADA}").status in {403, 404}
    assert browser.ask("/hub/admin").status in {403, 404}
    token = browser.cookies.get("_xsrf", "")
    assert browser.ask(f"/hub/api/users/{BEN}/tokens?_xsrf={token}", {}).status in {403, 404}


def test_a_link_opens_no_workspace(hub: Hub) -> None:
    browser = hub.browser(BEN)
    browser.sign_in()
    before = len(hub.around.api.created)
    page = browser.ask("/hub/spawn?size=small&image=imaging-cpu")
    assert "/hub/spawn-pending" not in page.location
    assert "W04" in page.text
    time.sleep(1)
    assert len(hub.around.api.created) == before
