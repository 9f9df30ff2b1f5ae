"""One Vault over HTTPS: bounded calls, retries where they help, and every foreign error translated.

hvac's `Client` takes a token from the environment or the home folder; its bare adapter does not, so that is what we
use. The proxy and the certificate settings of the environment are ignored too: Vault is reached directly and with our
own authority. A reply with `warnings` is an error: Vault answers 200 and ignores what it did not understand (`datakey`
with associated data).
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import hvac.adapters
import hvac.exceptions
import requests

from readingroom.application.ports_vault import SecretText, VaultRefused, VaultUnavailable
from readingroom.contract import PORT_VAULT, VAULT_CA_PATH, VAULT_SERVICE_ADDRESS

ADDRESS: Final = f"https://{VAULT_SERVICE_ADDRESS}:{PORT_VAULT}"
ATTEMPT_SECONDS: Final = 5.0
BUDGET_SECONDS: Final = 20.0
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 3.0
RETRIED: Final = frozenset(
    {412, 429, 502, 503}
)  # not caught up yet, too many, a proxy's gateway, sealed or standing by
AWAY: Final = frozenset({500, 501, 504})  # an answer, yet no verdict on what was asked
NOT_LEADING: Final = "local node not active"  # a 500 for the moment between unsealing and leading
# What each of hvac's errors means to a caller. The bare adapter raises none of them when told not to; a release may
# change that.
MEANING: Final[Mapping[type[hvac.exceptions.VaultError], type[VaultUnavailable | VaultRefused]]] = {
    hvac.exceptions.VaultError: VaultRefused,
    hvac.exceptions.InvalidRequest: VaultRefused,
    hvac.exceptions.Unauthorized: VaultRefused,
    hvac.exceptions.Forbidden: VaultRefused,
    hvac.exceptions.InvalidPath: VaultRefused,
    hvac.exceptions.UnsupportedOperation: VaultRefused,
    hvac.exceptions.ParamValidationError: VaultRefused,
    hvac.exceptions.UnexpectedError: VaultRefused,
    hvac.exceptions.PreconditionFailed: VaultUnavailable,
    hvac.exceptions.RateLimitExceeded: VaultUnavailable,
    hvac.exceptions.InternalServerError: VaultUnavailable,
    hvac.exceptions.VaultNotInitialized: VaultUnavailable,
    hvac.exceptions.BadGateway: VaultUnavailable,
    hvac.exceptions.VaultDown: VaultUnavailable,
}


class Forbidden(VaultRefused):
    """Status 403: the token is dead, or the policy does not allow it."""


class _AgainError(Exception):
    """This attempt failed in a way that another may not."""


def _jitter() -> float:
    return 0.5 + secrets.randbelow(1000) / 2000


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long a call may take, and the clock it is measured by."""

    attempt: float = ATTEMPT_SECONDS
    budget: float = BUDGET_SECONDS
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = _jitter


