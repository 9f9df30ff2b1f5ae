"""What one patient's centres sent: images and record, and what went wrong on the way.

`raw-<uploader>/YYYY-MM-DD/data/<Pseudonym>_data.json` (positive) or `_status.json` (negative) beside `images/<uid>.dcm`.
`data.md` section 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from readingroom.domain.synth import clinical, studies
from readingroom.domain.synth.centres import Centre
from readingroom.domain.synth.key import Class, Entry, Must
from readingroom.domain.synth.plans import SERIES_UID, SOP_INSTANCE, Copy, Design, File, Image, Record
from readingroom.domain.synth.population import Patient, Study
from readingroom.domain.synth.stream import Stream

DAYS_TO_UPLOAD: Final = 5
DAYS_TO_SECOND: Final = 9  # until what is sent again comes
ARRIVED: Final = 600  # thousandths of a truncated file
BIRTH_DATE: Final = 0x00100030
INSTANCE_NUMBER: Final = 0x00200013


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One file and its lines of the key."""

    file: File
    entries: tuple[Entry, ...] = ()


def sent(patient: Patient, design: Design, seed: int) -> Iterator[Sent]:
    """Every file of a patient, each once, in an order that never changes."""
    stream = Stream(seed, "upload", patient.number)
    first = True
    for centre in patient.centres:
        seen = tuple(study for study in patient.studies if study.centre == centre)
        if seen:
            for each in _from_centre(patient, centre, seen, design, stream.child(centre.code)):
                entries = (*each.entries, *(_opted_out(patient) if first else ()))
                first = False
                place = each.file.place
                numbered = (replace(entry, patient=patient.number, file=entry.file or place) for entry in entries)
                yield Sent(file=each.file, entries=tuple(numbered))


def _opted_out(patient: Patient) -> Iterator[Entry]:
    """Before: refused at the door. After: gone from everywhere."""
    if patient.opted_out:
        before = patient.opted_out == "before"
        yield Entry(
            kind=Class.WITHDRAWAL,
            fault=f"opted out {patient.opted_out} release",
            where="all files of the patient",
            was=patient.nhs,
            must=Must.REJECTED if before else Must.REMOVED,
            scope="patient",
            reason="opted-out",
        )


def _from_centre(
    patient: Patient, centre: Centre, seen: tuple[Study, ...], design: Design, stream: Stream
) -> Iterator[Sent]:
    rates = design.rates
    day = seen[-1].when.date() + timedelta(days=DAYS_TO_UPLOAD)
    orphans = stream.below(1000)
    with_record = orphans >= rates.no_record
    with_images = not rates.no_record <= orphans < rates.no_record + rates.no_images
    if with_record:
        yield from _records(patient, centre, seen, design, stream.child("record"), day=day, orphan=not with_images)
    if with_images:
        odd = next((study for study in seen if study.kind in {"ct", "mr"}), seen[0])
        conflict = stream.chance(rates.birth_date_conflict)
        for study in seen:
            of_study = stream.child("study", study.number)
            yield from _without_record(_images(patient, study, design, of_study, day), with_record)
            if conflict and study is odd:
                yield _other_birth_date(patient, study, design, of_study, day)


def _folder(centre: Centre, day: date, part: str) -> str:
    return f"{centre.uploader}/{day.isoformat()}/{part}"


def _without_record(images: Iterator[Sent], with_record: bool) -> Iterator[Sent]:
    for each in images:
        orphan = () if with_record else (_whole("image without a clinical record", Must.HELD, "orphan"),)
        yield replace(each, entries=(*each.entries, *orphan))


