"""The Jobs of a de-identification on a real API server with its own Job controller; the test plays the kubelet."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import cli_jobs, job_runner, places
from infra.jobs import Work, manifest
from readingroom.contract import QUARANTINE
from tests.contract.bare_cluster import BareCluster, bare_cluster

IMAGE = f"rr.local/services@sha256:{'0' * 64}"
INDEX = "batch.kubernetes.io/job-completion-index"
JOBS, PODS = f"/apis/batch/v1/namespaces/{QUARANTINE}/jobs", f"/api/v1/namespaces/{QUARANTINE}/pods"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareCluster]:
    with bare_cluster(tmp_path_factory.mktemp("cluster")) as found:
        sealed = {"pod-security.kubernetes.io/enforce": "restricted"}
        found.request("POST", "/api/v1/namespaces", {"metadata": {"name": QUARANTINE, "labels": sealed}})
        for name in ("deid-demo", "evaluate"):
            account = {"metadata": {"name": name}}
            found.request("POST", f"/api/v1/namespaces/{QUARANTINE}/serviceaccounts", account)
        yield found


def steps(stamp: str) -> list[Work]:
    return list(cli_jobs.deid_steps("demo", stamp, IMAGE, 2, lambda _: {"plan": "5" * 64, "shards": 3}))


def pods(cluster: BareCluster, work: Work) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.request("GET", f"{PODS}?labelSelector=job-name={work.name}")["items"]
    return found


def end(cluster: BareCluster, pod: dict[str, Any], exit_code: int | None = None) -> None:
    """What a kubelet says of a pod that ended; without an exit status, that it did what it should."""
    ended = {"name": "work", "state": {"terminated": {"exitCode": exit_code}}, "ready": False, "restartCount": 0,
             "image": IMAGE, "imageID": ""}  # fmt: skip
    status = {"phase": "Failed", "containerStatuses": [ended]} if exit_code else {"phase": "Succeeded"}
    path = f"{PODS}/{pod['metadata']['name']}/status"
    cluster.request("PATCH", path, {"status": status}, kind="application/merge-patch+json")


def waiting(cluster: BareCluster, work: Work) -> list[dict[str, Any]]:
    return [pod for pod in pods(cluster, work) if pod["status"]["phase"] == "Pending"]


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_shard_that_is_refused_ends_alone_and_one_that_was_killed_is_tried_again(cluster: BareCluster) -> None:
    (_, work, _) = steps("refused")
    cluster.request("POST", f"{JOBS}?fieldValidation=Strict", manifest(work))
    until(lambda: len(waiting(cluster, work)) == 2)
    for pod in waiting(cluster, work):
        end(cluster, pod, {"0": 137, "1": 3}[pod["metadata"]["annotations"][INDEX]])
    seen = set()
    deadline = time.monotonic() + 90  # an index is tried again after ten seconds
    while "Failed" not in (told := conditions(cluster, work)):
        assert time.monotonic() < deadline, told
        for pod in waiting(cluster, work):
            seen.add(pod["metadata"]["annotations"][INDEX])
            end(cluster, pod)
        time.sleep(0.2)
    assert seen == {"0", "2"}
    status = cluster.request("GET", f"{JOBS}/{work.name}")["status"]
    assert (status["completedIndexes"], status["failedIndexes"]) == ("0,2", "1")


def conditions(cluster: BareCluster, work: Work) -> set[str]:
    found = cluster.request("GET", f"{JOBS}/{work.name}")["status"].get("conditions", ())
    return {one["type"] for one in found if one["status"] == "True"}


def test_the_steps_follow_one_another_and_are_not_done_again(
    cluster: BareCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    kubeconfig = places.state(places.DEPLOYER_KUBECONFIG)
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(cluster.kubeconfig, kubeconfig)
    over, ended = threading.Event(), list[str]()

    def kubelet() -> None:
        while not over.wait(0.2):
            for work in steps("done"):
                for pod in waiting(cluster, work):
                    ended.append(f"{work.step} {pod['metadata'].get('annotations', {}).get(INDEX, '')}".strip())
                    end(cluster, pod)

    playing = threading.Thread(target=kubelet)
    playing.start()
    try:
        for _ in range(2):
            for work in steps("done"):
                job_runner.run(manifest(work), lambda _: None)
        endless = manifest(steps("done")[0])
        del endless["spec"]["activeDeadlineSeconds"]  # as the Job that enrols people has it
        job_runner.run(endless, lambda _: None)
    finally:
        over.set()
        playing.join()
    assert (ended[0], sorted(ended[1:4]), ended[4:]) == ("plan", ["work 0", "work 1", "work 2"], ["finish"])


def test_a_submission_beside_the_hold_out_is_a_job_that_a_restricted_namespace_takes(cluster: BareCluster) -> None:
    costs = {"seconds": 600, "memory_mib": 512, "scratch_mib": 64}
    work = cli_jobs.evaluate_work("demo", "net", "small", costs, "5" * 64, IMAGE)
    cluster.request("POST", f"{JOBS}?fieldValidation=Strict", manifest(work))
    until(lambda: waiting(cluster, work))
    (pod,) = waiting(cluster, work)
    assert pod["spec"]["initContainers"][0]["restartPolicy"] == "Always"
    end(cluster, pod)
    until(lambda: "Complete" in conditions(cluster, work))
