"""What opening and closing workspaces need from the world: the time, the grants, and the pods of a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from readingroom.domain.grant import Grant
from readingroom.domain.ids import ProjectId
from readingroom.domain.workspace import WorkspaceState


class Clock(Protocol):
    """The time, with its zone.

    Each call may be later than the last, never earlier by more than the machine's correction.
    """

    def now(self) -> datetime:
        """The time in UTC."""
        ...


class CurrentGrant(Protocol):
    """The one grant version that a hub was started for.

    1. `read` gives the same grant each time: a change is a new version and a new hub.
    2. Raises `WrongSetUp` when the file is missing, no grant, or not the project's. Nothing opens then.
    """

    def read(self) -> Grant:
        """1."""
        ...


@dataclass(frozen=True, kw_only=True)
class WorkspacePod:
    """A pod in a project's workspace namespace, as the reconciler sees it: labels and images, no environment."""

    project: ProjectId  # of the namespace, not of a label
    name: str
    uid: str
    labels: Mapping[str, str]
    cut: str | None  # what is mounted at /data: an image by digest, or a claim
    image: str
    state: WorkspaceState
    started: datetime | None
    host_users: bool = True


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the cluster knows of a project's right: the grant in force and who was withdrawn since."""

    project: ProjectId
    grant: Grant | None  # None: there is none, or it cannot be read
    withdrawn: frozenset[str] = frozenset()  # handles; "*" is everybody
    retired: frozenset[str] = frozenset()  # cuts, as a pod mounts them; "*" is all


class Workspaces(Protocol):
    """The workspaces of a cluster, for closing. Nothing here can open one.

    1. `projects` lists the projects that have a workspace namespace, sorted.
    2. `known` gives the right of one project: the highest grant version present, and the withdrawals noted against it.
       An unreadable grant is None, which closes everything.
    3. `pods` lists every pod of the project's workspace namespace, whoever made it.
    4. `seal` turns the pod's label from open to closed. Repeated, nothing happens. A pod that is gone counts as sealed.
    5. `delete` asks for the end of that very pod (by uid) with grace 1 s. Repeated, nothing happens; gone is done.
    6. `withdraw` notes that handles have lost their access, until a later grant version is in force, and has admission
       refuse whatever is opened for them. It never removes a note.
    7. `retire` notes, for good, that cuts are mounted no more, and has admission refuse whatever would mount one.
    8. Raises `TryAgain` when the cluster does not answer, `Refused` when it says no. The next read sees what returned.
    """

    def projects(self) -> Sequence[ProjectId]:
        """1."""
        ...

    def known(self, project: ProjectId) -> Known:
        """2."""
        ...

    def pods(self, project: ProjectId) -> Sequence[WorkspacePod]:
        """3."""
        ...

    def seal(self, pod: WorkspacePod) -> None:
        """4."""
        ...

    def delete(self, pod: WorkspacePod) -> None:
        """5."""
        ...

    def withdraw(self, project: ProjectId, version: int, handles: frozenset[str]) -> None:
        """6."""
        ...

    def retire(self, project: ProjectId, cuts: frozenset[str]) -> None:
        """7."""
        ...