def _records(  # noqa: PLR0913 (a record is made of all of these)
    patient: Patient,
    centre: Centre,
    seen: tuple[Study, ...],
    design: Design,
    stream: Stream,
    *,
    day: date,
    orphan: bool,
) -> Iterator[Sent]:
    """One record, or an older one and a newer one that contradicts it."""
    kind = "data" if patient.positive else "status"
    name = f"{patient.id_at(centre)}_{kind}.json"
    if stream.chance(design.rates.two_generations):
        older = clinical.record(patient, centre, seen, design.rates, stream.child("older"))
        removed = tuple(entry for entry in older.entries if entry.must is Must.REMOVED)
        superseded = _whole("an older record", Must.SAME, "superseded", Class.CLINICAL)
        place = f"{_folder(centre, day - timedelta(days=2), 'data')}/{name}"
        yield Sent(file=Record(place=place, document=older.document), entries=(*removed, superseded))
    newest = clinical.record(patient, centre, seen, design.rates, stream.child("newest"))
    lone = (_whole("clinical record without an image", Must.HELD, "orphan"),) if orphan else ()
    place = f"{_folder(centre, day, 'data')}/{name}"
    yield Sent(file=Record(place=place, document=newest.document), entries=(*newest.entries, *lone))


def _images(patient: Patient, study: Study, design: Design, stream: Stream, day: date) -> Iterator[Sent]:
    """A study's images, with at most one incident of each kind: to a film itself, or to a slice of a scan."""
    rates, folder = design.rates, _folder(study.centre, day, "images")
    again = _folder(study.centre, day + timedelta(days=DAYS_TO_SECOND), "images")
    victim = 0 if study.kind == "film" else 3
    truncated, conflict, resent = (
        stream.chance(rate) for rate in (rates.truncated, rates.uid_conflict, rates.sent_again)
    )
    for number, planned in enumerate(studies.files_of(patient, study, design, folder, stream)):
        image, entries = planned.image, planned.entries
        if number != victim or not (truncated or conflict or resent):
            yield Sent(file=image, entries=entries)
        elif truncated:
            yield _cut_short(image, entries)
        elif conflict:
            held = _whole("one instance UID, two contents", Must.HELD, "uid-conflict")
            yield Sent(file=image, entries=(*entries, held))
            other = {**image.own, INSTANCE_NUMBER: ("IS", "9999")}
            yield Sent(file=replace(image, place=_moved(image, again), own=other), entries=(held,))
        else:
            yield Sent(file=image, entries=entries)
            same = replace(_whole("the same file, sent again", Must.SAME, "same-as-another"), was=image.place)
            yield Sent(file=Copy(place=_moved(image, again)), entries=(same,))


def _moved(image: Image, folder: str) -> str:
    return f"{folder}/{image.place.rpartition('/')[2]}"


def _cut_short(image: Image, entries: tuple[Entry, ...]) -> Sent:
    """Only what stands before the pixels arrived, so only that is in the key."""
    arrived = tuple(
        entry
        for entry in entries
        if isinstance(entry.where, str) and entry.where[:4] not in {"7FE0", "FFFC", "trai", "tail"}
    )
    short = _whole("a file that ends too soon", Must.REJECTED, "truncated")
    return Sent(
        file=replace(image, frame=replace(image.frame, keep=ARRIVED, tail=b"", marks=())), entries=(*arrived, short)
    )


def _other_birth_date(patient: Patient, study: Study, design: Design, stream: Stream, day: date) -> Sent:
    """The study's first image once more, as an instance of another series with another day of birth."""
    planned = next(studies.files_of(patient, study, design, _folder(study.centre, day, "images"), stream))
    image, changed = planned.image, ("name", f"{BIRTH_DATE:08X}", f"{SERIES_UID:08X}")
    as_there = tuple(replace(entry, file="") for entry in planned.entries if entry.where not in changed)
    series = f"{study.uid}.99"
    wrong = f"{patient.born - timedelta(days=366):%Y%m%d}"
    own = {SOP_INSTANCE: ("UI", f"{series}.1"), SERIES_UID: ("UI", series), BIRTH_DATE: ("DA", wrong)}
    held = _whole("two birth dates of one patient", Must.HELD, "identity-conflict")
    gone = Entry(kind=Class.OWN_FIELDS, fault="birth date", where=f"{BIRTH_DATE:08X}", was=wrong, must=Must.REMOVED)
    place = f"{image.place.rpartition('/')[0]}/{series}.1.dcm"
    return Sent(file=replace(image, place=place, own={**image.own, **own}), entries=(*as_there, held, gone))


def _whole(fault: str, must: Must, reason: str, kind: Class = Class.CONFLICTS) -> Entry:
    """A line about a whole file."""
    return Entry(kind=kind, fault=fault, where="file", was="", must=must, reason=reason)
