"""The API server over plain HTTP/1.1: one list, one watch, as JSON.

The enforcer shares a small node with everything else, and the typed Kubernetes client alone takes more memory than all
of it (decision 0201). Reads only: nothing here can write to the cluster.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import yaml

from infra.node.netpol.model import Json
from readingroom.domain.errors import TryAgain, WrongSetUp

GONE: Final = 410


class Expired(TryAgain):
    """The server no longer knows the version a watch asked to go on from: list again."""


@dataclass(frozen=True)
class Api:
    """An API server as a kubeconfig names it; the file is read for each connection, so new certificates are used."""

    kubeconfig: Path

    def list(self, path: str, timeout: float) -> Json:
        """The whole collection as it stands now, never from an old cache.

        Raises `TryAgain` if the server does not answer in time or answers with anything but the list.
        """
        with self._get(path, timeout) as response:
            found: Json = _json(response.read())
            return found

    def watch(self, path: str, version: str, seconds: int, grace: float) -> Iterator[Json]:
        """Events since `version`, until the server ends the watch after `seconds`.

        Raises `Expired` if the version is too old, `TryAgain` if the connection breaks or stays silent for longer.
        """
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": seconds, "allowWatchBookmarks": "true"}
        with self._get(f"{path}?{urlencode(query)}", seconds + grace) as response:
            yield {"type": "OPENED"}
            while line := response.readline():
                event = _json(line)
                if event.get("type") == "ERROR":
                    raise _refusal(int(event["object"].get("code", 0)), str(event["object"].get("message", "")))
                yield event

    @contextmanager
    def _get(self, path: str, timeout: float) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection(timeout)
        try:
            connection.request("GET", path, headers={"Accept": "application/json", **self._token()})
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise _refusal(response.status, response.reason)
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise TryAgain(
                what="API server",
                why=f"no answer ({type(error).__name__})",
                next_step="the enforcer asks again; if this stays, look at the apiserver's log",
            ) from error
        finally:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        cluster, user = self._sections()
        server = urlsplit(cluster["server"])
        if server.scheme == "http":
            return http.client.HTTPConnection(server.hostname or "", server.port, timeout=timeout)
        with ExitStack() as stack:
            context = ssl.create_default_context(
                cafile=stack.enter_context(self._file(cluster, "certificate-authority"))
            )
            if certificate := stack.enter_context(self._file(user, "client-certificate")):
                context.load_cert_chain(certificate, stack.enter_context(self._file(user, "client-key")))
        return http.client.HTTPSConnection(server.hostname or "", server.port, timeout=timeout, context=context)

    def _token(self) -> dict[str, str]:
        _, user = self._sections()
        return {"Authorization": f"Bearer {user['token']}"} if user.get("token") else {}

    def _sections(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Cluster and user of the current context."""
        try:
            config = yaml.safe_load(self.kubeconfig.read_text())
            context = _named(config["contexts"], config["current-context"])["context"]
            cluster = _named(config["clusters"], context["cluster"])["cluster"]
            return cluster, _named(config["users"], context["user"])["user"]
        except (OSError, KeyError, TypeError, StopIteration, yaml.YAMLError) as error:
            raise WrongSetUp(
                what="kubeconfig",
                which=self.kubeconfig.name,
                why=f"it cannot be read ({type(error).__name__})",
                next_step="write it again with `readingroom node up`",
            ) from error

    @contextmanager
    def _file(self, section: dict[str, Any], key: str) -> Iterator[str | None]:
        """The file that `key` names, or a short-lived one (0600) with the data it holds: ssl reads from files only."""
        if data := section.get(f"{key}-data"):
            with tempfile.NamedTemporaryFile() as held:
                held.write(base64.b64decode(data))
                held.flush()
                yield held.name
        else:
            yield str(self.kubeconfig.parent / section[key]) if section.get(key) else None


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _json(text: bytes) -> Json:
    try:
        found: Json = json.loads(text)
    except ValueError as error:
        raise TryAgain(what="API server", why="an answer was cut short", next_step="the enforcer asks again") from error
    return found


def _refusal(status: int, reason: str) -> TryAgain:
    kind = Expired if status == GONE else TryAgain
    said = "".join(c for c in reason if c.isprintable())[:120]
    return kind(what="API server", why=f"it answered {status}: {said}", next_step="the enforcer asks again")
