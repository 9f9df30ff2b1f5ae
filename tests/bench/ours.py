"""Ours, as a person gets it: signed in with password and second factor, through edge, gate and grant."""

from __future__ import annotations

import http.cookiejar
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

from infra import places
from readingroom.contract import workspace_namespace
from readingroom.domain.workspace import pod_name
from tests.bench.arms import Pods
from tests.bench.web import Client, until
from tests.cluster.site import ROOT, Person, Room

FORM = "form => Object.fromEntries(new FormData(form))"


class Seat:
    """One person's signed-in session, and the choices of their start page as it stands."""

    def __init__(self, room: Room, person: Person) -> None:
        self.handle = person.handle
        self.client = Client(room.url, root=places.state(ROOT))
        with room.browser() as context:
            page = context.new_page()
            person.sign_in(page, room.url)
            page.wait_for_url(re.compile(r"/hub/(spawn|home)|/user/"))
            page.goto(f"{room.url}/hub/spawn")
            self.choices = urlencode(page.locator("#spawn_form").evaluate(FORM)).encode()
            for cookie in context.cookies():
                self._keep(cookie)

    def _keep(self, one: Mapping[str, object]) -> None:
        if one["domain"] == urlsplit(self.client.base).hostname:
            name, value, path = str(one["name"]), str(one["value"]), str(one["path"])
            self.client.jar.set_cookie(
                http.cookiejar.Cookie(0, name, value, None, False, str(one["domain"]), False, False, path, True,
                                      bool(one["secure"]), None, False, None, None, {})
            )  # fmt: skip

    def proof(self) -> str:
        """What the hub wants beside the cookies, so that no other site can ask."""
        return next(one.value or "" for one in self.client.jar if one.name == "_xsrf" and one.path == "/hub/")


class Ours:
    """Usable when the server answers through the edge."""

    name = "ours"

    def __init__(self, seats: Sequence[Seat], pods: Pods) -> None:
        self._seats, self._pods = seats, pods

    def start(self, number: int) -> Mapping[str, float]:
        seat = self._seats[number]
        client, kind = seat.client, "application/x-www-form-urlencoded"
        since = time.monotonic()
        asked = client.ask("POST", "/hub/spawn", seat.choices, X_XSRFToken=seat.proof(), Content_Type=kind)
        assert asked.status == 302, f"status {asked.status}: {_refusal(asked.text)}"
        client.until_ready(f"/hub/api/users/{seat.handle}/server/progress", X_XSRFToken=seat.proof())
        hub_ready = time.monotonic() - since
        client.until_usable(f"/user/{seat.handle}/api")
        usable = time.monotonic() - since
        page = client.ask("GET", f"/user/{seat.handle}/lab", follow=True)
        assert page.status == 200, f"first page: status {page.status}"
        first_page = time.monotonic() - since
        stages = self._pods.stages(pod_name(seat.handle), since)
        return {"hub ready": hub_ready, "usable": usable, "first page": first_page, **stages}

    def end(self, number: int) -> None:
        seat = self._seats[number]
        api = f"/hub/api/users/{seat.handle}/server"
        until(
            lambda: seat.client.ask("DELETE", api, X_XSRFToken=seat.proof()).status in {204, 404},
            f"the end of {seat.handle}",
            pause=0.2,
        )
        self._pods.wait_until_gone(pod_name(seat.handle))


def _refusal(page: str) -> str:
    """The sentence on the page that a refused person reads."""
    found = re.search(r'role="alert">([^<]*)<', page)
    return found.group(1) if found else "no sentence"


@contextmanager
def ours(room: Room, people: Sequence[Person]) -> Iterator[Ours]:
    """These people's seats; their workspaces are ended afterwards."""
    seats = [Seat(room, person) for person in people]
    with Pods(workspace_namespace(room.project)).watching() as pods:
        arm = Ours(seats, pods)
        for number in range(len(seats)):
            arm.end(number)  # one that runs already would be entered, not started
        try:
            yield arm
        finally:
            for number in range(len(seats)):
                arm.end(number)
