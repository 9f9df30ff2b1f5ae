"""A namespace that is born sealed: Pod Security labels, deny-all both ways, quota and default limits, as one component.

Whatever brings a pod into the namespace depends on this component (`depends_on=[sealed]`); Pulumi then waits for all of
it, and a graph test refuses any other order. The shape of every component of ours, to be copied:

* `XArgs`, frozen and keyword-only, `pulumi.Input` fields for what may be an output of another resource; then `X`.
* Token `readingroom:<area>:X`; names explicit; children get `ResourceOptions(parent=self)`, never the caller's options.
* No input or output in a constructor, no side effect in `apply`; `register_outputs` at the end. The cluster's provider
  comes by inheritance from the component's `providers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.core.v1 import (
    LimitRange,
    LimitRangeItemArgs,
    LimitRangeSpecArgs,
    Namespace,
    ResourceQuota,
    ResourceQuotaSpecArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.networking.v1 import NetworkPolicy, NetworkPolicySpecArgs

from readingroom.contract import LABEL_PROJECT, LABEL_ROLE, LABEL_TIER

# The ways out that a quota of zero closes for good: nothing in our namespaces is ever exposed or paid for by accident.
NEVER: Mapping[str, str] = {"services.loadbalancers": "0", "services.nodeports": "0"}


@dataclass(frozen=True, kw_only=True)
class SealedNamespaceArgs:
    """What one sealed namespace is."""

    name: str
    role: str  # system, quarantine, hub, workspace
    pod_security_version: str
    quota: Mapping[str, pulumi.Input[str]]  # `pods`, `limits.memory`, …: what the namespace may hold at most
    project: str = ""
    tier: str = ""
    default_limits: Mapping[str, str] = field(default_factory=lambda: {"cpu": "1", "memory": "512Mi"})
    default_requests: Mapping[str, str] = field(default_factory=lambda: {"cpu": "10m", "memory": "64Mi"})


def namespace_labels(args: SealedNamespaceArgs) -> dict[str, str]:
    """Pod Security `restricted` in all three modes at a pinned version, and what the namespace is for."""
    labels = {LABEL_ROLE: args.role}
    if args.project:
        labels[LABEL_PROJECT] = args.project
    if args.tier:
        labels[LABEL_TIER] = args.tier
    for mode in ("enforce", "audit", "warn"):
        labels[f"pod-security.kubernetes.io/{mode}"] = "restricted"
        labels[f"pod-security.kubernetes.io/{mode}-version"] = args.pod_security_version
    return labels


class SealedNamespace(pulumi.ComponentResource):
    """Namespace, deny-all, quota and default limits."""

    name: str

    def __init__(self, args: SealedNamespaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("readingroom:namespace:SealedNamespace", args.name, None, opts)
        self.name = args.name
        namespace = Namespace(
            args.name,
            metadata=ObjectMetaArgs(name=args.name, labels=namespace_labels(args)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        inside = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        NetworkPolicy(
            f"{args.name}/deny-all",
            metadata=ObjectMetaArgs(name="deny-all", namespace=args.name),
            spec=NetworkPolicySpecArgs(pod_selector=LabelSelectorArgs(), policy_types=["Ingress", "Egress"]),
            opts=inside,
        )
        ResourceQuota(
            f"{args.name}/quota",
            metadata=ObjectMetaArgs(name="quota", namespace=args.name),
            spec=ResourceQuotaSpecArgs(hard={**NEVER, **args.quota}),
            opts=inside,
        )
        LimitRange(
            f"{args.name}/limits",
            metadata=ObjectMetaArgs(name="limits", namespace=args.name),
            spec=LimitRangeSpecArgs(
                limits=[
                    LimitRangeItemArgs(
                        type="Container", default=args.default_limits, default_request=args.default_requests
                    )
                ]
            ),
            opts=inside,
        )
        self.register_outputs({"name": args.name})
