"""Clean the clinical records of a run into one row for each patient: the second half of `deidentify`.

A record belongs to the patient whose images bear its pseudonym; its dates move by the days that theirs do. Nothing
depends on the order in which files come or workers answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from readingroom.application.ports_deid import Document, Sheet, Tables, Task, Workers
from readingroom.domain.clinical.cells import How, Value
from readingroom.domain.clinical.clean import Row
from readingroom.domain.clinical.imaged import Bearer, Imaged
from readingroom.domain.clinical.policy import Policy
from readingroom.domain.clinical.record import Sort, Told, strongest
from readingroom.domain.clinical.table import Sent, row_of, winner
from readingroom.domain.deid.outcome import Outcome, Reason, Verdict, turned_away

TABLE: Final = "clinical.parquet"  # what a receipt names
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Clinical:
    """What the clinical part of a run works with."""

    policy: Policy
    tables: Tables
    told: Callable[[str], Told]  # what the way to a file says of it
    report: Sheet | None = None


@dataclass(frozen=True, kw_only=True)
class Records:
    """What pass 1 found: records, patients whom images name, and those about whom images disagree."""

    looks: Mapping[str, Document]
    bearers: Set[Bearer]
    doubtful: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """The table, sorted by patient, and what became of each record."""

    rows: list[dict[str, Value]] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Content:
    """Inputs with the same bytes: the first stands for all, and the strongest of what their names say counts."""

    sha256: str
    paths: tuple[str, ...]
    person: Document
    told: Told

    def verdicts(self, verdict: Verdict) -> dict[str, Verdict]:
        """What that verdict on the first means for each of them."""
        return {self.paths[0]: verdict, **dict.fromkeys(self.paths[1:], verdict.of_the_same())}


def clean_clinical(records: Records, workers: Workers, clinical: Clinical, progress: Progress) -> Cleaned:
    """One row for each patient of whom a record can be used. Every record gets a verdict."""
    people = _people(records)
    held = Verdict(outcome=Outcome.HELD, reason=Reason.IDENTITY_CONFLICT)
    cleaned = Cleaned(verdicts={path: held for path in records.looks if path not in people})
    contents = {each.paths[0]: each for each in _contents(records, people, clinical)}
    by_patient: dict[str, list[Sent]] = {}
    tasks = (
        Task(path=path, ask={"do": "clean", "sha256": each.sha256, **each.person}) for path, each in contents.items()
    )
    for number, done in enumerate(workers.run(tasks), 1):
        content = contents[done.task.path]
        if done.answer["outcome"] == Outcome.RELEASED:
            by_patient.setdefault(content.person["patient"], []).append(_sent(content, done.answer))
        else:
            cleaned.verdicts.update(content.verdicts(turned_away(done.answer)))
        progress("cleaned", number, len(contents))
    won = {patient: winner(files) for patient, files in sorted(by_patient.items())}
    images = _images(records)
    cleaned.rows.extend(row_of(by_patient[patient], images.get(patient, []), clinical.policy) for patient in won)
    best = {sent.content for sent in won.values()}
    for content in contents.values():
        if content.paths[0] not in cleaned.verdicts:
            reason = None if content.sha256 in best else Reason.SUPERSEDED
            cleaned.verdicts.update(content.verdicts(Verdict(outcome=Outcome.RELEASED, reason=reason, output=TABLE)))
    _report([sent.row for sent in won.values()], len(records.looks), clinical)
    return cleaned


def _people(records: Records) -> dict[str, Document]:
    """Whose each record is: the one patient whose images bear its pseudonym, or else its own stand-in.

    A record is nobody's whose pseudonym two patients bear (an issuer tells them apart, and it names none), or about whose
    patient images disagree.
    """
    bearers: dict[str, dict[str, int]] = {}
    for bearer in records.bearers:
        bearers.setdefault(bearer.alias, {})[bearer.patient] = bearer.days
    found: dict[str, Document] = {}
    for path, look in records.looks.items():
        bearing = bearers.get(look["patient"], {look["patient"]: look["days"]})
        if len(bearing) == 1 and records.doubtful.isdisjoint(bearing):
            [(patient, days)] = bearing.items()
            found[path] = {"patient": patient, "days": days}
    return found


def _contents(records: Records, people: Mapping[str, Document], clinical: Clinical) -> list[_Content]:
    groups: dict[str, list[str]] = {}
    for path in people:
        groups.setdefault(records.looks[path]["sha256"], []).append(path)
    found = []
    for sha256, paths in groups.items():
        told = strongest(Told(sort=Sort(records.looks[path]["sort"]), day=clinical.told(path).day) for path in paths)
        found.append(_Content(sha256=sha256, paths=tuple(paths), person=people[paths[0]], told=told))
    return found


def _images(records: Records) -> dict[str, list[Imaged]]:
    found: dict[str, list[Imaged]] = {}
    for bearer in records.bearers:
        found.setdefault(bearer.patient, []).append(bearer.says)
    return found


def _sent(content: _Content, answer: Document) -> Sent:
    how = {name: How(each) for name, each in answer["how"].items()}
    row = Row(values=answer["values"], how=how, unknown=answer["unknown"])
    return Sent(sort=content.told.sort or Sort.DATA, day=content.told.day, content=content.sha256, row=row)


def _report(rows: Sequence[Row], files: int, clinical: Clinical) -> None:
    """For the data manager: how many cells of each column came about how; never a value, nor the name of a field."""
    if clinical.report is None:
        return
    clinical.report.line({"patients": len(rows), "files": files, "unknown_fields": sum(row.unknown for row in rows)})
    counts = {name: Counter(row.how[name] for row in rows) for name in (rows[0].how if rows else ())}
    for name, how in counts.items():
        clinical.report.line({"column": name, **{each: how[each] for each in How}})
    clinical.report.close()
