"""PostgreSQL 15 for the portal: TLS with Vault's certificate, opened by a client certificate and by nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap, ServiceAccount
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from infra.components.delivery import DELIVERED, Certificate, DeliveryArgs
from infra.components.service_pod import ServicePodArgs, deployment, service, tcp_probe
from readingroom.contract import (
    ACCOUNT_DATABASE,
    DATABASE_HOST,
    DATABASE_NAME,
    POD_RANGE,
    PORT_DATABASE,
    SERVICE_DATABASE,
    SYSTEM,
)

FOLDER = "/var/lib/database"
CONFIGURATION = "/etc/readingroom/database"
ACCESS = f"# Only this one, by its certificate.\nhostssl {DATABASE_NAME} {DATABASE_NAME} {POD_RANGE} cert\n"
START = f"""set -eu
data={FOLDER}/data
if [ ! -s "$data/PG_VERSION" ]; then
  rm -rf "$data.new"
  initdb -D "$data.new" -U postgres -E UTF8 --locale=C.UTF-8 --data-checksums --auth=reject >/dev/null
  printf '%s\\n' 'CREATE ROLE {DATABASE_NAME} LOGIN;' 'CREATE DATABASE {DATABASE_NAME} OWNER {DATABASE_NAME};' |
    postgres --single -D "$data.new" postgres >/dev/null
  rm -rf "$data"
  mv "$data.new" "$data"
fi
# A certificate that was signed anew is read within the hour.
(while sleep 3600; do pg_ctl reload -s -D "$data" || true; done) &
exec postgres -D "$data" -c listen_addresses='*' -c port={PORT_DATABASE} -c unix_socket_directories='' \\
  -c hba_file={CONFIGURATION}/pg_hba.conf -c ssl=on -c ssl_min_protocol_version=TLSv1.2 \\
  -c ssl_cert_file={DELIVERED}/tls.crt -c ssl_key_file={DELIVERED}/tls.key -c ssl_ca_file={DELIVERED}/ca.crt \\
  -c shared_buffers=64MB -c max_connections=50 -c log_connections=on -c log_statement=none
"""


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """Its images; the claim `database-data` exists."""

    images: Mapping[str, str]
    pull_policy: str = "Never"


def database_pod(args: DatabaseArgs) -> ServicePodArgs:
    """Its pod."""
    return ServicePodArgs(
        name=SERVICE_DATABASE,
        namespace=SYSTEM,
        account=ACCOUNT_DATABASE,
        image=args.images["database"],
        command=["sh", f"{CONFIGURATION}/start.sh"],
        ports={"database": PORT_DATABASE},
        ready=tcp_probe(PORT_DATABASE),
        configuration={CONFIGURATION: "database-config"},
        claims={FOLDER: "database-data"},
        delivery=DeliveryArgs(
            image=args.images["services"],
            role="database",
            certificates=[Certificate(role="database", names=(DATABASE_HOST,))],
            image_pull_policy=args.pull_policy,
        ),
        memory="384Mi",
        stamp=START + ACCESS,
        pull_policy=args.pull_policy,
    )


class Database(pulumi.ComponentResource):
    """Account, configuration, process and Service."""

    def __init__(self, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("readingroom:system:Database", "database", None, opts)
        child = pulumi.ResourceOptions(parent=self)
        account = ServiceAccount(
            f"{SYSTEM}/{ACCOUNT_DATABASE}",
            metadata=ObjectMetaArgs(name=ACCOUNT_DATABASE, namespace=SYSTEM),
            automount_service_account_token=False,
            opts=child,
        )
        configuration = ConfigMap(
            f"{SYSTEM}/database-config",
            metadata=ObjectMetaArgs(name="database-config", namespace=SYSTEM),
            data={"start.sh": START, "pg_hba.conf": ACCESS},
            opts=child,
        )
        pod = database_pod(args)
        made = deployment(pod, pulumi.ResourceOptions(parent=self, depends_on=[account, configuration]))
        service(pod, pulumi.ResourceOptions(parent=self, depends_on=[made]))
        self.register_outputs({})
