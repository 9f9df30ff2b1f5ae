"""Vault's first start and every start after it: initialise once, unseal, first configuration. Safe to repeat at any
point.

The share is written down before it is used, and nothing is ever initialised anew: a Vault without its share stays
sealed, and a share without its Vault is not written over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from readingroom.application.ports_vault import SecretText, Vault, VaultSeal
from readingroom.application.vault_settings import put_all
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.vault_documents import Setting
from readingroom.domain.vault_plan import fingerprint


class Seen(Enum):
    """What one look at Vault found, after what was done about it."""

    UNSEALED = "unsealed"
    SEALED_ON_PURPOSE = "sealed-on-purpose"
    WAITING = "waiting"
    WRONG = "wrong"


class RootSession(Vault, Protocol):
    """A root token in hand. Who got it revokes it."""

    def end_other_roots(self) -> None:
        """Ends every other root token: the first one, and what a keeper left behind that died while it held one."""
        ...

    def revoke(self) -> None:
        """Ends the token."""
        ...


class KeeperFiles(Protocol):
    """What the keeper keeps on the host.

    1. `share` is None while none was ever saved; `save_share` refuses to write over one and is on the disk when it
       returns.
    2. `sealed_on_purpose`: a person wants Vault to stay sealed.
    3. `configured` is the fingerprint of the last first configuration that came to its end, empty at first.
    """

    def share(self) -> SecretText | None:
        """1."""
        ...

    def save_share(self, share: SecretText) -> None:
        """1."""
        ...

    def sealed_on_purpose(self) -> bool:
        """2."""
        ...

    def configured(self) -> str:
        """3."""
        ...

    def record_configured(self, mark: str) -> None:
        """3."""
        ...


def keep_vault(
    seal: VaultSeal,
    files: KeeperFiles,
    settings: Sequence[Setting],
    root_session: Callable[[SecretText], RootSession],
) -> Seen:
    """One look at Vault, and what has to be done: initialise, unseal, first configuration.

    Raises `WrongSetUp` when share and Vault do not belong together or one is missing; `VaultUnavailable` while nothing
    listens; `VaultRefused` when the share is wrong.
    """
    state = seal.state()
    if not state.initialised:
        _initialise(seal, files)
    elif state.sealed:
        if files.sealed_on_purpose():
            return Seen.SEALED_ON_PURPOSE
        seal.unseal(_share(files))
    mark = fingerprint(settings)
    if files.configured() != mark:
        root = root_session(_share(files))
        try:
            root.end_other_roots()
            put_all(root, settings)
        finally:
            root.revoke()
        files.record_configured(mark)
    return Seen.UNSEALED


def _initialise(seal: VaultSeal, files: KeeperFiles) -> None:
    if files.share() is not None:
        raise WrongSetUp(
            what="Vault is empty, yet its unseal share is here",
            why="its volume was lost or exchanged, and what it held cannot be made anew",
            next_step="restore the volume vault-data, or `make clean` and start over",
        )
    files.record_configured("")  # first: a mark of an earlier Vault would say that this one is configured
    keys = seal.initialise()
    files.save_share(keys.share)
    seal.unseal(keys.share)


def _share(files: KeeperFiles) -> SecretText:
    if share := files.share():
        return share
    raise WrongSetUp(
        what="Vault stays sealed",
        which="vault-unseal.json",
        why="the unseal share is not in the state folder, and without it nothing in Vault can be opened",
        next_step="restore the file, or `make clean` and start over",
    )
