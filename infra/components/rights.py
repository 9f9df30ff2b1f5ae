"""A Role in one namespace for one account of perhaps another: nothing is ever granted over the whole cluster from here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pulumi_kubernetes.rbac.v1 import PolicyRuleArgs, Role, RoleBinding, RoleRefArgs, SubjectArgs


@dataclass(frozen=True)
class Rule:
    """Verbs on one kind."""

    group: str
    resources: str
    verbs: tuple[str, ...]


def policy_rules(rules: Sequence[Rule]) -> list[PolicyRuleArgs]:
    """The rules as the API wants them."""
    return [
        PolicyRuleArgs(api_groups=[rule.group], resources=[rule.resources], verbs=list(rule.verbs)) for rule in rules
    ]


def grant_rights(
    name: str, namespace: str, account: tuple[str, str], rules: Sequence[Rule], opts: pulumi.ResourceOptions
) -> RoleBinding:
    """Role and binding `name` in `namespace` for the account (name, namespace)."""
    role = Role(
        f"{namespace}/{name}",
        metadata=ObjectMetaArgs(name=name, namespace=namespace),
        rules=policy_rules(rules),
        opts=opts,
    )
    return RoleBinding(
        f"{namespace}/{name}",
        metadata=ObjectMetaArgs(name=name, namespace=namespace),
        role_ref=RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="Role", name=name),
        subjects=[SubjectArgs(kind="ServiceAccount", name=account[0], namespace=account[1])],
        opts=pulumi.ResourceOptions(parent=opts.parent, depends_on=[role]),
    )
