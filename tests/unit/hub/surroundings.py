"""What stands around a hub, in memory: API server, proxy and portal, as small HTTP servers that note what they are asked."""

from __future__ import annotations

import ipaddress
import json
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

# The port of a workspace is fixed, so each test process has a loopback address of its own (a process id has 22 bits).
POD_ADDRESS = str(ipaddress.IPv4Address("127.64.0.0") + os.getpid() % 2**22)
Json = dict[str, Any]


@dataclass
class ApiServer:
    """Pods of one namespace: created, listed, watched, deleted; and a refusal when `refuses` is set."""

    pods: dict[str, Json] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    created: list[Json] = field(default_factory=list)
    deleted: list[Json] = field(default_factory=list)
    refuses: tuple[int, str] | None = None
    selectors: set[str] = field(default_factory=set)
    watchers: list[queue.Queue[Json]] = field(default_factory=list)
    version: int = 10

    def tell(self, kind: str, pod: Json) -> None:
        self.version += 1
        pod["metadata"]["resourceVersion"] = str(self.version)
        for watcher in self.watchers:
            watcher.put({"type": kind, "object": pod})


@dataclass
class Portal:
    """Answers about one person; `member` off is how the portal speaks of somebody who no longer is one."""

    handle: str = ""
    groups: list[str] = field(default_factory=list)
    member: bool = True
    asked: list[str] = field(default_factory=list)


@dataclass
class Surroundings:
    """All three, behind one server each."""

    api: ApiServer = field(default_factory=ApiServer)
    portal: Portal = field(default_factory=Portal)
    routes: dict[str, Json] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    around: Surroundings

    def log_message(self, *_: object) -> None:
        pass

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def say(self, status: int, answer: object = None) -> None:
        data = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class ApiHandler(Quiet):
    def do_GET(self) -> None:
        api, parts = self.around.api, urlsplit(self.path)
        query = parse_qs(parts.query)
        api.selectors.add(query.get("labelSelector", [""])[0])
        if "watch" not in query:
            api.calls.append(("list", parts.path))
            listing = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": str(api.version)}}
            self.say(200, {**listing, "items": list(api.pods.values())})
            return
        api.calls.append(("watch", parts.path))
        events: queue.Queue[Json] = queue.Queue()
        api.watchers.append(events)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while True:
            try:
                event = events.get(timeout=8)
            except queue.Empty:
                return
            try:
                self.wfile.write(json.dumps(event).encode() + b"\n")
                self.wfile.flush()
            except OSError:
                return

    def do_POST(self) -> None:
        api, pod = self.around.api, json.loads(self.body())
        api.calls.append(("create", self.path))
        if api.refuses:
            status, message = api.refuses
            self.say(status, {"kind": "Status", "status": "Failure", "message": message, "code": status})
            return
        api.created.append(json.loads(json.dumps(pod)))
        started = {
            "name": "notebook",
            "ready": True,
            "state": {"running": {}},
            "image": "i",
            "imageID": "i",
            "restartCount": 0,
        }
        pod["metadata"]["uid"] = f"uid-{len(api.created)}"
        pod["status"] = {
            "phase": "Running",
            "podIP": POD_ADDRESS,
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [started],
        }
        pod["spec"]["nodeName"] = "here"
        api.pods[pod["metadata"]["name"]] = pod
        self.say(201, pod)
        api.tell("ADDED", pod)

    def do_DELETE(self) -> None:
        api, name = self.around.api, urlsplit(self.path).path.rpartition("/")[2]
        api.calls.append(("delete", urlsplit(self.path).path))
        api.deleted.append(json.loads(self.body() or b"{}"))
        pod = api.pods.pop(name, None)
        self.say(200 if pod else 404, pod or {"kind": "Status", "code": 404})
        if pod:
            api.tell("DELETED", pod)


class ProxyHandler(Quiet):
    def do_GET(self) -> None:
        self.say(200, self.around.routes)

    def do_POST(self) -> None:
        self.around.routes[self.path.removeprefix("/api/routes") or "/"] = json.loads(self.body())
        self.say(201)

    def do_DELETE(self) -> None:
        self.around.routes.pop(self.path.removeprefix("/api/routes"), None)
        self.say(204)


class PortalHandler(Quiet):
    def do_POST(self) -> None:
        portal, form = self.around.portal, parse_qs(self.body().decode())
        portal.asked.append(form["grant_type"][0])
        if not portal.member:
            self.say(400, {"error": "invalid_grant"})
            return
        answer = {"access_token": "a" * 20, "token_type": "Bearer", "expires_in": 300, "refresh_token": "r" * 20}
        self.say(200, answer)

    def do_GET(self) -> None:
        portal = self.around.portal
        portal.asked.append("userinfo")
        if not portal.member:
            self.say(401, {"error": "invalid_token"})
            return
        self.say(200, {"sub": portal.handle, "handle": portal.handle, "groups": portal.groups})


class NotebookHandler(Quiet):
    def do_GET(self) -> None:
        self.say(200, {"version": "2"})


@contextmanager
def surroundings() -> Iterator[Surroundings]:
    """All servers, running; the notebook's on its own loopback address and the port every workspace has."""
    around = Surroundings()
    servers = []
    places = {
        "api": (ApiHandler, "127.0.0.1", 0),
        "proxy": (ProxyHandler, "127.0.0.1", 0),
        "portal": (PortalHandler, "127.0.0.1", 0),
        "notebook": (NotebookHandler, POD_ADDRESS, 8888),
    }
    try:
        for name, (kind, address, port) in places.items():
            server = ThreadingHTTPServer((address, port), type(kind.__name__, (kind,), {"around": around}))
            server.daemon_threads = True
            servers.append(server)
            around.ports[name] = server.server_address[1]
            threading.Thread(target=server.serve_forever, daemon=True).start()
        yield around
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
