"""What a site collects from its PACS: what may be asked, when and how fast, and what became of each instance.

A set-up that people at the site have read says what may be asked; a run asks a part of it. Absent means no. What the PACS
answers is believed only where it fits the question: a study of another day is not collected because the PACS named it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from readingroom.domain.errors import Refused


class Missing(StrEnum):
    """Why a found instance is not at the platform, besides the reasons of `domain/deid/outcome` for what arrived."""

    NOT_SENT = "not-sent"  # the PACS said that it was done, or gave up, without it
    ANOTHER = "another"  # what came under its UID is another instance, or of another study
    REFUSED = "door-refused"


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """What a site's set-up lets a run ask for."""

    modalities: frozenset[str]
    first: date
    last: date
    accessions: bool = False
    studies: int = 10_000  # of one run


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a run asks for: studies of these days, or these accession numbers within these days; series of these modalities."""

    first: date
    last: date
    modalities: tuple[str, ...]
    accessions: tuple[str, ...] = ()

    def to_document(self) -> dict[str, object]:
        """For the journal, which is identified."""
        return {
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "modalities": sorted(self.modalities),
            "accessions": sorted(self.accessions),
        }


def check_can_ask(question: Question, allowed: Allowed) -> None:
    """Raises `Refused` for a day, a modality or a list of accession numbers that the set-up does not allow."""
    why = ""
    if question.first < allowed.first or question.last > allowed.last:
        why = f"days before {allowed.first} or after {allowed.last} are not allowed"
    elif more := sorted(set(question.modalities) - allowed.modalities):
        why = f"the modality {more[0]} is not allowed"
    elif question.accessions and not allowed.accessions:
        why = "a list of accession numbers is not allowed"
    if why:
        raise Refused(
            what="the question to the PACS",
            which="by the set-up of this site",
            why=why,
            next_step="ask for less, or have the site allow it in the set-up",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One C-FIND at the level of studies. Many small ones: a PACS may cut a long answer short without a word."""

    day: date | None = None
    modality: str = ""
    accession: str = ""


def queries_of(question: Question) -> Iterator[Query]:
    """Each accession number, or each day with each modality."""
    if question.accessions:
        yield from (Query(accession=accession) for accession in sorted(question.accessions))
        return
    for days in range((question.last - question.first).days + 1):
        for modality in sorted(question.modalities):
            yield Query(day=question.first + timedelta(days), modality=modality)


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """A study as the PACS names it. `modalities` is empty where it does not say; `uid`, where it is none."""

    uid: str
    day: date | None = None
    accession: str = ""
    modalities: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Studies that fit the question, and how many answers did not."""

    studies: tuple[Study, ...]
    odd: int = 0


def is_asked(study: Study, query: Query, question: Question) -> bool:
    """Whether an answer fits: its day, its accession number, and its modalities where it says them."""
    if not study.uid or study.day is None or not question.first <= study.day <= question.last:
        return False
    if query.day not in {None, study.day} or (query.accession and study.accession != query.accession):
        return False
    return not study.modalities or not study.modalities.isdisjoint(question.modalities)


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """An instance as the PACS names it. `sop_class` is empty where it does not say."""

    uid: str
    series: str
    modality: str
    sop_class: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What the PACS says is in a study. `differing`: series that by its own count hold more or fewer than it lists.

    `odd` counts answers that do not fit the question, which are left out.
    """

    instances: tuple[Instance, ...]
    differing: int = 0
    odd: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Hours:
    """From one time of day to another, over midnight if the second is not later. Equal ones are the whole day."""

    start: time
    end: time

    def hold(self, now: datetime) -> bool:
        """Whether a moment, in the site's own time, lies within."""
        at = now.time()
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end


@dataclass(kw_only=True)
class Tally:
    """The receipt's figures: counts alone."""

    studies: int = 0
    complete: int = 0  # studies of which every found instance was acknowledged
    unlisted: int = 0  # studies whose instances the PACS did not list
    series: int = 0
    differing: int = 0
    odd: int = 0
    found: int = 0
    acknowledged: int = 0
    missing: Counter[str] = field(default_factory=Counter)

    def count(self, content: Content | None, settled: Mapping[str, str]) -> None:
        """A study: what it holds, if the PACS said it, and of each settled instance why it is missing, "" for acknowledged."""
        if content is None:
            self.studies += 1
            self.unlisted += 1
            return
        reasons = [settled.get(instance.uid, Missing.NOT_SENT.value) for instance in content.instances]
        lacking = Counter(reason for reason in reasons if reason)
        self.studies += bool(reasons)  # of a study without such a series nothing was asked
        self.complete += bool(reasons) and not lacking
        self.series += len({instance.series for instance in content.instances})
        self.differing += content.differing
        self.odd += content.odd
        self.found += len(reasons)
        self.acknowledged += len(reasons) - lacking.total()
        self.missing.update(lacking)

    def to_document(self) -> dict[str, object]:
        """For the receipt and for machines."""
        return {**vars(self), "missing": dict(self.missing), "moved": self.moved}

    @property
    def moved(self) -> int:
        """Instances that the PACS sent: those that are acknowledged, and those that came and went no further."""
        return self.found - self.missing[Missing.NOT_SENT]

    @property
    def to_come(self) -> int:
        """Studies and instances that another run may still bring."""
        return self.unlisted + self.missing[Missing.NOT_SENT]


def is_final(reason: str) -> bool:
    """Whether asking again is of no use: it was acknowledged, or came and was refused."""
    return reason != Missing.NOT_SENT


def batches(instances: Sequence[Instance], most: int) -> Iterator[Sequence[Instance]]:
    """Parts of a series: what one retrieve asks for."""
    by_series: dict[str, list[Instance]] = {}
    for instance in instances:
        by_series.setdefault(instance.series, []).append(instance)
    for members in by_series.values():
        yield from (members[at : at + most] for at in range(0, len(members), most))
