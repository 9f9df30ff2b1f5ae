"""The allowed flows as NetworkPolicies: one for each role of a namespace, with every rule of both directions.

A connection needs the source's egress and the destination's ingress; both are rendered from the one entry of
`policies/network/flows.yaml`. Seen from the system, `hub` is every project's hub namespace; seen from a project, it is
its own. A workspace is a peer, and has rules, only while it carries `readingroom/seal: open`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from infra.facts import Flow, Peer
from readingroom.contract import (
    LABEL_ROLE,
    LABEL_SEAL,
    QUARANTINE,
    SEAL_OPEN,
    SYSTEM,
    hub_namespace,
    workspace_namespace,
)


@dataclass(frozen=True, kw_only=True)
class AllowedFlowsArgs:
    """Which side of which flows: `side` is a namespace word of the file, `project` is empty for the system's own."""

    flows: Sequence[Flow]
    side: str
    project: str = ""


def namespace_name(side: str, project: str) -> str:
    """The namespace behind a word of the file."""
    return {"system": SYSTEM, "quarantine": QUARANTINE}.get(side) or (
        hub_namespace(project) if side == "hub" else workspace_namespace(project)
    )


def network_policies(args: AllowedFlowsArgs) -> dict[str, Any]:
    """Role to the `spec` of its policy."""
    found: dict[str, dict[str, Any]] = {}

    def rules(peer: Peer, direction: str) -> list[dict[str, Any]]:
        empty: dict[str, Any] = {
            "podSelector": {"matchLabels": _labels(peer)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": [],
        }
        made: list[dict[str, Any]] = found.setdefault(peer.role, empty)[direction]
        return made

    for flow in args.flows:
        ports = [{"protocol": protocol, "port": port} for protocol, port in flow.ports]
        if flow.source.namespace == args.side:
            rules(flow.source, "egress").append({"to": [_selector(flow.destination, args)], "ports": ports})
        if flow.destination.namespace == args.side:
            rules(flow.destination, "ingress").append({"from": [_selector(flow.source, args)], "ports": ports})
    return found


def _selector(peer: Peer, args: AllowedFlowsArgs) -> dict[str, Any]:
    if peer.cidr:
        return {"ipBlock": {"cidr": peer.cidr}}
    if peer.namespace in ("hub", "workspace") and not args.project:
        namespace: Mapping[str, str] = {LABEL_ROLE: peer.namespace}
    else:
        namespace = {"kubernetes.io/metadata.name": namespace_name(peer.namespace, args.project)}
    return {
        "namespaceSelector": {"matchLabels": dict(namespace)},
        "podSelector": {"matchLabels": _labels(peer)},
    }


def _labels(peer: Peer) -> dict[str, str]:
    sealed = {LABEL_SEAL: SEAL_OPEN} if peer.namespace == "workspace" else {}
    return {LABEL_ROLE: peer.role, **sealed}


class AllowedFlows(pulumi.ComponentResource):
    """The policies of one namespace."""

    def __init__(self, args: AllowedFlowsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        namespace = namespace_name(args.side, args.project)
        super().__init__("readingroom:network:AllowedFlows", f"flows-{namespace}", None, opts)
        for role, spec in network_policies(args).items():
            NetworkPolicy(
                f"{namespace}/allow-{role}",
                metadata=ObjectMetaArgs(name=f"allow-{role}", namespace=namespace),
                spec=spec,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({})
