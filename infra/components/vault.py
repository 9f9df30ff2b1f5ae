"""Vault on one pod with its own raft storage, and the Job that brings it to its declared settings. `vault.md`.

Ready means unsealed: whoever waits for the Deployment waits for the keeper, who opens it from outside. The Service
shows it before it is ready, for else the keeper could not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.batch.v1 import Job, JobSpecArgs
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    HTTPGetActionArgs,
    PodSecurityContextArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    ProbeArgs,
    ResourceRequirementsArgs,
    SeccompProfileArgs,
    Service,
    ServiceAccount,
    ServicePortArgs,
    ServiceSpecArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from infra.components.delivery import VAULT_CA_CONFIG_MAP, restricted, vault_mounts, vault_volumes
from infra.components.service_pod import ServicePodArgs, deployment
from readingroom.contract import (
    ACCOUNT_CONFIGURE_VAULT,
    ACCOUNT_VAULT,
    LABEL_ROLE,
    PORT_VAULT,
    QUARANTINE,
    SERVICE_UID,
    SERVICE_VAULT,
    SYSTEM,
    VAULT_SERVICE_ADDRESS,
)

CONFIGURATION = f"""ui = false
disable_mlock = true
api_addr = "https://{VAULT_SERVICE_ADDRESS}:{PORT_VAULT}"
cluster_addr = "https://127.0.0.1:8201"
log_level = "warn"
storage "raft" {{
  path = "/vault/data"
  node_id = "vault-0"
}}
listener "tcp" {{
  address = "0.0.0.0:{PORT_VAULT}"
  cluster_address = "127.0.0.1:8201"
  tls_cert_file = "/vault/tls/tls.crt"
  tls_key_file = "/vault/tls/tls.key"
  tls_min_version = "tls12"
}}
"""
FOLDER = "/etc/readingroom/vault"


@dataclass(frozen=True, kw_only=True)
class VaultArgs:
    """Images, the authority of Vault's own certificate (PEM), the files of `policies/vault`, the projects."""

    images: Mapping[str, str]
    ca: pulumi.Input[str]
    files: Mapping[str, str]  # roles.yaml, vault-roles.schema.json, *.hcl
    projects: Sequence[Mapping[str, str]]  # {"id", "phase"}
    pull_policy: str = "Never"


def vault_pod(args: VaultArgs) -> ServicePodArgs:
    """Vault's pod."""
    asked = HTTPGetActionArgs(path="/v1/sys/health", port=PORT_VAULT, scheme="HTTPS")
    return ServicePodArgs(
        name=SERVICE_VAULT,
        namespace=SYSTEM,
        account=ACCOUNT_VAULT,
        image=args.images["vault"],
        command=["/bin/vault", "server", "-config=/etc/vault"],
        ports={"vault": PORT_VAULT},
        ready=ProbeArgs(http_get=asked, period_seconds=2, failure_threshold=2, timeout_seconds=3),
        configuration={"/etc/vault": "vault-config"},
        claims={"/vault/data": "vault-data", "/vault/audit": "vault-audit", "/vault/tls": "vault-tls"},
        memory="384Mi",
        stamp=CONFIGURATION,
        pull_policy=args.pull_policy,
    )


class Vault(pulumi.ComponentResource):
    """Vault, who may ask it by which authority, and its settings."""

    def __init__(self, args: VaultArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("readingroom:system:Vault", "vault", None, opts)
        child = pulumi.ResourceOptions(parent=self)
        before: list[pulumi.Resource] = [
            ServiceAccount(
                f"{SYSTEM}/{name}",
                metadata=ObjectMetaArgs(name=name, namespace=SYSTEM),
                automount_service_account_token=False,
                opts=child,
            )
            for name in (ACCOUNT_VAULT, ACCOUNT_CONFIGURE_VAULT)
        ]
        before += [
            ConfigMap(
                f"{namespace}/{VAULT_CA_CONFIG_MAP}",
                metadata=ObjectMetaArgs(name=VAULT_CA_CONFIG_MAP, namespace=namespace),
                data={"ca.crt": args.ca},
                opts=child,
            )
            for namespace in (SYSTEM, QUARANTINE)
        ]
        before.append(
            ConfigMap(
                f"{SYSTEM}/vault-config",
                metadata=ObjectMetaArgs(name="vault-config", namespace=SYSTEM),
                data={"vault.hcl": CONFIGURATION},
                opts=child,
            )
        )
        before.append(
            Service(
                f"{SYSTEM}/vault/service",
                metadata=ObjectMetaArgs(
                    name=SERVICE_VAULT, namespace=SYSTEM, annotations={"pulumi.com/skipAwait": "true"}
                ),
                spec=ServiceSpecArgs(
                    cluster_ip=VAULT_SERVICE_ADDRESS,
                    publish_not_ready_addresses=True,
                    selector={LABEL_ROLE: SERVICE_VAULT},
                    ports=[ServicePortArgs(name="vault", port=PORT_VAULT, target_port=PORT_VAULT)],
                ),
                opts=child,
            )
        )
        vault = deployment(vault_pod(args), pulumi.ResourceOptions(parent=self, depends_on=before))
        self._configure(args, vault)
        self.register_outputs({})

    def _configure(self, args: VaultArgs, vault: pulumi.Resource) -> None:
        """A Job named by all that it reads: other settings are another Job."""
        files = {**args.files, "projects.json": json.dumps({"projects": [dict(each) for each in args.projects]})}
        text = json.dumps([files, args.images["services"]], sort_keys=True)
        name = f"configure-vault-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
        configuration = ConfigMap(
            f"{SYSTEM}/vault-settings",
            metadata=ObjectMetaArgs(name="vault-settings", namespace=SYSTEM),
            data=files,
            opts=pulumi.ResourceOptions(parent=self),
        )
        container = ContainerArgs(
            name="configure-vault",
            image=args.images["services"],
            image_pull_policy=args.pull_policy,
            command=["python", "-m", "readingroom.entrypoints.configure_vault", "--folder", FOLDER],
            security_context=restricted(),
            resources=ResourceRequirementsArgs(
                requests={"cpu": "10m", "memory": "64Mi"}, limits={"cpu": "1", "memory": "192Mi"}
            ),
            volume_mounts=[*vault_mounts(), VolumeMountArgs(name="settings", mount_path=FOLDER, read_only=True)],
        )
        Job(
            f"{SYSTEM}/{name}",
            metadata=ObjectMetaArgs(name=name, namespace=SYSTEM),
            spec=JobSpecArgs(
                backoff_limit=6,
                template=PodTemplateSpecArgs(
                    metadata=ObjectMetaArgs(labels={LABEL_ROLE: "configure-vault"}),
                    spec=PodSpecArgs(
                        service_account_name=ACCOUNT_CONFIGURE_VAULT,
                        automount_service_account_token=False,
                        enable_service_links=False,
                        restart_policy="Never",
                        security_context=PodSecurityContextArgs(
                            run_as_non_root=True,
                            run_as_user=SERVICE_UID,
                            run_as_group=SERVICE_UID,
                            seccomp_profile=SeccompProfileArgs(type="RuntimeDefault"),
                        ),
                        containers=[container],
                        volumes=[
                            *vault_volumes(),
                            VolumeArgs(name="settings", config_map=ConfigMapVolumeSourceArgs(name="vault-settings")),
                        ],
                    ),
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[vault, configuration]),
        )
