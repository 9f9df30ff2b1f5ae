"""De-identify a folder for one project: look at every file, settle conflicts between them, release what is certain.

Images and clinical records alike. Three steps: `plan` gives all answers that need a view across files, `release` writes
images, `finish` makes them count. Every input gets one receipt line. The manifest is written last; until then nothing counts
as released. The same input, profile, keys and project give the same bytes, in any order and with any number of workers.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from readingroom.application.clean_clinical import Clinical, Records, clean_clinical
from readingroom.application.ports_deid import Document, Inputs, Sheet, Task, Warehouse, Workers
from readingroom.domain.access import CLINICAL
from readingroom.domain.clinical.imaged import Bearer, Imaged
from readingroom.domain.deid.conflicts import Marks, conflicts
from readingroom.domain.deid.outcome import Outcome, Reason, Verdict, turned_away
from readingroom.domain.deid.shards import Image
from readingroom.domain.ids import ProjectId
from readingroom.domain.opt_out import NOBODY, Names, OptOuts, barred, names_from

Progress = Callable[[str, int, int], None]
ENGINE: Final = "2"  # raised with any change to what comes out of the same input: a bad version's files are found by it


@dataclass(frozen=True, kw_only=True)
class Run:
    """Whose run this is, and by which rules."""

    project: ProjectId
    profile: str
    profile_sha256: str


@dataclass(frozen=True, kw_only=True)
class World:
    """What a run works with."""

    inputs: Inputs
    workers: Workers
    warehouse: Warehouse
    clinical: Clinical
    opt_outs: OptOuts = NOBODY  # by this project's tokens: see `Pseudonyms.name`
    progress: Progress = lambda _stage, _done, _all: None


@dataclass(frozen=True, kw_only=True)
class Sheets:
    """What is told of a run on the identified side, where somebody asked for it."""

    receipt: Sheet | None = None
    explain: Sheet | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is known before an image is released: all inputs, verdicts, what remains to do, the clinical table and its lines."""

    paths: Sequence[str]
    verdicts: Mapping[str, Verdict]
    images: Sequence[Image]
    tables: Mapping[str, bytes]
    manifest: Sequence[Document]


@dataclass(frozen=True, kw_only=True)
class Acted:
    """What became of an image: its verdict, its line of the manifest if it was released, and the explanation."""

    verdict: Verdict
    line: Document | None = None
    explained: Sequence[Document] = ()


