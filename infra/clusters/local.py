"""The embedded node as a cluster to build on: its facts, and the provider that speaks to it as the deployer."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes

from infra import places
from infra.facts import ClusterFacts
from readingroom import contract

STACK = "local"


def facts(gpus: int = 0) -> ClusterFacts:
    """What the launcher set up, by the names both sides agree on."""
    return ClusterFacts(
        name=STACK,
        api_address=contract.NODE_ADDRESS,
        api_port=6443,
        pod_range=contract.POD_RANGE,
        service_range=contract.SERVICE_RANGE,
        issuer=contract.SERVICE_ACCOUNT_ISSUER,
        storage_class="rr-local",
        pod_security_version="v1.37",
        image_pull_policy="Never",
        netpol_mode="strict",
        node_name=contract.NODE_NAME,
        gpus=gpus,
    )


def provider() -> pulumi_kubernetes.Provider:
    """The only way a program of ours reaches the cluster: by the path of the deployer's kubeconfig.

    Called inside a program. The contents of the file never reach the engine's state.
    """
    return pulumi_kubernetes.Provider(
        "cluster",
        kubeconfig=str(places.state(places.DEPLOYER_KUBECONFIG)),
        enable_config_map_mutable=True,
        opts=pulumi.ResourceOptions(),
    )
