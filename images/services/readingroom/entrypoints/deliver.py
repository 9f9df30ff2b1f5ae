"""`python -m readingroom.entrypoints.deliver`: secrets and certificates from Vault into files of the pod's own memory.

As a sidecar (`--keep`) it signs anew at two thirds of a certificate's life. While Vault is away it keeps what it has and
asks again; it never takes a file back. Nothing secret is printed.
"""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click

from readingroom.adapters import leaf
from readingroom.adapters.clock import SystemClock
from readingroom.adapters.vault.session import VaultSession
from readingroom.adapters.vault.wire import Wire
from readingroom.application.ports_vault import Vault, VaultUnavailable
from readingroom.contract import VAULT_KV, VAULT_PKI, VAULT_PKI_ROOT
from readingroom.domain.errors import ReadingRoomError, WrongSetUp
from readingroom.entrypoints import settings

log = logging.getLogger("deliver")
PAUSE = 2.0
LOOK = 60.0
COMPLETE = ".complete"


@dataclass(frozen=True)
class Wanted:
    """One certificate: signing role, file stem, names."""

    role: str
    stem: str
    names: tuple[str, ...]


def _certificate(text: str) -> Wanted:
    role, _, rest = text.partition(":")
    stem, _, names = rest.partition(":")
    if not (role and stem and names) or "/" in stem:
        raise _off(text, "write ROLE:STEM:NAME,NAME")
    return Wanted(role, stem, tuple(names.split(",")))


def _kv(text: str) -> tuple[str, str, str]:
    source, _, name = text.partition("=")
    path, _, field = source.partition("#")
    if not (path and field and name) or "/" in name:
        raise _off(text, "write PATH#FIELD=FILE")
    return path, field, name


def deliver(session: Vault, out: Path, kv: list[tuple[str, str, str]], certificates: list[Wanted]) -> float:
    """Writes every file; gives the seconds after which certificates are to be signed anew."""
    root = session.read(f"{VAULT_PKI_ROOT}/cert/ca") or {}
    _write(out / "ca.crt", str(root.get("certificate", "")).strip() + "\n")
    for path, field, name in kv:
        document = (session.read(f"{VAULT_KV}/data/{path}") or {}).get("data") or {}
        if field not in document:
            raise WrongSetUp(
                what="a secret", which=f"{path}#{field}", why="Vault does not hold it", next_step="run configure-vault"
            )
        _write(out / name, document[field])
    life = 86_400.0
    for wanted in certificates:
        asked = leaf.request(wanted.names)
        signed = session.write(f"{VAULT_PKI}/sign/{wanted.role}", {"csr": asked.request})
        chain = "\n".join([signed["certificate"].strip(), signed["issuing_ca"].strip(), ""])
        _write(out / f"{wanted.stem}.key", asked.key.reveal())
        _write(out / f"{wanted.stem}.crt", chain)
        life = min(life, leaf.seconds_left(signed["certificate"], SystemClock().now()))
    _write(out / COMPLETE, "")
    return life * 2 / 3


def _write(path: Path, text: str) -> None:
    """Whole or not at all, 0400."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.chmod(0o400)
    new.replace(path)


def _off(which: str, next_step: str) -> WrongSetUp:
    return WrongSetUp(what="deliver", which=which, why="it cannot be read", next_step=next_step)


@click.command()
@click.option("--role", required=True, help="Vault role to log in with.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where the files go.")
@click.option("--kv", "kv", multiple=True, metavar="PATH#FIELD=FILE", help="A secret. May be repeated.")
@click.option("--certificate", "certificates", multiple=True, metavar="ROLE:STEM:NAMES", help="May be repeated.")
@click.option("--keep", is_flag=True, help="Stay, and renew.")
def main(role: str, out: Path, kv: tuple[str, ...], certificates: tuple[str, ...], keep: bool) -> None:
    """Deliver secrets and certificates as files."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        secrets, wanted = [_kv(each) for each in kv], [_certificate(each) for each in certificates]
        due = 0.0
        while True:
            if time.monotonic() >= due:
                seconds = _once(role, out, secrets, wanted)
                if seconds is not None and not keep:
                    return
                due = time.monotonic() + (PAUSE if seconds is None else seconds)
            time.sleep(min(LOOK, max(PAUSE, due - time.monotonic())))
    except ReadingRoomError as error:
        log.error("%s", error)
        sys.exit(error.exit_status)


def _once(role: str, out: Path, secrets: list[tuple[str, str, str]], wanted: list[Wanted]) -> float | None:
    """Delivers; gives the seconds until it is due again, None while Vault is away."""
    vault = settings.vault()
    wire = Wire(address=vault.address, ca_file=vault.authority)
    try:
        with VaultSession(role, wire=wire, token_file=vault.token_file) as session:
            seconds = deliver(session, out, secrets, wanted)
    except VaultUnavailable as error:
        log.warning("%s", error)
        return None
    log.info("delivered %d secrets and %d certificates", len(secrets), len(wanted))
    return seconds


if __name__ == "__main__":
    main()
