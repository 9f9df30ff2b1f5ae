"""`python -m readingroom.entrypoints.configure_vault`: the Job that brings Vault to what `policies/vault` says."""

from __future__ import annotations

import logging
import secrets
import sys
from dataclasses import replace
from pathlib import Path

import click

from readingroom.adapters import leaf, vault_files
from readingroom.adapters.vault.session import VaultSession
from readingroom.adapters.vault.wire import Wire
from readingroom.application.configure_vault import configure_vault
from readingroom.application.ports_vault import SecretText
from readingroom.contract import ACCOUNT_CONFIGURE_VAULT
from readingroom.domain.errors import ReadingRoomError, WrongSetUp
from readingroom.domain.vault_plan import wanted
from readingroom.entrypoints import settings

log = logging.getLogger("configure-vault")


class NewSecrets:
    """Draws secrets of the kinds that `roles.yaml` knows."""

    def make(self, kind: str) -> SecretText:
        """A fresh one. Raises `WrongSetUp` for a kind that nobody knows."""
        if kind == "hex32":
            return SecretText(secrets.token_hex(32))
        if kind == "rsa2048":
            return leaf.new_rsa_key()
        raise WrongSetUp(what="a secret", which=kind, why="no such kind", next_step="use hex32 or rsa2048")


@click.command()
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="roles.yaml and so on.")
@click.option("--plan", is_flag=True, help="Say what would change; change nothing.")
@click.option("--prune", is_flag=True, help="Also remove policies and roles that nobody declared.")
def main(folder: Path, plan: bool, prune: bool) -> None:
    """Bring Vault to its declared settings; a second run changes nothing."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        vault = settings.vault()
        definition = vault_files.definition(folder, folder / "vault-roles.schema.json")
        definition = replace(definition, pod_range=vault.pod_range)
        target = wanted(definition, vault_files.projects(folder / "projects.json"))
        wire = Wire(address=vault.address, ca_file=vault.authority)
        with VaultSession(ACCOUNT_CONFIGURE_VAULT, wire=wire, token_file=vault.token_file) as session:
            outcome = configure_vault(session, target, NewSecrets(), apply=not plan, prune=prune)
    except ReadingRoomError as error:
        log.error("%s", error)
        sys.exit(error.exit_status)
    for change in outcome.changes:
        log.info("%s%s", "would " if plan else "", change)
    for stranger in outcome.strangers:
        log.warning("not ours: %s", stranger)
    for finding in outcome.findings:
        log.warning("%s", finding)
    log.info("%d changes", len(outcome.changes))


if __name__ == "__main__":
    main()
