"""The files of one study, one after another, with the lines of the key for what was placed in each.

A series is decided as a whole and its fields are one object, so that a scan of six hundred slices is encoded once and
each slice brings only what is its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from readingroom.domain.synth import hiding, modalities, objects, packing
from readingroom.domain.synth.drawing import drawn
from readingroom.domain.synth.facts import facts_of
from readingroom.domain.synth.hiding import Draft, place
from readingroom.domain.synth.key import Class, Entry, Must
from readingroom.domain.synth.modalities import HEADS, OBJECTS, SLICES, Kind
from readingroom.domain.synth.plans import (
    SERIES_UID,
    SOP_CLASS,
    SOP_INSTANCE,
    STUDY_UID,
    SYNTHETIC,
    Design,
    Field,
    Fields,
    Frame,
    Image,
    Picture,
)
from readingroom.domain.synth.population import Patient, Study
from readingroom.domain.synth.stream import Stream

KEPT: Final = (0x00080070, 0x00180050, 0x00180060, 0x00181150, 0x00181164, 0x00280030, 0x00280010)
SEGMENTED: Final = 8  # frames of a segmentation, at most


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A file and what the key says of it."""

    image: Image
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Setting:
    """What every series of a study shares."""

    patient: Patient
    study: Study
    design: Design
    facts: Mapping[str, str]
    stream: Stream
    folder: str


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series: how many instances, and what they refer to."""

    kind: Kind
    number: int
    instances: int
    refers_to: tuple[str, tuple[str, ...]] = ("", ())  # series and instances


def files_of(patient: Patient, study: Study, design: Design, folder: str, stream: Stream) -> Iterator[Planned]:
    """Every file of a study. `folder` is where the uploader puts its images."""
    facts = facts_of(patient, study)
    setting = Setting(patient=patient, study=study, design=design, facts=facts, stream=stream, folder=folder)
    for series in _series_of(setting):
        yield from _files(setting, series)


def series_uid(study: Study, number: int) -> str:
    """The UID of a series."""
    return f"{study.uid}.{number}"


def instance_uids(study: Study, series: Series) -> tuple[str, ...]:
    """The UIDs of its instances."""
    return tuple(f"{study.uid}.{series.number}.{number}" for number in range(1, series.instances + 1))


def _series_of(setting: Setting) -> Iterator[Series]:
    stream, design = setting.stream.child("series"), setting.design
    match setting.study.kind:
        case "ct":
            yield Series(kind=Kind.LOCALISER, number=1, instances=stream.between(1, 2))
            scan = Series(kind=Kind.CT, number=2, instances=stream.between(*design.slices))
            yield scan
            refers = series_uid(setting.study, scan.number), instance_uids(setting.study, scan)
            chances = (
                (Kind.CAPTURE, 200),
                (Kind.DOSE, 300),
                (Kind.SEGMENTATION, 120),
                (Kind.STRUCTURES, 60),
                (Kind.REPORT, 60),
            )
            for number, (kind, share) in enumerate(chances, 3):
                if stream.chance(share):
                    yield Series(kind=kind, number=number, instances=1, refers_to=refers)
            yield from _head(setting, Kind.HEAD)
        case "mr":
            yield Series(kind=Kind.MR, number=1, instances=min(stream.between(20, 40), design.slices[1]))
            yield from _head(setting, Kind.BRAIN)
        case "mg":
            yield Series(kind=Kind.MG, number=1, instances=4)
        case "us":
            yield Series(kind=Kind.US, number=1, instances=stream.between(2, 6))
        case _:
            kind = Kind.CR if setting.study.centre.number % 3 == 0 else Kind.DX
            yield Series(kind=kind, number=1, instances=1 + stream.chance(200))


def _head(setting: Setting, kind: Kind) -> Iterator[Series]:
    """One more series of the same visit, with the head in view."""
    stream = setting.stream.child("head")
    if stream.chance(setting.design.rates.heads):
        yield Series(kind=kind, number=20, instances=min(stream.between(20, 40), setting.design.slices[1]))


def _files(setting: Setting, series: Series) -> Iterator[Planned]:
    stream = setting.stream.child("series", series.number)
    shown = _picture(series, setting.design, stream)
    draft = _drafted(setting, series, stream, shown)
    apart = setting.stream.child("packing", series.number)
    draft = packing.packed(shown, draft, setting.facts, setting.design.rates, apart)
    uids = instance_uids(setting.study, series)
    chosen = stream.below(len(uids))  # the instance that bears the faults of one file
    for number, uid in enumerate(uids, 1):
        name = f"{draft.name}-{setting.study.number}-{series.number}-{number}" if draft.name else uid
        entries = (*(draft.entries if number == 1 else ()), *_in_view(series.kind))
        picture = shown and replace(shown, level=200 + 600 * number // (len(uids) + 1))
        if picture and (series.kind not in SLICES or number == chosen + 1):
            picture, more = drawn(series.kind, picture, setting.facts, setting.design.rates, stream)
            entries += more
        image = Image(
            place=f"{setting.folder}/{name}.dcm",
            shared=draft.fields,
            own=_own(series.kind, uid, number),
            picture=picture,
            frame=draft.frame,
        )
        yield Planned(image=image, entries=tuple(replace(each, file=image.place) for each in entries))


def _drafted(setting: Setting, series: Series, stream: Stream, shown: Picture | None) -> Draft:
    """The fields of a series with everything that hides in them."""
    study = setting.study
    kind = OBJECTS[series.kind]
    when = f"{study.when:%H%M%S}"
    fields: dict[int, Field] = {
        0x00080005: ("CS", "ISO_IR 100"),
        SOP_CLASS: ("UI", kind.sop_class),
        SYNTHETIC: ("CS", "YES"),
        0x00080030: ("TM", when),
        0x00080033: ("TM", when),
        0x00080060: ("CS", kind.modality),
        0x00081030: ("LO", "CT chest" if study.kind == "ct" else "Chest"),
        0x00100040: ("CS", setting.facts["sex"]),
        0x00101010: ("AS", setting.facts["age"]),
        STUDY_UID: ("UI", study.uid),
        SERIES_UID: ("UI", series_uid(study, series.number)),
        0x00200011: ("IS", str(series.number)),
        **modalities.technique(series.kind, study.maker, stream),
        **(modalities.shape(shown) if shown else {}),
        **objects.fields_of(series.kind, study.uid, *series.refers_to, SEGMENTED),
    }
    if series.kind in SLICES or series.kind is Kind.LOCALISER:
        fields[0x00200052] = "UI", f"{study.uid}.9"
    frame = Frame(syntax=study.centre.syntax, open_ended=study.centre.open_ended)
    draft = Draft(fields=fields, frame=frame, entries=tuple(_kept(fields, series)))
    rows = [row for row in (*hiding.OWN, *objects.ROWS) if series.kind in row.kinds]
    for row in (*rows, *_in_turn(setting, series)):
        draft = place(row, draft, setting.facts)
    return replace(draft, entries=(*draft.entries, *_links(setting, series)))


def _in_turn(setting: Setting, series: Series) -> Sequence[hiding.Place]:
    """Rows that serve the kind, a few at a time, so that all of them come about."""
    rows = [row for row in hiding.HIDING if series.kind in row.kinds and not _renames(row, series)]
    if not rows:
        return ()
    start = setting.stream.child("hiding", series.number).below(len(rows))
    return [rows[(start + step) % len(rows)] for step in range(min(setting.design.hidden, len(rows)))]


def _renames(row: hiding.Place, series: Series) -> bool:
    """Whether a row would take away the only word that tells a head, or put another in its place."""
    return series.kind in HEADS and row.path in modalities.NAME_PART


def _in_view(kind: Kind) -> Iterator[Entry]:
    if kind in HEADS:
        yield Entry(
            kind=Class.PIXELS, fault="head in view", where="file", was="", must=Must.HELD, reason="faces-possible"
        )


def _kept(fields: Fields, series: Series) -> Iterator[Entry]:
    """What research needs and no rule may take away."""
    for tag in KEPT if series.kind in modalities.IMAGES else ():
        if tag in fields:
            yield Entry(
                kind=Class.UTILITY,
                fault="technique",
                where=f"{tag:08X}",
                was=str(fields[tag][1]),
                must=Must.KEPT,
                scope="series",
            )


def _links(setting: Setting, series: Series) -> Iterator[Entry]:
    """UIDs change and links hold; a patient has one stand-in."""
    patient = Entry(
        kind=Class.KEYS,
        fault="stand-in of the patient",
        where="00100020",
        was=setting.facts["patient_id"],
        must=Must.PATIENT_CONSISTENT,
        scope="series",
    )
    yield patient
    uids = {f"{STUDY_UID:08X}": setting.study.uid, f"{SERIES_UID:08X}": series_uid(setting.study, series.number)}
    if series.refers_to[0] and series.kind is not Kind.REPORT and series.kind is not Kind.CAPTURE:
        uids[_REFERENCE[series.kind]] = series.refers_to[1][0]
    for where, uid in uids.items():
        yield replace(patient, fault="UID", where=where, was=uid, must=Must.UID_CHANGED)


_REFERENCE: Final = {
    Kind.DOSE: "0040A730[3].00081199[1].00081155",
    Kind.SEGMENTATION: "00081115[1].0008114A[1].00081155",
    Kind.STRUCTURES: "30060010[1].30060012[1].30060014[1].30060016[1].00081155",
}


def _own(kind: Kind, uid: str, number: int) -> Fields:
    """What differs between the instances of a series."""
    own: dict[int, Field] = {SOP_INSTANCE: ("UI", uid), 0x00200013: ("IS", str(number))}
    if kind in SLICES:
        height = f"{number * 5 // 4}.{number * 5 % 4 * 25:02d}"
        own[0x00200032] = "DS", f"-175\\-175\\{height}"
        own[0x00201041] = "DS", height
    if kind is Kind.MG:
        own[0x00200062] = "CS", "L" if number % 2 else "R"
    return own


def _picture(series: Series, design: Design, stream: Stream) -> Picture | None:
    if series.kind in {Kind.DOSE, Kind.REPORT, Kind.STRUCTURES}:
        return None
    picture = modalities.picture(series.kind, design, stream.child("picture"))
    if series.kind is Kind.SEGMENTATION:
        return replace(picture, frames=min(SEGMENTED, len(series.refers_to[1])))
    return picture
