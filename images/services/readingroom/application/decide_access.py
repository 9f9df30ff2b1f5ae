"""Write the next version of a decision, as a document. The caller writes the file; nothing here touches an old one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from readingroom.domain.access import SCHEMA
from readingroom.domain.document import written
from readingroom.domain.errors import Refused
from readingroom.domain.ids import ProjectId


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the committee answered to one access request."""

    project: ProjectId
    title: str
    request: str
    until: datetime
    modalities: Sequence[str]
    clinical: bool
    linked: Sequence[str] = ()
    members: Sequence[str] = field(repr=False)


def decision_document(answer: Answer, version: int, now: datetime) -> dict[str, Any]:
    """The document of version `version`, in force from `now`. Raises `Refused` when it would be over before it begins."""
    if answer.until <= now:
        raise Refused(
            what="decision",
            which=f"{answer.project} d{version}",
            why="its end lies in the past",
            next_step="give a later end",
        )
    return {
        "schema": SCHEMA,
        "project": answer.project,
        "version": version,
        "title": answer.title,
        "request": answer.request,
        "from": written(now),
        "until": written(answer.until),
        "members": [{"username": name} for name in sorted(answer.members)],
        "data": {
            "modalities": sorted(answer.modalities),
            **({"clinical": True} if answer.clinical else {}),
            **({"linked": sorted(answer.linked)} if answer.linked else {}),
        },
    }
