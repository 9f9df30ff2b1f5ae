"""One container of ours as a Deployment of one, with everything that Pod Security `restricted` asks and no more.

Root file system read-only, `/tmp` in an emptyDir, user and group 10001, no account token unless the program speaks to the API
server itself. No `fsGroup`: the folders behind claims are that user's already, and a change of their modes would undo what a
program asks of its own (PostgreSQL refuses a folder that a group can write). The label `readingroom/role` is what the
allowed flows go by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgs, DeploymentStrategyArgs
from pulumi_kubernetes.core.v1 import (
    ConfigMapProjectionArgs,
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    ContainerPortArgs,
    DownwardAPIProjectionArgs,
    DownwardAPIVolumeFileArgs,
    EmptyDirVolumeSourceArgs,
    EnvVarArgs,
    HTTPGetActionArgs,
    KeyToPathArgs,
    ObjectFieldSelectorArgs,
    PersistentVolumeClaimVolumeSourceArgs,
    PodSecurityContextArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    ProbeArgs,
    ProjectedVolumeSourceArgs,
    ResourceRequirementsArgs,
    SeccompProfileArgs,
    Service,
    ServiceAccountTokenProjectionArgs,
    ServicePortArgs,
    ServiceSpecArgs,
    TCPSocketActionArgs,
    VolumeArgs,
    VolumeMountArgs,
    VolumeProjectionArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from infra.components.delivery import (
    DeliveryArgs,
    delivered_mount,
    delivery_container,
    delivery_volumes,
    restricted,
)
from readingroom.contract import LABEL_PROJECT, LABEL_ROLE, SERVICE_UID

SCRATCH = "/tmp"  # noqa: S108 (a mount of the pod)
ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS = 3607


@dataclass(frozen=True, kw_only=True)
class ServicePodArgs:
    """What one Deployment runs. `name` is its role, and the name of its Service where it has ports."""

    name: str
    namespace: str
    account: str
    image: pulumi.Input[str]
    command: Sequence[str]
    ready: ProbeArgs
    alive: ProbeArgs | None = None
    project: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)  # name to number
    configuration: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)  # mount path to ConfigMap name
    claims: Mapping[str, str] = field(default_factory=dict)  # mount path to claim name
    reads: Mapping[str, str] = field(default_factory=dict)  # the same, and nothing can be written there
    environment: Mapping[str, str] = field(default_factory=dict)
    delivery: DeliveryArgs | None = None
    speaks_to_api: bool = False
    memory: str = "128Mi"
    stamp: str = ""  # text whose change must restart the pod: its configuration
    pull_policy: str = "Never"


def labels(args: ServicePodArgs) -> dict[str, str]:
    """Role and, where there is one, project."""
    return {LABEL_ROLE: args.name, **({LABEL_PROJECT: args.project} if args.project else {})}


def deployment(args: ServicePodArgs, opts: pulumi.ResourceOptions) -> Deployment:
    """The Deployment. The old pod ends before the new one starts: a volume, and a hub, have one owner."""
    return Deployment(
        f"{args.namespace}/{args.name}",
        metadata=ObjectMetaArgs(name=args.name, namespace=args.namespace, labels=labels(args)),
        spec=DeploymentSpecArgs(
            replicas=1,
            strategy=DeploymentStrategyArgs(type="Recreate"),
            selector=LabelSelectorArgs(match_labels={LABEL_ROLE: args.name}),
            template=PodTemplateSpecArgs(
                metadata=ObjectMetaArgs(
                    labels=labels(args),
                    annotations={"configuration-sha256": hashlib.sha256(args.stamp.encode()).hexdigest()},
                ),
                spec=_pod(args),
            ),
        ),
        opts=opts,
    )


def service(args: ServicePodArgs, opts: pulumi.ResourceOptions) -> Service:
    """A ClusterIP Service of the same name, for the ports that the pod has."""
    return Service(
        f"{args.namespace}/{args.name}",
        metadata=ObjectMetaArgs(name=args.name, namespace=args.namespace, labels=labels(args)),
        spec=ServiceSpecArgs(
            type="ClusterIP",
            selector={LABEL_ROLE: args.name},
            ports=[ServicePortArgs(name=n, port=p, target_port=p, protocol="TCP") for n, p in args.ports.items()],
        ),
        opts=opts,
    )


def tcp_probe(port: int) -> ProbeArgs:
    """Ready when the port answers."""
    return ProbeArgs(tcp_socket=TCPSocketActionArgs(port=port), period_seconds=2, failure_threshold=3)


def http_probe(path: str, port: int, *, period: int = 2, failures: int = 3) -> ProbeArgs:
    """Well when the page answers."""
    return ProbeArgs(
        http_get=HTTPGetActionArgs(path=path, port=port),
        period_seconds=period,
        failure_threshold=failures,
        timeout_seconds=3,
    )


def _pod(args: ServicePodArgs) -> PodSpecArgs:
    more: dict[str, Any] = {}
    if args.delivery:
        more["init_containers"] = [delivery_container(args.delivery)]
    return PodSpecArgs(
        service_account_name=args.account,
        automount_service_account_token=False,
        enable_service_links=False,
        termination_grace_period_seconds=10,
        security_context=PodSecurityContextArgs(
            run_as_non_root=True,
            run_as_user=SERVICE_UID,
            run_as_group=SERVICE_UID,
            seccomp_profile=SeccompProfileArgs(type="RuntimeDefault"),
        ),
        containers=[_container(args)],
        volumes=_volumes(args),
        **more,
    )


def _container(args: ServicePodArgs) -> ContainerArgs:
    mounts = [VolumeMountArgs(name="scratch", mount_path=SCRATCH)]
    mounts += [
        VolumeMountArgs(name=f"config-{n}", mount_path=path, read_only=True)
        for n, path in enumerate(sorted(args.configuration))
    ]
    mounts += [
        VolumeMountArgs(name=f"claim-{n}", mount_path=path, read_only=True if path in args.reads else None)
        for n, path in enumerate(sorted({**args.claims, **args.reads}))
    ]
    if args.delivery:
        mounts.append(delivered_mount())
    if args.speaks_to_api:
        mounts.append(VolumeMountArgs(name="account", mount_path=ACCOUNT_FOLDER, read_only=True))
    return ContainerArgs(
        name=args.name,
        image=args.image,
        image_pull_policy=args.pull_policy,
        command=list(args.command),
        env=[EnvVarArgs(name=name, value=value) for name, value in sorted(args.environment.items())],
        ports=[ContainerPortArgs(name=n, container_port=p, protocol="TCP") for n, p in args.ports.items()],
        security_context=restricted(),
        readiness_probe=args.ready,
        liveness_probe=args.alive,
        resources=ResourceRequirementsArgs(
            requests={"cpu": "10m", "memory": args.memory}, limits={"cpu": "1", "memory": args.memory}
        ),
        volume_mounts=mounts,
    )


def _volumes(args: ServicePodArgs) -> list[VolumeArgs]:
    volumes = [VolumeArgs(name="scratch", empty_dir=EmptyDirVolumeSourceArgs(size_limit="64Mi"))]
    volumes += [
        VolumeArgs(name=f"config-{n}", config_map=ConfigMapVolumeSourceArgs(name=name))
        for n, (_, name) in enumerate(sorted(args.configuration.items()))
    ]
    volumes += [
        VolumeArgs(name=f"claim-{n}", persistent_volume_claim=PersistentVolumeClaimVolumeSourceArgs(claim_name=name))
        for n, (_, name) in enumerate(sorted({**args.claims, **args.reads}.items()))
    ]
    if args.delivery:
        volumes += delivery_volumes()
    if args.speaks_to_api:
        volumes.append(_account())
    return volumes


def _account() -> VolumeArgs:
    """What the API server wants to see, mounted in the main container alone: never in the one that asks Vault."""
    return VolumeArgs(
        name="account",
        projected=ProjectedVolumeSourceArgs(
            default_mode=0o444,  # of certificate and name; the kubelet gives the token to the pod's user alone, 0600
            sources=[
                VolumeProjectionArgs(
                    service_account_token=ServiceAccountTokenProjectionArgs(
                        path="token", expiration_seconds=TOKEN_SECONDS
                    )
                ),
                VolumeProjectionArgs(
                    config_map=ConfigMapProjectionArgs(
                        name="kube-root-ca.crt", items=[KeyToPathArgs(key="ca.crt", path="ca.crt")]
                    )
                ),
                VolumeProjectionArgs(
                    downward_api=DownwardAPIProjectionArgs(
                        items=[
                            DownwardAPIVolumeFileArgs(
                                path="namespace", field_ref=ObjectFieldSelectorArgs(field_path="metadata.namespace")
                            )
                        ]
                    )
                ),
            ],
        ),
    )
