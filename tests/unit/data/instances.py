"""DICOM files for the door's tests, by a writer of our own: explicit little endian, as few elements as it takes."""

from __future__ import annotations

import struct

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
MPEG4 = "1.2.840.10008.1.2.4.102"
_LONG = {"OB", "OW", "SQ", "UN"}


def element(tag: int, vr: str, value: bytes) -> bytes:
    """One element, padded to an even length."""
    value += (b"\0" if vr in {"UI", "OB", "OW"} else b" ") * (len(value) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    return (
        head + struct.pack("<HI" if vr in _LONG else "<H", *([0, len(value)] if vr in _LONG else [len(value)])) + value
    )


def us(tag: int, number: int) -> bytes:
    return element(tag, "US", struct.pack("<H", number))


def encapsulated(*fragments: bytes, table: bytes = b"") -> bytes:
    """Pixel data in fragments, with its offset table and delimiter."""
    items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in (table, *fragments))
    return struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def part10(elements: dict[int, bytes], syntax: str = EXPLICIT, sop_class: str = CT) -> bytes:
    """A file of these elements, in the order of their tags."""
    meta = element(0x00020002, "UI", sop_class.encode()) + element(0x00020010, "UI", syntax.encode())
    length = element(0x00020000, "UL", struct.pack("<I", len(meta)))
    return b"\0" * 128 + b"DICM" + length + meta + b"".join(elements[tag] for tag in sorted(elements))


def elements(**changes: str) -> dict[int, bytes]:
    """A CT image of 4 × 4 pixels; each text may be given, an empty one stands empty."""
    said = {
        "instance": "1.2.3.1.1",
        "study": "1.2.3",
        "series": "1.2.3.1",
        "patient": "P-1",
        "birth": "19500102",
        "name": "Quux^Zebediah",
        "filling": "",
        **changes,
    }
    return {
        0x00080016: element(0x00080016, "UI", CT.encode()),
        0x00080018: element(0x00080018, "UI", said["instance"].encode()),
        0x00100010: element(0x00100010, "PN", said["name"].encode()),
        0x00100020: element(0x00100020, "LO", said["patient"].encode()),
        0x00100030: element(0x00100030, "DA", said["birth"].encode()),
        0x0020000D: element(0x0020000D, "UI", said["study"].encode()),
        0x0020000E: element(0x0020000E, "UI", said["series"].encode()),
        0x00204000: element(0x00204000, "LT", said["filling"].encode()),
        0x00280002: us(0x00280002, 1),
        0x00280004: element(0x00280004, "CS", b"MONOCHROME2"),
        0x00280010: us(0x00280010, 4),
        0x00280011: us(0x00280011, 4),
        0x00280100: us(0x00280100, 16),
        0x7FE00010: element(0x7FE00010, "OW", bytes(32)),
    }


def instance(**changes: str) -> bytes:
    """The bytes of such a file."""
    return part10(elements(**changes))
