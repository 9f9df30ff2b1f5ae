"""Vault's seal over HTTPS: state, first keys, unsealing, and break-glass. None of it needs a token, only the share."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import Any

from readingroom.adapters.vault.session import TokenSession
from readingroom.adapters.vault.wire import Wire, refused
from readingroom.application.ports_vault import FirstKeys, SealState, SecretText

SEAL_TOKEN_SECONDS = 60
INIT_SECONDS = 120.0


class HttpSeal:
    """The port `VaultSeal`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def state(self) -> SealState:
        """Whether it is initialised and sealed."""
        answer = self._wire.ask("GET", "sys/seal-status") or {}
        if not isinstance(answer.get("initialized"), bool) or not isinstance(answer.get("sealed"), bool):
            raise refused("sys/seal-status", "the answer does not say how the seal is")
        return SealState(initialised=answer["initialized"], sealed=answer["sealed"])

    def initialise(self) -> FirstKeys:
        """One share, all of it needed: the local machine's key file.

        Asked once and waited for: the answer comes once in a Vault's life, and a repetition would lose it.
        """
        patient = replace(self._wire, timing=replace(self._wire.timing, attempt=INIT_SECONDS, budget=INIT_SECONDS))
        answer = patient.ask("POST", "sys/init", {"secret_shares": 1, "secret_threshold": 1}) or {}
        keys = answer.get("keys_base64")
        if not isinstance(keys, list) or len(keys) != 1 or not answer.get("root_token"):
            raise refused("sys/init", "the answer holds no single share and root token")
        return FirstKeys(share=SecretText(keys[0]), root=SecretText(answer["root_token"]))

    def unseal(self, share: SecretText) -> None:
        """Submits the share."""
        answer = self._wire.ask("POST", "sys/unseal", {"key": share.reveal()}) or {}
        if answer.get("sealed") is not False:
            raise refused("sys/unseal", "it is still sealed after the only share")

    def break_glass(self, share: SecretText) -> TokenSession:
        """A root session made from the share. Who opens it revokes it: nothing else ends it.

        The token comes back masked by a one-time pad that Vault drew for this attempt, so that no log in between holds
        it.
        """
        self._wire.ask("DELETE", "sys/generate-root/attempt")
        attempt = self._wire.ask("POST", "sys/generate-root/attempt", {}) or {}
        update = {"key": share.reveal(), "nonce": attempt.get("nonce", "")}
        answer = self._wire.ask("POST", "sys/generate-root/update", update) or {}
        if not answer.get("complete"):
            raise refused("sys/generate-root/update", "the share was not enough for a root token")
        return TokenSession(_unmasked(answer, attempt), self._wire)

    def seal(self, share: SecretText) -> None:
        """Seals Vault.

        Root is revoked before, because a sealed Vault revokes nothing; a token of one use does the sealing.
        """
        root = self.break_glass(share)
        try:
            once = {"policies": ["root"], "ttl": f"{SEAL_TOKEN_SECONDS}s", "num_uses": 1, "no_default_policy": True}
            token = SecretText(root.write("auth/token/create-orphan", once)["client_token"])
        finally:
            root.revoke()
        TokenSession(token, self._wire).write("sys/seal", {})


def _unmasked(answer: dict[str, Any], attempt: dict[str, Any]) -> SecretText:
    encoded = str(answer.get("encoded_root_token") or answer.get("encoded_token") or "")
    try:
        masked = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        pad = str(attempt.get("otp", "")).encode("ascii")
        token = bytes(a ^ b for a, b in zip(masked, pad, strict=True)).decode("ascii")
    except (binascii.Error, ValueError):
        # No cause is kept: the error of a codec holds what it could not read.
        raise refused("sys/generate-root/update", "the root token does not come out from under its pad") from None
    if not token:
        raise refused("sys/generate-root/update", "the answer holds no root token")
    return SecretText(token)
