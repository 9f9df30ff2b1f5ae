"""The workspace pod: every field of it is written here a second time, so that a wrong edit must be wrong twice."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from hub_config.pod import environment, manifest
from readingroom.domain.grant import Grant, NotOpened, Running, check_can_enter
from readingroom.domain.grant_document import from_document
from readingroom.domain.workspace import WorkspaceSpec, choose, spec_for
from tests.unit.hub.grants import ADA, BEN, CUT, IMAGE, NOW, document

API = "http://10.96.0.30:8082/hub/api"
FROM_HUB = {
    "JUPYTERHUB_API_TOKEN": "token-of-the-server",
    "JUPYTERHUB_SERVICE_PREFIX": f"/user/{ADA}/",
    "JUPYTERHUB_API_URL": "http://hub:8081/hub/api",
    "JUPYTERHUB_ACTIVITY_URL": "http://hub:8081/hub/api/users/x/activity",
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    "CONFIGPROXY_AUTH_TOKEN": "never",
    "PATH": "/hub/bin",
}


def spec(handle: str = ADA, options: dict[str, object] | None = None, **changes: Any) -> WorkspaceSpec:
    grant = from_document(document(**changes))
    member = grant.member(handle)
    assert member is not None
    return spec_for(grant, member, choose(grant, options or {}), NOW)


def pod(made: WorkspaceSpec, *, user_namespaces: bool = False) -> dict[str, Any]:
    return manifest(made, environment(made, FROM_HUB, API), pull_policy="Never", user_namespaces=user_namespaces)


def test_every_field_of_the_pod() -> None:
    restricted = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    found = pod(spec())
    environment_found = {entry["name"]: entry["value"] for entry in found["spec"]["containers"][0].pop("env")}
    assert found == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"ws-{ADA}",
            "namespace": "p-demo-ws",
            "labels": {
                "component": "workspace",
                "readingroom/project": "demo",
                "readingroom/role": "workspace",
                "readingroom/tier": "browser",
                "readingroom/handle": ADA,
                "readingroom/grant": "v1",
                "readingroom/seal": "open",
            },
        },
        "spec": {
            "serviceAccountName": "workspace",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": 12 * 3600,
            "terminationGracePeriodSeconds": 10,
            "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["127.0.0.1"]},
            "hostNetwork": False,
            "hostPID": False,
            "hostIPC": False,
            "securityContext": {
                **restricted,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "fsGroup": 1000,
                "fsGroupChangePolicy": "OnRootMismatch",
            },
            "containers": [
                {
                    "name": "notebook",
                    "image": IMAGE,
                    "imagePullPolicy": "Never",
                    "command": ["rr-workspace"],
                    "ports": [{"name": "notebook-port", "containerPort": 8888, "protocol": "TCP"}],
                    "resources": {
                        "limits": {"cpu": "1000m", "memory": "2Gi", "ephemeral-storage": "2Gi"},
                        "requests": {"cpu": "100m", "memory": "2Gi", "ephemeral-storage": "64Mi"},
                    },
                    "securityContext": {
                        **restricted,
                        "allowPrivilegeEscalation": False,
                        "privileged": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "readinessProbe": {"tcpSocket": {"port": 8888}, "periodSeconds": 1, "failureThreshold": 3},
                    "volumeMounts": [
                        {"name": "data", "mountPath": "/data", "readOnly": True},
                        {"name": "home", "mountPath": "/home/researcher"},
                        {"name": "outbox", "mountPath": "/outbox"},
                        {"name": "scratch", "mountPath": "/tmp"},
                        {"name": "shared-memory", "mountPath": "/dev/shm"},
                    ],
                }
            ],
            "volumes": [
                {"name": "data", "image": {"reference": CUT, "pullPolicy": "Never"}},
                {"name": "home", "persistentVolumeClaim": {"claimName": f"home-{ADA}"}},
                {"name": "outbox", "persistentVolumeClaim": {"claimName": f"outbox-{ADA}"}},
                {"name": "scratch", "emptyDir": {"sizeLimit": "2Gi"}},
                {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "512Mi"}},
            ],
        },
    }
    assert environment_found == {
        "JUPYTERHUB_API_TOKEN": "token-of-the-server",
        "JUPYTERHUB_SERVICE_PREFIX": f"/user/{ADA}/",
        "JUPYTERHUB_API_URL": API,
        "JUPYTERHUB_ACTIVITY_INTERVAL": "0",
        "READINGROOM_PROJECT": "demo",
        "READINGROOM_TITLE": "Lungs & ribs",
        "READINGROOM_CUT": "c-1",
        "READINGROOM_ENDS": "2026-11-25T00:00:00Z",
        "HOME": "/home/researcher",
        "JUPYTER_RUNTIME_DIR": "/tmp/rt",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def test_a_large_cut_is_its_own_claim_read_only_all_the_way_down() -> None:
    data = {"cut": "c-1", "image": None, "claim": "cut-demo", "manifest_sha256": "3" * 64}
    found = pod(spec(data=data))["spec"]
    assert found["volumes"][0] == {"name": "data", "persistentVolumeClaim": {"claimName": "cut-demo", "readOnly": True}}
    mount = {"name": "data", "mountPath": "/data", "readOnly": True, "recursiveReadOnly": "Enabled"}
    assert found["containers"][0]["volumeMounts"][0] == mount


def test_users_are_mapped_where_the_node_can() -> None:
    assert pod(spec(), user_namespaces=True)["spec"]["hostUsers"] is False
    assert "hostUsers" not in pod(spec())["spec"]


def test_the_deadline_is_the_first_of_age_membership_and_grant() -> None:
    assert pod(spec(BEN))["spec"]["activeDeadlineSeconds"] == 3600
    soon = (NOW + timedelta(minutes=7)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert pod(spec(ADA, until=soon))["spec"]["activeDeadlineSeconds"] == 420


def test_nothing_typed_by_a_person_is_in_the_pod() -> None:
    chosen = pod(spec(options={"size": "medium", "image": ["imaging-cpu"]}))
    assert "imaging-cpu" not in json.dumps(chosen)
    assert '"medium"' not in json.dumps(chosen).replace('"medium": "Memory"', "")
    assert chosen["spec"]["containers"][0]["resources"]["limits"]["memory"] == "4Gi"


@pytest.mark.parametrize(
    "options",
    [
        {"size": "huge"},
        {"size": ["small", "medium"]},
        {"size": []},
        {"size": 1},
        {"size": None},
        {"size": {"cpu": 99}},
        {"image": IMAGE},
        {"image": "imaging-cpu", "extra_pod_config": {"hostNetwork": True}},
        {"profile": "small"},
        {"namespace": "kube-system"},
        {"": "small"},
        {"Size": "small"},
    ],
)
def test_any_other_option_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(NotOpened) as refused:
        spec(options=options)
    assert refused.value.code.value == "W04"


def test_running_counts_leave_out_ones_own_and_what_is_over() -> None:
    from hub_config.spawner import running_beside

    def one(handle: str, phase: str, gpus: str = "0") -> dict[str, Any]:
        limits = {"nvidia.com/gpu": gpus} if gpus != "0" else {}
        return {
            "metadata": {"labels": {"readingroom/handle": handle}},
            "spec": {"containers": [{"resources": {"limits": limits}}]},
            "status": {"phase": phase},
        }

    pods = {
        "a": one(ADA, "Running"),
        "b": one(BEN, "Running", "1"),
        "c": one("rc", "Failed"),
        "d": one("rd", "Pending"),
    }
    assert running_beside(pods, ADA) == Running(workspaces=2, gpus=1)


@pytest.mark.parametrize("ended", [False, True])
def test_the_form_is_offered_to_who_may_enter_now_and_anybody_else_is_told_why_not(ended: bool) -> None:
    """Whatever the session says, which may be a minute old."""
    from tornado.web import HTTPError

    from hub_config.spawner import options_form

    grant = from_document(document())
    now = NOW + timedelta(hours=2 if ended else 0)

    class Spawner:
        user = SimpleNamespace(name=BEN)

        def may_enter(self, handle: str) -> Grant:
            check_can_enter(grant, handle, now)
            return grant

    spawner: Any = Spawner()
    if not ended:
        assert "Python imaging" in options_form(spawner)
        return
    with pytest.raises(HTTPError) as refused:
        options_form(spawner)
    assert refused.value.status_code == 403
    assert "W02" in str(refused.value.jupyterhub_message)
