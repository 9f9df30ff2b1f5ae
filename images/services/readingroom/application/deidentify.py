"""De-identify a folder for one project: look at every file, settle conflicts between them, release what is certain.

Images and clinical records alike. Two passes, because some answers need a view across files. Every input gets one receipt
line. The manifest is written last; until then nothing counts as released. The same input, profile, keys and project give
the same bytes, in any order and with any number of workers.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from readingroom.application.clean_clinical import Clinical, Records, clean_clinical
from readingroom.application.ports_deid import Document, Inputs, Sheet, Task, Warehouse, Workers
from readingroom.domain.access import CLINICAL
from readingroom.domain.clinical.imaged import Bearer, Imaged
from readingroom.domain.deid.conflicts import Marks, conflicts
from readingroom.domain.deid.outcome import Outcome, Reason, Verdict, turned_away
from readingroom.domain.ids import ProjectId
from readingroom.domain.opt_out import NOBODY, Names, OptOuts, barred, names_from

Progress = Callable[[str, int, int], None]
ENGINE: Final = "1"  # raised with any change to what comes out of the same input: a bad version's files are found by it


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
    receipt: Sheet | None = None
    explain: Sheet | None = None
    progress: Progress = lambda _stage, _done, _all: None


@dataclass
class _State:
    """What is known so far: verdicts by input, what images say of themselves and of their patients, manifest lines by output."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    marks: dict[str, Marks] = field(default_factory=dict)
    names: dict[str, Names] = field(default_factory=dict)
    bearers: set[Bearer] = field(default_factory=set)
    manifest: dict[str, Document] = field(default_factory=dict)


def deidentify(run: Run, world: World) -> Counter[tuple[str, str]]:
    """Counts by outcome and reason. Raises `WrongSetUp` or `TryAgain` when the surroundings fail, never for a file."""
    paths = world.inputs.files()
    state = _State()
    looks = _look(paths, world, state)
    _turn_away(world.opt_outs, state, looks)
    held = conflicts(state.marks)
    for path, reason in held.items():
        state.verdicts.setdefault(path, Verdict(outcome=Outcome.HELD, reason=reason))
    twins = _twins([path for path in paths if path in state.marks and path not in state.verdicts], state.marks)
    _release(run, world, state, looks, [first for first, *_ in twins])
    for first, *others in twins:
        state.verdicts |= dict.fromkeys(others, state.verdicts[first].of_the_same())
    records = Records(
        looks={path: looks[path] for path in paths if "sort" in looks.get(path, ())},
        bearers=state.bearers,
        doubtful=frozenset(
            state.marks[path].patient for path, reason in held.items() if reason is Reason.IDENTITY_CONFLICT
        ),
    )
    _clean(run, world, state, records)
    world.warehouse.finish([state.manifest[place] for place in sorted(state.manifest)])
    if world.explain:
        world.explain.close()
    _receipt(paths, state, world.receipt)
    return Counter((verdict.outcome, verdict.reason or "") for verdict in state.verdicts.values())


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


def _twins(paths: Sequence[str], marks: Mapping[str, Marks]) -> list[list[str]]:
    """Files of the same bytes, together; the first of each stands for them."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(marks[path].content, []).append(path)
    return list(groups.values())


def _release(run: Run, world: World, state: _State, looks: Mapping[str, Document], paths: Sequence[str]) -> None:
    """Pass 2: one output per content. Explained in the order of the inputs, whichever worker is done first."""
    tasks = (Task(path=path, ask={"do": "release"}, staged=number) for number, path in enumerate(paths))
    explained: dict[int, tuple[str, Sequence[Document]]] = {}
    due = 0
    for number, done in enumerate(world.workers.run(tasks), 1):
        path, staged = done.task.path, done.task.staged or 0
        if done.answer["outcome"] == Outcome.RELEASED:
            place = _place(looks[path])
            world.warehouse.commit(staged, place)
            state.verdicts[path] = Verdict(outcome=Outcome.RELEASED, output=place)
            state.manifest[place] = _line(run, place, done.answer)
        else:
            world.warehouse.discard(staged)
            state.verdicts[path] = turned_away(done.answer)
        explained[staged] = path, done.answer.get("explained", ())
        while due in explained:
            _explain(world.explain, *explained.pop(due))
            due += 1
        world.progress("de-identified", number, len(paths))


def _clean(run: Run, world: World, state: _State, records: Records) -> None:
    """Clinical records, all together, into one table; without any there is none."""
    cleaned = clean_clinical(records, world.workers, world.clinical, world.progress)
    state.verdicts |= cleaned.verdicts
    if not cleaned.rows:
        return
    policy = world.clinical.policy
    by_its_own_rules = replace(run, profile=CLINICAL, profile_sha256=policy.sha256)
    made = {"sop_class_uid": None, "modality": CLINICAL, "actions": {"clean": len(cleaned.rows)}}
    for place, content in world.clinical.tables.files(tuple(policy.table()), cleaned.rows).items():
        world.warehouse.put(place, content)
        sha256 = hashlib.sha256(content).hexdigest()
        state.manifest[place] = _line(by_its_own_rules, place, {**made, "sha256": sha256})


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


def _receipt(paths: Sequence[str], state: _State, sheet: Sheet | None) -> None:
    if sheet is None:
        return
    for path in paths:
        verdict = state.verdicts[path]
        sheet.line({"input": path, "outcome": verdict.outcome, "reason": verdict.reason, "output": verdict.output})
    sheet.close()
