"""One project's hub and proxy, and the few rights that each account has. `workspaces.md` sections 2, 5 and 6.

The hub may create, delete, list and watch pods in the project's workspace namespace, and nothing else anywhere. Its grant is a
ConfigMap that cannot be changed: a new version is a new object and a new pod; workspaces and routes survive that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap, ServiceAccount
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from infra.components.delivery import DELIVERED, VAULT_CA_CONFIG_MAP, DeliveryArgs
from infra.components.rights import Rule, grant_rights
from infra.components.service_pod import ServicePodArgs, deployment, http_probe, service, tcp_probe
from readingroom.contract import (
    ACCOUNT_HUB,
    ACCOUNT_WORKSPACE,
    FRONT_DOOR_PORT,
    OIDC_ISSUER,
    PORT_GATE,
    PORT_HUB_API,
    PORT_PROXY,
    PORT_PROXY_API,
    PORTAL_INSIDE,
    SERVICE_GATE,
    SERVICE_HUB,
    SERVICE_PROXY,
    hub_namespace,
    project_host,
    workspace_namespace,
)

HUB_FILE = "/opt/readingroom/lib/python3.11/site-packages/hub_config/jupyterhub_config.py"
PROXY_FILE = "/opt/readingroom/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
SETTINGS, GRANT, STATE = "/etc/readingroom/hub", "/etc/readingroom/grant", "/state"
STATE_CLAIM = "hub-state"
# KubeSpawner as we use it: create and delete one pod, and one watch. Not get, patch, exec, log; not claims or secrets.
HUB_RIGHTS = (Rule("", "pods", ("create", "delete", "list", "watch")),)


@dataclass(frozen=True, kw_only=True)
class HubArgs:
    """One project's hub. `grant` and `grant_schema` are texts of files; the claim `hub-state` exists."""

    project: str
    version: int
    grant: str
    grant_schema: str
    images: Mapping[str, str]
    vault_ca: pulumi.Input[str]
    user_namespaces: bool = False
    pull_policy: str = "Never"


def hub_settings(args: HubArgs) -> dict[str, object]:
    """What `hub_config/settings.py` reads; every key of it, and no secret."""
    return {
        "project": args.project,
        "public_url": f"https://{project_host(args.project)}:{FRONT_DOOR_PORT}/",
        "portal_url": OIDC_ISSUER,
        "portal_inside": PORTAL_INSIDE,
        "portal_ca": f"{DELIVERED}/ca.crt",
        "listen": f"http://:{PORT_HUB_API}",
        "hub_url": f"http://{SERVICE_HUB}:{PORT_HUB_API}",
        "proxy_api_url": f"http://{SERVICE_PROXY}:{PORT_PROXY_API}",
        "gate_host": SERVICE_GATE,
        "gate_port": PORT_GATE,
        "grant": f"{GRANT}/grant.json",
        "grant_schema": f"{GRANT}/grant.schema.json",
        "secrets": DELIVERED,
        "database": f"{STATE}/jupyterhub.sqlite",
        "image_pull_policy": args.pull_policy,
        "user_namespaces": args.user_namespaces,
    }


def hub_pod(args: HubArgs) -> ServicePodArgs:
    """The hub's pod."""
    kv = f"projects/{args.project}/hub"
    return ServicePodArgs(
        name="hub",
        namespace=hub_namespace(args.project),
        account=ACCOUNT_HUB,
        project=args.project,
        image=args.images["hub"],
        command=["jupyterhub", "-f", HUB_FILE],
        ports={"hub": PORT_HUB_API},
        ready=http_probe("/hub/health", PORT_HUB_API),
        alive=http_probe("/hub/health", PORT_HUB_API, period=10, failures=6),
        configuration={SETTINGS: "hub-settings", GRANT: grant_name(args.project, args.version)},
        claims={STATE: STATE_CLAIM},
        delivery=DeliveryArgs(
            image=args.images["services"],
            role=f"hub-{args.project}",
            kv={
                "cookie_secret": f"{kv}#cookie_secret",
                "auth_state_key": f"{kv}#auth_state_key",
                "proxy_token": f"{kv}#proxy_token",
                "client_secret": f"projects/{args.project}/oidc#client_secret",
            },
            image_pull_policy=args.pull_policy,
        ),
        speaks_to_api=True,
        memory="384Mi",
        stamp=json.dumps(hub_settings(args), sort_keys=True) + args.grant,
        pull_policy=args.pull_policy,
    )


