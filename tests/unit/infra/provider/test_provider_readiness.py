"""When an object counts as ready, and what is said while it does not."""

from __future__ import annotations

from typing import Any

import pytest

from infra.provider import await_ready
from infra.provider.api import Answer, Api
from infra.provider.errors import ApiAway, Failed, TookTooLong
from infra.provider.kinds import by_name
from infra.provider.pod_reasons import cut, why_not_ready

DEPLOYMENT = by_name("apps/v1", "Deployment")


class FakeServer:
    """A transport that answers by path; a list is answered one by one, its last entry for ever."""

    def __init__(self, answers: dict[str, list[Any]]) -> None:
        self._answers = answers

    def request(self, method: str, path: str, body: Any = None, content_type: str = "") -> Answer:
        found = self._answers.get(path.partition("?")[0], [{"items": []}])
        answer = found.pop(0) if len(found) > 1 else found[0]
        if answer is None:
            raise ApiAway("away")
        return Answer(200, answer)

    def close(self) -> None:
        """Nothing to let go of."""


def deployment(available: int, *, replicas: int = 1, observed: int = 1) -> dict[str, Any]:
    return {
        "metadata": {"name": "w", "namespace": "n", "uid": "u", "generation": 1, "annotations": {}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "w"}}},
        "status": {
            "observedGeneration": observed,
            "updatedReplicas": available,
            "availableReplicas": available,
            "replicas": available,
        },
    }


def pod(**state: Any) -> dict[str, Any]:
    return {"metadata": {"name": "w-1"}, "status": {"containerStatuses": [{"name": "main", **state}]}}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(await_ready, "QUIET", 0.0)
    monkeypatch.setattr(await_ready, "GIVE_UP", 0.5)


WORKLOAD, PODS = "/apis/apps/v1/namespaces/n/deployments/w", "/api/v1/namespaces/n/pods"


def wait(answers: dict[str, list[Any]], asked: float = 5.0) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    live = await_ready.wait(
        Api(FakeServer(answers)), DEPLOYMENT, deployment(0), asked=asked, tell=said.append, stop=lambda: False
    )
    return live, said


def test_it_waits_until_the_replicas_are_available_and_says_why_meanwhile() -> None:
    live, said = wait({WORKLOAD: [deployment(0), deployment(1)], PODS: [{"items": []}]})
    assert live["status"]["availableReplicas"] == 1
    assert said == ["0 of 1 replicas are available"]


def test_an_old_generation_is_not_ready() -> None:
    assert await_ready.deployment(deployment(1, observed=0), Api(FakeServer({}))) is not None


def test_a_server_that_is_away_for_a_while_is_waited_for() -> None:
    live, _ = wait({WORKLOAD: [None, deployment(1)]})
    assert live["status"]["availableReplicas"] == 1


def test_the_reason_of_the_pod_is_named_when_time_is_up() -> None:
    crash = pod(
        state={"waiting": {"reason": "CrashLoopBackOff"}},
        lastState={"terminated": {"exitCode": 1, "message": "wrong set-up: no key"}},
    )
    with pytest.raises(TookTooLong, match="container main: CrashLoopBackOff: exit status 1, wrong set-up: no key"):
        wait({WORKLOAD: [deployment(0)], PODS: [{"items": [crash]}]}, asked=0.3)


def test_an_image_that_is_never_pulled_ends_the_wait_at_once() -> None:
    missing = pod(state={"waiting": {"reason": "ErrImageNeverPull", "message": "absent"}})
    with pytest.raises(Failed, match="ErrImageNeverPull: absent"):
        wait({WORKLOAD: [deployment(0)], PODS: [{"items": [missing]}]}, asked=60)


def test_a_hopeless_pod_of_the_revision_before_is_waited_out() -> None:
    missing = pod(state={"waiting": {"reason": "ErrImageNeverPull", "message": "absent"}})
    live, _ = wait({WORKLOAD: [deployment(0), deployment(1)], PODS: [{"items": [missing]}]}, asked=60)
    assert live["status"]["availableReplicas"] == 1


def test_an_object_that_was_replaced_meanwhile_is_not_ours_any_more() -> None:
    other = deployment(1)
    other["metadata"]["uid"] = "v"
    with pytest.raises(Failed, match="deleted while we waited"):
        wait({WORKLOAD: [other]})


def job(kind: str = "", status: str = "True") -> dict[str, Any]:
    conditions = [{"type": kind, "status": status, "reason": "R", "message": "m"}] if kind else []
    return {"metadata": {"name": "j"}, "spec": {}, "status": {"conditions": conditions}}


def test_a_job_is_ready_when_complete_and_fails_when_failed() -> None:
    api = Api(FakeServer({}))
    assert await_ready.job(job(), api) == "the job is not complete"
    assert await_ready.job(job("Complete"), api) is None
    with pytest.raises(Failed, match="R: m"):
        await_ready.job(job("Failed"), api)


def test_an_admission_policy_the_server_warns_about_is_no_guard() -> None:
    warning = {"fieldRef": "spec.validations[0]", "warning": "undefined field"}
    live = {
        "metadata": {"generation": 1},
        "status": {"observedGeneration": 1, "typeChecking": {"expressionWarnings": [warning]}},
    }
    with pytest.raises(Failed, match="undefined field"):
        await_ready.admission_policy(live, Api(FakeServer({})))


def test_an_ordinary_start_is_no_trouble() -> None:
    assert why_not_ready(pod(state={"waiting": {"reason": "ContainerCreating"}})) == ""


def test_foreign_text_is_cut_to_one_line() -> None:
    assert cut("a\nb\x1b[31m  c") == "a b [31m c"
    assert len(cut("x" * 1000)) < 310
