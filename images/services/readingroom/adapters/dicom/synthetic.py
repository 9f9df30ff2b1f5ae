"""Part 10 files of planned images, by a writer of its own: it writes what an engine must survive and pydicom would refuse.

Explicit and implicit little endian, deflated, RLE, and what `packed` encodes. Deflated data is stored, not squeezed, and RLE
is literal runs: what a library squeezes depends on its version, and the same seed must give the same bytes. PS3.5 section 7,
A.1, A.4.2, A.5, annex G; PS3.10 section 7.1.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from readingroom.adapters.dicom.packed import codestream
from readingroom.adapters.dicom.phantom import drawn, packed
from readingroom.domain.deid.elements import LONG_VRS
from readingroom.domain.synth.centres import DEFLATED, EXPLICIT, IMPLICIT, RLE
from readingroom.domain.synth.plans import SOP_CLASS, SOP_INSTANCE, Field, Fields, Frame, Image, Picture

PIXEL_DATA: Final = 0x7FE00010
IMPLEMENTATION_UID: Final = "2.999.0"  # below the arc of examples, like every UID of the generator
PREAMBLE: Final = 128
UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = b"\xfe\xff\x00\xe0"
ITEM_END: Final = b"\xfe\xff\x0d\xe0\0\0\0\0"
SEQUENCE_END: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"
STORED_BLOCK: Final = 0xFFFF  # bytes: RFC 1951 section 3.2.4
LITERAL_RUN: Final = 128
_NUMBERS: Final = {"US": "H", "UL": "I", "FD": "d"}
_ZERO_PADDED: Final = frozenset({"UI", "OB", "OW", "UN"})


@dataclass(frozen=True)
class _Form:
    """How elements are written."""

    implicit: bool
    open_ended: bool


META: Final = _Form(implicit=False, open_ended=False)


class Part10:
    """The port `Encoder`."""

    def __init__(self) -> None:
        self._shared: Fields = {}
        self._encoded: dict[int, bytes] = {}
        self._form = META

    def encode(self, image: Image) -> bytes:
        """See the port. What a series shares is encoded once."""
        syntax = image.frame.syntax
        form = _Form(syntax == IMPLICIT, image.frame.open_ended)
        if image.shared is not self._shared or form != self._form:
            self._shared, self._form = image.shared, form
            self._encoded = {tag: _element(tag, field, form) for tag, field in image.shared.items()}
        elements = {**self._encoded, **{tag: _element(tag, field, form) for tag, field in image.own.items()}}
        if image.picture and syntax not in {EXPLICIT, IMPLICIT, DEFLATED}:
            elements[PIXEL_DATA] = _compressed(image.picture, image.frame)
        elif image.picture:
            elements[PIXEL_DATA] = _native(image.picture, form)
        body = b"".join(elements[tag] for tag in sorted(elements))
        if syntax == DEFLATED:
            body = _stored(body)
        whole = _head(image) + body + image.frame.trailing
        return whole if image.frame.keep is None else whole[: len(whole) * image.frame.keep // 1000]


def _head(image: Image) -> bytes:
    """Preamble and file meta information, with what hides in both."""
    meta: dict[int, Field] = {
        0x00020001: ("OB", b"\0\1"),
        0x00020002: image.shared[SOP_CLASS],
        0x00020003: image.own[SOP_INSTANCE],
        0x00020010: ("UI", image.frame.syntax),
        0x00020012: ("UI", IMPLEMENTATION_UID),
        **image.frame.meta,
    }
    body = b"".join(_element(tag, meta[tag], META) for tag in sorted(meta))
    length = _element(0x00020000, ("UL", len(body)), META)
    return image.frame.preamble.ljust(PREAMBLE, b"\0") + b"DICM" + length + body


def _element(tag: int, field: Field, form: _Form) -> bytes:
    vr, value = field
    data = _value(vr, value, form)
    head, length = struct.pack("<HH", tag >> 16, tag & 0xFFFF), len(data)
    if vr == "SQ" and form.open_ended:
        data, length = data + SEQUENCE_END, UNDEFINED
    if form.implicit:
        return head + struct.pack("<I", length) + data
    if vr in LONG_VRS:
        return head + vr.encode("ascii") + struct.pack("<xxI", length) + data
    return head + vr.encode("ascii") + struct.pack("<H", length) + data


def _value(vr: str, value: object, form: _Form) -> bytes:
    if isinstance(value, str | bytes):
        data = value.encode("utf-8") if isinstance(value, str) else value
        return data + (b"\0" if vr in _ZERO_PADDED else b" ") * (len(data) % 2)
    parts = value if isinstance(value, tuple) else (value,)
    if vr == "SQ":
        return b"".join(_item(item, form) for item in parts if isinstance(item, Mapping))
    return struct.pack(f"<{len(parts)}{_NUMBERS[vr]}", *parts)


def _item(fields: Fields, form: _Form) -> bytes:
    body = b"".join(_element(tag, fields[tag], form) for tag in sorted(fields))
    if form.open_ended:
        return ITEM + struct.pack("<I", UNDEFINED) + body + ITEM_END
    return ITEM + struct.pack("<I", len(body)) + body


def _native(picture: Picture, form: _Form) -> bytes:
    data = packed(picture, drawn(picture))
    return _element(PIXEL_DATA, ("OW" if picture.allocated == 16 else "OB", data), form)


def _compressed(picture: Picture, frame: Frame) -> bytes:
    """One frame in one fragment, after an empty offset table. PS3.5 A.4."""
    if frame.syntax == RLE:
        stream = _run_lengths(drawn(picture).tobytes(), picture) + frame.tail
    else:
        stream = codestream(picture, drawn(picture), frame.syntax, frame.marks, frame.tail)
    stream += b"\0" * (len(stream) % 2)
    head = struct.pack("<HH2sxxI", 0x7FE0, 0x0010, b"OB", UNDEFINED)
    return head + ITEM + struct.pack("<I", 0) + ITEM + struct.pack("<I", len(stream)) + stream + SEQUENCE_END


def _run_lengths(data: bytes, picture: Picture) -> bytes:
    """One frame: a header of 64 bytes, then the high bytes and the low ones, each row in literal runs. PS3.5 annex G."""
    width = picture.allocated // 8
    planes = np.frombuffer(data, dtype=np.uint8).reshape(picture.rows, picture.columns, width)
    segments = []
    for plane in range(width - 1, -1, -1):
        rows = planes[:, :, plane]
        runs = []
        for row in rows:
            whole = row.tobytes()
            for at in range(0, len(whole), LITERAL_RUN):
                run = whole[at : at + LITERAL_RUN]
                runs += [bytes([len(run) - 1]), run]
        segment = b"".join(runs)
        segments.append(segment + b"\0" * (len(segment) % 2))
    starts = [64]
    for segment in segments[:-1]:
        starts.append(starts[-1] + len(segment))
    header = struct.pack(f"<{1 + len(starts)}I", len(segments), *starts).ljust(64, b"\0")
    return header + b"".join(segments)


def _stored(data: bytes) -> bytes:
    """A deflate stream of stored blocks."""
    blocks = []
    for at in range(0, len(data), STORED_BLOCK):
        block = data[at : at + STORED_BLOCK]
        last = at + STORED_BLOCK >= len(data)
        blocks.append(struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block)
    return b"".join(blocks)
