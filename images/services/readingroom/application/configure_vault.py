"""The one writer of Vault's settings: plan, apply, read back.

A second run plans nothing, and no key is ever deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from readingroom.application.ports_vault import SecretText, Vault
from readingroom.application.vault_settings import Change, change_for, present, put
from readingroom.contract import VAULT_AUTH, VAULT_KV, VAULT_PKI, VAULT_PKI_ROOT
from readingroom.domain.vault_documents import INTERMEDIATE_SECONDS, ROOT_SECONDS, Kind, Setting
from readingroom.domain.vault_plan import Wanted, finding, own_paths

STRANGERS_UNDER = ("sys/policies/acl", f"auth/{VAULT_AUTH}/role", f"{VAULT_PKI}/roles")


class SecretMaker(Protocol):
    """`make(kind)` draws a new secret of a kind that `roles.yaml` knows: hex32, rsa2048."""

    def make(self, kind: str) -> SecretText:
        """A fresh secret, never the same twice."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was, or would be, changed; what stands there and is not ours to know; what a person should look at."""

    changes: Sequence[Change]
    strangers: Sequence[str]
    findings: Sequence[str]


def configure_vault(
    vault: Vault, wanted: Wanted, secrets: SecretMaker, *, apply: bool = True, prune: bool = False
) -> Outcome:
    """Brings Vault to `wanted`: engines, keys, policies, roles, the certificate authority, secrets made once.

    The whole plan is made, and refused if anything in it must be, before the first write. Strangers are reported, and
    removed only with `prune`; what belongs to a closed project alone is removed always.
    Raises `WrongSetUp` where a thing made once differs or a setting does not read back.
    """
    outcome = _plan(vault, wanted)
    if prune:
        pruned = [Change(action="remove", what="stranger", path=path) for path in outcome.strangers]
        outcome = replace(outcome, changes=[*outcome.changes, *pruned], strangers=[])
    if apply:
        _apply(vault, wanted, secrets, {change.path: change for change in outcome.changes})
    return outcome


def _plan(vault: Vault, wanted: Wanted) -> Outcome:
    engines = {path.rstrip("/") for path in vault.read("sys/mounts") or {}}
    changes, findings = [], []
    for setting in wanted.settings:
        now = present(vault, setting) if not setting.engine or setting.engine in engines else None
        if change := change_for(setting, now):
            changes.append(change)
        if text := finding(setting, now):
            findings.append(text)
    changes += [
        Change(action="create", what="certificate authority", path=f"{mount}/issuers")
        for mount in (VAULT_PKI_ROOT, VAULT_PKI)
        if mount not in engines or not vault.names(f"{mount}/issuers")
    ]
    changes += [
        Change(action="create", what=Kind.SEED.value, path=f"{VAULT_KV}/data/{path}")
        for path in sorted(wanted.seeds)
        if VAULT_KV not in engines or vault.read(f"{VAULT_KV}/metadata/{path}") is None
    ]
    there = _there(vault, engines)
    changes += [Change(action="remove", what="a closed project's", path=path) for path in wanted.gone if path in there]
    known = {setting.path for setting in wanted.settings} | own_paths() | set(wanted.gone)
    return Outcome(changes=changes, strangers=sorted(there - known), findings=findings)


def _there(vault: Vault, engines: set[str]) -> set[str]:
    """Every policy, role and signing role that could be ours."""
    found = set()
    for folder in STRANGERS_UNDER:
        if folder.startswith(f"{VAULT_PKI}/") and VAULT_PKI not in engines:
            continue
        found |= {f"{folder}/{name}" for name in vault.names(folder)}
    return {path for path in found if "/acl/" not in path or "/acl/rr-" in path}


def _apply(vault: Vault, wanted: Wanted, secrets: SecretMaker, todo: dict[str, Change]) -> None:
    """In the order in which Vault needs them: a signing role needs its authority."""
    _put(vault, [each for each in wanted.settings if each.kind is not Kind.CERTIFICATE], todo)
    if f"{VAULT_PKI_ROOT}/issuers" in todo:
        _make_root(vault)
    if f"{VAULT_PKI}/issuers" in todo:
        _make_intermediate(vault)
    _put(vault, [each for each in wanted.settings if each.kind is Kind.CERTIFICATE], todo)
    for path, fields in sorted(wanted.seeds.items()):
        if f"{VAULT_KV}/data/{path}" in todo:
            data = {field: secrets.make(kind).reveal() for field, kind in fields.items()}
            vault.write(f"{VAULT_KV}/data/{path}", {"options": {"cas": 0}, "data": data})
    for change in todo.values():
        if change.action == "remove":
            vault.forget(change.path)


def _put(vault: Vault, settings: Sequence[Setting], todo: dict[str, Change]) -> None:
    for setting in settings:
        if setting.path in todo:
            put(vault, setting)


def _make_root(vault: Vault) -> None:
    """The root's key is made inside Vault and never leaves it."""
    document = {"common_name": "Reading Room root", "ttl": ROOT_SECONDS, "key_type": "ec", "key_bits": 256}
    vault.write(f"{VAULT_PKI_ROOT}/root/generate/internal", document)


def _make_intermediate(vault: Vault) -> None:
    """A request from the second engine, signed by the first; the chain goes back with it.

    No path length is asked for: Vault warns about a length of nought, and a warning is an error for us. Who may sign at
    the root could make another authority anyway.
    """
    request = {"common_name": "Reading Room services", "key_type": "ec", "key_bits": 256}
    csr = vault.write(f"{VAULT_PKI}/intermediate/generate/internal", request)["csr"]
    ask = {
        "csr": csr,
        "common_name": request["common_name"],
        "ttl": INTERMEDIATE_SECONDS,
        "format": "pem",
    }
    signed = vault.write(f"{VAULT_PKI_ROOT}/root/sign-intermediate", ask)
    chain = "\n".join([signed["certificate"], signed["issuing_ca"]])
    vault.write(f"{VAULT_PKI}/intermediate/set-signed", {"certificate": chain})
