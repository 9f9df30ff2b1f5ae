"""One thin client of the API server: JSON over TLS, on the standard library.

It reads a kubeconfig by path and writes no credential anywhere: inline certificates reach the TLS library through
anonymous memory, because it takes file names only. It never retries a refusal; a broken connection is opened once more.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlencode, urlsplit

import yaml

from infra.provider.errors import ApiAway, ApiRefusal, Cause
from infra.provider.kinds import Kind

_APPLY: Final = "application/apply-patch+yaml"
_TIMEOUT: Final = 70.0  # above the API server's own limit of 60 s


@dataclass(frozen=True)
class Answer:
    """Status and decoded body."""

    status: int
    body: dict[str, Any]


class Transport(Protocol):
    """One request, one answer. Raises `ApiAway` when there is none; a refusal is an answer here."""

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Answer:
        """Send one request and read its answer whole."""

    def close(self) -> None:
        """Let go of every connection."""


@dataclass(frozen=True)
class Access:
    """What a kubeconfig's current context says: where, whom to trust, who we are."""

    server: str
    context: ssl.SSLContext | None
    token: str = field(default="", repr=False)
    namespace: str = "default"


@contextmanager
def _as_file(path: str, data: str) -> Iterator[str]:
    """A file name for the TLS library: the path as given, or inline data held in anonymous memory."""
    if not data:
        yield path
        return
    descriptor = os.memfd_create("credential", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, base64.b64decode(data))
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _named(entries: list[dict[str, Any]], name: str, inner: str) -> dict[str, Any]:
    for entry in entries:
        if entry.get("name") == name:
            found: dict[str, Any] = entry[inner]
            return found
    raise ValueError(f"no {inner} named {name!r}")


def read_kubeconfig(text_or_path: str) -> Access:
    """The current context of a kubeconfig, given by path (ours) or as text (as the official plugin also accepts).

    Raises `ValueError` if it cannot be used.
    """
    inline = "\n" in text_or_path
    base = Path.cwd() if inline else Path(text_or_path).resolve().parent
    try:
        config = yaml.safe_load(text_or_path if inline else Path(text_or_path).read_text())
        context = _named(config["contexts"], config["current-context"], "context")
        cluster = _named(config["clusters"], context["cluster"], "cluster")
        user = _named(config["users"], context["user"], "user")
        return Access(
            server=cluster["server"],
            context=_tls(cluster, user, base) if cluster["server"].startswith("https:") else None,
            token=user.get("token", ""),
            namespace=context.get("namespace", "default"),
        )
    except (OSError, KeyError, TypeError, yaml.YAMLError, ssl.SSLError) as error:
        raise ValueError(f"the kubeconfig cannot be used: {type(error).__name__}: {error}") from error


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], base: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority, certificate, key = (
        str(base / where[name]) if where.get(name) else ""
        for where, name in ((cluster, "certificate-authority"), (user, "client-certificate"), (user, "client-key"))
    )
    with _as_file(authority, cluster.get("certificate-authority-data", "")) as ca:
        if ca:
            context.load_verify_locations(ca)
    with (
        _as_file(certificate, user.get("client-certificate-data", "")) as cert_file,
        _as_file(key, user.get("client-key-data", "")) as key_file,
    ):
        if cert_file:
            context.load_cert_chain(cert_file, key_file)
    return context


