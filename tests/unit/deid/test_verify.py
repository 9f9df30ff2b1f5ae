"""The verifier meets known-bad outputs: whatever the engine might leave, it finds."""

from __future__ import annotations

import struct
import tempfile
from typing import Any

import pytest

from readingroom.adapters.dicom.dictionary import REGISTERED
from readingroom.adapters.dicom.verify import Expected, verify
from readingroom.domain.deid.outcome import FileRejected
from tests import dicom_factory as make
from tests.unit.deid.engine import resolved, run

DOCUMENT = next(each for each in resolved().document["profiles"] if each["profile"] == "ct")
METHOD = f"Reading Room 1; nccid; {resolved().sha256[:12]}"


def judged(data: bytes, **changes: Any) -> bool:
    clean = run(make.part10(make.ct()))
    given: dict[str, Any] = {
        "profile": DOCUMENT,
        "method": METHOD,
        "registered": REGISTERED,
        "identifiers": frozenset({b"Featherstone", b"Barnaby", b"PID4471882", b"9.75"}),
        "uids": frozenset({b"1.2.826.0.1.3680043.8.498.11111111"}),
        "dates": frozenset({b"20200403"}),
        "instance": str(clean.dataset.SOPInstanceUID),
        "pixels": lambda: iter([make.slice_pixels().tobytes()]),
        **changes,
    }
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            verify(file.fileno(), Expected(**given))
        except FileRejected as error:
            return error.reason != "verifier"
        return True


def clean() -> bytes:
    return run(make.part10(make.ct())).data


def test_a_clean_output_passes() -> None:
    assert judged(clean())
    assert judged(changed(0x00180050, b"DS", b"2.50"))


def changed(tag: int, vr: bytes, new: bytes) -> bytes:
    """The clean output with another value (and VR) for one element of its top level."""
    data = clean()
    at, head = 132, 0
    while at < len(data):
        group, number, kind = struct.unpack_from("<HH2s", data, at)
        long = kind in {b"OB", b"OW", b"SQ"}
        length = struct.unpack_from("<I", data, at + 8)[0] if long else struct.unpack_from("<H", data, at + 6)[0]
        head = 12 if long else 8
        if group << 16 | number == tag:
            element = struct.pack("<HH2s", group, number, vr)
            element += struct.pack("<HI", 0, len(new)) if vr in {b"OB", b"OW", b"SQ"} else struct.pack("<H", len(new))
            return data[:at] + element + new + data[at + head + length :]
        at += head + length
    raise AssertionError("no such element")


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00080008, b"CS", b"ORIGINAL\\PRIMARY\\BARNABY "),
        (0x00080020, b"DA", b"20200403"),
        (0x00080020, b"DA", b"Barnaby "),
        (0x00080030, b"TM", b"Barnaby "),
        (0x00080050, b"SH", b"ACC7700123"),
        (0x00080060, b"CS", b"MR"),
        (0x00080070, b"LO", b"Featherstone"),
        (0x00080090, b"PN", b"Dr"),
        (0x00081030, b"LO", b"CT Chest Barnaby"),
        (0x00081030, b"LO", b"CT Chest Hodgkin"),
        (0x00100010, b"PN", b"Featherstone"),
        (0x00100020, b"LO", b"PID4471882"),
        (0x00100030, b"DA", b"19511224"),
        (0x00100040, b"CS", b"X "),
        (0x00101010, b"AS", b"091Y"),
        (0x00180050, b"DS", b"9.75"),  # an identifier that stands alone
        (0x00180050, b"DS", b"-3"),
        (0x00180060, b"DS", b"one "),
        (0x00180060, b"LO", b"120 "),
        (0x0020000D, b"UI", b"1.2.826.0.1.3680043.8.498.22222222"),
        (0x0020000D, b"UI", b"2.25.12345\0"),
        (0x00120063, b"LO", b"Reading Room by Featherstone"),
        (0x00280010, b"US", b"\0\0"),
        (0x00280010, b"US", b"\x40\0\0"),
        (0x00120062, b"CS", b"NO"),
        (0x00020003, b"UI", b"1.2.3\0"),
        (0x00020002, b"UI", b"1.2.3\0"),
        (0x00020013, b"AE", b"READINGROOM_1 "),
        (0x00020013, b"SH", b"READINGROOM_2 "),
        (0x00020012, b"UI", b"1.2.826.0.1\0"),
        (0x00020010, b"UI", b"1.2.840.10008.1.2.4.102\0"),
        (0x00020001, b"OB", b"\0\2"),
        (0x00020000, b"UL", b"\0\0\0\0"),
        (0x7FE00010, b"OW", make.slice_pixels(seed=2).tobytes()),
        (0x7FE00010, b"OW", make.slice_pixels().tobytes()[:-2]),
        (0x7FE00010, b"OW", make.slice_pixels().tobytes() + b"Barnaby "),
        (0x7FE00010, b"UT", make.slice_pixels().tobytes()),
    ],
)
def test_a_wrong_value_is_found(tag: int, vr: bytes, value: bytes) -> None:
    assert not judged(changed(tag, vr, value))


def test_an_identifier_inside_a_longer_number_is_found() -> None:
    assert judged(clean(), identifiers=frozenset({b"999999"}))
    assert not judged(clean(), identifiers=frozenset({b"48828125"}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"Featherstone".ljust(128) + data[128:],
        lambda data: data + b"Featherstone",
        lambda data: data + b"\0",
        lambda data: data[:-1],
        lambda data: data[:200],
        lambda data: b"",
        lambda data: data.replace(b"\x08\0\x60\0CS", b"\x08\0\x61\0CS"),
        lambda data: data.replace(b"\x08\0\x60\0CS", b"\x09\0\x60\0CS"),
        lambda data: data.replace(b"\x18\0\x60\0DS", b"\x08\0\x05\0DS"),
        lambda data: data.replace(b"113107", b"113199"),
        lambda data: data.replace(b"Clean Descriptors Option", b"Featherstone Descriptors"),
        lambda data: data.replace(b"SQ\0\0", b"SQ\0\1"),
    ],
)
def test_damage_to_the_structure_is_found(damage: Any) -> None:
    broken = damage(clean())
    assert broken != clean()
    assert not judged(broken)


def test_identifiers_in_pixels_are_found_from_eight_bytes_on() -> None:
    pixels = make.slice_pixels()
    hidden = pixels.tobytes()[:100] + b"featherstone" + pixels.tobytes()[112:]
    data = clean().replace(pixels.tobytes(), hidden)
    assert not judged(data, pixels=lambda: iter([hidden]))
    assert judged(data, pixels=lambda: iter([hidden]), identifiers=frozenset({b"Barnaby"}))
