"""The process that ends workspaces, and its rights: it can close and cannot open. `workspaces.md` sections 6, 11 and 12.

Over the cluster it may list namespaces only. What it may do in a project is granted in that project's namespaces, by
`ReconcilerRights`, and goes with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import ExecActionArgs, ProbeArgs, ServiceAccount
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pulumi_kubernetes.rbac.v1 import ClusterRole, ClusterRoleBinding, RoleRefArgs, SubjectArgs

from infra.components.rights import Rule, grant_rights, policy_rules
from infra.components.service_pod import ServicePodArgs, deployment
from readingroom.contract import ACCOUNT_RECONCILER, SYSTEM, hub_namespace, workspace_namespace

IN_CLUSTER = (Rule("", "namespaces", ("list",)),)
IN_HUB = (Rule("", "configmaps", ("list",)),)  # grants and withdrawals
IN_ROOMS = (Rule("", "pods", ("delete", "list", "patch", "watch")),)  # patch: admission allows one label, the seal
ALIVE = "/tmp/alive"  # noqa: S108 (a file in the pod's own emptyDir)


@dataclass(frozen=True, kw_only=True)
class ReconcilerArgs:
    """Where it runs."""

    images: Mapping[str, str]
    namespace: str = SYSTEM
    pull_policy: str = "Never"


def reconciler_pod(args: ReconcilerArgs) -> ServicePodArgs:
    """Its pod. A loop that has not finished a round for a minute is started again."""
    fresh = ExecActionArgs(command=["sh", "-c", f'test -n "$(find {ALIVE} -mmin -1)"'])
    return ServicePodArgs(
        name="reconciler",
        namespace=args.namespace,
        account=ACCOUNT_RECONCILER,
        image=args.images["services"],
        command=["python", "-m", "readingroom.entrypoints.reconciler"],
        ready=ProbeArgs(exec_=fresh, period_seconds=5),
        alive=ProbeArgs(exec_=fresh, period_seconds=30, failure_threshold=4),
        speaks_to_api=True,
        memory="192Mi",
        pull_policy=args.pull_policy,
    )


class Reconciler(pulumi.ComponentResource):
    """Account, the one right over the cluster, and the process."""

    def __init__(self, args: ReconcilerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("readingroom:system:Reconciler", "reconciler", None, opts)
        child = pulumi.ResourceOptions(parent=self)
        account = ServiceAccount(
            f"{args.namespace}/{ACCOUNT_RECONCILER}",
            metadata=ObjectMetaArgs(name=ACCOUNT_RECONCILER, namespace=args.namespace),
            automount_service_account_token=False,
            opts=child,
        )
        name = "readingroom-reconciler"
        role = ClusterRole(name, metadata=ObjectMetaArgs(name=name), rules=policy_rules(IN_CLUSTER), opts=child)
        binding = ClusterRoleBinding(
            name,
            metadata=ObjectMetaArgs(name=name),
            role_ref=RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name=name),
            subjects=[SubjectArgs(kind="ServiceAccount", name=ACCOUNT_RECONCILER, namespace=args.namespace)],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[role]),
        )
        deployment(reconciler_pod(args), pulumi.ResourceOptions(parent=self, depends_on=[account, binding]))
        self.register_outputs({})


@dataclass(frozen=True, kw_only=True)
class ReconcilerRightsArgs:
    """Which project, and where the reconciler lives."""

    project: str
    reconciler_namespace: str = SYSTEM


class ReconcilerRights(pulumi.ComponentResource):
    """What the reconciler may do in one project: read its grants, and seal and delete its pods."""

    def __init__(self, args: ReconcilerRightsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("readingroom:project:ReconcilerRights", f"reconciler-{args.project}", None, opts)
        account = (ACCOUNT_RECONCILER, args.reconciler_namespace)
        child = pulumi.ResourceOptions(parent=self)
        grant_rights("reconciler", hub_namespace(args.project), account, IN_HUB, child)
        grant_rights("reconciler", workspace_namespace(args.project), account, IN_ROOMS, child)
        self.register_outputs({})
