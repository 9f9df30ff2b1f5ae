"""Secrets and certificates for a pod whose main process cannot ask Vault: one container that writes files.

The container runs `readingroom.entrypoints.deliver` from the services image as a native sidecar: it starts before the
main container, counts as started once every file is there, and rewrites certificates at two thirds of their life. The
files lie in memory, mode 0400, and the token that opens Vault is mounted here alone: the main container never has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.core.v1 import (
    CapabilitiesArgs,
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    EmptyDirVolumeSourceArgs,
    ExecActionArgs,
    ProbeArgs,
    ProjectedVolumeSourceArgs,
    ResourceRequirementsArgs,
    SeccompProfileArgs,
    SecurityContextArgs,
    ServiceAccountTokenProjectionArgs,
    VolumeArgs,
    VolumeMountArgs,
    VolumeProjectionArgs,
)

from readingroom.contract import SERVICE_UID, VAULT_AUDIENCE, VAULT_CA_PATH, VAULT_TOKEN_PATH

DELIVERED = "/run/delivered"
DONE = f"{DELIVERED}/.complete"
VAULT_CA_CONFIG_MAP = "vault-ca"
TOKEN_SECONDS = 600  # the least that Kubernetes grants


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A leaf of `rr-pki`: `<stem>.crt` (with the intermediate), `<stem>.key`. The first name is the common name."""

    role: str
    names: tuple[str, ...]
    stem: str = "tls"


@dataclass(frozen=True, kw_only=True)
class DeliveryArgs:
    """What one pod gets, and as whom it asks."""

    image: pulumi.Input[str]
    role: str  # of Vault's login: hub-<id>, edge-<id>, portal, database
    kv: Mapping[str, str] = field(default_factory=dict)  # file name → `<path below rr-kv>#<field>`
    certificates: Sequence[Certificate] = ()
    image_pull_policy: str = "Never"


def restricted() -> SecurityContextArgs:
    """What Pod Security `restricted` asks, and a root file system that cannot be written."""
    return SecurityContextArgs(
        allow_privilege_escalation=False,
        read_only_root_filesystem=True,
        run_as_non_root=True,
        run_as_user=SERVICE_UID,
        run_as_group=SERVICE_UID,
        capabilities=CapabilitiesArgs(drop=["ALL"]),
        seccomp_profile=SeccompProfileArgs(type="RuntimeDefault"),
    )


def vault_mounts() -> list[VolumeMountArgs]:
    """Where a container that asks Vault finds its token and Vault's certificate authority."""
    return [
        VolumeMountArgs(name="vault-token", mount_path=VAULT_TOKEN_PATH.rpartition("/")[0], read_only=True),
        VolumeMountArgs(name="vault-ca", mount_path=VAULT_CA_PATH.rpartition("/")[0], read_only=True),
    ]


def vault_volumes() -> list[VolumeArgs]:
    """The volumes behind `vault_mounts`: a token for Vault alone, which opens nothing at the API server."""
    token = ServiceAccountTokenProjectionArgs(
        audience=VAULT_AUDIENCE, expiration_seconds=TOKEN_SECONDS, path=VAULT_TOKEN_PATH.rpartition("/")[2]
    )
    return [
        VolumeArgs(
            name="vault-token",
            projected=ProjectedVolumeSourceArgs(
                default_mode=0o440, sources=[VolumeProjectionArgs(service_account_token=token)]
            ),
        ),
        VolumeArgs(name="vault-ca", config_map=ConfigMapVolumeSourceArgs(name=VAULT_CA_CONFIG_MAP)),
    ]


def delivery_container(args: DeliveryArgs) -> ContainerArgs:
    """The sidecar; it goes into `init_containers`."""
    command = ["python", "-m", "readingroom.entrypoints.deliver", "--role", args.role, "--out", DELIVERED, "--keep"]
    for name, source in sorted(args.kv.items()):
        command += ["--kv", f"{source}={name}"]
    for certificate in args.certificates:
        command += ["--certificate", f"{certificate.role}:{certificate.stem}:{','.join(certificate.names)}"]
    return ContainerArgs(
        name="deliver",
        image=args.image,
        image_pull_policy=args.image_pull_policy,
        command=command,
        restart_policy="Always",
        security_context=restricted(),
        startup_probe=ProbeArgs(
            exec_=ExecActionArgs(command=["test", "-e", DONE]), period_seconds=1, failure_threshold=600
        ),
        resources=ResourceRequirementsArgs(
            requests={"cpu": "5m", "memory": "64Mi"}, limits={"cpu": "500m", "memory": "128Mi"}
        ),
        volume_mounts=[VolumeMountArgs(name="delivered", mount_path=DELIVERED), *vault_mounts()],
    )


def delivered_mount() -> VolumeMountArgs:
    """Where the main container finds the files."""
    return VolumeMountArgs(name="delivered", mount_path=DELIVERED, read_only=True)


def delivery_volumes() -> list[VolumeArgs]:
    """All volumes that the sidecar needs, the delivered files included."""
    delivered = EmptyDirVolumeSourceArgs(medium="Memory", size_limit="1Mi")
    return [VolumeArgs(name="delivered", empty_dir=delivered), *vault_volumes()]
