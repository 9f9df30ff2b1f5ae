"""The portal: who somebody is, for browsers and for every project's hub; and the Job that enrols people.

The Service has a fixed address, since the front door on the host asks no DNS. Secrets and certificates come as files; the
portal's process has no token for Vault or for the API server. The Job has less: the database's client certificate alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import pulumi
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    HTTPGetActionArgs,
    ProbeArgs,
    Service,
    ServiceAccount,
    ServicePortArgs,
    ServiceSpecArgs,
    TCPSocketActionArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from infra.components.delivery import DELIVERED, Certificate, DeliveryArgs
from infra.components.service_pod import ServicePodArgs, deployment
from infra.jobs import ROSTER_CLAIM, Mount, Work, manifest, vault_mounts, vault_volumes
from readingroom.contract import (
    ACCOUNT_ENROL,
    ACCOUNT_PORTAL,
    DATABASE_NAME,
    LABEL_ROLE,
    PORT_PORTAL,
    PORTAL_HOST,
    PORTAL_SERVICE_ADDRESS,
    SERVICE_PORTAL,
    SYSTEM,
)

SETTINGS: Final = "/etc/readingroom/portal"
ROSTER: Final = "/roster"  # roster.json goes in, handles.json comes out: no name ever stands in a pod's status
_CLIENT: Final = Certificate(role="portal-client", names=(DATABASE_NAME,), stem="database")


@dataclass(frozen=True, kw_only=True)
class PortalArgs:
    """Its images, and the projects it knows: `{"id", "title", "may"?, "ends"?}` each, see `project_entry`."""

    images: Mapping[str, str]
    projects: Sequence[Mapping[str, Any]]
    pull_policy: str = "Never"


def project_entry(decision: Mapping[str, Any]) -> dict[str, Any]:
    """What the portal shows of a project, from its decision (or its grant, which names the same): no person, no digest."""
    modalities = ", ".join(decision.get("data", {}).get("modalities", ()))
    ends = datetime.fromisoformat(decision["until"]) - timedelta(seconds=1)  # the end itself is outside
    return {
        "id": decision["project"],
        "title": decision["title"],
        "may": [
            f"Work in a sealed notebook on the approved, de-identified data{f': {modalities}' if modalities else ''}.",
            "Install nothing and download nothing: no connection leaves the workspace.",
            "Put results into /outbox. They leave only by request, after people have read them.",
        ],
        "ends": ends.date().isoformat(),
    }


def projects_file(args: PortalArgs) -> str:
    """What the portal reads as its list of projects."""
    return json.dumps({"projects": [dict(each) for each in args.projects]}, sort_keys=True)


def portal_pod(args: PortalArgs) -> ServicePodArgs:
    """The portal's pod. It is ready when the database answers it, and alive while its port does."""
    names = (PORTAL_HOST, f"{SERVICE_PORTAL}.{SYSTEM}.svc")
    secrets = {name: f"platform/portal#{name}" for name in ("django_secret_key", "oidc_private_key")}
    secrets |= {f"oidc-{each['id']}": f"projects/{each['id']}/oidc#client_secret" for each in args.projects}
    health = HTTPGetActionArgs(path="/health", port=PORT_PORTAL, scheme="HTTPS")
    return ServicePodArgs(
        name=SERVICE_PORTAL,
        namespace=SYSTEM,
        account=ACCOUNT_PORTAL,
        image=args.images["services"],
        command=["python", "-m", "readingroom.entrypoints.portal"],
        ports={"portal": PORT_PORTAL},
        ready=ProbeArgs(http_get=health, period_seconds=5, failure_threshold=3, timeout_seconds=5),
        alive=ProbeArgs(
            tcp_socket=TCPSocketActionArgs(port=PORT_PORTAL),
            initial_delay_seconds=180,  # it waits two minutes for its database before it gives up by itself
            period_seconds=10,
            failure_threshold=6,
        ),
        configuration={SETTINGS: "portal-settings"},
        environment={"RR_PROJECTS": f"{SETTINGS}/projects.json"},
        delivery=DeliveryArgs(
            image=args.images["services"],
            role="portal",
            kv=secrets,
            certificates=[Certificate(role="portal", names=names), _CLIENT],
            image_pull_policy=args.pull_policy,
        ),
        memory="384Mi",
        stamp=projects_file(args),
        pull_policy=args.pull_policy,
    )


