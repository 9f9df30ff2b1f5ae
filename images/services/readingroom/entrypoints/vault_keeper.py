"""`python -m readingroom.entrypoints.vault_keeper --state DIR`: initialises and unseals the local node's Vault.

Runs on the host for as long as the node does. The unseal share is a file of the state folder, 0600: right for a machine
of development, never for a site, where a key service unseals. `--seal` closes Vault until `--unseal`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from readingroom.adapters import vault_files
from readingroom.adapters.vault.seal import HttpSeal
from readingroom.adapters.vault.wire import Wire
from readingroom.application.keep_vault import Seen, keep_vault
from readingroom.application.ports_vault import SecretText, VaultRefused, VaultUnavailable
from readingroom.contract import SERVICE_ACCOUNT_ISSUER, VAULT_PKI_ROOT
from readingroom.domain.errors import ReadingRoomError, WrongSetUp
from readingroom.domain.vault_documents import Issuer, Setting
from readingroom.domain.vault_plan import bootstrap
from readingroom.entrypoints import settings

log = logging.getLogger("vault-keeper")
PAUSE = 2.0
AUDIT_FOLDER = "/vault/audit"  # as Vault sees it
ROOT_FILE = "readingroom-ca.pem"  # what a browser must trust


class HostFiles:
    """The port `KeeperFiles`: three files of the state folder."""

    def __init__(self, state: Path) -> None:
        self._share = state / "vault-unseal.json"
        self._mark = state / "vault-configured"
        self.on_purpose = state / "vault-sealed-on-purpose"

    def share(self) -> SecretText | None:
        """The unseal share, if one was saved. Raises `WrongSetUp` when the file holds none."""
        try:
            share = json.loads(self._share.read_text(encoding="ascii"))["share"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._no_share() from error
        if not isinstance(share, str):
            raise self._no_share()
        return SecretText(share)

    def _no_share(self) -> WrongSetUp:
        return WrongSetUp(
            what="the unseal share", which=self._share.name, why="the file holds none", next_step="restore the file"
        )

    def save_share(self, share: SecretText) -> None:
        """On the disk when it returns, its name included; never over another."""
        descriptor = os.open(self._share, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            json.dump({"share": share.reveal()}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        folder = os.open(self._share.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def sealed_on_purpose(self) -> bool:
        """Whether a person wants it closed."""
        return self.on_purpose.exists()

    def configured(self) -> str:
        """The last mark."""
        return self._mark.read_text(encoding="ascii") if self._mark.exists() else ""

    def record_configured(self, mark: str) -> None:
        """A new mark."""
        self._mark.write_text(mark, encoding="ascii")


def first_settings(state: Path, audit_folder: str = AUDIT_FOLDER) -> list[Setting]:
    """What a root token writes once: audit, login, and the one role that configures the rest."""
    folder = settings.policies_folder()
    definition = vault_files.definition(folder / "vault", folder / "schema" / "vault-roles.schema.json")
    definition = replace(definition, pod_range=settings.vault().pod_range)
    public = (state / "pki" / "service-account.pub").read_text(encoding="ascii")
    issuer = Issuer(name=SERVICE_ACCOUNT_ISSUER, public_keys=(public,), algorithm="RS256")
    audit_files = {"file": f"{audit_folder}/audit.log", "second": f"{audit_folder}/audit-2.log"}
    return list(bootstrap(definition, issuer, audit_files))


@click.command()
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), required=True, help="The state folder.")
@click.option("--seal", "seal_now", is_flag=True, help="Seal Vault, and keep it so.")
@click.option("--unseal", "unseal_now", is_flag=True, help="Let the keeper unseal it again.")
@click.option("--audit-folder", default=AUDIT_FOLDER, show_default=True, help="Where Vault writes, as Vault sees it.")
def main(state: Path, seal_now: bool, unseal_now: bool, audit_folder: str) -> None:
    """Keep the local Vault open."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    files = HostFiles(state)
    try:
        wire = Wire(address=settings.vault().address, ca_file=str(state / "pki-vault" / "ca.crt"))
        if unseal_now:
            files.on_purpose.unlink(missing_ok=True)
        elif seal_now:
            _seal(wire, files)
        else:
            _keep(wire, files, state, audit_folder)
    except ReadingRoomError as error:
        log.error("%s", error)
        sys.exit(error.exit_status)


def _seal(wire: Wire, files: HostFiles) -> None:
    share = files.share()
    if share is None:
        raise WrongSetUp(
            what="sealing Vault", why="no unseal share is here: it could not be opened again", next_step="restore it"
        )
    files.on_purpose.touch()
    seal = HttpSeal(wire)
    if not seal.state().sealed:
        seal.seal(share)


def _keep(wire: Wire, files: HostFiles, state: Path, audit_folder: str) -> None:
    told = ""
    while True:
        seen, why = _look(wire, files, state, audit_folder)
        _report(state, seen, why)
        if (text := f"{seen.value} {why}".strip()) != told:
            told = text
            log.info("%s", text)
        time.sleep(PAUSE)


def _look(wire: Wire, files: HostFiles, state: Path, audit_folder: str) -> tuple[Seen, str]:
    seal = HttpSeal(wire)
    try:
        seen = keep_vault(seal, files, first_settings(state, audit_folder), seal.break_glass)
        if seen is Seen.UNSEALED:
            _publish_root(wire, state)
    except VaultUnavailable as error:
        return Seen.WAITING, str(error)
    except (ReadingRoomError, OSError) as error:
        return Seen.WRONG, str(error)
    return seen, ""


def _publish_root(wire: Wire, state: Path) -> None:
    """The certificate that browsers are to trust, once Vault has made it. Public: asked for without a token."""
    file = state / ROOT_FILE
    text = str((_root(wire).get("data") or {}).get("certificate", ""))
    if text and (not file.exists() or file.read_text(encoding="ascii").strip() != text.strip()):
        file.write_text(text.strip() + "\n", encoding="ascii")


def _root(wire: Wire) -> dict[str, Any]:
    try:
        return wire.ask("GET", f"{VAULT_PKI_ROOT}/cert/ca") or {}
    except VaultRefused:
        return {}  # the engine is not there yet


def _report(state: Path, seen: Seen, why: str) -> None:
    folder = state / "run"
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / "vault-status.json.new"
    new.write_text(json.dumps({"seen": seen.value, "why": why, "at": datetime.now(UTC).isoformat()}), encoding="utf-8")
    new.replace(folder / "vault-status.json")


if __name__ == "__main__":
    main()
