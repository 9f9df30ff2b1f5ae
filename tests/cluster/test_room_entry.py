"""Who gets into a workspace, and how each way in ends: refused at the door, withdrawn while at work, over by date, stopped.

Seen as the person sees it, in a browser, and as the operator sees it, in the cluster. `workspaces.md` sections 3, 5, 8, 12, 15.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Error, Page, Response, expect

from infra import places
from infra.node import build
from readingroom.contract import ADMISSION, ADMITTED, workspace_namespace
from tests.cluster.kernel import Kernel
from tests.cluster.probes import listed
from tests.cluster.site import LOOKS_AFTER, Person, Room, at_work, command, open_workspace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
START_SECONDS = 20  # of a workspace, with much to spare


def pods(room: Room) -> set[str]:
    """The workspaces that there are, ending ones included."""
    return {one["metadata"]["name"] for one in listed("pods", "-n", workspace_namespace(room.project))["items"]}


def until_gone(room: Room, person: Person, seconds: float) -> float:
    """How long the person's workspace is still there."""
    since = time.monotonic()
    while f"ws-{person.handle}" in pods(room):
        assert time.monotonic() - since < seconds, f"still there after {seconds} s"
        time.sleep(0.2)
    return time.monotonic() - since


def nobody_at_work(room: Room) -> None:
    """Both workspaces stopped and gone, and the hub, which looks every five seconds, has noticed."""
    before = pods(room)
    for person in (room.ada, room.ben):
        command("workspace", "stop", room.project, person.handle, check=False)
        until_gone(room, person, 20)
    if before:
        time.sleep(LOOKS_AFTER)


def asked(page: Page, path: str, method: str, body: str = "") -> dict[str, Any]:
    """Status and text of one request of this page's own, with its session."""
    code = """async ([path, method, body]) => {
      const form = document.querySelector('#spawn_form');
      const xsrf = form ? new URL(form.action).searchParams.get('_xsrf') : '';
      const headers = {'X-XSRFToken': xsrf, 'Content-Type': 'application/json'};
      const answer = await fetch(path, {method, headers, body: body || undefined});
      return {status: answer.status, text: await answer.text()};
    }"""
    found: dict[str, Any] = page.evaluate(code, [path, method, body])
    return found


@pytest.fixture(scope="module", autouse=True)
def as_before(room: Room) -> Iterator[None]:
    """Nobody is at work before; both are members again afterwards, and nobody is at work."""
    nobody_at_work(room)
    yield
    nobody_at_work(room)
    room.issue({room.ada.handle: "", room.ben.handle: ""})


SESSION = "jupyterhub-hub-login"  # the hub's cookie of somebody who is in


# --- at the door ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("who", ["out", "eve"])
def test_who_is_not_in_the_grant_gets_no_workspace(room: Room, who: str) -> None:
    """The outsider has no role at the portal, Eve has one and is not in the grant. Ada, who has both, is the twin below."""
    before = pods(room)
    person: Person = getattr(room, who)
    with room.browser() as context:
        page = context.new_page()
        person.sign_in(page, room.url)
        expect(page.locator("main")).to_contain_text("W01")
        for path in ("/hub/spawn", "/hub/home", f"/user/{room.ada.handle}/lab"):
            page.goto(room.url + path)
            expect(page.locator("main")).to_contain_text("W01")
        assert SESSION not in {one["name"] for one in context.cookies(room.url + "/hub/")}
    assert pods(room) <= before


