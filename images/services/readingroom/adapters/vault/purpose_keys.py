"""The five purpose keys of a project, drawn from its transit key: one call each at the start of a run, never one per value.

The role `deid-<project>` may send exactly these inputs (`policies/vault/deid.hcl`), so no identifier can reach Vault and
nothing else can be drawn. Version 1 is always named: another version would mean other pseudonyms.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from readingroom.adapters.vault.wire import refused
from readingroom.application.ports_vault import Vault
from readingroom.contract import HOLDOUT, PURPOSES, VAULT_PSEUDONYM
from readingroom.domain.deid.keys import KEY_BYTES, KEY_VERSION, PurposeKeys, purpose_input
from readingroom.domain.holdout import SPLIT_INPUT

_PREFIX: Final = f"vault:v{KEY_VERSION}:"


def role(project: str) -> str:
    """The role of a project's de-identifier."""
    return f"deid-{project}"


def draw(vault: Vault, project: str) -> PurposeKeys:
    """The keys. Raises `VaultUnavailable` while Vault is away, `VaultRefused` for anything but five keys of version 1."""
    path = f"{VAULT_PSEUDONYM}/hmac/{project}/sha2-256"
    return PurposeKeys({purpose: _drawn(vault, path, purpose_input(purpose)) for purpose in PURPOSES})


def draw_split(vault: Vault) -> bytes:
    """The key of the hold-out's split, which the role `holdout` may draw and no other. Raises as `draw` does."""
    return _drawn(vault, f"{VAULT_PSEUDONYM}/hmac/{HOLDOUT}/sha2-256", SPLIT_INPUT)


def _drawn(vault: Vault, path: str, authenticated: bytes) -> bytes:
    sent = base64.b64encode(authenticated).decode("ascii")
    answer = str(vault.write(path, {"input": sent, "key_version": str(KEY_VERSION)}).get("hmac", ""))
    if not answer.startswith(_PREFIX):
        raise refused(path, "the answer is no HMAC of version 1")
    try:
        key = base64.b64decode(answer.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise refused(path, "the answer is no HMAC of version 1") from error
    if len(key) != KEY_BYTES:
        raise refused(path, "the answer is no HMAC of version 1")
    return key
