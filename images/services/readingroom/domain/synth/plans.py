"""Files as values: what they are to hold, decided before a byte is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from readingroom.domain.synth.centres import EXPLICIT
from readingroom.domain.synth.letters import HEIGHT, WIDTH

# A value is text, bytes, a number or several, or the items of a sequence.
Value: TypeAlias = "str | bytes | int | float | tuple[int, ...] | tuple[Fields, ...]"
Field: TypeAlias = "tuple[str, Value]"
Fields: TypeAlias = "Mapping[int, Field]"

SYNTHETIC: Final = 0x0008001C  # Synthetic Data: PS3.3 C.12.1
SOP_CLASS: Final = 0x00080016
SOP_INSTANCE: Final = 0x00080018
STUDY_UID: Final = 0x0020000D
SERIES_UID: Final = 0x0020000E


@dataclass(frozen=True, kw_only=True)
class Burn:
    """Text drawn into a picture, at a place, in letters `scale` times five by seven, across or down."""

    text: str
    x: int
    y: int
    scale: int
    grey: int
    down: bool = False

    @property
    def where(self) -> dict[str, int]:
        """Where it stands, in pixels, and how bright."""
        along, across = (WIDTH * len(self.text) - 1) * self.scale, HEIGHT * self.scale
        wide, high = (across, along) if self.down else (along, across)
        return {"frame": 1, "x": self.x, "y": self.y, "width": wide, "height": high, "grey": self.grey}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What an image shows, in whole numbers: an adapter draws it, the same on every machine."""

    style: str  # body | head | film | page | fan | mask
    rows: int
    columns: int
    frames: int = 1
    bits: int = 12  # stored
    allocated: int = 16
    samples: int = 1
    anatomy: tuple[int, ...] = ()  # half axes and places, in thousandths of the picture
    level: int = 500  # how far down the body, in thousandths
    noise: bytes = b""
    burns: tuple[Burn, ...] = ()
    spare: bytes = b""  # what the bits above the stored ones hold, a nibble a pixel


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What stands around a data set."""

    syntax: str = EXPLICIT
    open_ended: bool = False  # sequences and items end with a mark, and say no length
    preamble: bytes = b""
    meta: Fields = field(default_factory=dict)
    trailing: bytes = b""
    marks: tuple[
        tuple[str, bytes], ...
    ] = ()  # segments that no decoder needs: application or comment, and what it holds
    tail: bytes = b""  # after the codestream of each frame, where pixels are encapsulated
    keep: int | None = None  # thousandths of the file that arrived


@dataclass(frozen=True, kw_only=True)
class Image:
    """One DICOM file. `shared` is one object for a whole series, so that it is encoded once; `own` goes over it."""

    place: str
    shared: Fields
    own: Fields
    picture: Picture | None
    frame: Frame


@dataclass(frozen=True, kw_only=True)
class Record:
    """One clinical file."""

    place: str
    document: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Copy:
    """The file that was planned before, sent again under another name."""

    place: str


File: TypeAlias = "Image | Record | Copy"


def sequence(*items: Fields) -> Field:
    """A sequence of these items."""
    return "SQ", items


def put(fields: Fields, path: str, vr: str, value: Value) -> dict[int, Field]:
    """The same fields with a value at a path such as `00321064[1].00080104`; items that are not there are made."""
    head, _, rest = path.partition(".")
    tag, _, number = head.partition("[")
    changed = dict(fields)
    if not rest:
        changed[int(tag, 16)] = vr, value
        return changed
    place = int(number.rstrip("]")) - 1
    there = fields.get(int(tag, 16), ("SQ", ()))[1]
    items = [item for item in there if isinstance(item, Mapping)] if isinstance(there, tuple) else []
    items += [{} for _ in range(place + 1 - len(items))]
    items[place] = put(items[place], rest, vr, value)
    changed[int(tag, 16)] = "SQ", tuple(items)
    return changed


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How often what happens, in a thousand. Stated in the summary; a low rate is a high one in real life."""

    two_centres: int = 30  # of patients
    opted_out_before: int = 10
    opted_out_after: int = 5
    two_generations: int = 60
    no_record: int = 15
    no_images: int = 10
    birth_date_conflict: int = 2
    burned_in: int = 8  # of studies that are no films
    film_burned_in: int = 250  # of films
    spare_bits: int = 10
    truncated: int = 4
    uid_conflict: int = 4
    sent_again: int = 6
    clinical_dirt: int = 350  # of clinical fields that have a dirty form
    compressed: int = 150  # of series that a centre would send plain
    heads: int = 40  # of CT and MR studies: one more series, with a face in view


@dataclass(frozen=True, kw_only=True)
class Design:
    """How large, how many, how often."""

    name: str
    ct: int
    film: tuple[int, int]  # rows and columns lie between
    slices: tuple[int, int]
    mix: tuple[tuple[str, int], ...] = (("film", 8170), ("ct", 1780), ("mr", 25), ("mg", 12), ("us", 13))
    rates: Rates = Rates()
    hidden: int = 3  # places where identifiers hide, per series


FULL: Final = Design(name="full", ct=512, film=(2000, 2500), slices=(60, 600))
COMPACT: Final = Design(name="compact", ct=64, film=(256, 256), slices=(60, 180))
