"""The portal as it runs: its process with its files, its PostgreSQL, the Job that enrols, and a browser without a picture."""

from __future__ import annotations

import functools
import html
import http.client
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from readingroom.adapters.db.hashers import password_hash
from readingroom.adapters.leaf import new_rsa_key
from readingroom.contract import DATABASE_NAME, FRONT_DOOR_PORT, PORTAL_HOST, PORTAL_INSIDE
from tests.cluster.browser import totp
from tests.mortal import mortal
from tests.ports import free_port
from tests.postgres import shared

ROOT = Path(__file__).parents[1]
OUTSIDE = f"{PORTAL_HOST}:{FRONT_DOOR_PORT}"
INSIDE = urlsplit(PORTAL_INSIDE).netloc
PASSWORD = "correct horse battery staple"
ENDS = datetime.now(UTC).date() + timedelta(days=180)
PROJECTS: list[dict[str, Any]] = [
    {
        "id": "demo",
        "title": "Reading chest CT: a first <look>",
        "may": ["Work on 120 CT studies in a notebook.", "Ask for results to be released."],
        "ends": ENDS.isoformat(),
    },
    {"id": "other", "title": "Another project"},
    {"id": "ended", "title": "A project that is over", "ends": "2025-12-31"},
]
TOGETHER = 12  # people whom one run of the Job enrols before they are asked for
_numbers = itertools.count(1)


@functools.cache
def _hash() -> str:
    return password_hash(PASSWORD)


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def location(self) -> str:
        return self.headers.get("Location", "")

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def heading(self) -> str:
        found = re.search(r"<h1>(.*?)</h1>", self.text)
        return html.unescape(found[1]) if found else ""


