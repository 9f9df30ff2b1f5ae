"""What anything that serves `pulumi_kubernetes` for us must do, tried with the real engine on a real API server."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgs
from pulumi_kubernetes.batch.v1 import Job, JobSpecArgs
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ContainerArgs,
    Namespace,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpecArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    Secret,
    ServiceAccount,
    VolumeResourceRequirementsArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.networking.v1 import NetworkPolicy, NetworkPolicySpecArgs
from pulumi_kubernetes.rbac.v1 import RoleBinding, RoleRefArgs, SubjectArgs

from infra import drift, engine, places
from infra.clusters import local
from infra.engine_home import Home
from infra.provider.api import Api
from infra.provider.kinds import by_name
from readingroom.domain.errors import Refused, TryAgain, WrongSetUp
from tests.contract.bare_cluster import BareCluster, bare_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Declare = Callable[["Site", pulumi.ResourceOptions], None]
_NUMBERS = iter(range(1_000))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareCluster]:
    """One for all tests; each test has a namespace and a state folder of its own."""
    with bare_cluster(tmp_path_factory.mktemp("bare")) as running:
        yield running


@dataclass
class Site:
    """One stack and one namespace."""

    cluster: BareCluster
    name: str
    lines: list[str] = field(default_factory=list)

    def program(self, declare: Declare) -> Callable[[], None]:
        def program() -> None:
            provider = local.provider()
            space = Namespace(
                self.name, metadata=ObjectMetaArgs(name=self.name), opts=pulumi.ResourceOptions(provider=provider)
            )
            declare(self, pulumi.ResourceOptions(provider=provider, depends_on=[space]))

        return program

    def up(self, declare: Declare, *, take_back: bool = False) -> dict[str, int]:
        return dict(engine.up(self.name, self.program(declare), self.lines.append, take_back=take_back).changes)

    def preview(self, declare: Declare) -> dict[str, int]:
        return dict(engine.preview(self.name, self.program(declare), self.lines.append).changes)

    def path(self, kind: str, name: str = "") -> str:
        group = {"networkpolicies": "apis/networking.k8s.io/v1", "rolebindings": "apis/rbac.authorization.k8s.io/v1",
                 "deployments": "apis/apps/v1", "jobs": "apis/batch/v1"}.get(kind, "api/v1")  # fmt: skip
        return f"/{group}/namespaces/{self.name}/{kind}" + (f"/{name}" if name else "")

    def live(self, kind: str, name: str) -> Any:
        return self.cluster.request("GET", self.path(kind, name))

    def patch(self, kind: str, name: str, operations: list[dict[str, Any]]) -> None:
        self.cluster.request("PATCH", self.path(kind, name), operations, "application/json-patch+json")

    def meta(self, name: str, **more: Any) -> ObjectMetaArgs:
        return ObjectMetaArgs(name=name, namespace=self.name, **more)


@pytest.fixture
def site(cluster: BareCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    places.state().mkdir(parents=True)
    shutil.copy(cluster.kubeconfig, places.state(places.DEPLOYER_KUBECONFIG))
    return Site(cluster, f"t-site-{next(_NUMBERS)}")


def settings(data: dict[str, Any]) -> Declare:
    """A program with one ConfigMap."""
    return lambda site, opts: (ConfigMap(f"{site.name}/c", metadata=site.meta("c"), data=data, opts=opts), None)[1]


def closed(site: Site, opts: pulumi.ResourceOptions) -> None:
    """A program with one policy that allows nothing."""
    spec = NetworkPolicySpecArgs(pod_selector=LabelSelectorArgs(), policy_types=["Ingress", "Egress"])
    NetworkPolicy(f"{site.name}/deny", metadata=site.meta("deny"), spec=spec, opts=opts)


def waiting(seconds: str, **options: Any) -> Callable[[Site, pulumi.ResourceOptions], None]:
    """A program with one Deployment of one pod, awaited for so long."""

    def declare(site: Site, opts: pulumi.ResourceOptions) -> None:
        labels = {"app": "w"}
        pod = PodSpecArgs(containers=[ContainerArgs(name="main", image="rr.local/none")], **options)
        Deployment(
            f"{site.name}/w",
            metadata=site.meta("w", annotations={"pulumi.com/timeoutSeconds": seconds}),
            spec=DeploymentSpecArgs(
                selector=LabelSelectorArgs(match_labels=labels),
                template=PodTemplateSpecArgs(metadata=ObjectMetaArgs(labels=labels), spec=pod),
            ),
            opts=opts,
        )

    return declare


def play_kubelet(site: Site, status: dict[str, Any]) -> threading.Thread:
    """Write this status to the first pod of the site that appears."""

    def play() -> None:
        for _ in range(600):
            pods: list[dict[str, Any]] = []
            with contextlib.suppress(OSError):  # the namespace is not there yet
                pods = site.cluster.request("GET", site.path("pods"))["items"]
            if pods:
                name = pods[0]["metadata"]["name"]
                path = f"{site.path('pods', name)}/status"
                site.cluster.request("PATCH", path, {"status": status}, "application/merge-patch+json")
                return
            time.sleep(0.1)

    thread = threading.Thread(target=play)
    thread.start()
    return thread


READY = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
}


class TestLife:
    def test_the_first_up_makes_the_second_changes_nothing_and_down_leaves_nothing(self, site: Site) -> None:
        assert site.up(settings({"a": "1"}))["create"] == 4  # with the stack and the provider
        assert set(site.up(settings({"a": "1"}))) == {"same"}
        assert engine.stacks() == [site.name]
        engine.down(site.name, site.lines.append)
        assert engine.stacks() == []
        with pytest.raises(OSError, match="404"):
            site.cluster.request("GET", f"/api/v1/namespaces/{site.name}")

    def test_a_preview_changes_nothing_and_keeps_what_only_up_can_know_unknown(self, site: Site) -> None:
        seen: list[str] = []

        def declare(here: Site, opts: pulumi.ResourceOptions) -> None:
            first = ConfigMap(f"{here.name}/c", metadata=here.meta("c"), data={"a": "1"}, opts=opts)
            first.metadata.uid.apply(seen.append)
            ServiceAccount(f"{here.name}/s", metadata=here.meta("s", labels={"of": first.metadata.uid}), opts=opts)

        assert site.preview(declare)["create"] == 5
        assert seen == []
        with pytest.raises(OSError, match="404"):
            site.cluster.request("GET", f"/api/v1/namespaces/{site.name}")
        site.up(declare)
        assert site.live("serviceaccounts", "s")["metadata"]["labels"]["of"] == seen[0]

    def test_a_changed_value_is_changed_in_place_and_a_removed_one_goes(self, site: Site) -> None:
        site.up(settings({"a": "1", "b": "1"}))
        before = site.live("configmaps", "c")
        assert site.up(settings({"a": "2"}))["update"] == 1
        after = site.live("configmaps", "c")
        assert after["data"] == {"a": "2"}
        assert after["metadata"]["uid"] == before["metadata"]["uid"]

    def test_what_cannot_change_in_place_is_made_anew_under_its_own_name(self, site: Site) -> None:
        def binding(role: str) -> Declare:
            return lambda here, opts: (
                RoleBinding(
                    f"{here.name}/b",
                    metadata=here.meta("b"),
                    role_ref=RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name=role),
                    subjects=[SubjectArgs(kind="ServiceAccount", name="x", namespace=here.name)],
                    opts=opts,
                ),
                None,
            )[1]

        site.up(binding("view"))
        before = site.live("rolebindings", "b")["metadata"]["uid"]
        site.up(binding("edit"))
        after = site.live("rolebindings", "b")
        assert after["roleRef"]["name"] == "edit"
        assert after["metadata"]["uid"] != before

    def test_an_object_without_a_name_gets_one_and_keeps_it(self, site: Site) -> None:
        def declare(value: str) -> Declare:
            return lambda here, opts: (
                ConfigMap("free", metadata=ObjectMetaArgs(namespace=here.name), data={"a": value}, opts=opts),
                None,
            )[1]

        site.up(declare("1"))
        assert site.up(declare("2"))["update"] == 1
        names = [one["metadata"]["name"] for one in site.cluster.request("GET", site.path("configmaps"))["items"]]
        assert len([name for name in names if name.startswith("free-")]) == 1


class TestOthers:
    def test_an_object_of_somebody_else_is_never_adopted(self, site: Site) -> None:
        site.up(lambda *_: None)
        site.cluster.request("POST", site.path("configmaps"), {"metadata": {"name": "c"}, "data": {"a": "theirs"}})
        for attempt in (site.preview, site.up):
            with pytest.raises(WrongSetUp, match=r"ConfigMap .*/c already exists and is not ours"):
                attempt(settings({"a": "ours"}))
        assert site.live("configmaps", "c")["data"] == {"a": "theirs"}

    def test_what_an_interrupted_run_of_ours_left_is_taken_over_unless_it_was_added_to(self, site: Site) -> None:
        site.up(lambda *_: None)
        manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "c", "namespace": site.name},
            "data": {"a": "1"},
        }
        with Api.of(str(site.cluster.kubeconfig)) as api:
            kind = by_name("v1", "ConfigMap")
            api.apply(kind, manifest, manager=f"readingroom-{site.name}", dry_run=False, force=False)
        site.patch("configmaps", "c", [{"op": "add", "path": "/data/x", "value": "added"}])
        with pytest.raises(WrongSetUp, match=r"data\.x was added to it since"):
            site.up(settings({"a": "1"}))
        site.patch("configmaps", "c", [{"op": "remove", "path": "/data/x"}])
        assert site.up(settings({"a": "1"}))["create"] == 1

    def test_what_is_still_being_deleted_is_waited_for(self, site: Site) -> None:
        held = {"metadata": {"name": "c", "finalizers": ["readingroom.test/held"]}, "data": {"a": "theirs"}}
        site.up(lambda *_: None)
        site.cluster.request("POST", site.path("configmaps"), held)
        site.cluster.request("DELETE", site.path("configmaps", "c"))
        free = [{"op": "remove", "path": "/metadata/finalizers"}]
        freed = threading.Timer(3, site.patch, ("configmaps", "c", free))
        freed.start()
        assert site.up(settings({"a": "ours"}))["create"] == 1
        freed.join()
        assert site.live("configmaps", "c")["data"] == {"a": "ours"}

    def test_a_field_that_another_manager_took_is_named_and_taken_back_only_when_asked(self, site: Site) -> None:
        site.up(settings({"a": "1"}))
        path = f"{site.path('configmaps', 'c')}?fieldManager=stranger"
        site.cluster.request("PATCH", path, {"data": {"a": "2"}}, "application/merge-patch+json")
        with pytest.raises(WrongSetUp, match="stranger"):
            site.up(settings({"a": "1"}))
        site.up(settings({"a": "1"}), take_back=True)
        assert site.live("configmaps", "c")["data"] == {"a": "1"}
        assert set(site.up(settings({"a": "1"}))) == {"same"}

    def test_an_appended_egress_rule_is_named_stops_up_and_is_removed_only_when_asked(self, site: Site) -> None:
        site.up(closed)
        assert [one.findings for one in drift.compare()] == [()]
        site.patch("networkpolicies", "deny", [{"op": "add", "path": "/spec/egress", "value": [{}]}])
        (report,) = drift.compare()
        assert [(one.object, one.where, one.what) for one in report.findings] == [
            (f"NetworkPolicy {site.name}/deny", "spec.egress", "added")
        ]
        with pytest.raises(WrongSetUp, match=r"spec\.egress was added by another manager"):
            site.up(closed)
        site.up(closed, take_back=True)
        assert "egress" not in site.live("networkpolicies", "deny")["spec"]
        assert [one.findings for one in drift.compare()] == [()]

    def test_an_undeclared_policy_in_our_namespace_is_named(self, site: Site) -> None:
        site.up(closed)
        open_all = {"metadata": {"name": "open"}, "spec": {"podSelector": {}, "egress": [{}]}}
        site.cluster.request("POST", site.path("networkpolicies"), open_all)
        (report,) = drift.compare()
        assert [(one.object, one.what) for one in report.findings] == [
            (f"NetworkPolicy {site.name}/open", "undeclared")
        ]

    def test_what_was_deleted_by_hand_is_named_and_comes_back(self, site: Site) -> None:
        site.up(closed)
        site.cluster.request("DELETE", site.path("networkpolicies", "deny"))
        (report,) = drift.compare()
        assert [one.what for one in report.findings] == ["gone"]
        assert site.up(closed)["create"] == 1
        assert site.live("networkpolicies", "deny")["spec"]["policyTypes"] == ["Ingress", "Egress"]


class TestRefusals:
    def test_a_misspelt_field_is_refused_by_name_before_anything_is_made(self, site: Site) -> None:
        def declare(here: Site, opts: pulumi.ResourceOptions) -> None:
            spec: Any = {"podSelector": {}, "policyTypes": ["Ingress"], "egres": []}
            NetworkPolicy(f"{here.name}/deny", metadata=here.meta("deny"), spec=spec, opts=opts)

        site.up(lambda *_: None)
        for attempt in (site.preview, site.up):
            with pytest.raises(WrongSetUp, match="egres"):
                attempt(declare)

    def test_a_secret_object_is_not_served(self, site: Site) -> None:
        def declare(here: Site, opts: pulumi.ResourceOptions) -> None:
            Secret(f"{here.name}/s", metadata=here.meta("s"), string_data={"a": "b"}, opts=opts)

        with pytest.raises(WrongSetUp, match="Secret is not among the kinds"):
            site.up(declare)

    def test_a_resource_without_our_provider_finds_no_other_cluster(self, site: Site) -> None:
        def declare(here: Site, _: pulumi.ResourceOptions) -> None:
            ConfigMap("stray", metadata=here.meta("stray"), data={})

        with pytest.raises(WrongSetUp, match=r"[Dd]efault provider"):
            site.preview(declare)

    def test_a_refusal_of_the_program_reaches_the_caller_as_it_is(self, site: Site) -> None:
        refusal = Refused(what="project", which="demo", why="the grant has ended", next_step="ask for a new one")

        def declare(*_: object) -> None:
            raise refusal

        with pytest.raises(Refused) as caught:
            site.up(declare)
        assert caught.value is refusal

    def test_a_defect_of_the_program_is_one_line_too(self, site: Site) -> None:
        with pytest.raises(WrongSetUp, match=r"program of stack .*; KeyError: 'absent'\. Next: report this defect"):
            site.up(lambda *_: {}["absent"])

    def test_a_cluster_that_is_away_is_one_clear_line(self, site: Site) -> None:
        text = places.state(places.DEPLOYER_KUBECONFIG).read_text().replace(site.cluster.server, "https://127.0.0.1:9")
        places.state(places.DEPLOYER_KUBECONFIG).write_text(text)
        with pytest.raises(TryAgain, match=r"the cluster is not running\. Next: readingroom node up"):
            site.up(closed)

    def test_a_stack_made_with_the_other_plugin_is_left_alone(self, site: Site) -> None:
        site.up(lambda *_: None)
        mark = Home.here().work / f"{site.name}.plugin"
        mark.write_text({"offline": "official", "official": "offline"}[mark.read_text().strip()])
        with pytest.raises(WrongSetUp, match="plugin"):
            site.up(lambda *_: None)


class TestReadiness:
    def test_up_waits_until_the_pods_are_ready(self, site: Site) -> None:
        kubelet = play_kubelet(site, READY)
        site.up(waiting("60"))
        kubelet.join()
        assert site.live("deployments", "w")["status"]["availableReplicas"] == 1

    def test_a_pod_that_can_never_start_ends_the_wait_with_its_reason_and_stays_known(self, site: Site) -> None:
        reason = {"waiting": {"reason": "ErrImageNeverPull", "message": "no such image"}}
        status = {
            "containerStatuses": [
                {"name": "main", "state": reason, "image": "", "imageID": "", "ready": False, "restartCount": 0}
            ]
        }
        kubelet = play_kubelet(site, status)
        with pytest.raises(WrongSetUp, match="container main: ErrImageNeverPull: no such image"):
            site.up(waiting("60"))
        kubelet.join()
        engine.down(site.name, site.lines.append)
        with pytest.raises(OSError, match="404"):
            site.live("deployments", "w")

    def test_a_wait_that_was_too_short_goes_on_in_the_next_run(self, site: Site) -> None:
        with pytest.raises(WrongSetUp, match="0 of 1 replicas are available"):
            site.up(waiting("2"))
        play_kubelet(site, READY).join()
        site.up(waiting("60"))
        assert set(site.up(waiting("60"))) == {"same"}

    def test_a_job_is_awaited_and_its_failure_says_what_the_pod_said(self, site: Site) -> None:
        def declare(here: Site, opts: pulumi.ResourceOptions) -> None:
            pod = PodSpecArgs(restart_policy="Never", containers=[ContainerArgs(name="main", image="rr.local/none")])
            spec = JobSpecArgs(backoff_limit=0, template=PodTemplateSpecArgs(spec=pod))
            Job(f"{here.name}/j", metadata=here.meta("j"), spec=spec, opts=opts)

        ended = {"exitCode": 3, "reason": "Error", "message": "refused: no such project"}
        status = {
            "phase": "Failed",
            "containerStatuses": [
                {
                    "name": "main",
                    "state": {"terminated": ended},
                    "image": "",
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                }
            ],
        }
        kubelet = play_kubelet(site, status)
        with pytest.raises(WrongSetUp, match="exit status 3, refused: no such project"):
            site.up(declare)
        kubelet.join()

    def test_a_claim_is_awaited(self, site: Site) -> None:
        spec = PersistentVolumeClaimSpecArgs(
            access_modes=["ReadWriteOnce"],
            storage_class_name="none",
            resources=VolumeResourceRequirementsArgs(requests={"storage": "1Gi"}),
        )

        def declare(here: Site, opts: pulumi.ResourceOptions) -> None:
            meta = here.meta("v", annotations={"pulumi.com/timeoutSeconds": "2"})
            PersistentVolumeClaim(f"{here.name}/v", metadata=meta, spec=spec, opts=opts)

        with pytest.raises(WrongSetUp, match="the claim is not bound"):
            site.up(declare)


CHILD = """
import json, sys
from pathlib import Path
from tests.contract.bare_cluster import BareCluster
from tests.contract.test_provider_on_cluster import Site, waiting

