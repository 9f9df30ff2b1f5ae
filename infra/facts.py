"""Facts that a component may know about the place it is built in: frozen values, handed out by `infra/settings.py`.

A component never sees the settings, a file or the environment; it sees these and its own arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ClusterFacts:
    """What one cluster is like. Each module in `infra/clusters` returns the same fields."""

    name: str  # of the stack: local, aws, azure
    api_address: str  # of the API server itself, which NetworkPolicies judge after service translation
    api_port: int
    pod_range: str
    service_range: str
    issuer: str  # of service-account tokens; what Vault is told to trust
    storage_class: str
    pod_security_version: str  # pinned, so that an upgrade of the cluster changes no rule unseen
    image_pull_policy: Literal["Never", "IfNotPresent"]
    netpol_mode: Literal["strict", "eventual"]  # eventual: a policy may land after the pod's first packet
    node_name: str  # where `local` volumes lie
    gpus: int


@dataclass(frozen=True, kw_only=True)
class Flow:
    """One allowed flow of `policies/network/flows.yaml`: absent means denied."""

    source: Peer
    destination: Peer
    ports: tuple[tuple[str, int], ...]  # (protocol, port)
    reason: str


@dataclass(frozen=True, kw_only=True)
class Senders:
    """Who may send to the network door: the site's own two files, and the addresses in the first."""

    peers: str
    authority: str  # PEM: who signs their certificates
    addresses: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One end of a flow: pods of a role in a namespace, or an address range outside the pods."""

    namespace: str  # a name, or empty when `cidr` is set
    role: str  # value of the label readingroom/role; "*" is every pod of the namespace
    cidr: str = ""
