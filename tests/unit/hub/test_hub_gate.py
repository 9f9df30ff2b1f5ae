"""The gate by a real nginx: three calls pass, everything else is refused and the hub hears nothing of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.unit.hub.nginx import Upstream, configuration, nginx, say

FORM = b"grant_type=authorization_code&code=abc"


def post(
    path: bytes = b"/hub/api/oauth2/token", body: bytes = FORM, extra: bytes = b"", method: bytes = b"POST"
) -> bytes:
    return (
        method + b" " + path + b" HTTP/1.1\r\nHost: gate\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n" + extra + b"\r\n" + body
    )


def get(path: bytes, extra: bytes = b"", version: bytes = b"HTTP/1.1", method: bytes = b"GET") -> bytes:
    return method + b" " + path + b" " + version + b"\r\nHost: gate\r\nAuthorization: token t\r\n" + extra + b"\r\n"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Upstream]]:
    folder: Path = tmp_path_factory.mktemp("gate")
    port = free_port()
    with Upstream().running() as hub:
        replaced = {
            "@HUB@": f"127.0.0.1:{hub.port}",
            "listen 8082": f"listen 127.0.0.1:{port}",
            "rate=10r/s": "rate=1000r/s",
        }
        with nginx(configuration("gate.conf", folder, replaced), port):
            yield port, hub


def ask(gate: tuple[int, Upstream], request: bytes) -> tuple[int, dict[str, str], bytes, list[bytes]]:
    port, hub = gate
    hub.seen.clear()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        return *say(connection, request), list(hub.seen)


@pytest.mark.parametrize(
    ("request_bytes", "line"),
    [
        (get(b"/hub/api"), b"GET /hub/api HTTP/1.1"),
        (get(b"/hub/api/user"), b"GET /hub/api/user HTTP/1.1"),
        (post(), b"POST /hub/api/oauth2/token HTTP/1.1"),
    ],
)
def test_the_three_calls_pass(gate: tuple[int, Upstream], request_bytes: bytes, line: bytes) -> None:
    status, _, body, seen = ask(gate, request_bytes)
    assert (status, body) == (200, b"{}")
    assert [request.split(b"\r\n")[0] for request in seen] == [line]


def test_a_request_is_rebuilt_and_no_other_header_goes_further(gate: tuple[int, Upstream]) -> None:
    extra = b"Cookie: a=b\r\nX-Forwarded-For: 1.2.3.4\r\nX-Evil: 1\r\nOrigin: http://e\r\nUser-Agent: u\r\n"
    _, _, _, seen = ask(gate, post(extra=extra))
    names = {line.split(b":")[0].lower() for line in seen[0].split(b"\r\n\r\n")[0].split(b"\r\n")[1:] if line}
    assert names == {b"host", b"content-type", b"content-length"}
    assert seen[0].endswith(FORM)


def test_a_cookie_of_the_hub_does_not_reach_a_pod(gate: tuple[int, Upstream]) -> None:
    _port, hub = gate
    before, hub.answer = hub.answer, hub.answer.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n")
    try:
        _, headers, _, _ = ask(gate, get(b"/hub/api"))
    finally:
        hub.answer = before
    assert "set-cookie" not in headers


HOSTILE = {
    "another route": get(b"/hub/api/users"),
    "the whole users list": get(b"/hub/api/users/r1234567"),
    "activity": post(b"/hub/api/users/r1234567/activity"),
    "a server's start": post(b"/hub/api/users/r1234567/server"),
    "tokens": post(b"/hub/api/users/r1234567/tokens"),
    "proxy routes": get(b"/hub/api/proxy"),
    "info": get(b"/hub/api/info"),
    "shutdown": post(b"/hub/api/shutdown"),
    "services": get(b"/hub/api/services"),
    "login page": get(b"/hub/login"),
    "metrics": get(b"/hub/metrics"),
    "authorize": get(b"/hub/api/oauth2/authorize"),
    "root": get(b"/"),
    "our own inner locations": get(b"/ask"),
    "our own inner locations again": post(b"/token"),
    "a query": get(b"/hub/api/user?x=1"),
    "an empty query": get(b"/hub/api/user?"),
    "a fragment": get(b"/hub/api/user#x"),
    "a slash at the end": get(b"/hub/api/"),
    "double slashes": get(b"/hub//api"),
    "double slashes in front": get(b"//hub/api"),
    "dots": get(b"/hub/./api"),
    "dots back": get(b"/hub/x/../api"),
    "dots beyond": get(b"/hub/api/user/../users"),
    "encoded dots": get(b"/hub/x/%2e%2e/api"),
    "an encoded slash": get(b"/hub%2fapi"),
    "an encoded letter": get(b"/hub/ap%69"),
    "a null": get(b"/hub/api%00"),
    "a backslash": get(b"/hub\\api"),
    "a parameter": get(b"/hub/api;x"),
    "other letters": get(b"/HUB/API"),
    "absolute form": get(b"http://gate/hub/api"),
    "absolute form elsewhere": get(b"http://169.254.169.254/hub/api"),
    "authority form": get(b"gate:80", method=b"CONNECT"),
    "asterisk form": get(b"*", method=b"OPTIONS"),
    "an old version": get(b"/hub/api", version=b"HTTP/1.0"),
    "no version": b"GET /hub/api\r\n\r\n",
    "HEAD": get(b"/hub/api", method=b"HEAD"),
    "POST for GET": post(b"/hub/api"),
    "GET for POST": get(b"/hub/api/oauth2/token"),
    "DELETE": get(b"/hub/api/user", method=b"DELETE"),
    "an unknown method": get(b"/hub/api", method=b"FROB"),
    "a small method": get(b"/hub/api", method=b"get"),
    "an upgrade": get(b"/hub/api", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    "http2 in the clear": get(
        b"/hub/api", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    ),
    "a body on GET": get(b"/hub/api/user", b"Content-Length: 3\r\n") + b"abc",
    "a chunked form": b"POST /hub/api/oauth2/token HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "two lengths": get(b"/hub/api", b"Content-Length: 0\r\nContent-Length: 5\r\n"),
    "length and coding": post(extra=b"Transfer-Encoding: chunked\r\n"),
    "no body": post(body=b""),
    "a large body": post(body=b"a" * 8193),
    "a huge body": post(body=b"a" * 20000),
    "json": post().replace(b"application/x-www-form-urlencoded", b"application/json"),
    "a large header": get(b"/hub/api", b"X-A: " + b"a" * 9000 + b"\r\n"),
    "a long path": get(b"/" + b"a" * 9000),
    "a folded header": get(b"/hub/api", b"X-A: 1\r\n 2\r\n").replace(b"Host: gate\r\n", b""),
    "no host": b"GET /hub/api HTTP/1.1\r\n\r\n",
    "two hosts": get(b"/hub/api", b"Host: other\r\n"),
    "a second request inside": get(b"/hub/api HTTP/1.1\r\nHost: gate\r\n\r\nGET /hub/api/users"),
    "rubbish": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_everything_else_is_an_empty_403(gate: tuple[int, Upstream], name: str) -> None:
    if name == "a second request inside":  # the first half of it is one of the three calls: only that one arrives
        *_, seen = ask(gate, HOSTILE[name])
        assert [request.split(b"\r\n")[0] for request in seen] == [b"GET /hub/api HTTP/1.1"]
        return
    status, _, body, seen = ask(gate, HOSTILE[name])
    assert seen == []
    assert status in {0, 403}
    assert body == b""


def test_a_pod_that_asks_too_often_is_told_so(tmp_path: Path) -> None:
    port = free_port()
    with Upstream().running() as hub:
        replaced = {"@HUB@": f"127.0.0.1:{hub.port}", "listen 8082": f"listen 127.0.0.1:{port}"}
        with nginx(configuration("gate.conf", tmp_path, replaced), port):
            answers: list[int] = []
            while len(answers) < 1000 and 429 not in answers:
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    answers.append(say(connection, get(b"/hub/api"))[0])
    assert answers[:40] == [200] * 40
    assert answers[-1] == 429


def test_a_hub_that_is_away_is_no_refusal(tmp_path: Path) -> None:
    port = free_port()
    replaced = {"@HUB@": f"127.0.0.1:{free_port()}", "listen 8082": f"listen 127.0.0.1:{port}"}
    with (
        nginx(configuration("gate.conf", tmp_path, replaced), port),
        socket.create_connection(("127.0.0.1", port)) as connection,
    ):
        assert say(connection, get(b"/hub/api"))[0] == 502


def test_nothing_that_a_pod_chose_is_logged(tmp_path: Path) -> None:
    port = free_port()
    with Upstream().running() as hub:
        replaced = {"@HUB@": f"127.0.0.1:{hub.port}", "listen 8082": f"listen 127.0.0.1:{port}"}
        path = configuration("gate.conf", tmp_path, replaced)
        with nginx(path, port), socket.create_connection(("127.0.0.1", port)) as connection:
            say(connection, get(b"/secret-of-a-pod", b"X-Secret: secret-of-a-pod\r\n"))
    log = path.with_suffix(".log").read_text(encoding="utf-8")
    assert "403 none" in log
    assert "secret-of-a-pod" not in log