@dataclass(frozen=True, kw_only=True)
class Wire:
    """Where Vault is and by which authority its certificate is judged; holds no token."""

    address: str = ADDRESS
    ca_file: str = VAULT_CA_PATH
    timing: Timing = field(default_factory=Timing)

    def ask(
        self, method: str, path: str, document: Mapping[str, Any] | None = None, *, token: SecretText | None = None
    ) -> dict[str, Any] | None:
        """One call within its budget. None means that nothing is there; an answer without a body is an empty document.

        Raises `VaultUnavailable` when the budget is spent, `VaultRefused` on a verdict, a warning, or no document at
        all.
        """
        timing = self.timing
        end, pause = timing.now() + timing.budget, FIRST_PAUSE
        while True:
            left = end - timing.now()
            try:
                response = self._attempt(method, path, document, token, min(timing.attempt, max(left, 0.1)))
                return _answer(method, path, response)
            except _AgainError as fault:
                wait = pause * timing.jitter()
                if timing.now() + wait >= end:
                    raise unavailable(path, str(fault)) from (fault.__cause__ or fault)
                timing.sleep(wait)
                pause = min(pause * 2, LONGEST_PAUSE)

    def _attempt(
        self, method: str, path: str, document: Mapping[str, Any] | None, token: SecretText | None, seconds: float
    ) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = self.ca_file  # hvac leaves a session that it is given as it is
            adapter = hvac.adapters.RawAdapter(
                base_uri=self.address,
                token=token.reveal() if token else None,
                timeout=seconds,
                allow_redirects=False,
                session=session,
            )
            try:
                response: requests.Response = adapter.request(
                    method, f"/v1/{path}", raise_exception=False, json=None if document is None else dict(document)
                )
            except hvac.exceptions.VaultError as error:
                meaning = MEANING.get(type(error), VaultRefused)
                raise _translated(meaning, path, type(error).__name__) from error
            except requests.exceptions.SSLError as error:
                if _is_stranger(error):
                    raise refused(path, "somebody else's certificate answers at Vault's address") from error
                raise _AgainError(type(error).__name__) from error
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                raise _AgainError(type(error).__name__) from error
            except (requests.RequestException, OSError) as error:
                # A missing authority file or an address that is none: no call can succeed until somebody mends it.
                raise _translated(VaultRefused, path, type(error).__name__) from error
            return response


def _is_stranger(error: BaseException) -> bool:
    """Whether a certificate was judged and found wrong; a handshake that broke off is no verdict."""
    causes: list[object] = [error]
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        if isinstance(cause, BaseException):
            causes += [*cause.args, getattr(cause, "reason", None)]
    return False


def unavailable(path: str, why: str) -> VaultUnavailable:
    """The one wording of Vault's absence."""
    return VaultUnavailable(
        what="Vault does not answer",
        which=path,
        why=f"it is sealed, stopped or out of reach ({why})",
        next_step="wait: the keeper unseals it; `readingroom node status` says how it is",
    )


def refused(path: str, why: str, *, kind: type[VaultRefused] = VaultRefused) -> VaultRefused:
    """The one wording of Vault's no."""
    return kind(what="Vault refuses", which=path, why=why, next_step="compare policies/vault with what was asked")


def _translated(meaning: type[VaultUnavailable | VaultRefused], path: str, why: str) -> VaultUnavailable | VaultRefused:
    return unavailable(path, why) if issubclass(meaning, VaultUnavailable) else refused(path, why)


def _answer(method: str, path: str, response: requests.Response) -> dict[str, Any] | None:
    """Vault's verdict, read from status and body. Foreign text is cut before it goes into a message."""
    status = response.status_code
    if status in RETRIED:
        raise _AgainError(f"status {status}")
    body = _document(response)
    errors = _errors(body)
    if status == 500 and NOT_LEADING in errors:
        raise _AgainError("it does not lead yet")
    if status in AWAY:
        raise unavailable(path, f"status {status}")
    if status == 404 and body is not None and not errors and method in {"GET", "LIST", "DELETE"}:
        return None
    if status == 403:
        raise refused(path, f"status 403 {errors}".rstrip(), kind=Forbidden)
    if status not in {200, 204}:
        raise refused(path, f"status {status} {errors}".rstrip())
    if body is None:
        raise refused(path, "the answer is no document: something else than Vault answered")
    if warnings := body.get("warnings"):
        raise refused(path, f"it warned: {_cut(warnings)}")
    return body


def _document(response: requests.Response) -> dict[str, Any] | None:
    if response.status_code == 204:
        return {}
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _errors(body: Mapping[str, Any] | None) -> str:
    errors = (body or {}).get("errors")
    return _cut(errors) if errors else ""


def _cut(text: object) -> str:
    """Vault's own words, on one line, printable and short."""
    line = " ".join(str(text).split())
    return "".join(c for c in line if c.isprintable())[:200]
