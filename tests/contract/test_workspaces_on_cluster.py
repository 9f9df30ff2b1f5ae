"""The port `Workspaces` over a real API server: what it reads, what it closes, and that it never touches another pod."""

from __future__ import annotations

import json
import time
import urllib.error
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from hub_config.spawner import TOLD
from infra import settings
from infra.components.admission import binding_spec, policy_spec
from readingroom.adapters.cluster import KubernetesWorkspaces, by_kubeconfig
from readingroom.domain.errors import TryAgain
from readingroom.domain.grant import Code
from readingroom.domain.ids import ProjectId
from readingroom.domain.workspace import WorkspaceState
from tests.contract.bare_cluster import BareCluster, bare_cluster
from tests.unit.hub.grants import ADA, BEN, CUT, IMAGE, document
from tests.unit.hub.test_hub_pod import pod, spec
from tests.unit.infra.test_infra_hub_components import ROOT

DEMO = ProjectId("demo")
HUB, ROOMS = "p-demo-hub", "p-demo-ws"
SCHEMA = (ROOT / "policies" / "schema" / "grant.schema.json").read_text()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareCluster]:
    with bare_cluster(tmp_path_factory.mktemp("cluster")) as found:
        for name, role in ((HUB, "hub"), (ROOMS, "workspace"), ("p-none-ws", "workspace"), ("p-odd-ws", "hub")):
            project = name.split("-")[1]
            labels = {"readingroom/role": role, "readingroom/project": project}
            found.request("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        account = {"metadata": {"name": "workspace", "namespace": ROOMS}}
        found.request("POST", f"/api/v1/namespaces/{ROOMS}/serviceaccounts", account)
        yield found


@pytest.fixture
def workspaces(cluster: BareCluster) -> Iterator[KubernetesWorkspaces]:
    yield KubernetesWorkspaces(by_kubeconfig(cluster.kubeconfig))
    for path in (f"{ROOMS}/pods", f"{ROOMS}/configmaps", f"{HUB}/configmaps"):
        cluster.request("DELETE", f"/api/v1/namespaces/{path}", {"gracePeriodSeconds": 0})


def put_pod(cluster: BareCluster, handle: str = ADA, phase: str = "Running") -> str:
    made = cluster.request("POST", f"/api/v1/namespaces/{ROOMS}/pods", pod(spec(handle)))
    ready = [{"type": "Ready", "status": "True"}] if phase == "Running" else []
    status = {"status": {"phase": phase, "conditions": ready}}
    path = f"/api/v1/namespaces/{ROOMS}/pods/{made['metadata']['name']}/status"
    cluster.request("PATCH", path, status, kind="application/merge-patch+json")
    uid: str = made["metadata"]["uid"]
    return uid


def put_grant(cluster: BareCluster, version: int = 1, text: str = "", **changes: Any) -> None:
    data = {"grant.json": text or json.dumps(document(version=version, **changes)), "grant.schema.json": SCHEMA}
    body = {"metadata": {"name": f"grant-demo-v{version}", "namespace": HUB}, "data": data, "immutable": True}
    cluster.request("POST", f"/api/v1/namespaces/{HUB}/configmaps", body)


def test_projects_are_namespaces_of_the_role_with_the_name_that_belongs_to_them(
    workspaces: KubernetesWorkspaces,
) -> None:
    assert workspaces.projects() == ["demo", "none"]


def test_a_pod_leaves_without_its_environment(cluster: BareCluster, workspaces: KubernetesWorkspaces) -> None:
    put_pod(cluster)
    (found,) = workspaces.pods(DEMO)
    assert (found.name, found.cut, found.image, found.state) == (f"ws-{ADA}", CUT, IMAGE, WorkspaceState.RUNNING)
    assert "token-of-the-server" not in repr(found)


def test_seal_and_delete_in_that_order_and_again_without_harm(
    cluster: BareCluster, workspaces: KubernetesWorkspaces
) -> None:
    put_pod(cluster)
    (found,) = workspaces.pods(DEMO)
    workspaces.seal(found)
    workspaces.seal(found)
    assert workspaces.pods(DEMO)[0].state is WorkspaceState.SEALED
    workspaces.delete(found)
    workspaces.delete(found)
    workspaces.seal(found)
    assert all(left.state is not WorkspaceState.RUNNING for left in workspaces.pods(DEMO))


def test_a_pod_that_took_the_name_since_is_left_alone(cluster: BareCluster, workspaces: KubernetesWorkspaces) -> None:
    put_pod(cluster)
    (found,) = workspaces.pods(DEMO)
    stale = replace(found, uid="00000000-0000-0000-0000-000000000000")
    workspaces.seal(stale)
    workspaces.delete(stale)
    (left,) = workspaces.pods(DEMO)
    assert (left.uid, left.state) == (found.uid, WorkspaceState.RUNNING)


def test_the_highest_readable_grant_is_in_force_and_an_unreadable_one_is_none(
    cluster: BareCluster, workspaces: KubernetesWorkspaces
) -> None:
    assert workspaces.known(DEMO).grant is None
    put_grant(cluster, 1)
    put_grant(cluster, 2, members=[])
    grant = workspaces.known(DEMO).grant
    assert grant is not None
    assert grant.version == 2
    put_grant(cluster, 3, text="{")
    assert workspaces.known(DEMO).grant is None  # in doubt nobody has a right: not the version before


def test_withdrawals_add_up_and_end_with_a_newer_version(
    cluster: BareCluster, workspaces: KubernetesWorkspaces
) -> None:
    put_grant(cluster, 1)
    workspaces.withdraw(DEMO, 1, frozenset({ADA}))
    workspaces.withdraw(DEMO, 1, frozenset({BEN}))
    assert workspaces.known(DEMO).withdrawn == {ADA, BEN}
    put_grant(cluster, 2)
    assert workspaces.known(DEMO).withdrawn == frozenset()


def test_who_is_withdrawn_is_admitted_no_longer_and_nobody_else_is_touched(
    cluster: BareCluster, workspaces: KubernetesWorkspaces
) -> None:
    maps = f"/api/v1/namespaces/{ROOMS}/configmaps"
    data = {"handles": f"{ADA} {BEN}", "cut": CUT}
    cluster.request("POST", maps, {"metadata": {"name": "admission"}, "data": data})
    for handle, left in ((BEN, ADA), (BEN, ADA), (ADA, "")):
        workspaces.withdraw(DEMO, 1, frozenset({handle}))
        assert cluster.request("GET", f"{maps}/admission")["data"] == {"handles": left, "cut": CUT}


def test_a_retired_cut_is_admitted_no_longer_and_stays_retired_under_any_version(
    cluster: BareCluster, workspaces: KubernetesWorkspaces
) -> None:
    other = CUT.replace("1", "2")
    maps = f"/api/v1/namespaces/{ROOMS}/configmaps"
    cluster.request("POST", maps, {"metadata": {"name": "admission"}, "data": {"handles": ADA, "cut": CUT}})
    put_grant(cluster, 1)
    workspaces.retire(DEMO, frozenset({other}))
    assert cluster.request("GET", f"{maps}/admission")["data"] == {"handles": ADA, "cut": CUT}
    for _ in range(2):
        workspaces.retire(DEMO, frozenset({CUT}))
        assert cluster.request("GET", f"{maps}/admission")["data"] == {"handles": ADA, "cut": ""}
    put_grant(cluster, 2)
    found = workspaces.known(DEMO)
    assert (found.retired, found.withdrawn) == ({CUT, other}, frozenset())
    workspaces.retire(ProjectId("nowhere"), frozenset({CUT}))  # was never opened: nothing to tell


def answer_to(cluster: BareCluster, asked: dict[str, Any]) -> str:
    """What the API server says to a pod that is only tried: nothing, or the body of its refusal."""
    try:
        cluster.request("POST", f"/api/v1/namespaces/{ROOMS}/pods?dryRun=All", asked)
    except urllib.error.HTTPError as refused:
        return refused.read().decode()
    return ""


def test_the_rule_itself_refuses_every_workspace_once_its_cut_is_retired_in_words_that_the_hub_knows(
    cluster: BareCluster, workspaces: KubernetesWorkspaces
) -> None:
    rule, name = settings.admission()["workspace-mounts"], "workspace-mounts.readingroom"
    kinds = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
    cluster.request("POST", f"{kinds}ies", {"metadata": {"name": name}, "spec": policy_spec(rule)})
    cluster.request("POST", f"{kinds}ybindings", {"metadata": {"name": name}, "spec": binding_spec(name, rule)})
    asked, end = pod(spec(ADA)), time.monotonic() + 30
    try:
        while not answer_to(cluster, asked):  # without parameters the answer is no, as soon as the rule is in force
            assert time.monotonic() < end
            time.sleep(0.1)
        data = {"handles": ADA, "cut": CUT, "images": IMAGE, "seconds": str(12 * 3600)}
        cluster.request(
            "POST", f"/api/v1/namespaces/{ROOMS}/configmaps", {"metadata": {"name": "admission"}, "data": data}
        )
        while (told := answer_to(cluster, asked)) and time.monotonic() < end:
            time.sleep(0.1)
        assert told == ""
        workspaces.retire(DEMO, frozenset({CUT}))
        while not (told := answer_to(cluster, asked)) and time.monotonic() < end:
            time.sleep(0.1)
        [(code, _)] = [said for words, said in TOLD.items() if words in told[:400]]
        assert code is Code.CUT_REPLACED
    finally:
        for kind in ("ybindings", "ies"):
            cluster.request("DELETE", f"{kinds}{kind}/{name}")
        while answer_to(cluster, asked) and time.monotonic() < end:
            time.sleep(0.1)


def test_a_change_of_a_pod_wakes_the_watch(cluster: BareCluster, workspaces: KubernetesWorkspaces) -> None:
    seen: list[datetime] = []
    put_pod(cluster)
    workspaces.watch(DEMO, lambda: seen.append(datetime.now(UTC)), 1)
    assert seen


def test_an_api_server_that_is_away_is_a_reason_to_try_again(cluster: BareCluster) -> None:
    away = cluster.folder / "away.kubeconfig"
    away.write_text(cluster.kubeconfig.read_text().replace(cluster.server, "https://127.0.0.1:1"))
    with pytest.raises(TryAgain, match="does not answer"):
        KubernetesWorkspaces(by_kubeconfig(away)).pods(DEMO)
