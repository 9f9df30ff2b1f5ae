"""The header of one released file as the cells of `series.parquet`: read by the walker that `ingest` and `deid` use.

Nothing is corrected: what does not read as the kind of its column is null.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Mapping
from typing import Final

from pydicom.uid import UID

from readingroom.adapters.dicom.dictionary import vr_of
from readingroom.adapters.dicom.prescan import prescan
from readingroom.adapters.dicom.source import Source
from readingroom.domain.clinical.cells import Value
from readingroom.domain.deid.elements import Element, Elements, find, text, texts
from readingroom.domain.deid.instance import SOP_CLASS
from readingroom.domain.deid.values import day

LONGEST: Final = 1024  # bytes of an element that a selection reads
_SHARED, _MEASURES = 0x52009229, 0x00289110  # of an enhanced object: PS3.3 C.7.6.16.2.1


class Part(Source):
    """A file that lies within a larger one, such as a member of an uncompressed archive."""

    def __init__(self, descriptor: int, begins: int, size: int) -> None:
        self._descriptor, self._begins, self.size = descriptor, begins, size
        self._from, self._window = 0, b""

    def _read(self, at: int, length: int) -> bytes:
        return os.pread(self._descriptor, max(0, min(length, self.size - at)), self._begins + at)


def header_of(source: Source) -> dict[str, Value]:
    """The cells of `domain.catalogue.READ`, and frames. Raises `FileRejected` for what is no DICOM file."""
    scan = prescan(source, vr_of)
    elements = [*scan.elements, *_measures(scan.elements)]
    return {name: read(_valued(source, find(elements, tag))) for name, (tag, read) in _CELLS.items()}


def _measures(elements: Elements) -> Elements:
    """Pixel spacing and thickness of an enhanced object, which all its frames share."""
    shared = find(elements, _SHARED)
    measures = find(shared.items[0], _MEASURES) if shared and shared.items else None
    return measures.items[0] if measures and measures.items else []


def _valued(source: Source, element: Element | None) -> Element | None:
    if element is None or element.items is not None or element.length > LONGEST:
        return None
    element.value = source.take(element.at, element.length)
    return element


def _word(element: Element | None) -> Value:
    return text(element) or None


def _words(element: Element | None) -> Value:
    return "\\".join(texts(element)) or None


def _number(place: int) -> Callable[[Element | None], Value]:
    def read(element: Element | None) -> Value:
        try:
            number = float(texts(element)[place])
        except (ValueError, IndexError):
            return None
        return number if math.isfinite(number) else None

    return read


def _whole(element: Element | None) -> Value:
    if element is not None and element.vr == "US":
        return int(struct.unpack("<H", element.value[:2])[0]) if len(element.value) >= 2 else None
    said = text(element)
    return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else None


def _date(element: Element | None) -> Value:
    found = day(text(element))
    return found.isoformat() if found else None


def _years(element: Element | None) -> Value:
    """A child of months is in its first or second year of life, and an age in months is not years: null."""
    said = text(element)
    return int(said[:3]) if said[3:] == "Y" and said[:3].isdigit() else None


def _truth(element: Element | None) -> Value:
    return {"00": False, "01": True}.get(text(element))


def _named(element: Element | None) -> Value:
    uid = UID(text(element))
    return uid.name if uid and uid.name != uid else None


_CELLS: Final[Mapping[str, tuple[int, Callable[[Element | None], Value]]]] = {
    "sop_class": (SOP_CLASS, _named),
    "frames": (0x00280008, _whole),
    "study_date": (0x00080020, _date),
    "series_number": (0x00200011, _whole),
    "sex": (0x00100040, _word),
    "age": (0x00101010, _years),
    "body_part": (0x00180015, _word),
    "laterality": (0x00200060, _word),
    "view_position": (0x00185101, _word),
    "patient_position": (0x00185100, _word),
    "study_description": (0x00081030, _word),
    "series_description": (0x0008103E, _word),
    "image_type": (0x00080008, _words),
    "manufacturer": (0x00080070, _word),
    "model": (0x00081090, _word),
    "rows": (0x00280010, _whole),
    "columns": (0x00280011, _whole),
    "bits_stored": (0x00280101, _whole),
    "photometric": (0x00280004, _word),
    "pixel_spacing_row": (0x00280030, _number(0)),
    "pixel_spacing_column": (0x00280030, _number(1)),
    "imager_spacing_row": (0x00181164, _number(0)),
    "imager_spacing_column": (0x00181164, _number(1)),
    "slice_thickness": (0x00180050, _number(0)),
    "spacing_between_slices": (0x00180088, _number(0)),
    "kvp": (0x00180060, _number(0)),
    "kernel": (0x00181210, _words),
    "contrast_agent": (0x00180010, _word),
    "echo_time": (0x00180081, _number(0)),
    "repetition_time": (0x00180080, _number(0)),
    "field_strength": (0x00180087, _number(0)),
    "lossy": (0x00282110, _truth),
}
