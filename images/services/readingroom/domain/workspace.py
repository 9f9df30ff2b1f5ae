"""A workspace: what one person's pod may be, worked out from grant, choice and time; and the states it passes through.

The grant and the handle are the only sources: nothing a person typed goes further than a look-up in the grant, and
nothing is remembered from an earlier start. `workspaces.md` sections 5 and 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from readingroom.contract import object_name
from readingroom.domain.grant import Code, Gpu, Grant, Image, Member, NotOpened, Size, check_can_enter
from readingroom.domain.ids import Handle, ProjectId

KEYS = ("size", "image")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a person chose, looked up in the grant: no typed string is left in it."""

    image: Image
    size: Size
    image_name: str
    size_name: str


def choose(grant: Grant, options: Mapping[str, object]) -> Choice:
    """A choice is a granted size and a granted image; what is not chosen is the grant's default.

    Form values come as lists of one, REST values plain. Raises `NotOpened` W04 for any other key, type or value.
    """
    names = {"size": grant.default_size, "image": grant.default_image}
    for key, given in options.items():
        value = given[0] if isinstance(given, list) and len(given) == 1 else given
        if key not in KEYS or not isinstance(value, str):
            raise _unknown(grant, str(key))
        names[key] = value
    if names["size"] not in grant.sizes or names["image"] not in grant.images:
        raise _unknown(grant, "size" if names["size"] not in grant.sizes else "image")
    return Choice(
        image=grant.images[names["image"]],
        size=grant.sizes[names["size"]],
        image_name=names["image"],
        size_name=names["size"],
    )


def _unknown(grant: Grant, key: str) -> NotOpened:
    # The given value is not repeated: it may be anything.
    return NotOpened(
        Code.UNKNOWN_CHOICE,
        which=f"grant {grant.id}: {key if key in KEYS else 'an unknown option'}",
        why="this size or image is not one that the project may use",
        next_step="choose one of those listed on the start page",
    )


@dataclass(frozen=True, kw_only=True)
class WorkspaceSpec:
    """All that a workspace pod may be.

    `hub_config/pod.py` writes it as pod fields and adds nothing of its own judgement.
    """

    project: ProjectId
    handle: Handle
    grant_version: int
    tier: str
    title: str
    cut_id: str
    cut_image: str | None
    cut_claim: str | None
    image: str
    cpu: float
    memory_gib: int
    scratch_gib: int
    gpu: Gpu | None
    pool: str
    runtime_class: str | None
    seconds: int  # until the kubelet ends it
    ends: datetime

    @property
    def name(self) -> str:
        """The pod's name."""
        return pod_name(self.handle)

    @property
    def home_claim(self) -> str:
        """The claim mounted at `/home/researcher`, made with the membership."""
        return object_name("home", self.handle)

    @property
    def outbox_claim(self) -> str:
        """The claim mounted at `/outbox`, made with the membership."""
        return object_name("outbox", self.handle)


def pod_name(handle: str) -> str:
    """The one name that a person's workspace pod has in a project."""
    return object_name("ws", handle)


def ends_at(grant: Grant, member: Member, now: datetime) -> datetime:
    """A workspace ends at its greatest age, or with the membership, or with the grant: whichever is first."""
    return min(now + timedelta(hours=grant.limits.max_hours), grant.ends_for(member))


def spec_for(grant: Grant, member: Member, choice: Choice, now: datetime) -> WorkspaceSpec:
    """The pod that grant and choice allow, with its own end in it.

    The caller has passed `check_can_open`. Raises `NotOpened` W02 when less than a second is left.
    """
    ends = ends_at(grant, member, now)
    seconds = int((ends - now).total_seconds())
    if seconds < 1:
        check_can_enter(grant, member.handle, ends)  # says which of the two ends it is
    return WorkspaceSpec(
        project=grant.project,
        handle=member.handle,
        grant_version=grant.version,
        tier=grant.tier,
        title=grant.title,
        cut_id=grant.cut.id,
        cut_image=grant.cut.image,
        cut_claim=grant.cut.claim,
        image=choice.image.ref,
        cpu=choice.size.cpu,
        memory_gib=choice.size.memory_gib,
        scratch_gib=choice.size.scratch_gib,
        gpu=choice.size.gpu,
        pool=grant.pool,
        runtime_class=grant.runtime_class,
        seconds=seconds,
        ends=ends,
    )


class WorkspaceState(Enum):
    """STARTING → RUNNING → STOPPING → STOPPED, and the ways out of it."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    SEALED = "sealed"
    STOPPED = "stopped"
    FAILED = "failed"


class WorkspaceEvent(Enum):
    """What can be seen of a pod from outside."""

    READY = "ready"  # its port answers
    DELETED = "deleted"  # somebody asked for its end
    CLOSED = "closed"  # its label says that the network is cut
    GONE = "gone"  # the record is gone or its process has ended
    BROKEN = "broken"  # it never became ready


_S, _E = WorkspaceState, WorkspaceEvent
TRANSITIONS: Mapping[tuple[WorkspaceState, WorkspaceEvent], WorkspaceState] = {
    (_S.STARTING, _E.READY): _S.RUNNING,
    (_S.STARTING, _E.DELETED): _S.STOPPING,
    (_S.STARTING, _E.CLOSED): _S.SEALED,
    (_S.STARTING, _E.GONE): _S.FAILED,
    (_S.STARTING, _E.BROKEN): _S.FAILED,
    (_S.RUNNING, _E.DELETED): _S.STOPPING,
    (_S.RUNNING, _E.CLOSED): _S.SEALED,
    (_S.RUNNING, _E.GONE): _S.STOPPED,
    (_S.STOPPING, _E.CLOSED): _S.SEALED,
    (_S.STOPPING, _E.GONE): _S.STOPPED,
    (_S.SEALED, _E.GONE): _S.STOPPED,
}


def after(state: WorkspaceState, event: WorkspaceEvent) -> WorkspaceState:
    """The state after an event; one that does not apply changes nothing. A sealed workspace never opens again."""
    return TRANSITIONS.get((state, event), state)
