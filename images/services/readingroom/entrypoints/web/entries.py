"""What the start page says of each project: pure, from the list of projects and the person's roles."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from typing import Final

from readingroom.contract import FRONT_DOOR_PORT, project_host
from readingroom.domain.people import Membership, Role
from readingroom.entrypoints.settings import PortalProject

ROLES: Final = {
    Role.RESEARCHER: "Researcher",
    Role.COMMITTEE: "Committee member",
    Role.CHECKER: "Output checker",
    Role.ADJUDICATOR: "Adjudicator",
    Role.DATA_MANAGER: "Data manager",
    Role.OPERATOR: "Operator",
    Role.AUDITOR: "Auditor",
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One project on the start page."""

    title: str
    id: str
    roles: tuple[str, ...]
    may: tuple[str, ...]
    ends: date | None
    days_left: int | None
    over: bool
    hub: str  # empty for who may not enter it


def entry(project: PortalProject, held: AbstractSet[Membership], today: date) -> Entry:
    """What the start page says of a project; no role, nothing to say."""
    roles = sorted(membership.role for membership in held if membership.project == project.id)
    over = project.ends is not None and project.ends < today
    enters = Role.RESEARCHER in roles
    return Entry(
        title=project.title,
        id=project.id,
        roles=tuple(ROLES[role] for role in roles),
        may=project.may if enters else (),
        ends=project.ends,
        days_left=(project.ends - today).days if project.ends and not over else None,
        over=over,
        hub=f"https://{project_host(project.id)}:{FRONT_DOOR_PORT}/" if enters and not over else "",
    )
