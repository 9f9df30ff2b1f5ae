"""Test images by a writer of its own, so that a bug shared with the engine cannot hide a leak.

A data set is a dict: tag → (VR, value). A value is text, bytes, a number or a list of them, or, for a sequence, a list of
data sets. What no sane writer makes is made by giving bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

DataSet = Mapping[int, tuple[str, Any]]

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
NATIVE = (IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN)

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
CR_CLASS = "1.2.840.10008.5.1.4.1.1.1"
US_CLASS = "1.2.840.10008.5.1.4.1.1.6.1"
SC_CLASS = "1.2.840.10008.5.1.4.1.1.7"
SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.22"
PDF_CLASS = "1.2.840.10008.5.1.4.1.1.104.1"
RAW_CLASS = "1.2.840.10008.5.1.4.1.1.66"
RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"

_LONG = {"OB", "OW", "OF", "OD", "OL", "OV", "SQ", "UN", "UT", "UC", "UR", "SV", "UV"}
_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "AT": "HH", "SV": "q", "UV": "Q"}


def body(fields: DataSet, syntax: str = EXPLICIT, *, undefined: bool = False) -> bytes:
    """A data set in a syntax; sequences with defined lengths, or undefined ones."""
    return b"".join(_element(tag, vr, value, syntax, undefined) for tag, (vr, value) in sorted(fields.items()))


def part10(
    fields: DataSet,
    syntax: str = EXPLICIT,
    *,
    preamble: bytes = bytes(128),
    meta: DataSet | None = None,
    trailing: bytes = b"",
    undefined: bool = False,
) -> bytes:
    """A whole file."""
    sop_class = fields.get(0x00080016, ("UI", CT_CLASS))[1]
    head = {
        0x00020001: ("OB", b"\0\1"),
        0x00020002: ("UI", sop_class),
        0x00020003: ("UI", fields.get(0x00080018, ("UI", "1.2.3"))[1]),
        0x00020010: ("UI", syntax),
        **(meta or {}),
    }
    encoded = body(head)
    length = body({0x00020000: ("UL", len(encoded))})
    data = body(fields, syntax, undefined=undefined)
    if syntax == DEFLATED:
        engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = engine.compress(data) + engine.flush()
    return preamble + b"DICM" + length + encoded + data + trailing


def fragments(*frames: bytes, table: bytes = b"") -> bytes:
    """The value of encapsulated pixel data."""
    items = [table, *(frame + b"\0" * (len(frame) % 2) for frame in frames)]
    whole = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return whole + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def _element(tag: int, vr: str, value: Any, syntax: str, undefined: bool) -> bytes:
    order = ">" if syntax == BIG_ENDIAN else "<"
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    data = _value(vr, value, syntax, undefined)
    encapsulated = tag == 0x7FE00010 and syntax not in NATIVE
    length = 0xFFFFFFFF if encapsulated or (vr == "SQ" and undefined) else len(data)
    if vr == "SQ" and undefined:
        data += struct.pack(f"{order}HHI", 0xFFFE, 0xE0DD, 0)
    if syntax == IMPLICIT:
        return head + struct.pack("<I", length) + data
    if vr in _LONG:
        return head + vr.encode() + struct.pack(f"{order}HI", 0, length) + data
    return head + vr.encode() + struct.pack(f"{order}H", length) + data


def _value(vr: str, value: Any, syntax: str, undefined: bool) -> bytes:
    order = ">" if syntax == BIG_ENDIAN else "<"
    if vr == "SQ":
        return b"".join(_item(item, syntax, undefined) for item in value)
    if isinstance(value, bytes):
        return value + b"\0" * (len(value) % 2)
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if vr in _NUMBERS:
        return b"".join(struct.pack(f"{order}{_NUMBERS[vr]}", number) for number in values)
    text = "\\".join(str(each) for each in values).encode("latin-1")
    return text + (b"\0" if vr == "UI" else b" ") * (len(text) % 2)


def _item(item: DataSet, syntax: str, undefined: bool) -> bytes:
    order = ">" if syntax == BIG_ENDIAN else "<"
    data = body(item, syntax, undefined=undefined)
    head = struct.pack(f"{order}HHI", 0xFFFE, 0xE000, 0xFFFFFFFF if undefined else len(data))
    return head + data + (struct.pack(f"{order}HHI", 0xFFFE, 0xE00D, 0) if undefined else b"")


def slice_pixels(size: int = 64, *, seed: int = 1, signed: bool = True) -> NDArray[Any]:
    """A round body in air, soft at its edge, with noise: what a CT slice looks like to a measure of strokes."""
    rows, columns = np.mgrid[:size, :size]
    distance = np.hypot(rows - size / 2, columns - size / 2) - size / 3
    noise = np.random.default_rng(seed).normal(0, 15, (size, size))
    values = -1000 + 1040 / (1 + np.exp(distance)) + noise
    return values.astype("<i2") if signed else (values + 1100).astype("<u2")


def native(pixels: NDArray[Any], syntax: str = EXPLICIT) -> bytes:
    """Pixel data as it is stored in a native syntax."""
    return (pixels.astype(pixels.dtype.newbyteorder(">")) if syntax == BIG_ENDIAN else pixels).tobytes()


def ct(pixels: NDArray[Any] | None = None, *, syntax: str = EXPLICIT, **changes: Any) -> dict[int, tuple[str, Any]]:
    """A CT slice, complete and clean; changes go by tag: `x00100010=("PN", "A^B")`, or None to leave one out."""
    found = slice_pixels() if pixels is None else pixels
    fields: dict[int, tuple[str, Any]] = {
        0x00080008: ("CS", ["ORIGINAL", "PRIMARY", "AXIAL"]),
        0x00080016: ("UI", CT_CLASS),
        0x00080018: ("UI", "1.2.826.0.1.3680043.8.498.11111111"),
        0x00080020: ("DA", "20200403"),
        0x00080022: ("DA", "20200405"),
        0x00080030: ("TM", "101112.123"),
        0x00080050: ("SH", "ACC7700123"),
        0x00080060: ("CS", "CT"),
        0x00080070: ("LO", "SIEMENS"),
        0x00080080: ("LO", "Queen Gwendolyn Infirmary"),
        0x00080090: ("PN", "Ottoline^Prudence^^Dr"),
        0x00081030: ("LO", "CT chest Hodgkin lymphoma for Mr Featherstone"),
        0x0008103E: ("LO", "Thorax axial 1.0 B70f"),
        0x00081090: ("LO", "SOMATOM Force"),
        0x00100010: ("PN", "Featherstone^Barnaby"),
        0x00100020: ("LO", "PID4471882"),
        0x00100030: ("DA", "19511224"),
        0x00100040: ("CS", "M"),
        0x00101010: ("AS", "068Y"),
        0x00180015: ("CS", "CHEST"),
        0x00180050: ("DS", "1.25"),
        0x00180060: ("DS", "120"),
        0x00181210: ("SH", "B70f"),
        0x00185100: ("CS", "HFS"),
        0x0020000D: ("UI", "1.2.826.0.1.3680043.8.498.22222222"),
        0x0020000E: ("UI", "1.2.826.0.1.3680043.8.498.33333333"),
        0x00200010: ("SH", "ST9981"),
        0x00200011: ("IS", "3"),
        0x00200013: ("IS", "17"),
        0x00200032: ("DS", ["-125.5", "-130.25", "402.75"]),
        0x00200037: ("DS", ["1", "0", "0", "0", "1", "0"]),
        0x00200052: ("UI", "1.2.826.0.1.3680043.8.498.44444444"),
        0x00280002: ("US", 1),
        0x00280004: ("CS", "MONOCHROME2"),
        0x00280010: ("US", found.shape[-2]),
        0x00280011: ("US", found.shape[-1]),
        0x00280030: ("DS", ["0.48828125", "0.48828125"]),
        0x00280100: ("US", found.dtype.itemsize * 8),
        0x00280101: ("US", found.dtype.itemsize * 8),
        0x00280102: ("US", found.dtype.itemsize * 8 - 1),
        0x00280103: ("US", int(found.dtype.kind == "i")),
        0x00281050: ("DS", "40"),
        0x00281051: ("DS", "400"),
        0x00281052: ("DS", "-1024"),
        0x00281053: ("DS", "1"),
        0x7FE00010: ("OW", native(found, syntax)),
    }
    for name, change in changes.items():
        tag = int(name[1:], 16)
        if change is None:
            fields.pop(tag, None)
        else:
            fields[tag] = change
    return fields


SECRETS = (b"Featherstone", b"Barnaby", b"PID4471882", b"4471882", b"ACC7700123", b"7700123", b"ST9981", b"Gwendolyn",
           b"Infirmary", b"Ottoline", b"Prudence", b"19511224", b"20200403", b"20200405", b"1.2.826.0.1")  # fmt: skip