def proxy_pod(args: HubArgs) -> ServicePodArgs:
    """The proxy's pod. It takes its token from the environment only, so a line of shell carries it there."""
    hub = f"http://{SERVICE_HUB}:{PORT_HUB_API}"
    program = (
        f'CONFIGPROXY_AUTH_TOKEN="$(cat {DELIVERED}/proxy_token)" exec node {PROXY_FILE}'
        f" --ip=0.0.0.0 --port={PORT_PROXY} --api-ip=0.0.0.0 --api-port={PORT_PROXY_API}"
        f" --default-target={hub} --error-target={hub}/hub/error"
    )
    return ServicePodArgs(
        name="proxy",
        namespace=hub_namespace(args.project),
        account=ACCOUNT_HUB,  # for Vault alone: no token for the API server is mounted
        project=args.project,
        image=args.images["proxy"],
        command=["sh", "-c", program],
        ports={"proxy": PORT_PROXY, "proxy-api": PORT_PROXY_API},
        ready=tcp_probe(PORT_PROXY),
        delivery=DeliveryArgs(
            image=args.images["services"],
            role=f"hub-{args.project}",
            kv={"proxy_token": f"projects/{args.project}/hub#proxy_token"},
            image_pull_policy=args.pull_policy,
        ),
        memory="160Mi",
        pull_policy=args.pull_policy,
    )


def grant_name(project: str, version: int) -> str:
    """The ConfigMap of one grant version."""
    return f"grant-{project}-v{version}"


class Hub(pulumi.ComponentResource):
    """Accounts, rights, grant, settings, hub and proxy of one project."""

    def __init__(self, args: HubArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("readingroom:project:Hub", f"hub-{args.project}", None, opts)
        inside, rooms = hub_namespace(args.project), workspace_namespace(args.project)
        child = pulumi.ResourceOptions(parent=self)
        accounts = [
            ServiceAccount(
                f"{namespace}/{name}",
                metadata=ObjectMetaArgs(name=name, namespace=namespace),
                automount_service_account_token=False,
                opts=child,
            )
            for namespace, name in ((inside, ACCOUNT_HUB), (rooms, ACCOUNT_WORKSPACE))
        ]
        rights = grant_rights("hub", rooms, (ACCOUNT_HUB, inside), HUB_RIGHTS, child)
        files = [
            self._config(inside, "hub-settings", {"settings.json": json.dumps(hub_settings(args), indent=1)}),
            self._config(inside, VAULT_CA_CONFIG_MAP, {"ca.crt": args.vault_ca}),
            self._config(
                inside,
                grant_name(args.project, args.version),
                {"grant.json": args.grant, "grant.schema.json": args.grant_schema},
                immutable=True,
            ),
        ]
        needed = pulumi.ResourceOptions(parent=self, depends_on=[*accounts, rights, *files])
        for pod in (proxy_pod(args), hub_pod(args)):
            service(pod, pulumi.ResourceOptions(parent=self, depends_on=[deployment(pod, needed)]))
        self.register_outputs({})

    def _config(
        self, namespace: str, name: str, data: Mapping[str, pulumi.Input[str]], *, immutable: bool = False
    ) -> ConfigMap:
        return ConfigMap(
            f"{namespace}/{name}",
            metadata=ObjectMetaArgs(name=name, namespace=namespace),
            data=data,
            immutable=immutable or None,
            opts=pulumi.ResourceOptions(parent=self),
        )
