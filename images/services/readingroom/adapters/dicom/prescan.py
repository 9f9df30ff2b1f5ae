"""The pre-scan: a file's structure, walked over its bytes with a stack of our own. No value is decoded.

Lengths must lie inside their parent, tags must come in order and once; depth, elements, items and the bytes outside
pixels are bounded. What stands after the last element is counted and never looked at. One reader for one truth: the
rest of the engine works on what this walker found and parses nothing again. `ingest` uses it as it is.

PS3.5 section 7 (data elements), A.1 to A.5 (encodings); PS3.10 section 7.1 (file meta information).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from readingroom.adapters.dicom.source import Inflated, Source
from readingroom.domain.deid.elements import LONG_VRS, PIXEL_DATA, SHORT_VRS, Element, Elements
from readingroom.domain.deid.outcome import FileRejected, Reason

IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
ENCAPSULATED: Final = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")  # JPEG families and video; RLE

DEEPEST: Final = 32
MOST_ELEMENTS: Final = 250_000
MOST_ITEMS: Final = 20_000
LARGEST_VALUE: Final = 16 << 20
LARGEST_SUM: Final = 64 << 20
LARGEST_TABLE: Final = 20_000 * 4  # a basic offset table: one number a frame
UNDEFINED: Final = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PREAMBLE: Final = 132
_ALL_VRS: Final = {vr.encode("ascii"): vr for vr in LONG_VRS | SHORT_VRS}
_LITTLE, _BIG = struct.Struct("<HH"), struct.Struct(">HH")
_LONG: Final = frozenset(vr.encode("ascii") for vr in LONG_VRS)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What a file is made of."""

    source: Source  # of the data set; inflated where it was deflated
    syntax: str
    little: bool
    meta: Elements
    elements: Elements
    trailing: int  # bytes after the last element


@dataclass(slots=True)
class _Level:
    """One data set being read: the top one, or an item."""

    elements: Elements
    end: int | None  # None: an item delimiter ends it
    implicit: bool
    last: int = -1


@dataclass(slots=True)
class _Sequence:
    """One sequence being read."""

    element: Element
    end: int | None
    implicit: bool


@dataclass(slots=True)
class _Walk:
    """State of one walk."""

    source: Source
    little: bool
    vr_of: Callable[[int], str]
    end: int
    elements: int = 0
    total: int = 0
    stack: list[_Level | _Sequence] = field(default_factory=list)


def prescan(source: Source, vr_of: Callable[[int], str]) -> Scan:
    """Walks a Part 10 file. `vr_of` is the dictionary: the VR of a tag, `UN` for one it does not know.

    Raises `FileRejected`: not-dicom, transfer-syntax, truncated, malformed or over-limit.
    """
    if source.take(128, 4) != b"DICM":
        raise FileRejected(Reason.NOT_DICOM)
    meta, at = _meta(source, vr_of)
    syntax = next((element.value for element in meta if element.tag == 0x00020010), b"")
    name = syntax.rstrip(b" \0").decode("ascii", "replace")
    little, implicit, deflated = _encoding(name)
    if deflated:
        source, at = Inflated(source, at), 0
    walk = _Walk(source=source, little=little, vr_of=vr_of, end=source.size)
    elements, end = _data_set(walk, at, implicit=implicit)
    return Scan(source=source, syntax=name, little=little, meta=meta, elements=elements, trailing=source.size - end)


def is_read(syntax: str) -> bool:
    """Whether a data set in this transfer syntax can be walked."""
    return syntax in {IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED} or syntax.startswith(ENCAPSULATED)


def _encoding(syntax: str) -> tuple[bool, bool, bool]:
    """Little endian, implicit, deflated."""
    if not is_read(syntax):
        raise FileRejected(Reason.TRANSFER_SYNTAX)
    return syntax != BIG_ENDIAN, syntax == IMPLICIT, syntax == DEFLATED


def _meta(source: Source, vr_of: Callable[[int], str]) -> tuple[Elements, int]:
    """File meta information: group 0002, explicit little endian, wherever its group length says it ends."""
    walk = _Walk(source=source, little=True, vr_of=vr_of, end=source.size)
    level = _Level([], source.size, implicit=False)
    at = PREAMBLE
    while source.take(at, 2) == b"\2\0":
        element, at = _element(walk, at, level)
        if element.length == UNDEFINED or element.length > LARGEST_VALUE:
            raise FileRejected(Reason.MALFORMED)
        element.value = source.take(at, element.length)
        at += element.length
        level.elements.append(element)
    return level.elements, at


def _data_set(walk: _Walk, at: int, *, implicit: bool) -> tuple[Elements, int]:
    top = _Level([], walk.end, implicit)
    walk.stack = [top]
    while walk.stack:
        here = walk.stack[-1]
        if isinstance(here, _Sequence):
            at = _next_item(walk, here, at)
        elif here.end is not None and at >= here.end:
            walk.stack.pop()
        elif here is top and _is_over(walk, top, at):
            break
        else:
            at = _next_element(walk, here, at)
    return top.elements, at


def _is_over(walk: _Walk, top: _Level, at: int) -> bool:
    """Whether what follows the pixels is no element any more: it is counted, not read."""
    if top.last < PIXEL_DATA:
        return False
    head = walk.source.take(at, 8)
    if len(head) < 8:
        return True
    tag = _tag(walk, head)
    known = top.implicit or head[4:6] in _ALL_VRS
    return tag <= top.last or tag >> 16 in {0xFFFE, 0} or not known


