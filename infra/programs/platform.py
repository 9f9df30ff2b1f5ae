"""The platform: what every project shares, each step after the guard before it.

Sealed namespaces, allowed flows and admission come first; no pod without all three.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi

from images import build
from infra import places, settings, vault_tls
from infra.clusters import local
from infra.components.admission import Admission, AdmissionArgs
from infra.components.claims import LocalClaim, ProjectClaims, ProjectClaimsArgs
from infra.components.database import Database, DatabaseArgs
from infra.components.dns import Dns, DnsArgs
from infra.components.flows import AllowedFlows, AllowedFlowsArgs
from infra.components.network_door import NetworkDoor, NetworkDoorArgs
from infra.components.portal import Portal, PortalArgs, project_entry
from infra.components.quarantine import Quarantine, QuarantineArgs
from infra.components.quarantine import claims as quarantine_claims
from infra.components.reconciler import Reconciler, ReconcilerArgs
from infra.components.sealed_namespace import SealedNamespace, SealedNamespaceArgs
from infra.components.storage import Storage, StorageArgs
from infra.components.vault import Vault, VaultArgs
from infra.programs import host
from readingroom.contract import QUARANTINE, SERVICE_UID, SYSTEM
from readingroom.domain.errors import WrongSetUp

QUOTAS = {
    SYSTEM: {"pods": "24", "limits.memory": "8Gi"},
    QUARANTINE: {"pods": "8", "limits.memory": "6Gi"},
}
VOLUMES = {
    "vault-data": 2,
    "vault-audit": 2,
    "vault-tls": 1,
    "database-data": 4,
    "accounts-roster": 1,
}  # GiB, in rr-system


def prepare() -> None:
    """Vault's own certificate, folders behind the volumes, images into the runtime."""
    vault_tls.ensure()
    host.folders(dict.fromkeys([*VOLUMES, *quarantine_claims(projects())], SERVICE_UID))
    host.images()


def projects() -> list[str]:
    """Every project that the committee approved, before its data is cut and after."""
    return sorted({*settings.decisions(), *settings.grants()})


def decisions() -> dict[str, str]:
    """What each project was approved for, as text; its people are left out, for no name of a person is in the cluster."""
    found = {name: {**_document(file), "members": []} for name, file in settings.decisions().items()}
    return {name: json.dumps(document, sort_keys=True) for name, document in found.items()}


def portal_projects() -> list[dict[str, Any]]:
    """What the portal shows of each project: from its decision, or from the grant where only that is left."""
    files = {**settings.grants(), **settings.decisions()}
    return [project_entry(_document(files[name])) for name in projects()]


def _document(file: Path) -> dict[str, Any]:
    try:
        return {**json.loads(file.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError) as error:
        raise WrongSetUp(
            what="decision or grant file",
            which=f"{file.parent.name}/{file.name}",
            why=f"it cannot be read ({type(error).__name__})",
            next_step="write a new version with `readingroom project`",
        ) from error


def vault_files() -> dict[str, str]:
    """What `configure-vault` reads."""
    files = {file.name: file.read_text(encoding="utf-8") for file in sorted((settings.POLICIES / "vault").iterdir())}
    return {**files, "vault-roles.schema.json": settings.text("schema", "vault-roles.schema.json")}


def program() -> None:
    """Every object of the platform."""
    facts, images = local.facts(), build.references()
    top = pulumi.ResourceOptions(providers=[local.provider()])
    sides = {"system": SYSTEM, "quarantine": QUARANTINE}
    sealed = {
        side: SealedNamespace(
            SealedNamespaceArgs(
                name=name, role=side, pod_security_version=facts.pod_security_version, quota=QUOTAS[name]
            ),
            top,
        )
        for side, name in sides.items()
    }
    admission = Admission(AdmissionArgs(rules=settings.admission()), top)
    storage = Storage(StorageArgs(name=facts.storage_class), top)
    allowed = [
        AllowedFlows(AllowedFlowsArgs(flows=settings.flows(), side=side), _after(top, sealed[side])) for side in sides
    ]
    guarded = _after(top, *sealed.values(), admission, storage, *allowed)
    dns = Dns(DnsArgs(images=images, pull_policy=facts.image_pull_policy), guarded)
    claims = ProjectClaims(
        ProjectClaimsArgs(
            project="system",
            claims=[
                LocalClaim(namespace=SYSTEM, name=name, folder=str(places.volume(name)), gib=gib)
                for name, gib in VOLUMES.items()
            ],
            node_name=facts.node_name,
            storage_class=facts.storage_class,
        ),
        guarded,
    )
    vault = Vault(
        VaultArgs(
            images=images,
            ca=vault_tls.ca_certificate(),
            files=vault_files(),
            projects=[{"id": name, "phase": "open"} for name in projects()],
            pull_policy=facts.image_pull_policy,
        ),
        _after(guarded, claims, dns),
    )
    quarantine = Quarantine(
        QuarantineArgs(
            decisions=decisions(),
            folders={name: str(places.volume(name)) for name in quarantine_claims(projects())},
            node_name=facts.node_name,
            storage_class=facts.storage_class,
        ),
        guarded,
    )
    if senders := settings.senders():
        NetworkDoor(
            NetworkDoorArgs(
                senders=senders,
                asks_opt_outs=settings.asks_opt_outs(),
                images=images,
                pull_policy=facts.image_pull_policy,
            ),
            _after(guarded, vault, quarantine),
        )
    database = Database(DatabaseArgs(images=images, pull_policy=facts.image_pull_policy), _after(guarded, vault))
    Portal(
        PortalArgs(images=images, projects=portal_projects(), pull_policy=facts.image_pull_policy),
        _after(guarded, database),
    )
    Reconciler(ReconcilerArgs(images=images, pull_policy=facts.image_pull_policy), _after(guarded, dns))


def _after(opts: pulumi.ResourceOptions, *guards: pulumi.Resource) -> pulumi.ResourceOptions:
    """The same options, after these too."""
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(guards)))
