"""Compare what runs with what grants allow, and close the rest. Nothing here can open or extend anything.

The order of an end is fixed: the network first (label), then the pod. A pod that is sealed is deleted again until it
is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from readingroom.application.ports_workspace import Clock, Known, WorkspacePod, Workspaces
from readingroom.contract import (
    LABEL_HANDLE,
    LABEL_PROJECT,
    LABEL_SEAL,
    SEAL_CLOSED,
    workspace_namespace,
)
from readingroom.domain.errors import ReadingRoomError
from readingroom.domain.grant import Code, Grant, NotOpened, check_can_enter
from readingroom.domain.ids import ProjectId
from readingroom.domain.workspace import WorkspaceState, pod_name

EVERYBODY = EVERYTHING = "*"
OVER = frozenset({WorkspaceState.STOPPED, WorkspaceState.FAILED})


@dataclass(frozen=True, kw_only=True)
class Close:
    """One workspace that must end, and why, in words for the audit line."""

    pod: WorkspacePod
    reason: str


def to_close(known: Known, pods: Sequence[WorkspacePod], now: datetime) -> list[Close]:
    """Every live pod that the project's right does not cover now, in the order given."""
    live = [pod for pod in pods if pod.state not in OVER]
    reasons = [(pod, why_not(known, pod, now)) for pod in live]
    return [Close(pod=pod, reason=reason) for pod, reason in reasons if reason]


def why_not(known: Known, pod: WorkspacePod, now: datetime) -> str:
    """Why this pod may not run; empty if it may.

    It may while its person is a member within the dates and was not withdrawn, and while what it holds (cut and image)
    is what the grant in force still gives. A newer version that gives the same lets it run: adding a member ends
    nobody's work.
    """
    if known.grant is None:
        return "the project has no readable grant"
    handle = pod.labels.get(LABEL_HANDLE, "")
    if pod.labels.get(LABEL_SEAL) == SEAL_CLOSED:
        return "it was sealed"
    if pod.labels.get(LABEL_PROJECT) != pod.project or not handle or pod.name != pod_name(handle):
        return f"it is no workspace that a hub of {workspace_namespace(pod.project)} opens"
    if known.withdrawn & {handle, EVERYBODY}:
        return "the access was withdrawn"
    return _outlived(known, known.grant, pod, handle, now)


def _outlived(known: Known, grant: Grant, pod: WorkspacePod, handle: str, now: datetime) -> str:
    try:
        check_can_enter(grant, handle, now)
    except NotOpened as refusal:
        return f"{refusal.code.value}: {refusal.why}"
    if known.retired & {pod.cut, EVERYTHING} or pod.cut != (grant.cut.image or grant.cut.claim):
        return f"{Code.CUT_REPLACED.value}: its data cut was replaced"
    if pod.image not in {image.ref for image in grant.images.values()}:
        return f"{Code.IMAGE_RETIRED.value}: its image was retired"
    return ""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What one round did to one pod. `problem` is empty when both steps were accepted."""

    close: Close
    problem: str = ""


def reconcile_project(workspaces: Workspaces, clock: Clock, project: ProjectId) -> list[Ended]:
    """One round over one project. Raises `TryAgain` or `Refused` only when the project cannot be read at all."""
    closing = to_close(workspaces.known(project), workspaces.pods(project), clock.now())
    return [close_workspace(workspaces, close) for close in closing]


def close_workspace(workspaces: Workspaces, close: Close) -> Ended:
    """Network first, then the pod.

    If the label is refused, the pod is deleted all the same: an end is never held up.
    """
    problems = []
    for step in (workspaces.seal, workspaces.delete):
        try:
            step(close.pod)
        except ReadingRoomError as error:
            problems.append(str(error))
    return Ended(close=close, problem="; ".join(problems))
