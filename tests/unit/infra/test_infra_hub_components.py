"""What the hub's components declare, collected under Pulumi's mocks: every object, and rules over all of them."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest

from hub_config.settings import HubSettings
from infra.components.claims import ProjectClaims, ProjectClaimsArgs, project_claims, project_folders
from infra.components.edge import Edge, EdgeArgs, edge_file, gate_file
from infra.components.hub import Hub, HubArgs, hub_settings
from infra.components.reconciler import Reconciler, ReconcilerArgs, ReconcilerRights, ReconcilerRightsArgs
from readingroom.contract import IMAGES, hub_namespace, image_reference, workspace_namespace

ROOT = Path(__file__).parents[3]
REFS = {name: image_reference(name, "sha256:" + "1" * 64) for name in IMAGES}
ADA = "raaaaaaa"
Objects = list[tuple[str, dict[str, Any]]]


def hub_args(version: int = 1) -> HubArgs:
    return HubArgs(
        project="demo", version=version, grant='{"version": 1}', grant_schema="{}", images=REFS, vault_ca="pem"
    )


def edge_args() -> EdgeArgs:
    access = ROOT / "policies" / "access"
    return EdgeArgs(
        project="demo",
        edge_conf=(access / "edge.conf").read_text(),
        gate_conf=(access / "gate.conf").read_text(),
        images=REFS,
    )


def everything() -> None:
    folders = {name: f"/volumes/{name}" for name in project_folders("demo", [ADA])}
    claims = project_claims("demo", [ADA], 5, 1, folders)
    ProjectClaims(ProjectClaimsArgs(project="demo", claims=claims, node_name="reading-room"))
    ReconcilerRights(ReconcilerRightsArgs(project="demo"))
    hub = Hub(hub_args())
    Edge(edge_args(), pulumi.ResourceOptions(depends_on=[hub]))
    Reconciler(ReconcilerArgs(images=REFS))


class Collected(pulumi.runtime.Mocks):
    def __init__(self) -> None:
        self.objects: Objects = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        if args.typ.startswith("kubernetes:"):
            self.objects.append((args.typ.rpartition(":")[2], args.inputs))
        return f"{args.name}-id", args.inputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {}, None


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """Never closed: the library keeps what belongs to it."""
    return asyncio.new_event_loop()


def collect(program: Callable[[], None]) -> Objects:
    """What a program declares, run in a loop of our own: another test may have ended the thread's."""
    mocks = Collected()
    asyncio.set_event_loop(_loop())
    pulumi.runtime.set_mocks(mocks, preview=False)

    @pulumi.runtime.test  # type: ignore[untyped-decorator]  # the library has no types
    def run() -> None:
        program()

    run()
    return mocks.objects


@pytest.fixture(scope="module")
def objects() -> Objects:
    return collect(everything)


def of(objects: Objects, kind: str) -> dict[str, dict[str, Any]]:
    """Objects of a kind by `namespace/name`."""
    return {
        f"{inputs['metadata'].get('namespace', '')}/{inputs['metadata']['name']}": inputs
        for found, inputs in objects
        if found == kind
    }


def pods(objects: Objects) -> dict[str, dict[str, Any]]:
    return {name: found["spec"]["template"] for name, found in of(objects, "Deployment").items()}


def test_the_pods_of_a_project_and_of_the_reconciler(objects: Objects) -> None:
    inside = hub_namespace("demo")
    assert set(pods(objects)) == {f"{inside}/{n}" for n in ("hub", "proxy", "edge", "gate")} | {"rr-system/reconciler"}


def test_no_secret_object_no_network_policy_and_no_pod_outside_a_deployment(objects: Objects) -> None:
    assert {kind for kind, _ in objects} == {
        "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "PersistentVolume", "PersistentVolumeClaim",
        "Role", "RoleBinding", "Service", "ServiceAccount",
    }  # fmt: skip


def test_every_pod_is_what_pod_security_restricted_asks_and_reads_only(objects: Objects) -> None:
    for name, pod in pods(objects).items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not set(spec) & {"hostNetwork", "hostPID", "hostIPC", "hostUsers"}
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            assert container["image"] in REFS.values()
            assert container["imagePullPolicy"] == "Never"
            assert container["resources"]["limits"]["memory"]
        for volume in spec["volumes"]:
            assert set(volume) - {"name"} <= {"emptyDir", "configMap", "projected", "persistentVolumeClaim"}