# --- withdrawn --------------------------------------------------------------------------------------------------------
def test_a_member_who_is_withdrawn_at_work_is_out_within_seconds(room: Room) -> None:
    name = f"ws-{room.ben.handle}"
    with room.working(room.ben) as (page, kernel):
        assert kernel.ask("print(6 * 7)") == 42
        watching = subprocess.Popen(
            [build.binary("kube"), "kubectl", "--kubeconfig", places.state(places.OPERATOR_KUBECONFIG), "get", "pod", name,
             "-n", workspace_namespace(room.project), "--watch", "-o",
             r"jsonpath={.metadata.labels.readingroom\/seal},{.metadata.deletionTimestamp}{'\n'}"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            asked = time.monotonic()
            command("project", "revoke", room.project, "--member", room.ben.handle)
            assert until_gone(room, room.ben, 10) < 10
            assert time.monotonic() - asked < 15, "the command and the end together"
        finally:
            watching.kill()
            steps = watching.communicate()[0].split()
        assert steps[0] == "open,"
        first_closed = next(number for number, step in enumerate(steps) if step.startswith("closed"))
        assert all(step == "open," for step in steps[:first_closed]), "the network is cut before the pod is deleted"
        with pytest.raises((Error, AssertionError)):
            kernel.run("print(1)", seconds=5)
        refused_within(page, f"{room.url}/hub/spawn", 30)
        assert name not in pods(room)
        admitted = listed("configmap", "-n", workspace_namespace(room.project), ADMISSION)["data"][ADMITTED].split()
        assert room.ben.handle not in admitted
        assert room.ada.handle in admitted


def refused_within(page: Page, where: str, seconds: float, code: str = "W01") -> None:
    """The page says no by then; until the hub has noticed the end, a request may still wait for the workspace that is gone."""
    since = time.monotonic()
    while True:
        again = page.context.new_page()
        try:
            again.goto(where, timeout=5000)
            if again.locator("#spawn_form").count():
                again.get_by_role("button", name="Open the workspace").click()
            expect(again.locator("main")).to_contain_text(code, timeout=10_000)
        except (Error, AssertionError):
            assert time.monotonic() - since < seconds, again.url
        else:
            return
        finally:
            again.close()


# --- Ada's day --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def signed_in(room: Room) -> Iterator[BrowserContext]:
    """Ada's browser, signed in."""
    with room.browser() as context:
        page = context.new_page()
        room.ada.sign_in(page, room.url)
        page.wait_for_url(re.compile("/hub/(spawn|home)"))
        page.close()
        yield context


@pytest.fixture
def page(signed_in: BrowserContext, room: Room) -> Iterator[Page]:
    """A page of it, at the hub, for one test. A notebook left open goes on asking a workspace that is gone, and a browser lets
    one such question wait for the other."""
    page = signed_in.new_page()
    page.goto(f"{room.url}/hub/home")
    yield page
    for one in signed_in.pages[1:]:  # the first is blank and stays: without any, a browser forgets who signed in
        one.close()


def fill_in(page: Page, script: str) -> None:
    """The start page's form, changed as a person with a browser's tools may change it, and sent."""
    page.goto(re.sub(r"(https://[^/]+/).*", r"\1hub/spawn", page.url))
    page.locator("#spawn_form").wait_for()
    page.evaluate(f"form => {{ {script} }}", page.locator("#spawn_form").element_handle())
    page.get_by_role("button", name="Open the workspace").click()


ONE_MORE = "const one = document.createElement('input'); one.type = 'hidden'; form.append(one);"
WRONG_FORMS = {
    "a size that is not granted": "form.querySelector('[name=size]:checked').value = 'huge';",
    "an image that is not granted": "form.querySelector('[name=image]:checked').value = 'rr.local/hub';",
    "a template": "form.querySelector('[name=size]:checked').value = '{username}';",
    "one field more": f"{ONE_MORE} one.name = 'command'; one.value = 'sh';",
    "the same field twice": f"{ONE_MORE} one.name = 'size'; one.value = 'small';",
}


@pytest.mark.parametrize("name", WRONG_FORMS)
def test_a_form_that_says_anything_else_is_refused(room: Room, page: Page, name: str) -> None:
    fill_in(page, WRONG_FORMS[name])
    expect(page.locator("main [role=alert]")).to_contain_text("W04")
    assert f"ws-{room.ada.handle}" not in pods(room)


@pytest.mark.parametrize(
    "body", ['{"size": "huge"}', '{"profile": "small"}', '{"size": ["small", "medium"]}', '{"image": 1}']
)
def test_a_call_that_says_anything_else_is_refused(room: Room, page: Page, body: str) -> None:
    page.goto(f"{room.url}/hub/spawn")
    answer = asked(page, f"/hub/api/users/{room.ada.handle}/server", "POST", body)
    assert answer["status"] in (202, 403), "accepted for consideration at most"
    page.goto(f"{room.url}/hub/spawn-pending/{room.ada.handle}")
    expect(page.locator("main")).to_contain_text("W04")
    assert f"ws-{room.ada.handle}" not in pods(room)


def test_a_link_opens_no_workspace(room: Room, page: Page) -> None:
    page.goto(f"{room.url}/hub/spawn?size=small")
    expect(page.locator("main")).to_contain_text("W04")
    assert f"ws-{room.ada.handle}" not in pods(room)


def test_what_is_chosen_is_what_runs_and_home_and_outbox_outlive_it(room: Room, page: Page) -> None:
    fill_in(page, "form.querySelector('[name=size][value=medium]').checked = true;")
    at_work(page, room.ada)
    kernel = Kernel.start(page, room.ada.handle)
    kernel.run("for one in ('/home/researcher', '/outbox', '/tmp'): open(one + '/mark', 'w').write('hers')")

    (running,) = json.loads(command("workspace", "list", "--project", room.project, "--json").stdout)
    assert (running["handle"], running["state"], running["cut"]) == (
        room.ada.handle, "running", room.grant["cut_image"],
    )  # fmt: skip
    assert f"{room.project} " in command("workspace", "list").stdout
    pod = listed("pod", "-n", workspace_namespace(room.project), f"ws-{room.ada.handle}")
    limits = pod["spec"]["containers"][0]["resources"]["limits"]
    assert (limits["cpu"], limits["memory"]) == ("2", "4Gi")

    command("workspace", "stop", room.project, room.ada.handle)
    until_gone(room, room.ada, 10)
    assert json.loads(command("workspace", "list", "--project", room.project, "--json").stdout) == []
    assert command("workspace", "stop", room.project, room.ada.handle, check=False).returncode == 3

    page = start_page_again(room, page)
    open_workspace(page, room.ada)
    kernel = Kernel.start(page, room.ada.handle)
    look = "[os.path.exists(one + '/mark') for one in ('/home/researcher', '/outbox', '/tmp')]"
    assert kernel.ask(f"import json, os; print(json.dumps({look}))") == [True, True, False]
    kernel.run("for one in ('/home/researcher', '/outbox'): os.unlink(one + '/mark')")


def start_page_again(room: Room, page: Page) -> Page:
    """A page in place of this one: the start page, as soon as the hub has noticed that the workspace is gone."""
    time.sleep(LOOKS_AFTER)
    found, since = page.context.new_page(), time.monotonic()
    page.close()
    while True:
        found.goto(f"{room.url}/hub/spawn")
        if found.locator("#spawn_form").count():
            return found
        assert time.monotonic() - since < 15, "the hub still takes it for running"
        time.sleep(1)


def headers_of(answer: Response | None) -> dict[str, str]:
    """As the browser has them."""
    assert answer is not None
    return answer.all_headers()


def test_what_a_browser_is_told_comes_from_the_edge(room: Room, page: Page) -> None:
    hub = headers_of(page.goto(f"{room.url}/hub/home"))
    pod = headers_of(page.goto(f"{room.url}/user/{room.ada.handle}/lab"))
    for found in (hub, pod):
        assert found["strict-transport-security"] == "max-age=63072000"
        assert (found["x-content-type-options"], found["referrer-policy"]) == ("nosniff", "same-origin")
        assert (found["cache-control"], found["cross-origin-opener-policy"]) == ("no-store", "same-origin")
        told = found["content-security-policy"]
        assert "default-src 'self'" in told
        assert "frame-ancestors 'none'" in told
        assert "webrtc 'block'" in told
        assert not {"x-jupyterhub-version", "link", "report-to", "nel", "access-control-allow-origin"} & set(found)
        assert found["server"] == "nginx", "no version"
    assert "unsafe-inline" not in hub["content-security-policy"]
    cookies = page.context.cookies([f"{room.url}/hub/", f"{room.url}/user/{room.ada.handle}/"])
    assert SESSION in {one["name"] for one in cookies}
    sessions = [one for one in cookies if one["name"] != "_xsrf"]
    assert len(sessions) >= 3
    assert all(one["secure"] and one["httpOnly"] and one["sameSite"] == "Lax" for one in sessions)
    assert {one["domain"] for one in cookies} == {room.url.split("/")[2].partition(":")[0]}
    page.goto(f"{room.url}/user/{room.ada.handle}/api/status")  # a page that stays as it is
    closed = asked(page, f"/user/{room.ada.handle}/files/00-start-here.ipynb", "GET")
    assert (closed["status"], "leave only by request" in closed["text"]) == (403, True)
    allowed = page.goto(f"{room.url}/user/{room.ada.handle}/api/contents/00-start-here.ipynb?content=0")
    assert allowed is not None
    assert allowed.status == 200


def test_a_workspace_ends_with_its_grant_and_no_other_opens(room: Room, page: Page) -> None:
    nobody_at_work(room)
    ends = (datetime.now(UTC) + timedelta(seconds=2 * room.issued_in + START_SECONDS)).replace(microsecond=0)
    room.issue({room.ada.handle: "", room.ben.handle: ""}, until=ends)
    page.goto(f"{room.url}/hub/spawn")
    open_workspace(page, room.ada)
    kernel = Kernel.start(page, room.ada.handle)
    assert (
        kernel.ask("import os, json; print(json.dumps(os.environ['READINGROOM_ENDS']))") == f"{ends:%Y-%m-%dT%H:%M:%SZ}"
    )
    left = (ends - datetime.now(UTC)).total_seconds()
    assert left > 0, "it was at work before the end"
    time.sleep(left)
    assert until_gone(room, room.ada, 15) < 15
    time.sleep(LOOKS_AFTER)
    page = page.context.new_page()
    page.goto(f"{room.url}/hub/spawn")
    expect(page.locator("main")).to_contain_text("W02")
    assert f"ws-{room.ada.handle}" not in pods(room)
