"""The whole product on this machine, as a newcomer gets it, and a project of the tests' own beside the demo.

The demo is made by the command of the README. The room `t-room` has people of its own, made for one run: their accounts are
added to the roster, and go with it. Nothing here has a way in that a person has not.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Error, Page

from images import build
from infra import places
from readingroom.contract import FRONT_DOOR_PORT, POD_RANGE, PORTAL_HOST, project_host
from tests.cluster.browser import browser, totp
from tests.cluster.kernel import Kernel
from tests.network_door import Site

ROOM = "t-room"
PORTAL = f"https://{PORTAL_HOST}:{FRONT_DOOR_PORT}"
ENVIRONMENT = "imaging-cpu"
ROOT = "readingroom-ca.pem"
NODE_SEEN = str(next(ipaddress.ip_network(POD_RANGE).hosts()))  # what a pod takes the node for, through a service
CENTRE = "TDOOR"  # of the hospital that sends over the network
LOOKS_AFTER = 7.0  # seconds: the hub asks every five whether a workspace is still there


def command(*words: str, check: bool = True, seconds: float = 900) -> subprocess.CompletedProcess[str]:
    """One `readingroom` command, as a person gives it."""
    program = Path(sys.executable).with_name("readingroom")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=seconds)
    if check and done.returncode:
        raise AssertionError(
            f"readingroom {' '.join(words)}: status {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
        )
    return done


def demo() -> tuple[str, float]:
    """`make demo` without make's own set-up: what it said, and its seconds."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "infra.demo"],
        cwd=places.CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=3000,
    )
    if done.returncode:
        raise AssertionError(
            f"the demo ended with status {done.returncode}: {done.stdout[-3000:]}{done.stderr[-1500:]}"
        )
    return done.stdout, time.monotonic() - started


@dataclass
class Person:
    """Somebody with an account, a password, and (after the first login) a second factor."""

    username: str
    password: str = field(repr=False)
    handle: str = ""
    secret: str = field(default="", repr=False)
    last_code: str = field(default="", repr=False)

    def code(self) -> str:
        """A code that was not used before; waits for the next one if it must."""
        while (found := totp(self.secret)) == self.last_code:
            time.sleep(1)
        self.last_code = found
        return found

    def sign_in(self, page: Page, where: str) -> None:
        """From wherever the hub or the portal sends a browser, through password and second factor."""
        page.goto(where)
        page.get_by_label("User name").fill(self.username)
        page.get_by_label("Password").fill(self.password)
        page.get_by_role("button", name="Continue").click()
        if self.secret:
            page.get_by_label("Code").fill(self.code())
            page.get_by_role("button", name="Sign in").click()
            return
        self.secret = page.locator("#secret").inner_text().replace(" ", "")
        page.get_by_label("Code").fill(self.code())
        page.get_by_role("button", name="Continue").click()
        page.locator("#codes code").first.wait_for()
        page.locator("#onward").click()