def test_every_pod_says_its_role_and_is_selected_by_it(objects: Objects) -> None:
    for name, found in of(objects, "Deployment").items():
        role = {"readingroom/role": name.rpartition("/")[2]}
        assert found["spec"]["selector"]["matchLabels"] == role
        assert role.items() <= found["spec"]["template"]["metadata"]["labels"].items()
        assert found["spec"]["strategy"] == {"type": "Recreate"}


def test_a_token_for_the_api_server_is_mounted_in_hub_and_reconciler_alone(objects: Objects) -> None:
    holders = [
        (name.rpartition("/")[2], container["name"])
        for name, pod in pods(objects).items()
        for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
        if any("kubernetes.io/serviceaccount" in mount["mountPath"] for mount in container["volumeMounts"])
    ]
    assert sorted(holders) == [("hub", "hub"), ("reconciler", "reconciler")]


def test_a_token_for_vault_is_mounted_in_the_deliverer_alone(objects: Objects) -> None:
    for pod in pods(objects).values():
        for container in pod["spec"]["containers"]:
            assert not [m for m in container["volumeMounts"] if m["name"] in {"vault-token", "vault-ca"}]


def test_the_rights_are_exactly_these(objects: Objects) -> None:
    rules = {
        name: [(tuple(rule["resources"]), tuple(sorted(rule["verbs"]))) for rule in found["rules"]]
        for kind in ("Role", "ClusterRole")
        for name, found in of(objects, kind).items()
    }
    rooms, inside = workspace_namespace("demo"), hub_namespace("demo")
    assert rules == {
        f"{rooms}/hub": [(("pods",), ("create", "delete", "list", "watch"))],
        f"{rooms}/reconciler": [(("pods",), ("delete", "list", "patch", "watch"))],
        f"{inside}/reconciler": [(("configmaps",), ("list",))],
        "/readingroom-reconciler": [(("namespaces",), ("list",))],
    }
    subjects = {
        name: [(s["namespace"], s["name"]) for s in found["subjects"]]
        for name, found in of(objects, "RoleBinding").items()
    }
    assert subjects == {
        f"{rooms}/hub": [(inside, "hub")],
        f"{rooms}/reconciler": [("rr-system", "reconciler")],
        f"{inside}/reconciler": [("rr-system", "reconciler")],
    }


def test_services_stay_inside_the_cluster(objects: Objects) -> None:
    found = of(objects, "Service")
    assert {name.rpartition("/")[2] for name in found} == {"hub", "proxy", "edge", "gate"}
    assert {service["spec"]["type"] for service in found.values()} == {"ClusterIP"}


def test_the_settings_are_exactly_those_that_the_hub_reads() -> None:
    assert set(hub_settings(hub_args())) == {field.name for field in dataclasses.fields(HubSettings)}
    HubSettings(**hub_settings(hub_args()))  # type: ignore[arg-type]  # the values are checked by the hub itself


def test_a_grant_version_is_an_object_that_cannot_change_and_a_new_pod(objects: Objects) -> None:
    grant = of(objects, "ConfigMap")["p-demo-hub/grant-demo-v1"]
    assert grant["immutable"] is True
    assert set(grant["data"]) == {"grant.json", "grant.schema.json"}
    volumes = pods(objects)["p-demo-hub/hub"]["spec"]["volumes"]
    assert "grant-demo-v1" in [volume.get("configMap", {}).get("name") for volume in volumes]


def test_a_member_has_two_claims_bound_to_folders_of_their_own(objects: Objects) -> None:
    claims = of(objects, "PersistentVolumeClaim")
    assert set(claims) == {f"p-demo-ws/home-{ADA}", f"p-demo-ws/outbox-{ADA}", "p-demo-hub/hub-state"}
    volumes = of(objects, "PersistentVolume")
    for name, claim in claims.items():
        volume = volumes[f"/{claim['spec']['volumeName']}"]
        assert "/".join(volume["spec"]["claimRef"][key] for key in ("namespace", "name")) == name
        assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert len({volume["spec"]["local"]["path"] for volume in volumes.values()}) == 3


def test_no_placeholder_is_left_in_a_configuration() -> None:
    for text in (edge_file(edge_args()), gate_file(edge_args())):
        assert "@" not in text.replace("@refused", "").replace("@away", "").replace("@refuse", "")


def test_no_secret_value_is_declared(objects: Objects) -> None:
    text = json.dumps(objects)
    assert "CONFIGPROXY_AUTH_TOKEN=" in text
    assert "$(cat /run/delivered/proxy_token)" in text
    assert "secretKeyRef" not in text
