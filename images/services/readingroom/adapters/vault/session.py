"""A session with Vault under one role: all that other code sees of it.

Logs in by the pod's projected token, whose file is read each time because it rotates. Renews at two thirds of the
token's life; a renewal that brings less than a full life ends in a new login. A 403 means one new login and one
repetition, no more: the token may have died with a restart, and a policy that says no says it twice. Holds no thread:
all happens inside a call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from readingroom.adapters.vault.wire import Forbidden, Wire, refused
from readingroom.application.ports_vault import Document, SecretText, VaultRefused, VaultUnavailable
from readingroom.contract import VAULT_AUTH, VAULT_TOKEN_PATH


@dataclass(frozen=True, kw_only=True)
class _Login:
    """One token of Vault's. `seconds` is its life as issued, `renew_at` when two thirds of it are gone."""

    token: SecretText
    seconds: float
    renew_at: float
    renewable: bool


class VaultSession:
    """The port `Vault` under one role."""

    def __init__(self, role: str, *, wire: Wire | None = None, token_file: Path = Path(VAULT_TOKEN_PATH)) -> None:
        self._role = role
        self._wire = wire or Wire()
        self._token_file = token_file
        self._login: _Login | None = None

    def __repr__(self) -> str:
        return f"VaultSession({self._role!r})"

    def __enter__(self) -> VaultSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def read(self, path: str) -> Document | None:
        """The document at `path`, or None."""
        answer = self._ask("GET", path)
        return None if answer is None else answer.get("data", answer)

    def write(self, path: str, document: Document) -> Document:
        """Sends a document and gives the answer's data."""
        answer = self._ask("POST", path, document) or {}
        return answer.get("data") or {}

    def names(self, path: str) -> Sequence[str]:
        """What lies directly under `path`, sorted."""
        answer = self._ask("LIST", path) or {}
        return sorted((answer.get("data") or {}).get("keys") or [])

    def forget(self, path: str) -> None:
        """Removes the document at `path`."""
        self._ask("DELETE", path)

    def close(self) -> None:
        """Revokes the token. One that cannot be revoked now dies by itself within minutes, so nothing is raised."""
        login, self._login = self._login, None
        if login:
            with contextlib.suppress(VaultUnavailable, VaultRefused):
                self._wire.ask("POST", "auth/token/revoke-self", token=login.token)

    def _ask(self, method: str, path: str, document: Document | None = None) -> dict[str, Any] | None:
        fresh = self._login is None
        token = self._token()
        try:
            return self._wire.ask(method, path, document, token=token)
        except Forbidden:
            if fresh:
                raise
            self._login = None
            return self._wire.ask(method, path, document, token=self._token())

    def _token(self) -> SecretText:
        now = self._wire.timing.now()
        if self._login and now >= self._login.renew_at:
            self._login = self._renewed(self._login)
        if self._login is None:
            document = {"role": self._role, "jwt": self._read_token_file()}
            self._login = self._from_answer(self._wire.ask("POST", f"auth/{VAULT_AUTH}/login", document))
        return self._login.token

    def _renewed(self, login: _Login) -> _Login | None:
        if not login.renewable:
            return None
        try:
            renewed = self._from_answer(self._wire.ask("POST", "auth/token/renew-self", {}, token=login.token))
        except VaultRefused:
            return None
        return renewed if renewed.seconds >= login.seconds else None

    def _from_answer(self, answer: dict[str, Any] | None) -> _Login:
        auth = (answer or {}).get("auth")
        if not isinstance(auth, dict) or not auth.get("client_token") or not auth.get("lease_duration"):
            raise refused(f"auth/{VAULT_AUTH}/login", "the answer holds no token with an end")
        seconds = float(auth["lease_duration"])
        return _Login(
            token=SecretText(auth["client_token"]),
            seconds=seconds,
            renew_at=self._wire.timing.now() + seconds * 2 / 3,
            renewable=bool(auth.get("renewable")),
        )

    def _read_token_file(self) -> str:
        try:
            return self._token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise VaultRefused(
                what="no login at Vault",
                which=str(self._token_file),
                why="the pod's token cannot be read",
                next_step="mount a projected token for the audience rr-vault there",
            ) from error


class TokenSession:
    """The port `Vault` under a token in hand: the keeper's first configuration, and nothing that runs in a pod."""

    def __init__(self, token: SecretText, wire: Wire) -> None:
        self._token, self._wire = token, wire

    def read(self, path: str) -> Document | None:
        """The document at `path`, or None."""
        answer = self._wire.ask("GET", path, token=self._token)
        return None if answer is None else answer.get("data", answer)

    def write(self, path: str, document: Document) -> Document:
        """Sends a document; the answer's `auth` part counts as data when it is a token that was asked for."""
        answer = self._wire.ask("POST", path, document, token=self._token) or {}
        return answer.get("data") or answer.get("auth") or {}

    def names(self, path: str) -> Sequence[str]:
        """What lies directly under `path`, sorted."""
        answer = self._wire.ask("LIST", path, token=self._token) or {}
        return sorted((answer.get("data") or {}).get("keys") or [])

    def forget(self, path: str) -> None:
        """Removes the document at `path`."""
        self._wire.ask("DELETE", path, token=self._token)

    def end_other_roots(self) -> None:
        """Ends every other root token that Vault knows. It lists accessors, which open nothing."""
        own = self.read("auth/token/lookup-self") or {}
        for accessor in self.names("auth/token/accessors"):
            if accessor != own.get("accessor") and self._is_root(accessor):
                self.write("auth/token/revoke-accessor", {"accessor": accessor})

    def _is_root(self, accessor: str) -> bool:
        try:
            return "root" in (self.write("auth/token/lookup-accessor", {"accessor": accessor}).get("policies") or [])
        except VaultRefused:
            return False  # it died between the list and the look

    def revoke(self) -> None:
        """Ends the token."""
        self._wire.ask("POST", "auth/token/revoke-self", token=self._token)