@dataclass
class Visitor:
    """Keeps cookies as a browser would keep them, and sends the form token of the last page."""

    port: int
    authority: Path
    host: str = OUTSIDE
    cookies: dict[str, str] = field(default_factory=dict)
    page: str = ""

    def ask(self, path: str, form: dict[str, str] | None = None, **headers: str) -> Answer:
        context = ssl.create_default_context(cafile=self.authority)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sock = context.wrap_socket(plain, server_hostname=self.host.partition(":")[0])
        sent = {"Host": self.host, "Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items()), **headers}
        body = None
        if form is not None:
            body, sent["Content-Type"] = urlencode(form), "application/x-www-form-urlencoded"
            sent.setdefault("Origin", f"https://{self.host}")
        connection.request("GET" if form is None else "POST", path, body, sent)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        for cookie in response.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.split(";")[0].partition("=")
            self.cookies.pop(name, None)
            if value.strip('"'):
                self.cookies[name] = value
        if text.startswith("<!doctype html>"):
            self.page = text
        return Answer(response.status, response.headers, text)

    def send(self, path: str, **form: str) -> Answer:
        """A form of the last page, with its token and its hidden fields."""
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', self.page)
        return self.ask(path, {**{name: html.unescape(value) for name, value in hidden}, **form})

    def sign_in(self, username: str, password: str = PASSWORD, to: str = "/sign-in") -> Answer:
        """The first step."""
        self.ask(to)
        return self.send("/sign-in", login=username, password=password)

    def enrol(self) -> str:
        """The second factor set up with a code, the recovery codes seen; gives the secret."""
        secret = self.secret()
        done = self.send("/second-factor", code=totp(secret))
        assert done.location == "/second-factor/codes", done.text
        assert self.ask(done.location).status == 200
        return secret

    def secret(self) -> str:
        """The secret that the enrolment page shows."""
        page = self.ask("/second-factor")
        assert page.status == 200, (page.status, page.location)
        found = re.search(r'id="secret">(.*?)</code>', page.text)
        assert found
        return re.sub(r"<.*?>", "", found[1])

    def codes(self) -> list[str]:
        """The recovery codes of the last page."""
        return re.findall(r"<li><code>(\d+)</code></li>", self.page)


class Site:
    """One portal, started with its secrets in files; `roster` is what the Job was last given."""

    def __init__(self, role: str = DATABASE_NAME, projects: list[dict[str, Any]] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rr-portal-"))
        self.postgres = shared()
        self.database = self.postgres.database(role)
        self.port = free_port()
        self.authority = self.postgres.authority.write(self.folder)
        self.renew()
        self.projects = PROJECTS if projects is None else projects
        self.secrets = {"django_secret_key": secrets.token_hex(32), "oidc_private_key": new_rsa_key().reveal()}
        self.secrets |= {f"oidc-{project['id']}": secrets.token_hex(32) for project in self.projects}
        for name, value in self.secrets.items():
            (self.folder / name).write_text(value)
        self.accounts: dict[str, dict[str, str]] = {}
        self.memberships: list[dict[str, str]] = []
        self._unmet: dict[tuple[str, ...], list[str]] = {}
        self.log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def renew(self) -> None:
        """A new serving certificate, as the sidecar writes one."""
        self.postgres.authority.leaf(self.folder, "tls", PORTAL_HOST, INSIDE.partition(":")[0])

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'images' / 'services'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "RR_LISTEN": f"127.0.0.1:{self.port}",
            "RR_TLS_CERTIFICATE": str(self.folder / "tls.crt"),
            "RR_TLS_KEY": str(self.folder / "tls.key"),
            "RR_SECRETS": str(self.folder),
            "RR_PROJECTS": str(self.folder / "projects.json"),
            "RR_DATABASE_HOST": self.database.host,
            "RR_DATABASE_PORT": str(self.database.port),
            "RR_DATABASE_NAME": self.database.name,
            "RR_DATABASE_CERTIFICATE": str(self.database.certificate),
            "RR_DATABASE_KEY": str(self.database.key),
            "RR_DATABASE_AUTHORITY": str(self.database.authority),
            "RR_ROSTER": str(self.folder / "roster.json"),
            "RR_RESULT": str(self.folder / "handles.json"),
        }

    def start(self) -> None:
        """The process, waited for."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """The process."""
        (self.folder / "projects.json").write_text(json.dumps({"projects": self.projects}))
        command = [sys.executable, "-m", "readingroom.entrypoints.portal"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                mortal(command, "TERM"), cwd="/", env=self.environment, stdout=log, stderr=log
            )

    def wait(self) -> None:
        """Until it answers that it is well."""
        for _ in range(1200):
            if self._process is None or self._process.poll() is not None:
                break
            try:
                if self.visitor().ask("/health").status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def stop(self) -> None:
        """Ends the process as the kubelet would."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)

    def remove(self) -> None:
        """The process and its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def visitor(self, host: str = OUTSIDE) -> Visitor:
        """A browser without cookies."""
        return Visitor(self.port, self.authority, host)

    def person(self, *roles: str) -> str:
        """A user name that nobody had before, enrolled with roles like `demo:researcher`: one run of the Job for several."""
        unmet = self._unmet.setdefault(roles, [])
        if not unmet:
            for name in (f"person-{next(_numbers)}" for _ in range(TOGETHER)):
                self.accounts[name] = {"username": name, "display": f"Dr {name.capitalize()}", "password_hash": _hash()}
                self._list(name, *roles)
                unmet.append(name)
            self.enrol()
        return unmet.pop()

    def set_roles(self, name: str, *roles: str) -> dict[str, dict[str, str]]:
        """The person's roles from now on, and no other; gives all handles."""
        self._list(name, *roles)
        return self.enrol()

    def _list(self, name: str, *roles: str) -> None:
        others = [each for each in self.memberships if each["username"] != name]
        mine = [dict(zip(("project", "role"), role.split(":"), strict=True), username=name) for role in roles]
        self.memberships = [*others, *mine]

    def close(self, name: str) -> None:
        """The person is on the roster no longer."""
        del self.accounts[name]
        self.set_roles(name)

    def enrol(self) -> dict[str, dict[str, str]]:
        """The Job, over the roster as it stands."""
        roster = {"accounts": list(self.accounts.values()), "memberships": self.memberships}
        done = self.job(json.dumps(roster))
        assert done.returncode == 0, done.stderr
        found: dict[str, dict[str, str]] = json.loads((self.folder / "handles.json").read_text())
        return found

    def job(self, roster: str) -> subprocess.CompletedProcess[str]:
        """The Job, over any text."""
        (self.folder / "roster.json").write_text(roster)
        command = [sys.executable, "-m", "readingroom.entrypoints.enrol"]
        return subprocess.run(command, cwd="/", env=self.environment, capture_output=True, text=True, check=False)

    def handle(self, name: str, project: str = "demo") -> str:
        """The person's handle in the project."""
        handles: dict[str, dict[str, str]] = json.loads((self.folder / "handles.json").read_text())
        return handles[project][name]

    def proven(self, *roles: str) -> tuple[Visitor, str, str]:
        """A person with these roles, through every gate: the browser, the user name, the second factor's secret."""
        name, visitor = self.person(*roles), self.visitor()
        visitor.sign_in(name)
        return visitor, name, visitor.enrol()

    def sql(self, statement: str, **values: str) -> str:
        """What an operator of the database would see or do."""
        return self.postgres.sql(self.database.name, statement, **values).strip()
