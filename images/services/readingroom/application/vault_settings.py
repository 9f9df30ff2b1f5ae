"""One setting of Vault's: read, compared, written, read back.

Used by the keeper's first configuration and by the Job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from readingroom.application.ports_vault import Vault
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.vault_documents import Setting
from readingroom.domain.vault_plan import check_can_mend, differences


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that would be, or was, done. Names fields, never their values."""

    action: str  # create, update, remove
    what: str
    path: str
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        fields = f" ({', '.join(self.fields)})" if self.action == "update" else ""
        return f"{self.action} {self.what} {self.path}{fields}"


def present(vault: Vault, setting: Setting) -> Mapping[str, Any] | None:
    """The setting as it is now, or None."""
    document = vault.read(setting.place)
    return (document or {}).get(setting.inside) if setting.inside else document


def change_for(setting: Setting, now: Mapping[str, Any] | None) -> Change | None:
    """What has to be done; None if it reads as wanted. Raises `WrongSetUp` where a thing made once differs."""
    different = differences(setting, now)
    if not different:
        return None
    if now is None:
        return Change(action="create", what=setting.kind.value, path=setting.path)
    check_can_mend(setting, different)
    return Change(action="update", what=setting.kind.value, path=setting.path, fields=different)


def put(vault: Vault, setting: Setting) -> None:
    """Writes the setting and reads it back. Raises `WrongSetUp` if Vault does not say what was meant."""
    vault.write(setting.path, setting.document)
    if different := differences(setting, present(vault, setting)):
        raise WrongSetUp(
            what="Vault did not take a setting",
            which=setting.path,
            why=f"{', '.join(different)} reads back otherwise than written",
            next_step="compare Vault's version with the one that policies/vault was written for",
        )


def put_all(vault: Vault, settings: Sequence[Setting]) -> list[Change]:
    """Brings each setting to what is wanted, in order."""
    done = []
    for setting in settings:
        if change := change_for(setting, present(vault, setting)):
            put(vault, setting)
            done.append(change)
    return done
