"""What the data access committee decided: which data a project may have, for whom, from when until when.

A decision is never edited: a change is a new version. It is a filter, not a list: `covers` says of one released file
whether it is meant. Nothing here reads a file or a clock. `data.md` section 12, `governance.md` section 5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from readingroom.domain.document import LABEL, REQUEST, Table, wrong
from readingroom.domain.errors import Refused
from readingroom.domain.ids import ProjectId, project_id
from readingroom.domain.people import USERNAME

SCHEMA: Final = "readingroom/decision/v1"
UNRECORDED: Final = "unrecorded"  # the engine of a line that says none, from before lines said it
CLINICAL: Final = "clinical"  # what a manifest's line says instead of a modality, of a file of the clinical table
INDEX: Final = "index"  # of the index of series, which only a cut has
LINKED: Final = "linked"  # the same of a file of a joined table: linked/<policy>/<file>
POLICY: Final = re.compile(r"[a-z][a-z0-9-]{1,30}")  # of policies/deid/linked
MODALITY: Final = re.compile(r"[A-Z][A-Z0-9]{1,15}")  # DICOM PS3.3 section C.7.3.1.1.1: a CS of defined terms


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One version of one project's decision, exactly as its file says it. User names are kept out of `repr`."""

    project: ProjectId
    version: int
    title: str
    request: str
    starts: datetime
    until: datetime
    members: tuple[str, ...] = field(repr=False)
    modalities: frozenset[str]
    clinical: bool = False
    linked: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        """`<project> d<version>`, for messages and records."""
        return f"{self.project} d{self.version}"


@dataclass(frozen=True, kw_only=True)
class Released:
    """One released file of a warehouse, as the manifest's line says it; every part of an image's path is a pseudonym."""

    path: str
    sha256: str
    sop_class_uid: str | None
    modality: str
    profile_sha256: str
    project: str
    engine: str = UNRECORDED  # its version

    @property
    def is_table(self) -> bool:
        """Whether it is no image but a file of a table, which has no patient, study or series of its own."""
        return self.modality in {CLINICAL, LINKED, INDEX}

    @property
    def patient(self) -> str:
        """Pseudonym of the patient."""
        return self.path.split("/")[1]

    @property
    def study(self) -> str:
        """Folder of the study: the same study UID under two patients is two studies."""
        return "/".join(self.path.split("/")[:3])

    @property
    def series(self) -> str:
        """Folder of the series."""
        return "/".join(self.path.split("/")[:4])


def covers(decision: Decision, line: Released) -> bool:
    """A decision covers an image of its own project in a modality that it names, and the tables if it says so.

    And nothing else: absent means no.
    """
    if line.modality == LINKED:
        allowed = line.path.split("/")[1] in decision.linked
    else:
        allowed = decision.clinical if line.is_table else line.modality in decision.modalities
    return line.project == decision.project and allowed


def check_can_cut(decision: Decision, now: datetime) -> None:
    """Nothing is cut for a decision that has ended. Raises `Refused`."""
    if now >= decision.until:
        raise Refused(
            what="cut",
            which=f"decision {decision.id}",
            why=f"it ended on {decision.until:%-d %B %Y}",
            next_step="ask the data access committee for a new decision",
        )


def from_document(document: object) -> Decision:
    """A decision from its document (parsed JSON).

    Raises `WrongSetUp` naming the place where the document is not a decision, `Refused` for an id that is not allowed.
    """
    root = Table(document, "decision")
    root.text("schema", re.compile(re.escape(SCHEMA)))
    data, people = root.table("data"), root.tables("members")
    decision = Decision(
        project=project_id(root.text("project", re.compile(".{1,40}"))),
        version=root.whole("version", 1, 1_000_000),
        title=root.text("title", LABEL),
        request=root.text("request", REQUEST),
        starts=root.time("from"),
        until=root.time("until"),
        members=tuple(person.text("username", USERNAME) for person in people),
        modalities=frozenset(data.texts("modalities", MODALITY)),
        clinical=data.allowed("clinical"),
        linked=frozenset(data.texts_or_none("linked", POLICY)),
    )
    for table in (root, data, *people):
        table.done()
    if decision.until <= decision.starts:
        raise wrong("decision.until", "is not after decision.from")
    if len(set(decision.members)) != len(decision.members):
        raise wrong("decision.members", "names a person twice")
    if not decision.modalities:
        raise wrong("decision", "names no modality")
    return decision
