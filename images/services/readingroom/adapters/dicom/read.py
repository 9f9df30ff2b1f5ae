"""From a pre-scanned file to plain values: little-endian, pixels as a handle. Nothing is interpreted beyond that."""

from __future__ import annotations

import struct
from typing import Final

from readingroom.adapters.dicom.dictionary import vr_of
from readingroom.adapters.dicom.prescan import Scan, prescan
from readingroom.adapters.dicom.source import Source
from readingroom.domain.deid.elements import PIXEL_DATA, WORD, Element, Elements, all_of, find

PIXEL_REPRESENTATION: Final = 0x00280103
_SIGNED_WHERE_PIXELS_ARE: Final = frozenset({0x00280106, 0x00280107, 0x00280120, 0x00280121})  # "US or SS" of PS3.6


def read(source: Source) -> Scan:
    """A file's elements with their values, pixel data apart. Raises `FileRejected` as the pre-scan does."""
    scan = prescan(source, vr_of)
    pixels = find(scan.elements, PIXEL_DATA)
    for element in all_of(scan.elements):
        if element.items is None and element is not pixels:
            element.value = swapped(element, scan.source.take(element.at, element.length), little=scan.little)
    _settle_signs(scan.elements)
    return scan


def swapped(element: Element, value: bytes, *, little: bool) -> bytes:
    """The value in little-endian order. PS3.5 section 7.3."""
    width = WORD.get(element.vr, 1)
    if little or width == 1 or len(value) % width:
        return value
    turned = bytearray(len(value))
    for place in range(width):
        turned[place::width] = value[width - 1 - place :: width]
    return bytes(turned)


def number(elements: Elements, tag: int) -> int | None:
    """The one unsigned short that an element holds, or None."""
    element = find(elements, tag)
    if element is None or len(element.value) != 2:
        return None
    return int(struct.unpack("<H", element.value)[0])


def _settle_signs(elements: Elements) -> None:
    """An implicit element that the dictionary calls `US or SS` is signed where the pixels are."""
    if number(elements, PIXEL_REPRESENTATION) == 1:
        for element in elements:
            if element.tag in _SIGNED_WHERE_PIXELS_ARE and element.vr == "US":
                element.vr = "SS"
