"""The way in for browsers: which name leads where, by a real API and real handshakes, and while the API is away."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.node import front_door
from infra.node.front_door import Door, server_name
from readingroom.contract import (
    PORT_EDGE,
    PORT_PORTAL,
    PORTAL_HOST,
    PORTAL_SERVICE_ADDRESS,
    SERVICE_EDGE,
    hub_namespace,
    project_host,
)


def hello(name: str | None) -> bytes:
    """What a browser says first."""
    context = ssl.create_default_context()
    if name is None:
        context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def test_the_name_is_read_as_soon_as_it_is_whole() -> None:
    said = hello("demo.workspace.localhost")
    assert server_name(said) == "demo.workspace.localhost"
    assert server_name(hello("DEMO.Workspace.localhost")) == "demo.workspace.localhost"
    assert {server_name(said[:count]) for count in (0, 1, 5, 50, len(said) - 1)} == {None}


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n", b"\x00", hello(None), b"\x16\x03\x01\x00\x02\x01\x00\xff" * 9])
def test_what_names_nothing_is_no_hello(said: bytes) -> None:
    with pytest.raises(ValueError, match=r"TLS|server name"):
        server_name(said)


class SmallApi(ThreadingHTTPServer):
    """The one question that the door asks of an API server."""

    edges: dict[str, str]
    status = 404

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.edges = {}


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, SmallApi)
        found = next((ip for project, ip in server.edges.items() if self.path == path(project)), "")
        body = json.dumps({"kind": "Service", "spec": {"clusterIP": found}} if found else {}).encode()
        self.send_response(200 if found else server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Quiet."""


def path(project: str) -> str:
    return f"/api/v1/namespaces/{hub_namespace(project)}/services/{SERVICE_EDGE}"


@pytest.fixture
def api() -> Iterator[SmallApi]:
    server = SmallApi()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def door(api: SmallApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    monkeypatch.setattr(front_door, "ADDRESS_SECONDS", -1.0)  # asks each time
    kubeconfig = tmp_path / "kubeconfig"
    one = {"name": "a", "context": {"cluster": "a", "user": "a"}}
    cluster = {"name": "a", "cluster": {"server": f"http://127.0.0.1:{api.server_port}"}}
    document = {"contexts": [one], "clusters": [cluster], "users": [{"name": "a", "user": {}}], "current-context": "a"}
    kubeconfig.write_text(json.dumps(document))
    return Door(kubeconfig)


def leads(door: Door, name: str) -> tuple[str, int]:
    return asyncio.run(door.address(name))


def test_the_portal_and_each_projects_edge_are_found_and_nothing_else(api: SmallApi, door: Door) -> None:
    api.edges = {"demo": "10.96.7.7"}
    assert leads(door, PORTAL_HOST) == (PORTAL_SERVICE_ADDRESS, PORT_PORTAL)
    assert leads(door, project_host("demo")) == ("10.96.7.7", PORT_EDGE)
    for name in (project_host("other"), "demo.example.org", "localhost", "a/../demo.workspace.localhost", ""):
        with pytest.raises(ValueError, match=r"no such project|no name of ours"):
            leads(door, name)


@pytest.mark.parametrize("status", [500, 503, 401, 403, 429])
def test_while_the_api_is_away_a_known_project_goes_on_and_an_unknown_one_waits(
    api: SmallApi, door: Door, status: int
) -> None:
    api.edges = {"demo": "10.96.7.7"}
    assert leads(door, project_host("demo")) == ("10.96.7.7", PORT_EDGE)
    api.edges, api.status = {}, status
    assert leads(door, project_host("demo")) == ("10.96.7.7", PORT_EDGE)
    with pytest.raises(ValueError, match="the API is away"):
        leads(door, project_host("other"))


def test_with_no_api_at_all_too(api: SmallApi, door: Door) -> None:
    api.edges = {"demo": "10.96.7.7"}
    leads(door, project_host("demo"))
    api.shutdown()
    api.server_close()
    assert leads(door, project_host("demo")) == ("10.96.7.7", PORT_EDGE)
    with pytest.raises(ValueError, match="the API is away"):
        leads(door, project_host("other"))


def test_a_project_that_is_gone_is_forgotten_at_once(api: SmallApi, door: Door) -> None:
    api.edges = {"demo": "10.96.7.7"}
    leads(door, project_host("demo"))
    api.edges = {}
    with pytest.raises(ValueError, match="no such project"):
        leads(door, project_host("demo"))
    api.status = 503
    with pytest.raises(ValueError, match="the API is away"):
        leads(door, project_host("demo"))