@dataclass
class _State:
    """What is known so far: verdicts by input, what images say of themselves and of their patients."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    marks: dict[str, Marks] = field(default_factory=dict)
    names: dict[str, Names] = field(default_factory=dict)
    bearers: set[Bearer] = field(default_factory=set)


def deidentify(run: Run, world: World, sheets: Sheets) -> Counter[tuple[str, str]]:
    """Counts by outcome and reason. Raises `WrongSetUp` or `TryAgain` when the surroundings fail, never for a file."""
    planned = plan(run, world)
    return finish(planned, release(run, world, planned.images), world.warehouse, sheets)


def plan(run: Run, world: World) -> Plan:
    """All that needs a view across files: who contradicts whom, what is the same, who opted out, the clinical table."""
    paths = world.inputs.files()
    state = _State()
    looks = _look(paths, world, state)
    _turn_away(world.opt_outs, state, looks)
    held = conflicts(state.marks)
    for path, reason in held.items():
        state.verdicts.setdefault(path, Verdict(outcome=Outcome.HELD, reason=reason))
    records = Records(
        looks={path: looks[path] for path in paths if "sort" in looks.get(path, ())},
        bearers=state.bearers,
        doubtful=frozenset(
            state.marks[path].patient for path, reason in held.items() if reason is Reason.IDENTITY_CONFLICT
        ),
    )
    images = _images([path for path in paths if path in state.marks and path not in state.verdicts], looks)
    cleaned = clean_clinical(records, world.workers, world.clinical, world.progress)
    tables = world.clinical.tables.files(tuple(world.clinical.policy.table()), cleaned.rows) if cleaned.rows else {}
    by_its_own_rules = replace(run, profile=CLINICAL, profile_sha256=world.clinical.policy.sha256)
    made = {"sop_class_uid": None, "modality": CLINICAL, "actions": {"clean": len(cleaned.rows)}}
    return Plan(
        paths=paths,
        verdicts=state.verdicts | cleaned.verdicts,
        images=images,
        tables=tables,
        manifest=[
            _line(by_its_own_rules, place, {**made, "sha256": hashlib.sha256(content).hexdigest()})
            for place, content in tables.items()
        ],
    )


def release(run: Run, world: World, images: Sequence[Image], *, sure: bool = False) -> Iterator[Acted]:
    """One output per image; told in the order of the images, whichever worker is done first.

    `sure`: time has passed since the plan, so a file whose bytes are not those that were looked at is rejected.
    """
    tasks = (
        Task(path=image.paths[0], ask={"do": "release", **({"sha256": image.content} if sure else {})}, staged=number)
        for number, image in enumerate(images)
    )
    waiting: dict[int, Acted] = {}
    due = 0
    for number, done in enumerate(world.workers.run(tasks), 1):
        staged = done.task.staged or 0
        place, explained = images[staged].place, done.answer.get("explained", ())
        if done.answer["outcome"] == Outcome.RELEASED:
            world.warehouse.commit(staged, place)
            verdict = Verdict(outcome=Outcome.RELEASED, output=place)
            waiting[staged] = Acted(verdict=verdict, line=_line(run, place, done.answer), explained=explained)
        else:
            world.warehouse.discard(staged)
            waiting[staged] = Acted(verdict=turned_away(done.answer), explained=explained)
        while due in waiting:
            yield waiting.pop(due)
            due += 1
        world.progress("de-identified", number, len(images))


def finish(planned: Plan, acted: Iterable[Acted], warehouse: Warehouse, sheets: Sheets) -> Counter[tuple[str, str]]:
    """What was done to each image of the plan, in that order, counts from now on, and nothing else does."""
    verdicts, manifest = dict(planned.verdicts), list(planned.manifest)
    for image, done in zip(planned.images, acted, strict=True):
        first, *others = image.paths
        verdicts[first] = done.verdict
        verdicts |= dict.fromkeys(others, done.verdict.of_the_same())
        if done.line:
            manifest.append(done.line)
        _explain(sheets.explain, first, done.explained)
    for place, content in planned.tables.items():
        warehouse.put(place, content)
    warehouse.finish(sorted(manifest, key=lambda line: line["path"]))
    if sheets.explain:
        sheets.explain.close()
    _receipt(planned.paths, verdicts, sheets.receipt)
    return Counter((verdict.outcome, verdict.reason or "") for verdict in verdicts.values())


def _look(paths: Sequence[str], world: World, state: _State) -> dict[str, Document]:
    """Pass 1: what each file says of itself, or why it goes no further."""
    looks: dict[str, Document] = {}
    tasks = (Task(path=path, ask={"do": "look", "sort": world.clinical.told(path).sort}) for path in paths)
    for number, done in enumerate(world.workers.run(tasks), 1):
        if "names" in done.answer:
            state.names[done.task.path] = names_from(done.answer["names"])
        if "alias" in done.answer:
            state.bearers.add(_bearer(done.answer))
        # A file that is held already contradicts others all the same.
        if "instance" in done.answer and done.answer["outcome"] != Outcome.REJECTED:
            state.marks[done.task.path] = _marks(done.answer)
        if done.answer["outcome"] == Outcome.RELEASED:
            looks[done.task.path] = done.answer
        else:
            state.verdicts[done.task.path] = turned_away(done.answer)
        world.progress("looked at", number, len(paths))
    return looks


def _turn_away(opt_outs: OptOuts, state: _State, looks: dict[str, Document]) -> None:
    """Who opted out is refused, whatever else is to be said of their files; about whom nobody asked is held.

    What their files say still counts against others, so that nothing of anybody else comes out otherwise than before.
    """
    for path, reason in barred(state.names, opt_outs).items():
        found = state.verdicts.get(path)
        if reason is Reason.OPTED_OUT:
            state.verdicts[path] = Verdict(outcome=Outcome.REJECTED, reason=reason)
        elif found is None or found.outcome == Outcome.HELD:
            state.verdicts[path] = Verdict(outcome=Outcome.HELD, reason=reason)
        looks.pop(path, None)


def _bearer(look: Document) -> Bearer:
    says = Imaged(age=look["age"], sex=look["sex"])
    return Bearer(patient=look["patient"], alias=look["alias"], days=look["days"], says=says)


def _marks(look: Document) -> Marks:
    return Marks(
        content=look["sha256"],
        instance=look["instance"],
        study=look["study"],
        patient=look["patient"],
        born=look["born"],
    )


def _images(paths: Sequence[str], looks: Mapping[str, Document]) -> list[Image]:
    """Files of the same bytes are one image; the first of them stands for all."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(looks[path]["sha256"], []).append(path)
    return [
        Image(
            number=number,
            paths=tuple(same),
            content=content,
            size=looks[same[0]]["size"],
            patient=looks[same[0]]["patient"],
            place=_place(looks[same[0]]),
        )
        for number, (content, same) in enumerate(groups.items())
    ]


def _place(look: Document) -> str:
    return f"images/{look['patient']}/{look['study']}/{look['series']}/{look['instance']}.dcm"


def _line(run: Run, place: str, answer: Document) -> dict[str, Any]:
    return {
        "path": place,
        "sha256": answer["sha256"],
        "sop_class_uid": answer["sop_class_uid"],
        "modality": answer["modality"],
        "profile": run.profile,
        "profile_sha256": run.profile_sha256,
        "actions": answer["actions"],
        "project": run.project,
        "engine": ENGINE,
    }


def _explain(sheet: Sheet | None, path: str, explained: Sequence[Document]) -> None:
    if sheet:
        for line in explained:
            sheet.line({"input": path, **line})


def _receipt(paths: Sequence[str], verdicts: Mapping[str, Verdict], sheet: Sheet | None) -> None:
    if sheet is None:
        return
    for path in paths:
        verdict = verdicts[path]
        sheet.line({"input": path, "outcome": verdict.outcome, "reason": verdict.reason, "output": verdict.output})
    sheet.close()
