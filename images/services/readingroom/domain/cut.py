"""A cut: what one decision covers of one warehouse, said so that the same two always give the same bytes.

Counts are of distinct patients, studies, series and instances at each step. Nothing here reads a file: sizes come in.
`data.md` section 12.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from readingroom.contract import DIGEST, cut_file, cut_repository, image_reference
from readingroom.domain.access import LINKED, Decision, Released, covers
from readingroom.domain.document import HEX, LABEL, REQUEST, Table, wrong
from readingroom.domain.errors import Refused
from readingroom.domain.ids import Digest, ProjectId, project_id

RECORD: Final = "readingroom/cut/v1"  # cut.json, beside the archive
MANIFEST: Final = "readingroom/cut-manifest/v1"  # MANIFEST.json, inside it
LAYER_BYTES: Final = 256 << 20  # a node unpacks layer by layer: smaller ones cost mounts, larger ones time
MOST_LAYERS: Final = 100  # an overlay of a few hundred no longer mounts
CUT_ID: Final = re.compile(r"c-[0-9a-f]{12}")
_COUNTED: Final = ("patients", "studies", "series", "instances")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Distinct things in a set of released files."""

    patients: int
    studies: int
    series: int
    instances: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """One row of the attrition table: what is left after a step."""

    step: str
    left: Counts

    def to_document(self) -> dict[str, Any]:
        """As the record and the manifest write it."""
        return {"step": self.step, **asdict(self.left)}


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The decision a cut was made for: its number, its request, and the hash of its bytes."""

    decision: str
    request: str
    record_sha256: str


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One file as it lies in the archive, measured there."""

    line: Released
    size: int


@dataclass(frozen=True, kw_only=True)
class CutRecord:
    """What a grant needs to know of a cut, and what people want to know: `cut.json`."""

    project: ProjectId
    cut: str
    digest: Digest
    manifest_sha256: str
    ground: Ground
    counts: Counts
    attrition: tuple[Step, ...]

    @property
    def image(self) -> str:
        """The only name under which a workspace mounts it."""
        return image_reference(cut_repository(self.project), self.digest)

    def to_document(self) -> dict[str, Any]:
        """The record as JSON writes it."""
        return {
            "schema": RECORD,
            "project": self.project,
            "cut": self.cut,
            "image": self.image,
            "digest": self.digest,
            "tar": cut_file(self.digest),
            "manifest_sha256": self.manifest_sha256,
            "decision": asdict(self.ground),
            "counts": asdict(self.counts),
            "attrition": [step.to_document() for step in self.attrition],
        }


def count(lines: Iterable[Released]) -> Counts:
    """Distinct patients, studies, series and instances; a table is none of these."""
    found = [line for line in lines if not line.is_table]
    return Counts(
        patients=len({line.patient for line in found}),
        studies=len({line.study for line in found}),
        series=len({line.series for line in found}),
        instances=len(found),
    )


def covered_by(decision: Decision, lines: Sequence[Released]) -> tuple[list[Released], tuple[Step, ...]]:
    """The files that the decision covers, sorted by path, and how many images were left after each step.

    Raises `Refused` when a file is of another project, or when nothing is left.
    """
    for line in lines:
        if line.project != decision.project:
            raise Refused(
                what="cut",
                which=f"decision {decision.id}",
                why="the warehouse holds a file of another project",
                next_step=f"give the warehouse that was de-identified for {decision.project}",
            )
        if line.modality == LINKED and not covers(decision, line):
            raise Refused(
                what="cut",
                which=f"decision {decision.id}",
                why=f"it does not allow the joined table {line.path.split('/')[1]}",
                next_step="ask the data access committee for a decision that does, or cut without --linked",
            )
    covered = sorted((line for line in lines if covers(decision, line)), key=lambda line: line.path)
    names = ", ".join(sorted(decision.modalities))
    steps = (
        Step(step="in the warehouse", left=count(lines)),
        Step(step=f"modality {names}", left=count(covered)),
    )
    if all(line.is_table for line in covered):
        raise Refused(
            what="cut",
            which=f"decision {decision.id}",
            why=f"no file of the warehouse ({len(lines)} files) is covered: it allows modality {names}",
            next_step="see which modalities the warehouse has, or ask for a new decision",
        )
    return covered, steps


def in_layers(sizes: Mapping[Released, int]) -> list[list[Released]]:
    """Files in groups of whole studies, in the order of their paths; a group ends before it grows over the bound.

    A study larger than the bound is a group of its own. The bound grows with the whole, so that layers stay few.
    """
    bound = max(LAYER_BYTES, 2 * sum(sizes.values()) // MOST_LAYERS)
    studies: dict[str, list[Released]] = {}
    for line in sorted(sizes, key=lambda line: line.path):
        studies.setdefault(line.study, []).append(line)
    groups: list[list[Released]] = []
    filled = 0
    for study in studies.values():
        size = sum(sizes[line] for line in study)
        if not groups or filled + size > bound:
            groups.append([])
            filled = 0
        groups[-1].extend(study)
        filled += size
    return groups


def manifest(decision: Decision, ground: Ground, stored: Iterable[Stored], steps: Sequence[Step]) -> tuple[str, bytes]:
    """The cut's id and the bytes of its MANIFEST.json. The id is made of all the rest, so it names content."""
    files = sorted(stored, key=lambda one: one.line.path)
    document: dict[str, Any] = {
        "schema": MANIFEST,
        "project": decision.project,
        "files": [
            {
                "path": one.line.path,
                "sha256": one.line.sha256,
                "size": one.size,
                "modality": one.line.modality,
                "sop_class_uid": one.line.sop_class_uid,
            }
            for one in files
        ],
        "counts": asdict(count(one.line for one in files)),
        "attrition": [step.to_document() for step in steps],
        "grant": asdict(ground),
        "made_by": [
            {"profile_sha256": profile, "engine": engine}
            for profile, engine in sorted(
                {(one.line.profile_sha256, one.line.engine) for one in files if one.line.profile_sha256}
            )
        ],
    }
    cut = "c-" + hashlib.sha256(_canonical(document)).hexdigest()[:12]
    return cut, _canonical({**document, "cut": cut})


def from_document(document: object) -> CutRecord:
    """A record from the parsed `cut.json`.

    Raises `WrongSetUp` naming the place that is off, `Refused` for an id that is not allowed.
    """
    root = Table(document, "cut")
    root.text("schema", re.compile(re.escape(RECORD)))
    ground, steps = root.table("decision"), root.tables("attrition")
    record = CutRecord(
        project=project_id(root.text("project", re.compile(".{1,40}"))),
        cut=root.text("cut", CUT_ID),
        digest=Digest(root.text("digest", DIGEST)),
        manifest_sha256=root.text("manifest_sha256", HEX),
        ground=Ground(
            decision=ground.text("decision", LABEL),
            request=ground.text("request", REQUEST),
            record_sha256=ground.text("record_sha256", HEX),
        ),
        counts=_counts(root.table("counts"), done=True),
        attrition=tuple(Step(step=step.text("step", LABEL), left=_counts(step)) for step in steps),
    )
    for key, expected in (("image", record.image), ("tar", cut_file(record.digest))):
        if root.text(key, re.compile(".{1,200}")) != expected:
            raise wrong(f"cut.{key}", f"is not {expected}")
    for table in (root, ground, *steps):
        table.done()
    return record


def _counts(table: Table, *, done: bool = False) -> Counts:
    found = Counts(**{name: table.whole(name, 0, 1 << 53) for name in _COUNTED})
    if done:
        table.done()
    return found


def _canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