name, server, token, *paths = json.loads(sys.argv[1])
Site(BareCluster(server, *map(Path, paths[:2]), token, Path(paths[2])), name).up(waiting("60"))
"""


class TestInterruption:
    def test_a_run_that_was_killed_outright_is_finished_by_the_next(self, site: Site) -> None:
        cluster = site.cluster
        words = [site.name, cluster.server, cluster.token, cluster.folder, cluster.kubeconfig, cluster.authority]
        argument = json.dumps([str(word) for word in words])
        with subprocess.Popen([sys.executable, "-c", CHILD, argument], start_new_session=True) as child:
            try:
                _until(lambda: site.live("deployments", "w"))
            finally:
                os.killpg(child.pid, signal.SIGKILL)  # the engine is in its group; the plugin notices and goes
        assert list(Home.here().locks(site.name).glob("*.json"))
        play_kubelet(site, READY).join()
        site.up(waiting("60"))
        assert set(site.up(waiting("60"))) == {"same"}


def _until(look: Callable[[], object]) -> None:
    for _ in range(1200):
        with contextlib.suppress(OSError):
            look()
            return
        time.sleep(0.1)
    raise AssertionError("it never came")


class TestSecrecy:
    def test_a_marked_value_reaches_the_cluster_but_not_the_state_nor_a_line(self, site: Site) -> None:
        value = "planted-6f1d"

        def declare(here: Site, opts: pulumi.ResourceOptions) -> None:
            data = {"key": pulumi.Output.secret(value)}
            ConfigMap(f"{here.name}/c", metadata=here.meta("c"), data=data, opts=opts)

        site.up(declare)
        site.up(declare)
        assert site.live("configmaps", "c")["data"] == {"key": value}
        found = [file for file in places.state("pulumi").rglob("*") if file.is_file() and value in _text(file)]
        assert found == []
        assert value not in str(engine.export(site.name)) + "\n".join(site.lines)

    def test_the_deployers_credentials_are_nowhere_in_the_state(self, site: Site) -> None:
        site.up(closed)
        found = [f for f in places.state("pulumi").rglob("*") if f.is_file() and site.cluster.token in _text(f)]
        assert found == []

    def test_the_engines_folder_is_closed_to_others(self, site: Site) -> None:
        site.up(closed)
        home = Home.here()
        assert home.root.stat().st_mode & 0o777 == 0o700
        assert (home.root / "passphrase").stat().st_mode & 0o777 == 0o600


def _text(file: Path) -> str:
    return file.read_bytes().decode(errors="replace")
