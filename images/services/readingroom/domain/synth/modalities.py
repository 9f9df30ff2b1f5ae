"""What each kind of object says of itself: SOP class, technique, shape. Numbers of physics, no identifiers.

PS3.3 A.2 (CR), A.26 (DX and MG), A.3 (CT), A.4 (MR), A.6 (US); documents and structures stand in `objects`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from readingroom.domain.synth.centres import Maker
from readingroom.domain.synth.plans import Design, Field, Picture, sequence
from readingroom.domain.synth.stream import Stream


class Kind(StrEnum):
    """Kinds of objects."""

    CR = "cr"
    DX = "dx"
    CT = "ct"
    LOCALISER = "localiser"
    HEAD = "head"  # by CT
    BRAIN = "brain"  # by MR
    MR = "mr"
    MG = "mg"
    US = "us"
    CAPTURE = "capture"  # a screen with the dose on it
    DOSE = "dose"  # a structured report of it
    REPORT = "report"  # a letter as PDF
    SEGMENTATION = "segmentation"
    STRUCTURES = "structures"


@dataclass(frozen=True, kw_only=True)
class Object:
    """A kind's modality and SOP class (PS3.4 B.5), and whether `deid` may release it once pixels are trusted."""

    modality: str
    sop_class: str
    image: bool = True


OBJECTS: Final[Mapping[Kind, Object]] = {
    Kind.CR: Object(modality="CR", sop_class="1.2.840.10008.5.1.4.1.1.1"),
    Kind.DX: Object(modality="DX", sop_class="1.2.840.10008.5.1.4.1.1.1.1"),
    Kind.CT: Object(modality="CT", sop_class="1.2.840.10008.5.1.4.1.1.2"),
    Kind.LOCALISER: Object(modality="CT", sop_class="1.2.840.10008.5.1.4.1.1.2"),
    Kind.HEAD: Object(modality="CT", sop_class="1.2.840.10008.5.1.4.1.1.2"),
    Kind.BRAIN: Object(modality="MR", sop_class="1.2.840.10008.5.1.4.1.1.4"),
    Kind.MR: Object(modality="MR", sop_class="1.2.840.10008.5.1.4.1.1.4"),
    Kind.MG: Object(modality="MG", sop_class="1.2.840.10008.5.1.4.1.1.1.2"),
    Kind.US: Object(modality="US", sop_class="1.2.840.10008.5.1.4.1.1.6.1"),
    Kind.CAPTURE: Object(modality="OT", sop_class="1.2.840.10008.5.1.4.1.1.7", image=False),
    Kind.DOSE: Object(modality="SR", sop_class="1.2.840.10008.5.1.4.1.1.88.67", image=False),
    Kind.REPORT: Object(modality="DOC", sop_class="1.2.840.10008.5.1.4.1.1.104.1", image=False),
    Kind.SEGMENTATION: Object(modality="SEG", sop_class="1.2.840.10008.5.1.4.1.1.66.4", image=False),
    Kind.STRUCTURES: Object(modality="RTSTRUCT", sop_class="1.2.840.10008.5.1.4.1.1.481.3", image=False),
}
FILMS: Final = frozenset({Kind.CR, Kind.DX})
HEADS: Final = frozenset({Kind.HEAD, Kind.BRAIN})
SLICES: Final = HEADS | {Kind.CT, Kind.MR}
NAME_PART: Final = frozenset({"00081030", "0008103E", "00180015", "00181030"})  # where words tell what is in view
IMAGES: Final = frozenset(kind for kind, each in OBJECTS.items() if each.image)
CHEST: Final = sequence({0x00080100: ("SH", "51185008"), 0x00080102: ("SH", "SCT"), 0x00080104: ("LO", "Chest")})


