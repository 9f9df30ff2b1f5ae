"""The two doors of one project: the edge for browsers, the gate for workspaces. Both are nginx with one file each.

The edge has a certificate and no other secret; the gate has none at all and no account to ask for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap, ServiceAccount
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from infra.components.delivery import Certificate, DeliveryArgs
from infra.components.service_pod import ServicePodArgs, deployment, service, tcp_probe
from readingroom.contract import (
    ACCOUNT_EDGE,
    ACCOUNT_GATE,
    FRONT_DOOR_PORT,
    PORT_EDGE,
    PORT_GATE,
    PORT_HUB_API,
    PORT_PROXY,
    SERVICE_HUB,
    SERVICE_PROXY,
    hub_namespace,
    project_host,
)

FOLDER = "/etc/readingroom/nginx"


@dataclass(frozen=True, kw_only=True)
class EdgeArgs:
    """One project's edge and gate; `edge_conf` and `gate_conf` are the texts of `policies/access/*.conf`."""

    project: str
    edge_conf: str
    gate_conf: str
    images: Mapping[str, str]
    pull_policy: str = "Never"


def edge_file(args: EdgeArgs) -> str:
    """The edge's configuration for this project."""
    return (
        args.edge_conf.replace("@HOST@", project_host(args.project))
        .replace("@PORT@", str(FRONT_DOOR_PORT))
        .replace("@PROXY@", f"{SERVICE_PROXY}:{PORT_PROXY}")
    )


def gate_file(args: EdgeArgs) -> str:
    """The gate's configuration."""
    return args.gate_conf.replace("@HUB@", f"{SERVICE_HUB}:{PORT_HUB_API}")


def edge_pod(args: EdgeArgs) -> ServicePodArgs:
    """The edge's pod."""
    return ServicePodArgs(
        name="edge",
        namespace=hub_namespace(args.project),
        account=ACCOUNT_EDGE,
        project=args.project,
        image=args.images["edge"],
        command=["nginx", "-e", "stderr", "-c", f"{FOLDER}/nginx.conf"],
        ports={"edge": PORT_EDGE},
        ready=tcp_probe(PORT_EDGE),
        configuration={FOLDER: "edge"},
        delivery=DeliveryArgs(
            image=args.images["services"],
            role=f"edge-{args.project}",
            certificates=[Certificate(role=f"edge-{args.project}", names=(project_host(args.project),))],
            image_pull_policy=args.pull_policy,
        ),
        memory="64Mi",
        stamp=edge_file(args),
        pull_policy=args.pull_policy,
    )


def gate_pod(args: EdgeArgs) -> ServicePodArgs:
    """The gate's pod."""
    return ServicePodArgs(
        name="gate",
        namespace=hub_namespace(args.project),
        account=ACCOUNT_GATE,
        project=args.project,
        image=args.images["edge"],
        command=["nginx", "-e", "stderr", "-c", f"{FOLDER}/nginx.conf"],
        ports={"gate": PORT_GATE},
        ready=tcp_probe(PORT_GATE),
        configuration={FOLDER: "gate"},
        memory="32Mi",
        stamp=gate_file(args),
        pull_policy=args.pull_policy,
    )


class Edge(pulumi.ComponentResource):
    """Edge and gate of one project. Names of hub and proxy must resolve, so it depends on `Hub`."""

    def __init__(self, args: EdgeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("readingroom:project:Edge", f"edge-{args.project}", None, opts)
        for pod, text in ((gate_pod(args), gate_file(args)), (edge_pod(args), edge_file(args))):
            account = ServiceAccount(
                f"{pod.namespace}/{pod.account}",
                metadata=ObjectMetaArgs(name=pod.account, namespace=pod.namespace),
                automount_service_account_token=False,
                opts=pulumi.ResourceOptions(parent=self),
            )
            config = ConfigMap(
                f"{pod.namespace}/{pod.name}",
                metadata=ObjectMetaArgs(name=pod.name, namespace=pod.namespace),
                data={"nginx.conf": text},
                opts=pulumi.ResourceOptions(parent=self),
            )
            running = deployment(pod, pulumi.ResourceOptions(parent=self, depends_on=[account, config]))
            service(pod, pulumi.ResourceOptions(parent=self, depends_on=[running]))
        self.register_outputs({})