def _next_element(walk: _Walk, level: _Level, at: int) -> int:
    if level.end is None and (head := walk.source.take(at, 8)) and len(head) == 8 and _tag(walk, head) == ITEM_END:
        walk.stack.pop()
        return at + 8
    element, at = _element(walk, at, level)
    if element.tag <= level.last:
        raise FileRejected(Reason.MALFORMED)
    level.last = element.tag
    level.elements.append(element)
    walk.elements += 1
    if walk.elements > MOST_ELEMENTS:
        raise FileRejected(Reason.OVER_LIMIT)
    if element.vr == "SQ" or (element.vr == "UN" and element.length == UNDEFINED):
        _open_sequence(walk, element, at, implicit=level.implicit or element.vr == "UN")
        return at
    if element.length == UNDEFINED:
        if element.tag != PIXEL_DATA or len(walk.stack) > 1:
            raise FileRejected(Reason.MALFORMED)
        return _fragments(walk, element, at)
    _check_value(walk, element)
    return at + element.length


def _open_sequence(walk: _Walk, element: Element, at: int, *, implicit: bool) -> None:
    if sum(isinstance(each, _Sequence) for each in walk.stack) >= DEEPEST:
        raise FileRejected(Reason.OVER_LIMIT)
    element.items = []
    end = None if element.length == UNDEFINED else at + element.length
    walk.stack.append(_Sequence(element, end, implicit))


def _check_value(walk: _Walk, element: Element) -> None:
    if element.tag == PIXEL_DATA and len(walk.stack) == 1:
        return
    walk.total += element.length
    if element.length > LARGEST_VALUE or walk.total > LARGEST_SUM:
        raise FileRejected(Reason.OVER_LIMIT)


def _element(walk: _Walk, at: int, level: _Level) -> tuple[Element, int]:
    """The head of one element, and where its value begins."""
    head = walk.source.take(at, 12)
    if len(head) < 8:
        raise FileRejected(Reason.TRUNCATED)
    tag = _tag(walk, head)
    if tag >> 16 == 0xFFFE:
        raise FileRejected(Reason.MALFORMED)
    order = "<" if walk.little else ">"
    if level.implicit:
        vr, length, size = walk.vr_of(tag), struct.unpack_from("<I", head, 4)[0], 8
    elif head[4:6] in _LONG:
        if len(head) < 12:
            raise FileRejected(Reason.TRUNCATED)
        vr, length, size = _ALL_VRS[head[4:6]], struct.unpack_from(f"{order}I", head, 8)[0], 12
    elif head[4:6] in _ALL_VRS:
        vr, length, size = _ALL_VRS[head[4:6]], struct.unpack_from(f"{order}H", head, 6)[0], 8
    else:
        raise FileRejected(Reason.MALFORMED)
    _check_inside(walk, at + size, length)
    return Element(tag, vr, at + size, length), at + size


def _check_inside(walk: _Walk, at: int, length: int) -> None:
    """A value ends where its parent ends, at the latest. Beyond the file: truncated; beyond the parent: malformed."""
    if length == UNDEFINED:
        return
    if at + length > walk.end:
        raise FileRejected(Reason.TRUNCATED)
    for each in reversed(walk.stack):
        if each.end is not None:
            if at + length > each.end:
                raise FileRejected(Reason.MALFORMED)
            return


def _next_item(walk: _Walk, sequence: _Sequence, at: int) -> int:
    if sequence.end is not None and at >= sequence.end:
        walk.stack.pop()
        return at
    head = walk.source.take(at, 8)
    if len(head) < 8:
        raise FileRejected(Reason.TRUNCATED)
    tag, length = _tag(walk, head), struct.unpack_from("<I" if walk.little else ">I", head, 4)[0]
    if tag == SEQUENCE_END and sequence.end is None:
        walk.stack.pop()
        return at + 8
    if tag != ITEM or sequence.element.items is None:
        raise FileRejected(Reason.MALFORMED)
    if len(sequence.element.items) >= MOST_ITEMS:
        raise FileRejected(Reason.OVER_LIMIT)
    _check_inside(walk, at + 8, length)
    item: Elements = []
    sequence.element.items.append(item)
    walk.stack.append(_Level(item, None if length == UNDEFINED else at + 8 + length, sequence.implicit))
    return at + 8


def _fragments(walk: _Walk, element: Element, at: int) -> int:
    """Encapsulated pixel data: offset table, fragments, delimiter. PS3.5 A.4."""
    found: list[tuple[int, int]] = []
    while True:
        head = walk.source.take(at, 8)
        if len(head) < 8:
            raise FileRejected(Reason.TRUNCATED)
        tag, length = _tag(walk, head), struct.unpack_from("<I", head, 4)[0]
        at += 8
        if tag == SEQUENCE_END:
            break
        if tag != ITEM or length == UNDEFINED:
            raise FileRejected(Reason.MALFORMED)
        _check_inside(walk, at, length)
        found.append((at, length))
        at += length
        if len(found) > MOST_ELEMENTS:
            raise FileRejected(Reason.OVER_LIMIT)
    if not found:
        raise FileRejected(Reason.MALFORMED)
    if found[0][1] > LARGEST_TABLE:
        raise FileRejected(Reason.OVER_LIMIT)
    element.table = walk.source.take(*found[0])
    element.fragments = found[1:]
    return at


def _tag(walk: _Walk, head: bytes) -> int:
    group, number = (_LITTLE if walk.little else _BIG).unpack_from(head)
    return int(group) << 16 | int(number)