def technique(kind: Kind, maker: Maker, stream: Stream) -> dict[int, Field]:
    """What a machine writes about how the image was made."""
    common: dict[int, Field] = {
        0x00080070: ("LO", maker.name),
        0x00081090: ("LO", maker.film if kind in FILMS else maker.ct),
        0x00180015: ("CS", "BREAST" if kind is Kind.MG else "CHEST"),
    }
    match kind:
        case Kind.CT | Kind.LOCALISER:
            return common | _ct(kind, maker, stream)
        case Kind.MR:
            return common | _mr(stream)
        case Kind.HEAD | Kind.BRAIN:
            return _head(kind, common, maker, stream)
        case Kind.CR | Kind.DX | Kind.MG:
            return common | _film(kind, stream)
        case Kind.US:
            return common | {0x00080008: ("CS", "ORIGINAL\\PRIMARY"), 0x00082144: ("IS", "25"), 0x00186011: _region()}
        case _:
            return common


def _ct(kind: Kind, maker: Maker, stream: Stream) -> dict[int, Field]:
    scout = kind is Kind.LOCALISER
    thickness = stream.pick(("0.625", "1.0", "1.25", "1.5", "2.0"))
    return {
        0x00080008: ("CS", "ORIGINAL\\PRIMARY\\LOCALIZER" if scout else "ORIGINAL\\PRIMARY\\AXIAL"),
        0x0008103E: ("LO", "Topogram" if scout else f"Thorax axial {thickness}"),
        0x00082218: CHEST,
        0x00180050: ("DS", thickness),
        0x00180060: ("DS", stream.pick(("80", "100", "120", "140"))),
        0x00180090: ("DS", "500"),
        0x00181100: ("DS", "350"),
        0x00181120: ("DS", "0"),
        0x00181150: ("IS", str(stream.between(300, 900))),
        0x00181151: ("IS", str(stream.between(60, 480))),
        0x00181152: ("IS", str(stream.between(20, 300))),
        0x00181210: ("SH", maker.kernels[0 if scout else stream.below(2)]),
        0x00185100: ("CS", "HFS"),
        0x00189345: ("FD", stream.between(100, 900) / 100),
        0x00200037: ("DS", "1\\0\\0\\0\\1\\0"),
        0x00280030: ("DS", "0.68359375\\0.68359375"),
        0x00281050: ("DS", "-500"),
        0x00281051: ("DS", "1500"),
        0x00281052: ("DS", "-1024"),
        0x00281053: ("DS", "1"),
    }


def _head(kind: Kind, common: dict[int, Field], maker: Maker, stream: Stream) -> dict[int, Field]:
    """By MR a head in words; by CT one by its body part, by a description alone, or by no word at all."""
    if kind is Kind.BRAIN:
        return common | _mr(stream) | {0x0008103E: ("LO", "T1 MPRAGE brain"), 0x00180015: ("CS", "BRAIN")}
    part, words = stream.pick((("HEAD", "CT head"), ("", "CT head"), ("", "Follow-up")))
    named: dict[int, Field] = {0x00081030: ("LO", words), 0x0008103E: ("LO", "Axial 5.0"), 0x00180015: ("CS", part)}
    fields = common | _ct(kind, maker, stream) | named
    return {tag: field for tag, field in fields.items() if tag != 0x00082218}


def _mr(stream: Stream) -> dict[int, Field]:
    return {
        0x00080008: ("CS", "ORIGINAL\\PRIMARY\\M\\ND"),
        0x0008103E: ("LO", "T2 TSE axial"),
        0x00180020: ("CS", "SE"),
        0x00180021: ("CS", "SK"),
        0x00180023: ("CS", "2D"),
        0x00180050: ("DS", "5"),
        0x00180080: ("DS", str(stream.between(2000, 6000))),
        0x00180081: ("DS", str(stream.between(60, 120))),
        0x00180087: ("DS", stream.pick(("1.5", "3"))),
        0x00180091: ("IS", "15"),
        0x00181314: ("DS", "150"),
        0x00185100: ("CS", "HFS"),
        0x00189087: ("FD", stream.pick((0.0, 50.0, 800.0))),
        0x00200037: ("DS", "1\\0\\0\\0\\1\\0"),
        0x00280030: ("DS", "1.25\\1.25"),
        0x00281050: ("DS", "400"),
        0x00281051: ("DS", "900"),
    }