@dataclass
class Room:
    """The tests' own project, open, with its people."""

    project: str
    ada: Person  # a researcher with a grant
    ben: Person  # another one
    eve: Person  # a researcher at the portal, but not in the grant
    out: Person  # signed in, no role anywhere
    grant: dict[str, Any]
    hospital: Site  # what it needs to send to the network door
    more: dict[str, Person] = field(default_factory=dict)  # further researchers with a grant
    issued_in: float = 0.0  # seconds that the last grant took to be in force

    @property
    def url(self) -> str:
        """Where its people work."""
        return f"https://{project_host(self.project)}:{FRONT_DOOR_PORT}"

    def issue(self, members: dict[str, str], until: datetime | None = None) -> None:
        """The next grant version over the same cut: handles, each with its own end or none; and the project as it says."""
        started = time.monotonic()
        ends = (until or datetime.now(UTC) + timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%SZ")
        words = [
            w for handle, end in sorted(members.items()) for w in ("--member", f"{handle}={end}" if end else handle)
        ]
        cut = places.volume(f"cuts-{self.project}") / "cut.json"
        image = f"{ENVIRONMENT}={build.references()['workspace-cpu']}"
        command("project", "grant", self.project, "--until", ends, *words, "--cut-file", str(cut), "--image", image)
        command("platform", "up", "--project", self.project)
        self.issued_in = time.monotonic() - started
        self.grant = json.loads(command("project", "show", self.project, "--json").stdout)

    @contextmanager
    def browser(self) -> Iterator[BrowserContext]:
        """A fresh browser that trusts the platform's own authority."""
        with browser(places.state(ROOT)) as context:
            context.set_default_timeout(30_000)
            yield context

    @contextmanager
    def working(self, person: Person) -> Iterator[tuple[Page, Kernel]]:
        """This person, signed in, in a running workspace, with a kernel; the workspace runs on afterwards."""
        known = json.loads(command("workspace", "list", "--project", self.project, "--json").stdout)
        if person.handle not in {one["handle"] for one in known}:
            time.sleep(LOOKS_AFTER)  # one that has just ended is taken for running until then
        with self.browser() as context:
            page = context.new_page()
            person.sign_in(page, self.url)
            open_workspace(page, person)
            yield page, Kernel.start(page, person.handle)


def open_workspace(page: Page, person: Person) -> None:
    """From the start page into the notebook; one that runs is entered."""
    page.wait_for_url(re.compile(r"/hub/(spawn|home)|/user/"))
    if "/user/" not in page.url:
        page.goto(re.sub(r"(https://[^/]+/).*", r"\1hub/spawn", page.url))
    if page.locator("#spawn_form").count():
        page.get_by_role("button", name="Open the workspace").click()
    at_work(page, person)


def until_it_answers(page: Page, where: str, seconds: float = 120) -> None:
    """The page is there: after a fault a Deployment counts as ready until somebody has looked at its pods again."""
    end = time.monotonic() + seconds
    while True:
        try:
            answer = page.goto(where)
            if answer and answer.ok:
                return
        except Error:
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end, f"{where} does not answer"
        time.sleep(1)


def at_work(page: Page, person: Person) -> None:
    """The notebook itself is on the page, and not the hub's word that it is on its way."""
    page.wait_for_url(re.compile(rf"^https://[^/]+/user/{person.handle}/lab"), timeout=120_000)
    shell = page.locator(".jp-LabShell")
    try:
        shell.wait_for(timeout=30_000)
    except Error as error:
        error.add_note(f"{page.url} showed {page.locator('body').inner_text()[:500]!r}")
        page.reload()  # as a person would; what was seen first is told if this fails too
        shell.wait_for(timeout=60_000)


def _roster() -> Path:
    return places.volume("accounts-roster") / "roster.json"


def _write_roster(document: dict[str, Any]) -> None:
    fresh = _roster().with_name(".roster.new")
    fresh.write_text(json.dumps(document))
    fresh.chmod(0o600)
    os.chown(fresh, 10001, 10001)
    fresh.replace(_roster())


def _people(names: list[str]) -> dict[str, Person]:
    mark = secrets.token_hex(3)
    return {name: Person(f"t-{name}-{mark}", secrets.token_urlsafe(15)) for name in names}


def _hashes(passwords: list[str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "readingroom.entrypoints.enrol", "hash"],
        input="\n".join(passwords) + "\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


@contextmanager
def hospital() -> Iterator[Site]:
    """A hospital on this machine that may send to the network door after the next `platform up`. What it sent goes afterwards."""
    state = places.state("door")
    with tempfile.TemporaryDirectory() as work:
        site = Site(Path(work), trusted=str(places.state(ROOT)))
        peers = [
            {"ae_title": title, "centre": CENTRE, "fingerprints": [site.fingerprint("abc")], "addresses": [address]}
            for title, address in (("PACS_ABC", NODE_SEEN), ("FAR", "198.51.100.7"))
        ]
        state.mkdir(mode=0o700, exist_ok=True)
        (state / "peers.yaml").write_text(json.dumps({"ae_title": "ROOM", "peers": peers}))
        shutil.copyfile(site.work / "ca.crt", state / "authority.pem")
        try:
            yield site
        finally:
            shutil.rmtree(state)
            for folder in ("spool", "landing", "receipts/door"):
                shutil.rmtree(places.volume(folder) / CENTRE, ignore_errors=True)


@contextmanager
def room(project: str = ROOM, more: Sequence[str] = ()) -> Iterator[Room]:
    """A project of the tests' own, from decision to open door; the demo is up already. All of it goes afterwards.

    `more` are further researchers with a grant, beside ada and ben.
    """
    with hospital() as sender:
        yield from _room(project, more, sender)


def _room(project: str, more: Sequence[str], sender: Site) -> Iterator[Room]:
    until = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%d")
    command(
        "project", "decide", project, "--title", "A room for tests", "--request", "rq-tests", "--until", until,
        "--modality", "CT", "--member", "t-ada",
    )  # fmt: skip
    people = _people(["ada", "ben", "eve", "out", *more])
    before: dict[str, Any] = {}
    try:
        command("platform", "up")
        before = json.loads(_roster().read_text())
        hashed = _hashes([person.password for person in people.values()])
        accounts = [
            {"username": person.username, "display": f"Test {name}", "password_hash": one}
            for (name, person), one in zip(people.items(), hashed, strict=True)
        ]
        roles = [
            {"username": people[name].username, "project": project, "role": "researcher"}
            for name in ("ada", "ben", "eve", *more)
        ]
        _write_roster({"accounts": [*before["accounts"], *accounts], "memberships": [*before["memberships"], *roles]})
        handles = json.loads(command("platform", "job", "enrol", "--json").stdout.splitlines()[-1])[project]
        for person in people.values():
            person.handle = handles.get(person.username, "")
        command("platform", "job", "deid", "--project", project)
        command("platform", "job", "cut", "--project", project)
        others = {name: people[name] for name in more}
        found = Room(project, people["ada"], people["ben"], people["eve"], people["out"], {}, sender, others)
        found.issue({people[name].handle: "" for name in ("ada", "ben", *more)})
        yield found
    finally:
        if before:
            _write_roster(before)
            command("platform", "job", "enrol", check=False)
        command("platform", "down", "--project", project, check=False)
        for kind in ("grants", "decisions"):
            shutil.rmtree(places.state(kind, project), ignore_errors=True)
