"""Requests as a browser or a script sends them: cookies kept, redirects followed or not, names resolved to this machine."""

from __future__ import annotations

import contextlib
import http.client
import http.cookiejar
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.arms import PATIENCE, POLL


@dataclass(frozen=True)
class Answer:
    """Status and text."""

    status: int
    text: str


class _Here(http.client.HTTPSConnection):
    """The front door: whatever the name, this machine; the certificate must still be the name's."""

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        self.sock = self._context.wrap_socket(plain, server_hostname=self.host)  # type: ignore[attr-defined]


class _Door(urllib.request.HTTPSHandler):
    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._trust = context

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_Here, request, context=self._trust)


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


class Client:
    """One person's, or one script's, way to a server."""

    def __init__(self, base: str, headers: Mapping[str, str] | None = None, root: Path | None = None) -> None:
        self.base, self.headers = base, dict(headers or {})
        self.jar = http.cookiejar.CookieJar()
        handlers: list[urllib.request.BaseHandler] = [
            urllib.request.ProxyHandler({}),  # what is asked here is on this machine
            urllib.request.HTTPCookieProcessor(self.jar),
        ]
        if root:
            handlers.append(_Door(ssl.create_default_context(cafile=str(root))))
        self._follow = urllib.request.build_opener(*handlers)
        self._stay = urllib.request.build_opener(*handlers, _Stay)

    def ask(self, method: str, path: str, body: bytes | None = None, *, follow: bool = False, **headers: str) -> Answer:
        """One request, whatever the status of its answer."""
        with self._open(method, path, body, follow, headers) as answer:
            return Answer(answer.status, answer.read().decode(errors="replace"))

    def _open(self, method: str, path: str, body: bytes | None, follow: bool, headers: Mapping[str, str]) -> Any:
        request = urllib.request.Request(  # noqa: S310 (the base is ours)
            self.base + path,
            data=body,
            method=method,
            headers={**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}},
        )
        try:
            return (self._follow if follow else self._stay).open(request, timeout=PATIENCE)
        except urllib.error.HTTPError as error:
            return error  # an answer too

    def until_ready(self, path: str, **headers: str) -> None:
        """Follow a spawn's progress to its end. Raises `AssertionError` with the hub's words when it failed."""
        with self._open("GET", path, None, False, headers) as stream:
            assert stream.status == 200, f"progress: status {stream.status}: {stream.read(300)!r}"
            for event in _events(stream):
                if event.get("failed"):
                    raise AssertionError(event["message"])
                if event.get("ready"):
                    return
        raise AssertionError("the progress ended without an end")

    def until_usable(self, path: str) -> None:
        """Ask until the server itself answers 200. Raises `TimeoutError`."""
        until(lambda: self._usable(path), path)

    def _usable(self, path: str) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = self.ask("GET", path)
            return answer.status == 200 and '"version"' in answer.text
        return False


def _events(stream: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    for line in stream:
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


def until(whether: Callable[[], bool], what: str, seconds: float = PATIENCE, pause: float = POLL) -> None:
    """Asks again and again. Raises `TimeoutError`."""
    end = time.monotonic() + seconds
    while not whether():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not in {seconds:.0f} s")
        time.sleep(pause)
