"""A `WorkspaceSpec` as pod fields: pure, and nothing of KubeSpawner's own defaults in it. `workspaces.md` section 5.

Admission demands the same shape, so a stolen hub account gains nothing by writing another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from readingroom.contract import (
    ACCOUNT_WORKSPACE,
    LABEL_GRANT,
    LABEL_HANDLE,
    LABEL_PROJECT,
    LABEL_ROLE,
    LABEL_SEAL,
    LABEL_TIER,
    MOUNT_DATA,
    MOUNT_HOME,
    MOUNT_OUTBOX,
    PORT_NOTEBOOK,
    SEAL_OPEN,
    WORKSPACE_UID,
    workspace_namespace,
)
from readingroom.domain.workspace import WorkspaceSpec

ROLE = "workspace"
COMPONENT = "workspace"  # the label by which KubeSpawner's one watch finds its pods
COMMAND = ("rr-workspace",)
GRACE_SECONDS = 10
SHARED_MEMORY = "512Mi"
# What the hub may tell a server, and no more. The token among them opens this person's three calls at the gate.
TOLD = (
    "JUPYTERHUB_API_TOKEN",
    "JUPYTERHUB_CLIENT_ID",
    "JUPYTERHUB_HOST",
    "JUPYTERHUB_OAUTH_CALLBACK_URL",
    "JUPYTERHUB_OAUTH_ACCESS_SCOPES",
    "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES",
    "JUPYTERHUB_COOKIE_OPTIONS",
    "JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED",
    "JUPYTERHUB_USER",
    "JUPYTERHUB_SERVER_NAME",
    "JUPYTERHUB_BASE_URL",
    "JUPYTERHUB_SERVICE_PREFIX",
    "JUPYTERHUB_SERVICE_URL",
    "JUPYTERHUB_DEFAULT_URL",
    "JUPYTERHUB_PUBLIC_URL",
    "JUPYTERHUB_PUBLIC_HUB_URL",
)


def labels(spec: WorkspaceSpec) -> dict[str, str]:
    """Fixed labels, all from grant and handle; the seal is open until the reconciler closes it."""
    return {
        "component": COMPONENT,
        LABEL_PROJECT: spec.project,
        LABEL_ROLE: ROLE,
        LABEL_TIER: spec.tier,
        LABEL_HANDLE: spec.handle,
        LABEL_GRANT: f"v{spec.grant_version}",
        LABEL_SEAL: SEAL_OPEN,
    }


def environment(spec: WorkspaceSpec, hub: Mapping[str, str], api_url: str) -> dict[str, str]:
    """The allow-list of the hub's variables, the gate as the only hub address, and what the project is."""
    threads = str(max(1, int(spec.cpu)))
    return {
        **{name: hub[name] for name in TOLD if name in hub},
        "JUPYTERHUB_API_URL": api_url,
        "JUPYTERHUB_ACTIVITY_INTERVAL": "0",  # a pod's word about its own activity is not asked for
        "READINGROOM_PROJECT": spec.project,
        "READINGROOM_TITLE": spec.title,
        "READINGROOM_CUT": spec.cut_id,
        "READINGROOM_ENDS": spec.ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "HOME": MOUNT_HOME,
        "JUPYTER_RUNTIME_DIR": "/tmp/rt",  # noqa: S108 (a socket path stays under 108 bytes; an emptyDir of this pod)
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
    }


def manifest(
    spec: WorkspaceSpec, variables: Mapping[str, str], *, pull_policy: str, user_namespaces: bool
) -> dict[str, Any]:
    """The pod."""
    body: dict[str, Any] = {
        "serviceAccountName": ACCOUNT_WORKSPACE,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "activeDeadlineSeconds": spec.seconds,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["127.0.0.1"]},  # nobody answers there: a workspace knows one address, the gate
        "hostNetwork": False,
        "hostPID": False,
        "hostIPC": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": WORKSPACE_UID,
            "runAsGroup": WORKSPACE_UID,
            "fsGroup": WORKSPACE_UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(spec, variables, pull_policy)],
        "volumes": _volumes(spec, pull_policy),
    }
    if user_namespaces:
        body["hostUsers"] = False
    if spec.runtime_class:
        body["runtimeClassName"] = spec.runtime_class
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": spec.name,
            "namespace": workspace_namespace(spec.project),
            "labels": labels(spec),
        },
        "spec": body,
    }


def _container(spec: WorkspaceSpec, variables: Mapping[str, str], pull_policy: str) -> dict[str, Any]:
    data: dict[str, Any] = {"name": "data", "mountPath": MOUNT_DATA, "readOnly": True}
    if spec.cut_claim:
        data["recursiveReadOnly"] = "Enabled"
    return {
        "name": "notebook",
        "image": spec.image,
        "imagePullPolicy": pull_policy,
        "command": list(COMMAND),
        "env": [{"name": name, "value": value} for name, value in sorted(variables.items())],
        "ports": [{"name": "notebook-port", "containerPort": PORT_NOTEBOOK, "protocol": "TCP"}],
        "resources": _resources(spec),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # TCP gives the pod's owner nothing to answer with; no liveness probe: a busy kernel is not a dead one.
        "readinessProbe": {"tcpSocket": {"port": PORT_NOTEBOOK}, "periodSeconds": 1, "failureThreshold": 3},
        "volumeMounts": [
            data,
            {"name": "home", "mountPath": MOUNT_HOME},
            {"name": "outbox", "mountPath": MOUNT_OUTBOX},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 (a mount of the pod)
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 (a mount of the pod)
        ],
    }


def _resources(spec: WorkspaceSpec) -> dict[str, dict[str, str]]:
    memory, cpu = f"{spec.memory_gib}Gi", f"{round(spec.cpu * 1000)}m"
    scratch = f"{spec.scratch_gib}Gi"
    limits = {"cpu": cpu, "memory": memory, "ephemeral-storage": scratch}
    requests = {"cpu": "100m", "memory": memory, "ephemeral-storage": "64Mi"}
    if spec.gpu:
        limits[spec.gpu.resource] = requests[spec.gpu.resource] = str(spec.gpu.count)
    return {"limits": limits, "requests": requests}


def _volumes(spec: WorkspaceSpec, pull_policy: str) -> list[dict[str, Any]]:
    if spec.cut_image:
        data: dict[str, Any] = {"name": "data", "image": {"reference": spec.cut_image, "pullPolicy": pull_policy}}
    else:
        data = {"name": "data", "persistentVolumeClaim": {"claimName": spec.cut_claim, "readOnly": True}}
    return [
        data,
        {"name": "home", "persistentVolumeClaim": {"claimName": spec.home_claim}},
        {"name": "outbox", "persistentVolumeClaim": {"claimName": spec.outbox_claim}},
        {"name": "scratch", "emptyDir": {"sizeLimit": f"{spec.scratch_gib}Gi"}},
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}},
    ]