class HttpTransport:
    """The real thing: one kept connection per thread."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._threads = threading.local()
        self._opened: list[http.client.HTTPConnection] = []  # of every thread, to be closed at the end

    def close(self) -> None:
        """Close every connection; the transport is not used afterwards."""
        while self._opened:
            self._opened.pop().close()

    def _connection(self) -> http.client.HTTPConnection:
        known: http.client.HTTPConnection | None = getattr(self._threads, "connection", None)
        if known is None:
            parts = urlsplit(self._access.server)
            host, port = parts.hostname or "", parts.port
            if self._access.context:
                known = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=self._access.context)
            else:
                known = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
            self._threads.connection = known
            self._opened.append(known)
        return known

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Answer:
        """Send one request and read its answer whole. Raises `ApiAway`."""
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": "readingroom"}
        if self._access.token:
            headers["Authorization"] = f"Bearer {self._access.token}"
        payload = None if body is None else json.dumps(body).encode()
        fresh = getattr(self._threads, "connection", None) is None
        try:
            return self._once(method, path, payload, headers)
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            if fresh or isinstance(error, TimeoutError):
                raise ApiAway(f"{self._access.server}: {error}") from error
        try:  # a kept connection may have been closed while idle: once more on a new one
            return self._once(method, path, payload, headers)
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            raise ApiAway(f"{self._access.server}: {error}") from error

    def _once(self, method: str, path: str, payload: bytes | None, headers: dict[str, str]) -> Answer:
        connection = self._connection()
        connection.request(method, path, body=payload, headers=headers)
        response = connection.getresponse()
        raw = response.read()
        try:
            decoded = json.loads(raw) if raw else {}
        except ValueError:
            decoded = {"message": raw[:300].decode(errors="replace")}
        return Answer(response.status, decoded if isinstance(decoded, dict) else {"items": decoded})

    def _drop(self) -> None:
        connection: http.client.HTTPConnection | None = getattr(self._threads, "connection", None)
        if connection is not None:
            connection.close()
        self._threads.connection = None


class Api:
    """The verbs the provider needs. Every method raises `ApiRefusal` or `ApiAway`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    @classmethod
    def of(cls, kubeconfig: str) -> Api:
        """A client for a kubeconfig path. Raises `ValueError` if it cannot be used."""
        return cls(HttpTransport(read_kubeconfig(kubeconfig)))

    def _call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Answer:
        answer = self._transport.request(method, path, body, content_type)
        if answer.status < 400:
            return answer
        details = answer.body.get("details") or {}
        causes = tuple(
            Cause(cause.get("field", ""), cause.get("reason", ""), cause.get("message", ""))
            for cause in details.get("causes") or ()
        )
        message = answer.body.get("message") or f"HTTP {answer.status}"
        raise ApiRefusal(answer.status, answer.body.get("reason", ""), message, causes)

    def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        """The live object, or None if there is none (or no such kind)."""
        try:
            return self._call("GET", kind.path(namespace, name)).body
        except ApiRefusal as refusal:
            if refusal.status == 404:
                return None
            raise

    def objects(self, kind: Kind, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        """All objects of a kind, in one namespace or all; `apiVersion` and `kind` are set on each."""
        query = f"?{urlencode({'labelSelector': selector})}" if selector else ""
        items: list[dict[str, Any]] = self._call("GET", kind.path(namespace) + query).body.get("items") or []
        return [{"apiVersion": kind.api_version, "kind": kind.name, **item} for item in items]

    def apply(self, kind: Kind, manifest: Mapping[str, Any], *, manager: str, dry_run: bool, force: bool) -> Answer:
        """Server-side apply with strict field validation; status 201 means that the object is new."""
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        metadata = manifest["metadata"]
        path = kind.path(metadata.get("namespace", ""), metadata["name"])
        return self._call("PATCH", f"{path}?{urlencode(query)}", manifest, _APPLY)

    def as_new(self, kind: Kind, manifest: Mapping[str, Any], *, manager: str) -> dict[str, Any]:
        """What the object would be if it were new: every default filled in, nothing live merged, nothing stored.

        It is a dry run under a name of its own; the caller leaves names out of any comparison.
        """
        metadata = manifest["metadata"]
        scratch = f"{metadata['name'][:40].rstrip('-.')}-dry-{secrets.token_hex(4)}"
        renamed = {**manifest, "metadata": {**metadata, "name": scratch}}
        if kind.name == "Service":  # an address can be held once
            renamed["spec"] = {k: v for k, v in manifest["spec"].items() if k not in {"clusterIP", "clusterIPs"}}
            if manifest["spec"].get("clusterIP") == "None":
                renamed["spec"]["clusterIP"] = "None"
        return self.apply(kind, renamed, manager=manager, dry_run=True, force=False).body

    def json_patch(self, kind: Kind, namespace: str, name: str, operations: list[dict[str, Any]]) -> dict[str, Any]:
        """A JSON patch of one object."""
        return self._call("PATCH", kind.path(namespace, name), operations, "application/json-patch+json").body

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, propagation: str) -> None:
        """Ask for the deletion of exactly this object: another one of the same name is refused (409)."""
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid:
            body["preconditions"] = {"uid": uid}
        self._call("DELETE", kind.path(namespace, name), body)

    def raw(self, path: str) -> dict[str, Any]:
        """Any other document of the API server."""
        return self._call("GET", path).body
