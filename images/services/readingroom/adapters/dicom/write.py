"""A new file from decisions alone: explicit little endian, defined lengths, file meta made from nothing.

No time stamp, no padding, no byte that was not decided: the same decisions give the same bytes. PS3.10 section 7.1.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from readingroom.domain.deid.elements import LONG_VRS, Written
from readingroom.domain.deid.outcome import FileRejected, Reason
from readingroom.domain.deid.profile import Profile, ProfileSet

IMPLEMENTATION_UID: Final = "2.25.179806438293845107364518862094115632740"
IMPLEMENTATION_NAME: Final = "READINGROOM_1"
IDENTITY_REMOVED, METHOD, METHOD_CODES, TIME_MODIFIED = 0x00120062, 0x00120063, 0x00120064, 0x00280303


def provenance(profile: Profile, run: ProfileSet) -> list[Written]:
    """What says that, how and under which rules this file was de-identified. PS3.15 E.1.1; PS3.16 CID 7050."""
    codes = [
        [
            Written(0x00080100, "SH", code.encode("ascii")),
            Written(0x00080102, "SH", b"DCM"),
            Written(0x00080104, "LO", meaning.encode("ascii")),
        ]
        for code, meaning in profile.options
    ]
    return [
        Written(IDENTITY_REMOVED, "CS", b"YES"),
        Written(METHOD, "LO", f"Reading Room 1; {run.name}; {run.sha256[:12]}".encode("ascii")),
        Written(METHOD_CODES, "SQ", items=codes),
        Written(TIME_MODIFIED, "CS", b"MODIFIED"),
    ]


def header(elements: Iterable[Written], sop_class: str, instance: str, syntax: str) -> bytes:
    """Preamble, file meta information and all elements, sorted."""
    meta = b"".join(
        _element(each)
        for each in (
            Written(0x00020001, "OB", b"\0\1"),
            Written(0x00020002, "UI", sop_class.encode("ascii")),
            Written(0x00020003, "UI", instance.encode("ascii")),
            Written(0x00020010, "UI", syntax.encode("ascii")),
            Written(0x00020012, "UI", IMPLEMENTATION_UID.encode("ascii")),
            Written(0x00020013, "SH", IMPLEMENTATION_NAME.encode("ascii")),
        )
    )
    length = _element(Written(0x00020000, "UL", struct.pack("<I", len(meta))))
    return bytes(128) + b"DICM" + length + meta + b"".join(_element(each) for each in sorted(elements, key=_tag))


def pixel_head(vr: str, length: int) -> bytes:
    """The head of native pixel data."""
    return struct.pack("<HH2sxxI", 0x7FE0, 0x0010, vr.encode("ascii"), length)


def encapsulated_head(frames: int) -> tuple[bytes, int]:
    """The head of encapsulated pixel data with room for its offset table, and how far into it the table begins."""
    table = 4 * frames if frames > 1 else 0
    head = struct.pack("<HH2sxxI", 0x7FE0, 0x0010, b"OB", 0xFFFFFFFF)
    return head + struct.pack("<HHI", 0xFFFE, 0xE000, table) + bytes(table), len(head) + 8


def fragment(data: bytes) -> bytes:
    """One frame as one fragment."""
    odd = len(data) % 2
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(data) + odd) + data + b"\0" * odd


def encapsulated_end() -> bytes:
    """The delimiter of encapsulated pixel data."""
    return struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def write_all(descriptor: int, data: bytes, at: int | None = None) -> None:
    """All of `data`, at the end or at a place."""
    view = memoryview(data)
    while view:
        done = os.write(descriptor, view) if at is None else os.pwrite(descriptor, view, at)
        view = view[done:]
        at = None if at is None else at + done


def offset_table(lengths: Sequence[int]) -> bytes:
    """Where each frame begins, counted from the first."""
    starts, at = [], 0
    for length in lengths:
        starts.append(at)
        at += length
    return struct.pack(f"<{len(starts)}I", *starts)


def _element(each: Written) -> bytes:
    value = each.value if each.vr != "SQ" else b"".join(_item(item) for item in each.items)
    if len(value) % 2:
        value += b"\0" if each.vr in {"UI", "OB", "UN"} else b" "
    head = struct.pack("<HH2s", each.tag >> 16, each.tag & 0xFFFF, each.vr.encode("ascii"))
    if each.vr in LONG_VRS:
        return head + struct.pack("<xxI", len(value)) + value
    if len(value) > 0xFFFE:
        raise FileRejected(Reason.MALFORMED)
    return head + struct.pack("<H", len(value)) + value


def _item(elements: Iterable[Written]) -> bytes:
    body = b"".join(_element(each) for each in sorted(elements, key=_tag))
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(body)) + body


def _tag(each: Written) -> int:
    return each.tag
