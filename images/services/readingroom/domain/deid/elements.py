"""Data elements as plain values: what was read, and what is to be written.

Values are bytes in little-endian order, not decoded: each rule reads what it needs. Pixel data and whatever else is
large stays where it is, named by offset and length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

PIXEL_DATA: Final = 0x7FE00010
LONG_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
SHORT_VRS: Final = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI",
     "UL", "US"}
)  # fmt: skip
WORD: Final = {"AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4, "FD": 8, "OD": 8, "OV": 8,
               "SV": 8, "UV": 8}  # fmt: skip

Elements: TypeAlias = "list[Element]"


@dataclass(slots=True, repr=False)
class Element:
    """One element as it was found. Shows itself by tag only: its value may identify somebody."""

    tag: int
    vr: str  # as sent; of an implicit one, the dictionary's
    at: int  # where its value begins
    length: int
    value: bytes = b""  # little endian; empty for sequences and what is large
    items: list[Elements] | None = None
    fragments: list[tuple[int, int]] | None = None  # of encapsulated pixel data: offset and length of each
    table: bytes = b""  # its basic offset table

    def __repr__(self) -> str:
        return f"Element({self.tag:08X})"

    @property
    def private(self) -> bool:
        """Whether its group is odd: such a tag means what its creator says."""
        return bool(self.tag >> 16 & 1)


@dataclass(slots=True, repr=False)
class Written:
    """One element to write: VR of our choosing, value in little-endian order, unpadded."""

    tag: int
    vr: str
    value: bytes = b""
    items: list[list[Written]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Written({self.tag:08X})"


def find(elements: Elements, tag: int) -> Element | None:
    """The element with that tag at this level."""
    for element in elements:  # a loop, because this is asked often, and a generator costs twice as much
        if element.tag == tag:
            return element
    return None


def all_of(elements: Elements) -> Iterator[Element]:
    """Every element, items' included."""
    waiting = [iter(elements)]
    while waiting:
        for element in waiting[-1]:
            yield element
            if element.items:
                waiting.append(iter([inner for item in element.items for inner in item]))
                break
        else:
            waiting.pop()


def texts(element: Element | None) -> list[str]:
    """The values of a text element, trimmed; bytes beyond ASCII become U+FFFD, which no list of ours holds."""
    if element is None or element.items is not None:
        return []
    value = element.value.rstrip(b" \0")
    return [part.strip(" \0") for part in value.decode("ascii", "replace").split("\\")] if value else []


def text(element: Element | None) -> str:
    """The first value of a text element, or nothing."""
    return next(iter(texts(element)), "")
