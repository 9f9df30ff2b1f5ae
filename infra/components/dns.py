"""Names inside the cluster and no others: CoreDNS without a forwarder. Workspaces do not reach even this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap, Service, ServiceAccount, ServicePortArgs, ServiceSpecArgs
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pulumi_kubernetes.rbac.v1 import ClusterRole, ClusterRoleBinding, RoleRefArgs, SubjectArgs

from infra.components.rights import Rule, policy_rules
from infra.components.service_pod import ServicePodArgs, deployment, http_probe
from readingroom.contract import ACCOUNT_DNS, CLUSTER_DOMAIN, DNS_SERVICE_ADDRESS, LABEL_ROLE, PORT_DNS, SYSTEM

PORT = 1053  # in the pod: an unprivileged process binds no lower one
COREFILE = f""".:{PORT} {{
    errors
    health :8080
    ready :8181
    kubernetes {CLUSTER_DOMAIN} {{
        pods disabled
        ttl 5
    }}
    cache 5
}}
"""
IN_CLUSTER = (
    Rule("", "services", ("list", "watch")),
    Rule("", "namespaces", ("list", "watch")),
    Rule("discovery.k8s.io", "endpointslices", ("list", "watch")),
)


@dataclass(frozen=True, kw_only=True)
class DnsArgs:
    """Where it runs."""

    images: Mapping[str, str]
    namespace: str = SYSTEM
    pull_policy: str = "Never"


class Dns(pulumi.ComponentResource):
    """Account, what it may read, configuration, process and its fixed address."""

    def __init__(self, args: DnsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("readingroom:system:Dns", "dns", None, opts)
        child, name = pulumi.ResourceOptions(parent=self), "readingroom-dns"
        account = ServiceAccount(
            f"{args.namespace}/{ACCOUNT_DNS}",
            metadata=ObjectMetaArgs(name=ACCOUNT_DNS, namespace=args.namespace),
            automount_service_account_token=False,
            opts=child,
        )
        role = ClusterRole(name, metadata=ObjectMetaArgs(name=name), rules=policy_rules(IN_CLUSTER), opts=child)
        binding = ClusterRoleBinding(
            name,
            metadata=ObjectMetaArgs(name=name),
            role_ref=RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name=name),
            subjects=[SubjectArgs(kind="ServiceAccount", name=ACCOUNT_DNS, namespace=args.namespace)],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[role]),
        )
        configuration = ConfigMap(
            f"{args.namespace}/dns",
            metadata=ObjectMetaArgs(name="dns", namespace=args.namespace),
            data={"Corefile": COREFILE},
            opts=child,
        )
        pod = ServicePodArgs(
            name="dns",
            namespace=args.namespace,
            account=ACCOUNT_DNS,
            image=args.images["dns"],
            command=["/bin/coredns", "-conf", "/etc/coredns/Corefile"],
            ports={"dns": PORT},
            ready=http_probe("/ready", 8181),
            alive=http_probe("/health", 8080, period=10, failures=6),
            configuration={"/etc/coredns": "dns"},
            speaks_to_api=True,
            stamp=COREFILE,
            pull_policy=args.pull_policy,
        )
        made = deployment(pod, pulumi.ResourceOptions(parent=self, depends_on=[account, binding, configuration]))
        Service(
            f"{args.namespace}/dns/service",
            metadata=ObjectMetaArgs(name="dns", namespace=args.namespace),
            spec=ServiceSpecArgs(
                cluster_ip=DNS_SERVICE_ADDRESS,
                selector={LABEL_ROLE: "dns"},
                ports=[
                    ServicePortArgs(name=f"dns-{protocol.lower()}", protocol=protocol, port=PORT_DNS, target_port=PORT)
                    for protocol in ("UDP", "TCP")
                ],
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[made]),
        )
        self.register_outputs({})