def _film(kind: Kind, stream: Stream) -> dict[int, Field]:
    breast = kind is Kind.MG
    return {
        0x00080008: ("CS", "ORIGINAL\\PRIMARY"),
        0x00080068: ("CS", "FOR PRESENTATION"),
        0x0008103E: ("LO", "Breast MLO" if breast else "Chest PA erect"),
        0x00180060: ("DS", "28" if breast else stream.pick(("85", "110", "125"))),
        0x00181152: ("IS", str(stream.between(1, 40))),
        0x00181164: ("DS", "0.139\\0.139"),
        0x00185101: ("CS", "MLO" if breast else stream.pick(("PA", "AP"))),
        0x00200020: ("CS", "P\\F" if breast else "L\\F"),
        0x00200062: ("CS", stream.pick(("L", "R")) if breast else "U"),
        0x00281050: ("DS", "2048"),
        0x00281051: ("DS", "4096"),
        0x00282110: ("CS", "00"),
    }


def _region() -> Field:
    """The region of an ultrasound image that holds the sound. PS3.3 C.8.5.5."""
    corners = {0x00186018: 20, 0x0018601A: 40, 0x0018601C: 230, 0x0018601E: 240}
    kinds: dict[int, Field] = {0x00186012: ("US", 1), 0x00186014: ("US", 1), 0x00186016: ("UL", 0)}
    return sequence({**kinds, **{tag: ("UL", place) for tag, place in corners.items()}})


def picture(kind: Kind, design: Design, stream: Stream) -> Picture:
    """The picture of a series; each instance is drawn at a level of its own."""
    anatomy = tuple(stream.between(*span) for span in ((360, 440), (270, 330), (150, 190), (190, 230), (-20, 20)))
    noise = stream.token()
    low, high = design.film
    match kind:
        case Kind.CT | Kind.MR:
            return Picture(style="body", rows=design.ct, columns=design.ct, anatomy=anatomy, noise=noise)
        case Kind.HEAD | Kind.BRAIN:
            return Picture(style="head", rows=design.ct, columns=design.ct, anatomy=anatomy, noise=noise)
        case Kind.LOCALISER:
            return Picture(style="film", rows=design.ct, columns=design.ct, anatomy=anatomy, noise=noise)
        case Kind.CR | Kind.DX | Kind.MG:
            rows, columns = stream.between(low, high), stream.between(low, high)
            return Picture(style="film", rows=rows, columns=columns, anatomy=anatomy, noise=noise)
        case Kind.SEGMENTATION:
            return Picture(style="mask", rows=design.ct, columns=design.ct, bits=1, allocated=1, anatomy=anatomy)
        case _:
            side = min(low, 512)
            style = "fan" if kind is Kind.US else "page"
            return Picture(style=style, rows=side, columns=side, bits=8, allocated=8, anatomy=anatomy, noise=noise)


def shape(picture: Picture) -> dict[int, Field]:
    """What a picture's elements say of it. PS3.3 C.7.6.3."""
    frames: dict[int, Field] = (
        {0x00280008: ("IS", str(picture.frames))} if picture.frames > 1 or picture.bits == 1 else {}
    )
    return frames | {
        0x00280002: ("US", picture.samples),
        0x00280004: ("CS", "MONOCHROME2"),
        0x00280010: ("US", picture.rows),
        0x00280011: ("US", picture.columns),
        0x00280100: ("US", picture.allocated),
        0x00280101: ("US", picture.bits),
        0x00280102: ("US", picture.bits - 1),
        0x00280103: ("US", 0),
    }
