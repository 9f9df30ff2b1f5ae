"""The network door: where hospitals send, with C-STORE over TLS or as an upload, in the namespace of what is identified.

It is there only where a site says who may send. Its address is open to the addresses of those peers and to nobody else, and
its certificate comes from Vault: the main container has no token. It reads no project's key and writes what `ingest` writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap, ServiceAccount
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from infra.components.delivery import DELIVERED, Certificate, DeliveryArgs
from infra.components.service_pod import ServicePodArgs, deployment, service, tcp_probe
from infra.facts import Senders
from infra.jobs import OPT_OUTS_CLAIM
from readingroom.contract import ACCOUNT_DOOR, DOOR_HOST, LABEL_ROLE, PORT_DOOR, PORT_UPLOADS, QUARANTINE, SERVICE_DOOR

SITE: Final = "/etc/readingroom/door"
PEERS: Final = "door-peers"


@dataclass(frozen=True, kw_only=True)
class NetworkDoorArgs:
    """Who may send; whether the site keeps opt-outs; and the images."""

    senders: Senders
    asks_opt_outs: bool
    images: Mapping[str, str]
    pull_policy: str = "Never"


def door_pod(args: NetworkDoorArgs) -> ServicePodArgs:
    """Its pod. Another list of peers is another pod: who was taken off is out as soon as `up` is done."""
    delivered = {"certificate": f"{DELIVERED}/tls.crt", "key": f"{DELIVERED}/tls.key"}
    options = {
        "peers": f"{SITE}/peers.yaml",
        **delivered,
        "authority": f"{SITE}/authority.pem",
        "spool": "/spool",
        "landing": "/landing",
        "receipts": "/receipts/door",
        "listen": f"0.0.0.0:{PORT_DOOR}",
        "uploads": f"0.0.0.0:{PORT_UPLOADS}",
        **({"opt-outs": "/opt-outs"} if args.asks_opt_outs else {}),
    }
    return ServicePodArgs(
        name=SERVICE_DOOR,
        namespace=QUARANTINE,
        account=ACCOUNT_DOOR,
        image=args.images["services"],
        command=["readingroom", "door", "serve", *(word for name in options for word in (f"--{name}", options[name]))],
        ports={"dicom-tls": PORT_DOOR, "uploads": PORT_UPLOADS},
        ready=tcp_probe(PORT_DOOR),
        configuration={SITE: PEERS},
        claims={"/spool": "spool", "/landing": "landing", "/receipts": "receipts"},
        reads={"/opt-outs": OPT_OUTS_CLAIM},
        delivery=DeliveryArgs(
            image=args.images["services"],
            role=ACCOUNT_DOOR,
            certificates=[Certificate(role="door", names=(DOOR_HOST, f"{SERVICE_DOOR}.{QUARANTINE}.svc"))],
            image_pull_policy=args.pull_policy,
        ),
        memory="2Gi",  # two children that parse, 512 MiB each, and chunks of uploads
        stamp=json.dumps(astuple(args.senders)),
        pull_policy=args.pull_policy,
    )


def opened_to(senders: Senders) -> dict[str, Any]:
    """The `spec` of the policy: in from the peers' addresses, to its two ports. What it may reach is in the allowed flows."""
    blocks = [{"ipBlock": {"cidr": f"{each}/{128 if ':' in each else 32}"}} for each in senders.addresses]
    return {
        "podSelector": {"matchLabels": {LABEL_ROLE: SERVICE_DOOR}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": blocks, "ports": [{"protocol": "TCP", "port": port} for port in (PORT_DOOR, PORT_UPLOADS)]}
        ],
    }


class NetworkDoor(pulumi.ComponentResource):
    """Account, list of peers, the policy that opens it to them, the process and its Service."""

    def __init__(self, args: NetworkDoorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("readingroom:quarantine:NetworkDoor", "door", None, opts)
        child = pulumi.ResourceOptions(parent=self)
        policy: Any = opened_to(args.senders)
        before = [
            ServiceAccount(
                f"{QUARANTINE}/{ACCOUNT_DOOR}",
                metadata=ObjectMetaArgs(name=ACCOUNT_DOOR, namespace=QUARANTINE),
                automount_service_account_token=False,
                opts=child,
            ),
            ConfigMap(
                f"{QUARANTINE}/{PEERS}",
                metadata=ObjectMetaArgs(name=PEERS, namespace=QUARANTINE),
                data={"peers.yaml": args.senders.peers, "authority.pem": args.senders.authority},
                opts=child,
            ),
            NetworkPolicy(
                f"{QUARANTINE}/open-{SERVICE_DOOR}",
                metadata=ObjectMetaArgs(name=f"open-{SERVICE_DOOR}", namespace=QUARANTINE),
                spec=policy,
                opts=child,
            ),
        ]
        pod = door_pod(args)
        made = deployment(pod, pulumi.ResourceOptions(parent=self, depends_on=before))
        service(pod, pulumi.ResourceOptions(parent=self, depends_on=[made]))
        self.register_outputs({})
