"""What the Jobs of `rr-quarantine` find there: accounts, decisions, and the folders that data moves through, one way.

`inbox` or `spool` (as a hospital sent it) → `landing` (received, identified) → `warehouse-<project>` (de-identified) →
`cuts-<project>`. Receipts and `opt-outs` (who opted out) stay on the identified side; `linked-<project>` holds joined tables for
a cut. Nothing here is mounted anywhere else, but for the network door; the Jobs are started by `readingroom platform job`.

`holdout` is the hold-out's own storage, which no account of a project mounts; `cleared` names cuts that were compared with it.
What lies in `submissions/<project>` is judged on it, and `evaluated/<project>` gets the reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap, ServiceAccount
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from infra.components.claims import LocalClaim, ProjectClaims, ProjectClaimsArgs
from infra.jobs import OPT_OUTS_CLAIM, decision_name
from readingroom.contract import (
    ACCOUNT_EVALUATE,
    ACCOUNT_HOLDOUT,
    ACCOUNT_INGEST,
    CLEARED,
    HOLDOUT,
    QUARANTINE,
    cut_account,
    deid_account,
)

SHARED = {  # GiB
    "inbox": 20, "spool": 20, "landing": 20, "receipts": 1, OPT_OUTS_CLAIM: 1,
    HOLDOUT: 20, CLEARED: 1, "submissions": 5, "evaluated": 1,
}  # fmt: skip
PER_PROJECT = {"warehouse": 20, "cuts": 20, "linked": 1}


@dataclass(frozen=True, kw_only=True)
class QuarantineArgs:
    """`decisions` maps a project to the text of its decision, people left out; `folders` the claims' names to paths.

    A project may have folders and no decision any more: what is there stays mounted by nobody.
    """

    decisions: Mapping[str, str]
    folders: Mapping[str, str]  # of every name in `claims`
    node_name: str
    storage_class: str


def claims(projects: Sequence[str]) -> list[str]:
    """The names of the claims in `rr-quarantine`."""
    return [*SHARED, *(f"{kind}-{name}" for name in sorted(projects) for kind in PER_PROJECT)]


def _gib(claim: str) -> int:
    return SHARED.get(claim) or PER_PROJECT[claim.partition("-")[0]]


class Quarantine(pulumi.ComponentResource):
    """Accounts, decisions and claims. An account that needs nothing of Vault or the API has no token and no flow."""

    def __init__(self, args: QuarantineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("readingroom:quarantine:Quarantine", "quarantine", None, opts)
        child = pulumi.ResourceOptions(parent=self)
        projects = sorted(args.decisions)
        accounts = [ACCOUNT_INGEST, ACCOUNT_HOLDOUT, ACCOUNT_EVALUATE, deid_account(HOLDOUT)]
        accounts += [*(make(name) for name in projects for make in (deid_account, cut_account))]
        for account in accounts:
            ServiceAccount(
                f"{QUARANTINE}/{account}",
                metadata=ObjectMetaArgs(name=account, namespace=QUARANTINE),
                automount_service_account_token=False,
                opts=child,
            )
        for project in projects:
            ConfigMap(
                f"{QUARANTINE}/{decision_name(project)}",
                metadata=ObjectMetaArgs(name=decision_name(project), namespace=QUARANTINE),
                data={"decision.json": args.decisions[project]},
                opts=child,
            )
        ProjectClaims(
            ProjectClaimsArgs(
                project="quarantine",
                claims=[
                    LocalClaim(namespace=QUARANTINE, name=name, folder=folder, gib=_gib(name))
                    for name, folder in sorted(args.folders.items())
                ],
                node_name=args.node_name,
                storage_class=args.storage_class,
            ),
            child,
        )
        self.register_outputs({})
