"""What a Job of ours is: the pure half of `readingroom platform job`; `job_runner.py` starts and watches it.

A Job has one account, the folders it needs and no more, and no way out but to Vault where its work needs a key. Its name
ends in a hash of what it works on: what was done is not done again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from readingroom.contract import (
    LABEL_PROJECT,
    LABEL_ROLE,
    LABEL_STEP,
    QUARANTINE,
    SERVICE_UID,
    STRANGER_UID,
    VAULT_AUDIENCE,
    VAULT_CA_PATH,
    VAULT_TOKEN_PATH,
    object_name,
)

SECONDS: Final = 3600
CONTAINER: Final = "work"
STRANGER: Final = "submission"
_RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
ROSTER_CLAIM: Final = "accounts-roster"
OPT_OUTS_CLAIM: Final = "opt-outs"


def decision_name(project: str) -> str:
    """The ConfigMap of one project's decision."""
    return f"decision-{project}"


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A claim or a ConfigMap at a path; only what says so can be written."""

    path: str
    claim: str = ""
    config: str = ""
    writable: bool = False
    below: str = ""  # a folder of the claim, alone


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """Code of a researcher, beside our own container: another user, nothing of ours but what both mount, ended with it.

    Ours gets `/room/cases`, which the other has read-only as `/cases`, and reads the other's `/scratch`, which lies in memory.
    """

    command: tuple[str, ...]
    mounts: tuple[Mount, ...]
    memory: str
    scratch: str


@dataclass(frozen=True, kw_only=True)
class Work:
    """One Job. `stamp` is what it works on; the same stamp is the same Job. `shards` get a pod each, `workers` at a time."""

    role: str
    account: str
    image: str
    command: tuple[str, ...]
    mounts: tuple[Mount, ...]
    stamp: str
    namespace: str = QUARANTINE
    project: str = ""
    step: str = ""
    shards: int = 0
    workers: int = 1
    asks_vault: bool = False
    memory: str = "1Gi"
    beside: Stranger | None = None
    seconds: int = SECONDS

    @property
    def name(self) -> str:
        """Role, project, step, and a hash of all that decides what comes out."""
        decides = json.dumps([self.image, self.command, self.stamp], sort_keys=True)
        parts = [
            self.role,
            *filter(None, (self.project, self.step)),
            hashlib.sha256(decides.encode()).hexdigest()[:10],
        ]
        return object_name(*parts)


def manifest(work: Work) -> dict[str, Any]:
    """The Job as the API takes it. A refusal of its process ends it; a pod that was killed or evicted is tried again.

    Of an Indexed Job it ends that shard alone: what the others do then is in the ledger when the command is given again.
    """
    named = {LABEL_ROLE: work.role, LABEL_PROJECT: work.project, LABEL_STEP: work.step}
    labels = {label: value for label, value in named.items() if value}
    ends = {"containerName": CONTAINER, "operator": "In", "values": [1, 2, 3]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": work.name, "namespace": work.namespace, "labels": labels},
        "spec": {
            **_pods(work),
            "podFailurePolicy": {"rules": [{"action": "FailIndex" if work.shards else "FailJob", "onExitCodes": ends}]},
            "template": {"metadata": {"labels": labels}, "spec": _pod(work)},
        },
    }


def _pods(work: Work) -> dict[str, Any]:
    """How many pods, how often each, and for how long: an hour, or one for each turn of the workers."""
    if not work.shards:
        return {"backoffLimit": 2, "activeDeadlineSeconds": work.seconds}
    return {
        "completionMode": "Indexed",
        "completions": work.shards,
        "parallelism": min(work.workers, work.shards),
        "backoffLimitPerIndex": 2,
        "activeDeadlineSeconds": SECONDS * -(-work.shards // work.workers),
    }


def _pod(work: Work) -> dict[str, Any]:
    """Everything that Pod Security `restricted` asks, and no token for the API server."""
    volumes, mounts = _folders(work.mounts)
    beside: dict[str, Any] = {}
    if work.asks_vault:
        volumes += vault_volumes()
        mounts += vault_mounts()
    if work.beside:
        more, theirs = _folders(work.beside.mounts, "b")
        volumes += [*more, {"name": "cases", "emptyDir": {}}]
        volumes.append({"name": "room", "emptyDir": {"medium": "Memory", "sizeLimit": work.beside.scratch}})
        mounts += [{"name": "cases", "mountPath": "/room/cases"}]
        mounts += [{"name": "room", "mountPath": "/scratch", "readOnly": True}]
        beside = {"initContainers": [_stranger(work, work.beside, theirs)], "terminationGracePeriodSeconds": 5}
    return {
        **beside,
        "serviceAccountName": work.account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": SERVICE_UID,
            "runAsGroup": SERVICE_UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(work, mounts)],
        "volumes": volumes,
    }


def _container(work: Work, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": work.image,
        "imagePullPolicy": "Never",
        "command": list(work.command),
        "securityContext": _RESTRICTED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {
            "requests": {"cpu": "100m", "memory": work.memory},
            "limits": {"cpu": "2", "memory": work.memory},
        },
        "volumeMounts": mounts,
    }


def _stranger(work: Work, beside: Stranger, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    """An init container that is always restarted is ended with ours; what it prints its own first process throws away."""
    return {
        "name": STRANGER,
        "image": work.image,
        "imagePullPolicy": "Never",
        "restartPolicy": "Always",
        "command": list(beside.command),
        "securityContext": {**_RESTRICTED, "runAsUser": STRANGER_UID, "runAsGroup": STRANGER_UID},
        "terminationMessagePolicy": "File",
        "resources": {
            "requests": {"cpu": "100m", "memory": beside.memory},
            "limits": {"cpu": "2", "memory": beside.memory},
        },
        "volumeMounts": [
            {"name": "cases", "mountPath": "/cases", "readOnly": True},
            {"name": "room", "mountPath": "/scratch"},
            *mounts,
        ],
    }


def _folders(given: tuple[Mount, ...], prefix: str = "m") -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Volumes and mounts of what the work names; ours has scratch space beside."""
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    if prefix == "m":
        volumes.append({"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}})
        mounts.append({"name": "scratch", "mountPath": "/tmp"})  # noqa: S108 (a mount of the pod)
    for number, mount in enumerate(given):
        claim, config = {"claimName": mount.claim}, {"name": mount.config}
        source = {"persistentVolumeClaim": claim} if mount.claim else {"configMap": config}
        volumes.append({"name": f"{prefix}-{number}", **source})
        below = {"subPath": mount.below} if mount.below else {}
        mounts.append({"name": f"{prefix}-{number}", "mountPath": mount.path, "readOnly": not mount.writable, **below})
    return volumes, mounts


def vault_mounts() -> list[dict[str, Any]]:
    """Where a container that asks Vault finds its token and Vault's certificate authority."""
    return [
        {"name": "vault-token", "mountPath": VAULT_TOKEN_PATH.rpartition("/")[0], "readOnly": True},
        {"name": "vault-ca", "mountPath": VAULT_CA_PATH.rpartition("/")[0], "readOnly": True},
    ]


def vault_volumes() -> list[dict[str, Any]]:
    """The volumes behind `vault_mounts`: a token for Vault alone, which opens nothing at the API server."""
    token = {
        "audience": VAULT_AUDIENCE,
        "expirationSeconds": 600,  # the least that Kubernetes grants
        "path": VAULT_TOKEN_PATH.rpartition("/")[2],
    }
    return [
        {"name": "vault-token", "projected": {"defaultMode": 0o440, "sources": [{"serviceAccountToken": token}]}},
        {"name": "vault-ca", "configMap": {"name": "vault-ca"}},
    ]
