"""Open a workspace: decide, and say what the pod may be. Nothing is started here; the hub obeys the answer."""

from __future__ import annotations

from collections.abc import Mapping

from readingroom.application.ports_workspace import Clock, CurrentGrant
from readingroom.domain.errors import ReadingRoomError
from readingroom.domain.grant import Code, Grant, NotOpened, Running, check_can_enter, check_can_open
from readingroom.domain.workspace import WorkspaceSpec, choose, spec_for


def open_workspace(
    grants: CurrentGrant, clock: Clock, handle: str, options: Mapping[str, object], running: Running
) -> WorkspaceSpec:
    """What this person's workspace may be, now.

    Raises `NotOpened`: W10 when the grant cannot be read, W04 for an unknown choice, otherwise as `check_can_open`
    says.
    """
    grant, now = _readable(grants), clock.now()
    choice = choose(grant, options)
    member = check_can_open(grant, handle, choice.size, running, now)
    return spec_for(grant, member, choice, now)


def check_may_enter(grants: CurrentGrant, clock: Clock, handle: str) -> Grant:
    """Login and each refresh ask this: the second of the two keys. The first is the portal's group, which the caller
    holds.

    Raises `NotOpened`; returns the grant.
    """
    grant = _readable(grants)
    check_can_enter(grant, handle, clock.now())
    return grant


def _readable(grants: CurrentGrant) -> Grant:
    try:
        return grants.read()
    except ReadingRoomError as error:
        raise NotOpened(
            Code.GRANT_UNREADABLE,
            which=error.which or error.what,
            why="the grant of this project cannot be read, so nothing opens",
            next_step="tell the operator",
        ) from error