class Portal(pulumi.ComponentResource):
    """Accounts of portal and enrolling Job, the list of projects, the process, and the Service at its fixed address.

    The Service is made with the process and not after it: a browser is told that the portal is starting by the front door.
    """

    def __init__(self, args: PortalArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("readingroom:system:Portal", "portal", None, opts)
        child = pulumi.ResourceOptions(parent=self)
        before: list[pulumi.Resource] = [
            ServiceAccount(
                f"{SYSTEM}/{name}",
                metadata=ObjectMetaArgs(name=name, namespace=SYSTEM),
                automount_service_account_token=False,
                opts=child,
            )
            for name in (ACCOUNT_PORTAL, ACCOUNT_ENROL)
        ]
        before.append(
            ConfigMap(
                f"{SYSTEM}/portal-settings",
                metadata=ObjectMetaArgs(name="portal-settings", namespace=SYSTEM),
                data={"projects.json": projects_file(args)},
                opts=child,
            )
        )
        made = deployment(portal_pod(args), pulumi.ResourceOptions(parent=self, depends_on=before))
        Service(
            f"{SYSTEM}/{SERVICE_PORTAL}",
            metadata=ObjectMetaArgs(name=SERVICE_PORTAL, namespace=SYSTEM, labels={LABEL_ROLE: SERVICE_PORTAL}),
            spec=ServiceSpecArgs(
                type="ClusterIP",
                cluster_ip=PORTAL_SERVICE_ADDRESS,
                selector={LABEL_ROLE: SERVICE_PORTAL},
                ports=[ServicePortArgs(name="portal", port=PORT_PORTAL, target_port=PORT_PORTAL, protocol="TCP")],
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[made]),
        )
        self.register_outputs({})


def enrol_job(roster: str, image: str) -> dict[str, Any]:
    """The Job, as the API takes it, that makes accounts what `roster.json` on the claim `accounts-roster` says.

    `roster` is that file's text: another text is another Job. The handles stand beside it afterwards, in `handles.json`. A first
    container fetches the certificate and ends; the one that works never sees the token for Vault.
    """
    work = Work(
        role=ACCOUNT_ENROL,
        account=ACCOUNT_ENROL,
        namespace=SYSTEM,
        image=image,
        command=("python", "-m", "readingroom.entrypoints.enrol"),
        mounts=(Mount(path=ROSTER, claim=ROSTER_CLAIM, writable=True),),
        stamp=roster,
        memory="256Mi",
    )
    job = manifest(work)
    pod = job["spec"]["template"]["spec"]
    main = pod["containers"][0]
    main["env"] = [
        {"name": "RR_ROSTER", "value": f"{ROSTER}/roster.json"},
        {"name": "RR_RESULT", "value": f"{ROSTER}/handles.json"},
    ]
    main["volumeMounts"].append({"name": "delivered", "mountPath": DELIVERED, "readOnly": True})
    pod["initContainers"] = [_fetch(image, main["securityContext"])]
    pod["volumes"] += [
        {"name": "delivered", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        *vault_volumes(),
    ]
    return job


def _fetch(image: str, locked: Mapping[str, Any]) -> dict[str, Any]:
    """`deliver`, once: it waits while Vault is away."""
    certificate = f"{_CLIENT.role}:{_CLIENT.stem}:{','.join(_CLIENT.names)}"
    return {
        "name": "deliver",
        "image": image,
        "imagePullPolicy": "Never",
        "command": [
            "python", "-m", "readingroom.entrypoints.deliver",
            "--role", ACCOUNT_ENROL, "--out", DELIVERED, "--certificate", certificate,
        ],
        "securityContext": dict(locked),
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}},
        "volumeMounts": [
            {"name": "delivered", "mountPath": DELIVERED},
            *vault_mounts(),
        ],
    }  # fmt: skip
