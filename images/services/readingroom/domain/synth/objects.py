"""Objects that are no plain images: captures, dose and written reports, segmentations and structures of a CT.

Each has fields of its own and a few rows of `hiding`'s kind. They refer to the CT that they were made from by its UIDs, so
that links can be followed through de-identification. PS3.3 A.8, A.35.3, A.45, A.51, A.19.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from readingroom.domain.synth.hiding import Place
from readingroom.domain.synth.key import Class
from readingroom.domain.synth.modalities import Kind
from readingroom.domain.synth.plans import Field, Fields, sequence

CT_CLASS: Final = "1.2.840.10008.5.1.4.1.1.2"
STUDY_CLASS: Final = "1.2.840.10008.3.1.2.3.1"


def _row(fault: str, kind: Kind, path: str, vr: str, text: str) -> Place:
    return Place(fault=fault, kind=Class.NON_IMAGE, path=path, vr=vr, text=text, kinds=frozenset({kind}))


ROWS: Final = (
    _row("capture of a screen", Kind.CAPTURE, "0008103E", "LO", "Dose info {natural}"),
    _row("observer of a dose report", Kind.DOSE, "0040A730[1].0040A123", "PN", "{operator_family}^{operator_given}"),
    _row("text of a dose report", Kind.DOSE, "0040A730[2].0040A160", "UT", "{natural}, NHS {nhs_spaced}, scanned {seen_words}"),
    _row("title of a report", Kind.REPORT, "00420010", "ST", "Report on {natural}"),
    _row("letter in a report", Kind.REPORT, "00420011", "OB",
         "%PDF-1.4\nDear Dr {physician_family}, {natural} of {address}, born {born_words}, NHS {nhs}: lungs clear.\n%%EOF\n"),
    _row("label of a segment", Kind.SEGMENTATION, "00620002[1].00620005", "LO", "lesion {family}"),
    _row("who made a segmentation", Kind.SEGMENTATION, "00700084", "PN", "{operator_family}^{operator_given}"),
    _row("label of structures", Kind.STRUCTURES, "30060002", "SH", "{family}"),
    _row("name of a region", Kind.STRUCTURES, "30060020[1].30060026", "LO", "GTV {natural}"),
    _row("reviewer of structures", Kind.STRUCTURES, "300E0008", "PN", "{physician_family}^{physician_given}"),
)  # fmt: skip


def fields_of(kind: Kind, study: str, series: str, instances: Sequence[str], frames: int) -> dict[int, Field]:
    """What the kind holds besides what every file holds. `series` and `instances` are the CT it refers to."""
    match kind:
        case Kind.CAPTURE:
            return {
                0x00080008: ("CS", "DERIVED\\SECONDARY\\OTHER"),
                0x00080064: ("CS", "WSD"),
                0x00280301: ("CS", "YES"),
            }
        case Kind.DOSE:
            return _dose(instances)
        case Kind.REPORT:
            return {0x00280301: ("CS", "YES"), 0x00420012: ("LO", "application/pdf")}
        case Kind.SEGMENTATION:
            return _segmentation(series, instances, frames)
        case Kind.STRUCTURES:
            return _structures(study, series, instances)
        case _:
            return {}


def references(instances: Sequence[str]) -> Field:
    """One item for each instance that is referred to."""
    return sequence(*({0x00081150: ("UI", CT_CLASS), 0x00081155: ("UI", instance)} for instance in instances))


def code(value: str, scheme: str, meaning: str) -> Field:
    """A sequence of one code."""
    return sequence({0x00080100: ("SH", value), 0x00080102: ("SH", scheme), 0x00080104: ("LO", meaning)})


def _dose(instances: Sequence[str]) -> dict[int, Field]:
    """Observer, a comment, and the image that was made."""
    observer: Fields = {
        0x0040A010: ("CS", "HAS OBS CONTEXT"),
        0x0040A040: ("CS", "PNAME"),
        0x0040A043: code("121008", "DCM", "Person Observer Name"),
    }
    comment: Fields = {
        0x0040A010: ("CS", "CONTAINS"),
        0x0040A040: ("CS", "TEXT"),
        0x0040A043: code("121106", "DCM", "Comment"),
    }
    image: Fields = {
        0x00081199: references(instances[:1]),
        0x0040A010: ("CS", "CONTAINS"),
        0x0040A040: ("CS", "IMAGE"),
    }
    return {
        0x0040A040: ("CS", "CONTAINER"),
        0x0040A043: code("113701", "DCM", "X-Ray Radiation Dose Report"),
        0x0040A050: ("CS", "SEPARATE"),
        0x0040A491: ("CS", "COMPLETE"),
        0x0040A493: ("CS", "UNVERIFIED"),
        0x0040A730: sequence(observer, comment, image),
    }


def _segmentation(series: str, instances: Sequence[str], frames: int) -> dict[int, Field]:
    segment: Fields = {
        0x00620004: ("US", 1),
        0x00620008: ("CS", "MANUAL"),
        0x0062000F: code("49755003", "SCT", "Morphologically Abnormal Structure"),
    }
    return {
        0x00080008: ("CS", "DERIVED\\PRIMARY"),
        0x00081115: sequence({0x0008114A: references(instances), 0x0020000E: ("UI", series)}),
        0x00620001: ("CS", "BINARY"),
        0x00620002: sequence(segment),
        0x00700080: ("CS", "LESION"),
        0x52009230: sequence(*(_frame(instance) for instance in instances[:frames])),
    }


def _frame(instance: str) -> Fields:
    """What one frame of a segmentation was made from."""
    source: Fields = {0x00082112: references([instance]), 0x00089215: code("113076", "DCM", "Segmentation")}
    return {0x00089124: sequence(source), 0x0062000A: sequence({0x0062000B: ("US", 1)})}


def _structures(study: str, series: str, instances: Sequence[str]) -> dict[int, Field]:
    frame = f"{study}.9"
    in_series: Fields = {0x0020000E: ("UI", series), 0x30060016: references(instances)}
    in_study: Fields = {
        0x00081150: ("UI", STUDY_CLASS),
        0x00081155: ("UI", study),
        0x30060014: sequence(in_series),
    }
    region: Fields = {0x30060022: ("IS", "1"), 0x30060024: ("UI", frame), 0x30060036: ("CS", "MANUAL")}
    contour: Fields = {
        0x30060016: references(instances[:1]),
        0x30060042: ("CS", "CLOSED_PLANAR"),
        0x30060046: ("IS", "3"),
        0x30060050: ("DS", "0\\0\\0\\10\\0\\0\\10\\10\\0"),
    }
    return {
        0x30060010: sequence({0x00200052: ("UI", frame), 0x30060012: sequence(in_study)}),
        0x30060020: sequence(region),
        0x30060039: sequence({0x30060040: sequence(contour), 0x30060084: ("IS", "1")}),
        0x300E0002: ("CS", "UNAPPROVED"),
    }
