"""A grant: the right that follows from one decision, until when, and who may use it.

A grant is never edited: a change is a new version. It says what may be opened, not what is open. Nothing here reads a
file or a clock: the document comes parsed, the time as an argument. `workspaces.md` section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from readingroom.domain.errors import Refused
from readingroom.domain.ids import Handle, ProjectId


class Code(Enum):
    """Why a workspace does not open, as the person reads it. `workspaces.md` section 15."""

    NOT_A_MEMBER = "W01"
    ENDED = "W02"
    CUT_REPLACED = "W03"
    UNKNOWN_CHOICE = "W04"
    IMAGE_RETIRED = "W05"
    RUNNING_LIMIT = "W06"
    NO_ROOM = "W07"
    GPUS_BUSY = "W08"
    GPU_HOURS_SPENT = "W09"
    GRANT_UNREADABLE = "W10"
    REFUSED_BY_PLATFORM = "W11"


class NotOpened(Refused):
    """No workspace: a code, a sentence for the person (`why`, `next_step`) and an id for the operator (`which`)."""

    def __init__(self, code: Code, *, which: str, why: str, next_step: str) -> None:
        super().__init__(what=f"workspace ({code.value})", which=which, why=why, next_step=next_step)
        self.code = code


class GrantState(Enum):
    """Where a grant stands now. Only ACTIVE mounts data; the others differ in what a person is told."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One person, by handle, and the end of that person's access."""

    handle: Handle
    until: datetime


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The approved subset: an image named by digest, or the claim of a large one; exactly one of the two."""

    id: str
    image: str | None
    claim: str | None
    manifest_sha256: str


@dataclass(frozen=True, kw_only=True)
class Image:
    """One environment a person may choose, named by digest."""

    ref: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """Whole devices of one kind."""

    resource: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Size:
    """What one workspace may use."""

    cpu: float
    memory_gib: int
    scratch_gib: int
    gpu: Gpu | None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What all workspaces of the project may use together, and how long one may live."""

    running: int
    gpus: int
    gpu_hours: int
    idle_minutes: int
    max_hours: int


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One version of one project's right, exactly as the grant file says it."""

    project: ProjectId
    version: int
    title: str
    tier: str
    request: str
    starts: datetime
    until: datetime
    members: tuple[Member, ...]
    cut: Cut
    images: dict[str, Image]
    sizes: dict[str, Size]
    limits: Limits
    default_image: str
    default_size: str
    home_gib: int
    outbox_gib: int
    pool: str
    runtime_class: str | None

    @property
    def id(self) -> str:
        """`<project> v<version>`, for messages and records."""
        return f"{self.project} v{self.version}"

    def member(self, handle: str) -> Member | None:
        """The member of that handle, or None."""
        return next((member for member in self.members if member.handle == handle), None)

    def ends_for(self, member: Member) -> datetime:
        """A member's access ends with the membership or with the grant, whichever is first."""
        return min(member.until, self.until)


def state_at(grant: Grant, now: datetime, *, latest: int | None = None) -> GrantState:
    """What a grant is at a time. `latest` is the highest version known of the project, when the caller knows one.

    A grant without members gives nobody anything: that is how a revocation is written.
    """
    if latest is not None and latest > grant.version:
        return GrantState.SUPERSEDED
    if not grant.members:
        return GrantState.REVOKED
    if now >= grant.until:
        return GrantState.EXPIRED
    return GrantState.PENDING if now < grant.starts else GrantState.ACTIVE


@dataclass(frozen=True, kw_only=True)
class Running:
    """What already runs in the project, the asking person's own workspace left out."""

    workspaces: int = 0
    gpus: int = 0


_REASON = {
    GrantState.PENDING: "access to {project} begins on {starts:%-d %B %Y}",
    GrantState.EXPIRED: "access to {project} ended on {until:%-d %B %Y}",
    GrantState.REVOKED: "access to {project} was withdrawn",
    GrantState.SUPERSEDED: "the grant of {project} was replaced by a newer one",
}


def check_can_enter(grant: Grant, handle: str, now: datetime) -> Member:
    """Only a member, within the dates of grant and membership, may be in a project's workspaces.

    Raises `NotOpened` W01 or W02; returns the member.
    """
    state = state_at(grant, now)
    if state is not GrantState.ACTIVE:
        raise NotOpened(
            Code.ENDED,
            which=f"grant {grant.id} is {state.name}",
            why=_REASON[state].format(project=grant.project, starts=grant.starts, until=grant.until),
            next_step="ask the project lead for an extension",
        )
    member = grant.member(handle)
    if member is None:
        raise NotOpened(
            Code.NOT_A_MEMBER,
            which=f"grant {grant.id}",
            why=f"you are not a member of {grant.project}",
            next_step="ask the project lead to add you",
        )
    if now >= member.until:
        raise NotOpened(
            Code.ENDED,
            which=f"grant {grant.id}, {handle}",
            why=f"your access to {grant.project} ended on {member.until:%-d %B %Y}",
            next_step="ask the project lead for an extension",
        )
    return member


def check_can_open(grant: Grant, handle: str, size: Size, running: Running, now: datetime) -> Member:
    """A member may open a workspace of a granted size while the project is within its limits.

    The caller has looked the size up in this grant. Raises `NotOpened` W01, W02, W06, W08 or W09; returns the member.
    """
    member = check_can_enter(grant, handle, now)
    if running.workspaces >= grant.limits.running:
        raise NotOpened(
            Code.RUNNING_LIMIT,
            which=f"grant {grant.id}: {running.workspaces} of {grant.limits.running} are running",
            why=f"all workspaces that {grant.project} may run at once are in use",
            next_step="wait until a colleague stops theirs, or ask the project lead for a higher limit",
        )
    if size.gpu is not None and grant.limits.gpu_hours <= 0:
        raise NotOpened(
            Code.GPU_HOURS_SPENT,
            which=f"grant {grant.id}",
            why=f"{grant.project} has no GPU hours",
            next_step="choose a size without GPU, or ask the data access committee for hours",
        )
    if size.gpu is not None and running.gpus + size.gpu.count > grant.limits.gpus:
        raise NotOpened(
            Code.GPUS_BUSY,
            which=f"grant {grant.id}: {running.gpus} of {grant.limits.gpus} are in use",
            why=f"the GPUs of {grant.project} are in use",
            next_step="choose a size without GPU, or wait until a colleague stops theirs",
        )
    return member


def can_open(grant: Grant, handle: str, size: Size, running: Running, now: datetime) -> bool:
    """Whether `check_can_open` would pass."""
    try:
        check_can_open(grant, handle, size, running, now)
    except NotOpened:
        return False
    return True
