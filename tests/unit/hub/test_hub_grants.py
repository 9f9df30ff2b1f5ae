"""Opening and closing, as a grid restated by hand: who, when, and under which grant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest

from readingroom.application.open_workspace import open_workspace
from readingroom.application.ports_workspace import Known, WorkspacePod
from readingroom.application.reconcile import reconcile_project, to_close
from readingroom.domain.errors import ReadingRoomError, Refused, TryAgain, WrongSetUp
from readingroom.domain.grant import Grant, GrantState, NotOpened, Running, state_at
from readingroom.domain.grant_document import from_document
from readingroom.domain.ids import ProjectId
from readingroom.domain.workspace import TRANSITIONS, WorkspaceEvent, WorkspaceState, after
from tests.unit.hub.grants import ADA, BEN, CUT, DIGEST, EVE, IMAGE, NOW, document

DEMO = ProjectId("demo")
DAY = timedelta(days=1)
ALONE = Running()
# Ada is a member for 30 days, Ben for an hour, Eve never; the grant runs from yesterday for 60 days.
MOMENTS = {
    "before": -2 * DAY,
    "first": -DAY,
    "now": timedelta(),
    "hour": timedelta(hours=1),
    "month": 30 * DAY,
    "end": 60 * DAY,
}
MAY = {
    (ADA, "first"), (ADA, "now"), (ADA, "hour"),
    (BEN, "first"), (BEN, "now"),
}  # fmt: skip


@dataclass
class Clock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


@dataclass
class Grants:
    grant: Grant | None = field(default_factory=lambda: from_document(document()))

    def read(self) -> Grant:
        if self.grant is None:
            raise WrongSetUp(what="grant file", which="v1.json", why="it is no JSON", next_step="write it again")
        return self.grant


def code(handle: str, at: datetime, running: Running = ALONE, **changes: Any) -> str:
    try:
        open_workspace(Grants(from_document(document(**changes))), Clock(at), handle, {}, running)
    except NotOpened as refused:
        return refused.code.value
    return "opens"


@pytest.mark.parametrize(("handle", "moment"), list(product((ADA, BEN, EVE), MOMENTS)))
def test_who_may_open_when(handle: str, moment: str) -> None:
    found = code(handle, NOW + MOMENTS[moment])
    if (handle, moment) in MAY:
        assert found == "opens"
    elif moment in {"before", "end"}:
        assert found == "W02"  # the grant's own dates come first: nobody learns who is a member of a closed project
    else:
        assert found == ("W01" if handle == EVE else "W02")


@pytest.mark.parametrize(
    ("running", "expected"),
    [(Running(workspaces=1), "opens"), (Running(workspaces=2), "W06"), (Running(gpus=9), "opens")],
)
def test_the_projects_limit_counts_the_others(running: Running, expected: str) -> None:
    assert code(ADA, NOW, running) == expected


@pytest.mark.parametrize(
    ("hours", "gpus", "busy", "expected"), [(0, 1, 0, "W09"), (5, 1, 1, "W08"), (5, 0, 0, "W08"), (5, 1, 0, "opens")]
)
def test_a_gpu_needs_hours_and_a_free_device(hours: int, gpus: int, busy: int, expected: str) -> None:
    sizes = {"small": {"cpu": 1, "memory_gib": 2, "scratch_gib": 2, "gpu": {"resource": "nvidia.com/gpu", "count": 1}}}
    limits = {"running": 2, "gpus": gpus, "gpu_hours": hours, "idle_minutes": 60, "max_hours": 12}
    assert code(ADA, NOW, Running(gpus=busy), sizes=sizes, limits=limits) == expected


def test_a_grant_that_cannot_be_read_opens_nothing() -> None:
    with pytest.raises(NotOpened) as refused:
        open_workspace(Grants(None), Clock(), ADA, {}, Running())
    assert refused.value.code.value == "W10"


def test_a_grant_without_members_is_revoked_and_a_newer_one_supersedes() -> None:
    assert code(ADA, NOW, members=[]) == "W02"
    assert state_at(from_document(document(members=[])), NOW) is GrantState.REVOKED
    assert state_at(from_document(document()), NOW, latest=2) is GrantState.SUPERSEDED


def running_pod(handle: str = ADA, **changes: object) -> WorkspacePod:
    labels = {"readingroom/project": "demo", "readingroom/handle": handle, "readingroom/seal": "open"}
    found = WorkspacePod(
        project=DEMO,
        name=f"ws-{handle}",
        uid="u",
        labels=labels,
        cut=CUT,
        image=IMAGE,
        state=WorkspaceState.RUNNING,
        started=NOW,
        host_users=True,
    )
    return replace(found, **changes)  # type: ignore[arg-type]  # fields by name


def known(withdrawn: frozenset[str] = frozenset(), retired: frozenset[str] = frozenset(), **changes: Any) -> Known:
    return Known(project=DEMO, grant=from_document(document(**changes)), withdrawn=withdrawn, retired=retired)


def test_a_covered_workspace_runs_on_also_under_a_newer_grant_that_gives_the_same() -> None:
    assert to_close(known(version=2), [running_pod()], NOW) == []


OTHER = DIGEST.replace("1", "9")
ENDS = {
    "no grant": (Known(project=DEMO, grant=None, withdrawn=frozenset()), running_pod(), "no readable grant"),
    "not a member": (known(), running_pod(EVE), "W01"),
    "withdrawn": (known(frozenset({ADA})), running_pod(), "withdrawn"),
    "all withdrawn": (known(frozenset({"*"})), running_pod(), "withdrawn"),
    "another cut": (known(), running_pod(cut=f"rr.local/cut-demo@{OTHER}"), "W03"),
    "a retired cut": (known(retired=frozenset({CUT})), running_pod(), "W03"),
    "all cuts retired": (known(retired=frozenset({"*"})), running_pod(), "W03"),
    "no cut": (known(), running_pod(cut=None), "W03"),
    "another image": (known(), running_pod(image=f"rr.local/workspace-cpu@{OTHER}"), "W05"),
    "sealed": (known(), running_pod(labels={"readingroom/seal": "closed"}), "sealed"),
    "no handle": (known(), running_pod(labels={"readingroom/project": "demo"}), "no workspace"),
    "another project's label": (
        known(),
        running_pod(labels={"readingroom/project": "other", "readingroom/handle": ADA}),
        "no workspace",
    ),
    "a name that is not the handle's": (known(), running_pod(name=f"ws-{BEN}"), "no workspace"),
    "revoked": (known(members=[]), running_pod(), "W02"),
}


@pytest.mark.parametrize("name", sorted(ENDS))
def test_what_ends_a_workspace(name: str) -> None:
    right, pod, reason = ENDS[name]
    closing = to_close(right, [pod], NOW)
    assert [close.pod for close in closing] == [pod]
    assert reason in closing[0].reason


@pytest.mark.parametrize("moment", sorted(MOMENTS))
@pytest.mark.parametrize("handle", [ADA, BEN])
def test_a_workspace_runs_exactly_as_long_as_it_could_be_opened(handle: str, moment: str) -> None:
    runs = not to_close(known(), [running_pod(handle)], NOW + MOMENTS[moment])
    assert runs == ((handle, moment) in MAY)


@pytest.mark.parametrize("state", [WorkspaceState.STOPPED, WorkspaceState.FAILED])
def test_what_is_over_is_left_alone(state: WorkspaceState) -> None:
    assert to_close(known(members=[]), [running_pod(state=state)], NOW) == []


@dataclass
class Cluster:
    """Workspaces in memory; the named steps fail."""

    fails: dict[str, ReadingRoomError] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    right: Known = field(default_factory=lambda: known(members=[]))

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name in self.fails:
            raise self.fails[name]

    def projects(self) -> Sequence[ProjectId]:
        return [DEMO]

    def known(self, project: ProjectId) -> Known:
        self._step("known")
        return self.right

    def pods(self, project: ProjectId) -> Sequence[WorkspacePod]:
        return [running_pod()]

    def seal(self, pod: WorkspacePod) -> None:
        self._step("seal")

    def delete(self, pod: WorkspacePod) -> None:
        self._step("delete")

    def withdraw(self, project: ProjectId, version: int, handles: frozenset[str]) -> None:
        self._step("withdraw")

    def retire(self, project: ProjectId, cuts: frozenset[str]) -> None:
        self._step("retire")


def test_the_network_is_cut_before_the_pod_is_deleted() -> None:
    cluster = Cluster()
    ended = reconcile_project(cluster, Clock(), DEMO)
    assert cluster.steps == ["known", "seal", "delete"]
    assert [end.problem for end in ended] == [""]


def test_a_refused_label_holds_up_no_end_and_is_said() -> None:
    refused = Refused(what="cluster", which="pod", why="no", next_step="check")
    cluster = Cluster({"seal": refused})
    (ended,) = reconcile_project(cluster, Clock(), DEMO)
    assert cluster.steps == ["known", "seal", "delete"]
    assert "no" in ended.problem


def test_a_project_that_cannot_be_read_closes_nothing() -> None:
    cluster = Cluster({"known": TryAgain(what="cluster", why="away", next_step="wait")})
    with pytest.raises(TryAgain):
        reconcile_project(cluster, Clock(), DEMO)
    assert cluster.steps == ["known"]


ALIVE = {WorkspaceState.STARTING, WorkspaceState.RUNNING, WorkspaceState.STOPPING, WorkspaceState.SEALED}


@pytest.mark.parametrize(("state", "event"), list(product(WorkspaceState, WorkspaceEvent)))
def test_a_workspace_never_comes_back(state: WorkspaceState, event: WorkspaceEvent) -> None:
    then = after(state, event)
    if state not in ALIVE:
        assert then is state
    if state is WorkspaceState.SEALED:
        assert then in {WorkspaceState.SEALED, WorkspaceState.STOPPED}
    if state is WorkspaceState.STOPPING:
        assert then is not WorkspaceState.RUNNING
    assert ((state, event) in TRANSITIONS) == (then is not state or (state, event) in TRANSITIONS)
