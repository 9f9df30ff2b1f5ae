"""Keys from Vault: the same as from a file, drawn over the real wire; a sealed Vault is waited for, a refusal is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from readingroom.adapters.vault.wire import Timing, Wire
from readingroom.application.ports_vault import VaultRefused, VaultUnavailable
from readingroom.application.wait_for_vault import Patience, wait_for_vault
from readingroom.domain.deid.keys import PurposeKeys
from readingroom.domain.errors import TryAgain
from readingroom.domain.ids import ProjectId
from readingroom.entrypoints.cli.deid import drawn

SECRET = bytes(range(32))
PROJECT = ProjectId("demo")


class Vault(BaseHTTPRequestHandler):
    """A server that answers the calls that this needs, as Vault does, and obeys the role's policy."""

    sealed = False
    version = "v1"
    asked: list[str] = []  # noqa: RUF012 (one server a test)

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"{}")
        self.asked.append(self.path)
        if self.sealed:
            self._answer(503, {"errors": ["Vault is sealed"]})
        elif self.path == "/v1/auth/rr-cluster/login":
            right = document == {"role": "deid-demo", "jwt": "pod-token"}
            auth = {"client_token": "t", "lease_duration": 900, "renewable": False}
            self._answer(200 if right else 403, {"auth": auth} if right else {"errors": ["no"]})
        elif self.path == "/v1/rr-pseudonym/hmac/demo/sha2-256" and set(document) == {"input", "key_version"}:
            assert document["key_version"] == "1"
            digest = hmac.new(SECRET, base64.b64decode(document["input"]), hashlib.sha256).digest()
            self._answer(200, {"data": {"hmac": f"vault:{self.version}:{base64.b64encode(digest).decode()}"}})
        else:
            self._answer(204 if self.path == "/v1/auth/token/revoke-self" else 403, {})

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        data = json.dumps(document).encode() if status != 204 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library names it)
        return


@pytest.fixture
def vault() -> Iterator[tuple[Wire, type[Vault]]]:
    handler = type("OneVault", (Vault,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        wire = Wire(address=f"http://127.0.0.1:{server.server_port}", timing=Timing(attempt=2, budget=0.5))
        yield wire, handler
        server.shutdown()
        thread.join()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("pod-token\n")
    return tmp_path / "token"


def test_vault_and_key_file_give_the_same_keys(vault: tuple[Wire, type[Vault]], token: Path) -> None:
    wire, server = vault
    assert drawn(PROJECT, wire, token).reveal() == PurposeKeys.from_secret(SECRET).reveal()
    assert server.asked.count("/v1/rr-pseudonym/hmac/demo/sha2-256") == 5
    assert server.asked[-1] == "/v1/auth/token/revoke-self"


def test_another_version_of_the_key_is_refused(vault: tuple[Wire, type[Vault]], token: Path) -> None:
    wire, server = vault
    server.version = "v2"
    with pytest.raises(VaultRefused):
        drawn(PROJECT, wire, token)


def test_another_project_is_refused_and_not_waited_for(vault: tuple[Wire, type[Vault]], token: Path) -> None:
    wire, _ = vault
    with pytest.raises(VaultRefused):
        wait_for_vault(lambda: drawn(ProjectId("other"), wire, token), patience([], [0.0]))


def patience(said: list[str], clock: list[float], seconds: float = 100, wake: Any = None) -> Patience:
    def sleep(length: float) -> None:
        clock[0] += length
        if wake:
            wake(clock[0])

    return Patience(seconds=seconds, say=said.append, now=lambda: clock[0], sleep=sleep)


def test_a_sealed_vault_is_waited_for_and_the_run_goes_on_when_it_is_unsealed(
    vault: tuple[Wire, type[Vault]], token: Path
) -> None:
    wire, server = vault
    server.sealed = True
    said: list[str] = []

    def wake(now: float) -> None:
        server.sealed = now < 6

    keys = wait_for_vault(lambda: drawn(PROJECT, wire, token), patience(said, [0.0], wake=wake))
    assert keys.reveal() == PurposeKeys.from_secret(SECRET).reveal()
    assert len(said) == 1
    assert said[0].startswith("waiting-for-vault: ")
    assert "\n" not in said[0]


def test_waiting_says_so_now_and_then_and_ends() -> None:
    said: list[str] = []

    def away() -> None:
        raise VaultUnavailable(what="Vault does not answer", why="status 503", next_step="wait")

    with pytest.raises(TryAgain, match="nothing was written"):
        wait_for_vault(away, patience(said, [0.0]))
    assert len(said) == 4  # at 0, 30, 60 and 90 seconds


def test_a_change_of_state_is_said_at_once() -> None:
    said: list[str] = []
    states = iter(["sealed", "sealed", "stopped", "stopped"])

    def away() -> str:
        state = next(states, None)
        if state is None:
            return "keys"
        raise VaultUnavailable(what="Vault does not answer", why=state, next_step="wait")

    assert wait_for_vault(away, patience(said, [0.0])) == "keys"
    assert ["sealed" in said[0], "stopped" in said[1], len(said)] == [True, True, 2]
