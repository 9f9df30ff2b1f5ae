"""The pre-scan: a structure that is not right is refused with a reason, whatever it claims, at small cost."""

from __future__ import annotations

import os
import struct
import tempfile
import tracemalloc
import zlib

import pytest

from readingroom.adapters.dicom.dictionary import vr_of
from readingroom.adapters.dicom.prescan import Scan, prescan
from readingroom.adapters.dicom.source import Source
from readingroom.domain.deid.elements import find
from readingroom.domain.deid.outcome import FileRejected
from tests import dicom_factory as make

HEAD = make.part10({})
IMPLICIT_HEAD = make.part10({}, make.IMPLICIT)
ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
ITEM_END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
OPEN = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)


def scanned(data: bytes) -> Scan:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return prescan(Source(file.fileno()), vr_of)


def reason(data: bytes) -> str:
    try:
        scanned(data)
    except FileRejected as error:
        return error.reason
    return "read"


@pytest.mark.parametrize("syntax", make.NATIVE)
@pytest.mark.parametrize("undefined", [False, True])
def test_every_native_encoding_has_the_same_structure(syntax: str, undefined: bool) -> None:
    nested = {"x00081140": ("SQ", [{0x00081155: ("UI", "1.2.3")}, {0x00081155: ("UI", "1.2.4")}])}
    scan = scanned(make.part10(make.ct(syntax=syntax, **nested), syntax, undefined=undefined))
    assert [element.tag for element in scan.elements] == sorted(make.ct(**nested))
    sequence = find(scan.elements, 0x00081140)
    assert sequence is not None
    assert [[element.tag for element in item] for item in sequence.items or []] == [[0x00081155]] * 2
    assert (scan.syntax, scan.little, scan.trailing) == (syntax, syntax != make.BIG_ENDIAN, 0)


def test_no_beginning_of_a_file_is_taken_for_the_whole() -> None:
    whole = make.part10(make.ct(x00081140=("SQ", [{0x00081155: ("UI", "1.2.3")}])))
    body_at = len(make.part10({}))
    for length in range(len(whole)):
        found = reason(whole[:length])
        if length < 132:
            assert found == "not-dicom"
        elif (
            found == "read"
        ):  # ends exactly between two elements of file meta or of the data set: no pixels, so not whole
            assert length >= body_at
            assert find(scanned(whole[:length]).elements, 0x7FE00010) is None
        else:
            assert found in {"truncated", "transfer-syntax", "malformed"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "not-dicom"),
        (bytes(200), "not-dicom"),
        (make.part10({}, "1.2.3"), "transfer-syntax"),
        (make.part10({}, ""), "transfer-syntax"),
        (HEAD + struct.pack("<HH2sHI", 0x0010, 0x0010, b"UT", 0, 0xFFFFFFF0), "truncated"),
        (HEAD + struct.pack("<HH2sHI", 0x0010, 0x0010, b"UT", 0, 0xFFFFFFFF), "malformed"),
        (HEAD + make.body({0x00100020: ("LO", "a")}) + make.body({0x00100010: ("PN", "b")}), "malformed"),
        (HEAD + make.body({0x00100020: ("LO", "a")}) * 2, "malformed"),
        (HEAD + b"\x10\0\x10\0??\0\0", "malformed"),
        (HEAD + OPEN, "truncated"),
        (HEAD + OPEN + ITEM, "truncated"),
        (HEAD + OPEN + ITEM + ITEM_END, "truncated"),
        (HEAD + OPEN + ITEM + ITEM_END + END, "read"),
        (HEAD + OPEN + ITEM + END, "malformed"),
        (HEAD + ITEM, "malformed"),
        (HEAD + (OPEN + ITEM) * 33, "over-limit"),
        (HEAD + (OPEN + ITEM) * 32 + (ITEM_END + END) * 32, "read"),
        (HEAD + (OPEN + ITEM) * 100_000, "over-limit"),
        (HEAD + OPEN + (ITEM + ITEM_END) * 20_001 + END, "over-limit"),
        (HEAD + OPEN + (ITEM + ITEM_END) * 20_000 + END, "read"),
        (HEAD + make.body({0x00080000 + n: ("LO", "") for n in range(1, 0x10000)}), "read"),
        (HEAD + b"".join(make.body({g << 16 | n: ("LO", "") for n in range(0x10000)}) for g in (9, 11, 13, 15)), "over-limit"),
        (HEAD + make.body({0x00104000: ("UT", bytes((16 << 20) + 2))}), "over-limit"),
        (HEAD + make.body({0x00104000 + n: ("UT", bytes(16 << 20)) for n in range(5)}), "over-limit"),
        (IMPLICIT_HEAD + struct.pack("<HHI", 0x0008, 0x1140, 8) + struct.pack("<HHI", 0xFFFE, 0xE000, 100), "truncated"),
        (IMPLICIT_HEAD + struct.pack("<HHI", 0x0008, 0x1140, 8) + struct.pack("<HHI", 0xFFFE, 0xE000, 8) + bytes(8), "malformed"),
        (make.part10({}, make.JPEG_LS) + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF), "truncated"),
        (make.part10({0x7FE00010: ("OB", make.fragments(b"ab")[:-8])}, make.JPEG_LS), "truncated"),
        (make.part10({0x7FE00010: ("OB", make.fragments(b"ab"))}, make.JPEG_LS), "read"),
    ],
)  # fmt: skip
def test_a_wrong_structure_has_its_reason(data: bytes, expected: str) -> None:
    assert reason(data) == expected


def test_what_follows_the_pixels_is_counted_and_not_read() -> None:
    assert scanned(make.part10(make.ct(), trailing=b"PKFeatherstone" * 3)).trailing == 42
    assert scanned(make.part10(make.ct(), trailing=b"x")).trailing == 1


def test_a_bomb_is_stopped_on_its_way() -> None:
    engine = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = b"".join(engine.compress(bytes(4 << 20)) for _ in range(140)) + engine.flush()
    tracemalloc.start()
    try:
        assert reason(make.part10({}, make.DEFLATED)[:-2] + bomb) == "over-limit"
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert reason(make.part10(make.ct(), make.DEFLATED)[:-20]) == "truncated"
    assert reason(make.part10({}, make.DEFLATED)[:-2] + b"\xff\xff\xff") == "malformed"


def test_a_large_file_is_read_through_a_window() -> None:
    with tempfile.TemporaryFile() as file:
        length = 600 << 20
        head = make.part10(make.ct(x7FE00010=None)) + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, length)
        file.write(head)
        file.flush()
        os.truncate(file.fileno(), len(head) + length)
        tracemalloc.start()
        try:
            scan = prescan(Source(file.fileno()), vr_of)
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()
        assert find(scan.elements, 0x7FE00010) is not None
        os.truncate(file.fileno(), (2 << 30) + 1)
        with pytest.raises(FileRejected, match="over-limit"):
            Source(file.fileno())
