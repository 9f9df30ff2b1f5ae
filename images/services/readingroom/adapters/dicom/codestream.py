"""Codestreams, walked marker by marker: only segments that decoding needs are written again.

Comments, application segments, container boxes, pointers and whatever follows the end are left behind. A stream that
does not follow its standard to the letter is doubtful, and its file is held. ISO/IEC 10918-1 (JPEG), 14495-1 (JPEG-LS),
15444-1 (JPEG 2000); PS3.5 annex G (RLE).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from readingroom.domain.deid.outcome import FileHeld, Reason

_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_JPEG_KEPT: Final = _JPEG_FRAMES | {0xC4, 0xCC, 0xDB, 0xDD, 0xDA, 0xF8}
_JPEG_LEFT: Final = frozenset(range(0xE0, 0xF0)) | {0xFE}
_J2K_KEPT: Final = frozenset({0x51, 0x52, 0x53, 0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x61})
_J2K_LEFT: Final = frozenset({0x55, 0x57, 0x58, 0x63, 0x64})
_SOC, _SOT, _SOD, _EOC, _SIZ = b"\xff\x4f", b"\xff\x90", b"\xff\x93", b"\xff\xd9", 0x51
_JP2_SIGNATURE: Final = b"\0\0\0\x0cjP  \r\n\x87\n"


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One frame's codestream, without what decoding does not need, and the shape that it claims."""

    data: bytes
    rows: int
    columns: int
    components: int
    precision: int


def _doubtful() -> FileHeld:
    return FileHeld(Reason.CODESTREAM_DOUBTFUL)


def jpeg(data: bytes) -> Stream:
    """JPEG and JPEG-LS. Raises `FileHeld` for what does not follow the standard."""
    if data[:2] != b"\xff\xd8":
        raise _doubtful()
    out, at, shape, stuffed = bytearray(b"\xff\xd8"), 2, None, 0
    while (marker := _marker(data, at)) != 0xD9:
        segment = _segment(data, at)
        at += len(segment)
        if marker in _JPEG_LEFT:
            continue
        if marker not in _JPEG_KEPT or (marker == 0xF8 and segment[4:5] != b"\1"):
            raise _doubtful()
        out += segment
        if marker in _JPEG_FRAMES:
            if shape is not None or len(segment) < 10:
                raise _doubtful()
            shape, stuffed = struct.unpack_from(">BHHB", segment, 4), 0x7F if marker == 0xF7 else 0
        if marker == 0xDA:
            end = _scan_end(data, at, stuffed)
            out += data[at:end]
            at = end
    if shape is None:
        raise _doubtful()
    precision, rows, columns, components = shape
    return Stream(data=bytes(out + b"\xff\xd9"), rows=rows, columns=columns, components=components, precision=precision)


def _marker(data: bytes, at: int) -> int:
    """The marker at a place; fill bytes are no standard for medical images."""
    if len(data) < at + 2 or data[at] != 0xFF:
        raise _doubtful()
    return data[at + 1]


def _segment(data: bytes, at: int) -> bytes:
    """A marker segment, its marker included."""
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    segment = data[at : at + 2 + length]
    if length < 2 or len(segment) != 2 + length:
        raise _doubtful()
    return segment


def _scan_end(data: bytes, at: int, stuffed: int) -> int:
    """Where entropy-coded data ends: at the next marker that is neither a stuffed byte nor a restart."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            raise _doubtful()
        follows = data[at + 1]
        if follows <= stuffed or 0xD0 <= follows <= 0xD7:
            at += 2
        else:
            return at


def jpeg2000(data: bytes) -> Stream:
    """JPEG 2000, in a container or bare. Raises `FileHeld` for what does not follow the standard."""
    data = _unboxed(data)
    if data[:2] != _SOC:
        raise _doubtful()
    head, at = _j2k_segments(data, 2, _SOT)
    size = next((segment for segment in head if segment[1] == _SIZ), b"")
    if len(size) < 41:
        raise _doubtful()
    width, height, left, top = struct.unpack_from(">IIII", size, 6)
    components, precision = struct.unpack_from(">HB", size, 38)
    out = bytearray(_SOC + b"".join(head))
    while data[at : at + 2] == _SOT:
        part, at = _tile_part(data, at)
        out += part
    if data[at : at + 2] != _EOC:
        raise _doubtful()
    return Stream(
        data=bytes(out + _EOC),
        rows=height - top,
        columns=width - left,
        components=components,
        precision=(precision & 0x7F) + 1,
    )


def _j2k_segments(data: bytes, at: int, end: bytes) -> tuple[list[bytes], int]:
    found: list[bytes] = []
    while data[at : at + 2] != end:
        if len(data) < at + 4 or data[at] != 0xFF or data[at + 1] not in _J2K_KEPT | _J2K_LEFT:
            raise _doubtful()
        segment = _segment(data, at)
        at += len(segment)
        if segment[1] in _J2K_KEPT:
            found.append(segment)
    return found, at


def _tile_part(data: bytes, at: int) -> tuple[bytes, int]:
    start = _segment(data, at)
    if len(start) != 12:
        raise _doubtful()
    length = int.from_bytes(start[6:10], "big")
    kept, body = _j2k_segments(data, at + len(start), _SOD)
    end = at + length if length else data.find(_EOC, body)
    if end < body + 2 or end > len(data):
        raise _doubtful()
    rest = b"".join(kept) + data[body:end]
    return start[:6] + (len(start) + len(rest)).to_bytes(4, "big") + start[10:] + rest, end


def _unboxed(data: bytes) -> bytes:
    """The codestream of a JP2 container."""
    at = 0
    while data.startswith(_JP2_SIGNATURE) and at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"jp2c":
            return data[at + 8 : at + length if length else len(data)]
        if length < 8:
            break
        at += length
    return data


def rle(data: bytes, pixels: int, planes: int) -> tuple[bytes, list[bytes]]:
    """RLE: the frame cut to what its pixels need, and the decoded byte planes, most significant first.

    Raises `FileHeld` when a segment does not end exactly where the plane does.
    """
    if len(data) < 64:
        raise _doubtful()
    number, *offsets = struct.unpack_from("<16I", data)
    bounds = [*offsets[:number], len(data)]
    if number != planes or bounds != sorted(bounds) or bounds[0] != 64:
        raise _doubtful()
    kept: list[bytes] = []
    decoded: list[bytes] = []
    for start, end in pairwise(bounds):
        plane, used = _unpacked(data[start:end], pixels)
        decoded.append(plane)
        segment = data[start : start + used]
        kept.append(segment + b"\0" * (len(segment) % 2))
    places, at = [], 64
    for segment in kept:
        places.append(at)
        at += len(segment)
    head = struct.pack("<16I", number, *places, *([0] * (15 - number)))
    return head + b"".join(kept), decoded


def _unpacked(segment: bytes, pixels: int) -> tuple[bytes, int]:
    out, at = bytearray(), 0
    try:
        while len(out) < pixels:
            control = segment[at]
            if control < 128:
                out += segment[at + 1 : at + 2 + control]
                at += 2 + control
            elif control > 128:
                out += segment[at + 1 : at + 2] * (257 - control)
                at += 2
            else:
                at += 1
    except IndexError as error:
        raise _doubtful() from error
    if len(out) != pixels or at > len(segment):
        raise _doubtful()
    return bytes(out), at
