"""The verifier: what was written is read again by other code and judged without the engine.

A strict reader of explicit little endian of its own: no pydicom, nothing of the walker, the rules or the writer. It gets
the resolved profile as a document, the identifiers of the input, and the output's bytes, and asks: does every byte
belong to an allowed structure; does each value pass its rule; is any identifier, original UID or true date left; are
untouched pixels the input's. A find is a bug of the engine: the file is rejected.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from readingroom.domain.deid.outcome import FileRejected, Reason

_LONG: Final = frozenset({b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR", b"OD", b"OF", b"OL", b"OV", b"SV", b"UV"})
_FORMATS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_PIXELS: Final = 0x7FE00010
_META: Final = {0x00020000: "UL", 0x00020001: "OB", 0x00020002: "UI", 0x00020003: "UI", 0x00020010: "UI", 0x00020012: "UI",
                0x00020013: "SH"}  # fmt: skip
_WRITER: Final = (b"2.25.179806438293845107364518862094115632740", b"READINGROOM_1")
_EXPLICIT: Final = "1.2.840.10008.1.2.1"
_TOKEN: Final = re.compile(rb"[A-Z2-7]{16}|[A-Z2-7]{20}")
_MAPPED: Final = re.compile(rb"2\.25\.([1-9][0-9]{0,38})")
_DAY: Final = rb"[0-9]{4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_DATE: Final = {"DA": re.compile(_DAY), "DT": re.compile(_DAY + rb"(?:[0-9]{2,6}(?:\.[0-9]{1,6})?)?")}
_AGE: Final = re.compile(rb"0(?:[0-8][0-9]Y|90Y)|[0-9]{3}[DWM]")
_TIME: Final = re.compile(rb"[0-2][0-9](?:[0-5][0-9](?:[0-6][0-9](?:\.[0-9]{1,6})?)?)?")
_NUMBER: Final = re.compile(rb"[+-]?[0-9.]{1,50}(?:[eE][+-]?[0-9]{1,3})?")
_PRINTABLE: Final = bytes(0x20 <= byte < 0x7F for byte in range(256))
SHORTEST: Final = 4  # characters of an identifier that is looked for inside numbers, times and dates
SHORTEST_IN_PIXELS: Final = 8  # shorter ones occur by chance
_RUN: Final = b"\1" * SHORTEST_IN_PIXELS
PIECE: Final = 4 << 20
BLOCK: Final = 1 << 14  # words: what the processor has at hand
HEAD: Final = 64 << 20  # all that is no pixel, and most files whole


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the verifier compares with; `profile` is the document of one modality, `method` the text that names the rules."""

    profile: Mapping[str, Any]
    method: str
    registered: frozenset[str]
    identifiers: frozenset[bytes]
    uids: frozenset[bytes]
    dates: frozenset[bytes]
    instance: str
    pixels: Callable[[], Any] | None  # pieces of the input's native pixel data, where it was not touched


def with_sets(profile: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same document, its lists of terms as sets: it serves many files."""
    lists = {
        name: {**each, "terms": frozenset(each["terms"])} if "terms" in each else each
        for name, each in profile["vocabularies"].items()
    }
    return {**profile, "vocabularies": lists}


def verify(descriptor: int, expected: Expected) -> str:
    """SHA-256 of the file at `descriptor`, once it has passed. Raises `FileRejected` (verifier)."""
    try:
        return _Reader(descriptor, expected).judge()
    except (_FoundError, struct.error, IndexError, UnicodeDecodeError, ValueError, KeyError) as error:
        raise FileRejected(Reason.VERIFIER) from error


class _FoundError(Exception):
    """Something that must not be there. Says where in the code, not what."""


class _Reader:
    def __init__(self, descriptor: int, expected: Expected) -> None:
        self._descriptor, self._expected = descriptor, expected
        self._size = os.fstat(descriptor).st_size
        self._head_bytes = os.pread(descriptor, min(self._size, HEAD), 0)
        self._view = memoryview(self._head_bytes)  # to look into without a copy
        self._lists = expected.profile["vocabularies"]
        self._own: Mapping[int, Mapping[str, Any]] = {
            0x00120062: {"do": "constant", "vr": ["CS"], "constant": "YES"},
            0x00120063: {"do": "constant", "vr": ["LO"], "constant": expected.method},
            0x00120064: {"do": "options", "vr": ["SQ"]},
            0x00280303: {"do": "constant", "vr": ["CS"], "constant": "MODIFIED"},
        }
        self._folded = frozenset(each.lower() for each in expected.identifiers if len(each) >= SHORTEST)

    def judge(self) -> str:
        head = self._head_bytes
        _require(head[:132] == bytes(128) + b"DICM", "preamble")
        at = self._meta(head)
        last = -1
        while at < self._size:
            tag, vr, length, at = self._head(head, at)
            _require(tag > last, "order")
            last = tag
            if tag == _PIXELS:
                at = self._pixel_data(head, at, vr, length)
                _require(at == self._size, "after the pixels")
            else:
                _require(at + length <= len(head), "length")
                self._element((tag,), vr, head[at : at + length], self._rule(tag))
                at += length
        _require(last == _PIXELS, "pixels are missing")
        return self._hash()

    def _meta(self, head: bytes) -> int:
        """File meta information: these elements, these values, and no byte more."""
        at, values = 132, {}
        for wanted, kind in _META.items():
            tag, vr, length, at = self._head(head, at)
            _require((tag, vr) == (wanted, kind), "file meta")
            values[tag] = head[at : at + length].rstrip(b"\0 " if vr != "OB" else b"")
            at += length
        given = self._expected
        syntax = values[0x00020010].decode("ascii")
        _require(struct.unpack("<I", head[140:144])[0] == at - 144, "length of file meta")
        _require(values[0x00020001] == b"\0\1", "version of file meta")
        _require(values[0x00020002].decode("ascii") in given.profile["sop_classes"], "class of file meta")
        _require(values[0x00020003] == given.instance.encode("ascii"), "instance of file meta")
        _require(syntax in given.profile["transfer_syntaxes"] or syntax == _EXPLICIT, "syntax of file meta")
        _require((values[0x00020012], values[0x00020013]) == _WRITER, "writer of file meta")
        return at

    def _head(self, data: bytes, at: int) -> tuple[int, str, int, int]:
        group, number, vr = struct.unpack_from("<HH2s", data, at)
        if vr in _LONG:
            _require(data[at + 6 : at + 8] == b"\0\0", "reserved bytes")
            length, at = struct.unpack_from("<I", data, at + 8)[0], at + 12
        else:
            length, at = struct.unpack_from("<H", data, at + 6)[0], at + 8
        return group << 16 | number, vr.decode("ascii"), length, at

    def _rule(self, tag: int) -> Mapping[str, Any]:
        found: Mapping[str, Any] | None = self._own.get(tag) or self._expected.profile["elements"].get(f"{tag:08X}")
        if found is None:
            raise _FoundError("not listed")
        return found

    def _element(self, path: tuple[int, ...], vr: str, data: bytes, rule: Mapping[str, Any]) -> None:
        _require(vr in rule["vr"], "VR")
        if vr == "SQ":
            self._sequence(path, data, rule)
            return
        value = data.rstrip(b"\0" if vr == "UI" else b" ") if vr not in _FORMATS else data
        _require(len(data) % 2 == 0, "odd length")
        _require(value.isascii() or vr in _FORMATS, "beyond ASCII")
        if value:
            _CHECKS[rule["do"]](self, vr, value, rule)

    def _sequence(self, path: tuple[int, ...], data: bytes, rule: Mapping[str, Any]) -> None:
        at = 0
        while at < len(data):
            group, number, length = struct.unpack_from("<HHI", data, at)
            _require((group, number) == (0xFFFE, 0xE000) and at + 8 + length <= len(data), "item")
            self._item(path, data[at + 8 : at + 8 + length], rule)
            at += 8 + length

    def _item(self, path: tuple[int, ...], data: bytes, rule: Mapping[str, Any]) -> None:
        at, last, code = 0, -1, []
        while at < len(data):
            tag, vr, length, at = self._head(data, at)
            _require(tag > last and at + length <= len(data), "order in an item")
            last, value = tag, data[at : at + length]
            if rule["do"] == "recurse":
                inner = rule["items"].get(f"{tag:08X}")
                _require(inner is not None, "not listed in an item")
                self._element((*path, tag), vr, value, inner)
            else:
                code.append((tag, vr, value.rstrip(b" ").decode("ascii")))
            at += length
        if code:
            self._code(code, rule)

    def _code(self, code: Sequence[tuple[int, str, str]], rule: Mapping[str, Any]) -> None:
        shape = [(tag, vr) for tag, vr, _ in code]
        _require(shape == [(0x00080100, "SH"), (0x00080102, "SH"), (0x00080104, "LO")], "code")
        triple = [value for _, _, value in code]
        if rule["do"] == "options":
            allowed = [[option, "DCM", meaning] for option, meaning in self._expected.profile["options"]]
        else:
            allowed = self._lists[rule["list"]]["codes"]
        _require(triple in allowed, "code not listed")

    # --- one check per action ----------------------------------------------------------------------------------------
    def keep(self, vr: str, value: bytes, rule: Mapping[str, Any]) -> None:
        if vr in _FORMATS:
            numbers = struct.unpack(f"<{len(value) // struct.calcsize(_FORMATS[vr])}{_FORMATS[vr]}", value)
            _require(all(rule["range"][0] <= number <= rule["range"][1] for number in numbers), "range")
            return
        parts = value.split(b"\\")
        if vr in {"CS", "UI"}:
            lists = [self._lists[each]["terms"] if isinstance(each, str) else each for each in rule["values"]]
            for place, part in enumerate(parts):
                text = part.decode("ascii")
                _require(text == "" or text in lists[min(place, len(lists) - 1)], "not on its list")
            return
        for part in parts:
            if vr == "TM":
                _require(_TIME.fullmatch(part) is not None, "time")
            else:
                _require(_NUMBER.fullmatch(part) is not None, "number")
                _require(rule["range"][0] <= float(part) <= rule["range"][1], "range")
        self._search(value)

    def vocabulary(self, vr: str, value: bytes, rule: Mapping[str, Any]) -> None:
        terms = self._lists[rule["list"]]["terms"]
        if rule.get("of") != "terms":
            _require(all(part.decode("ascii") in terms for part in value.split(b"\\")), "not our term")
            return
        words = value.decode("ascii").split(" ")
        reach = {0}  # which prefixes of the words are made of whole terms
        for end in range(1, len(words) + 1):
            if any(begin in reach and " ".join(words[begin:end]) in terms for begin in range(end)):
                reach.add(end)
        _require(len(words) in reach, "not our terms")

    def mapped(self, vr: str, value: bytes, rule: Mapping[str, Any]) -> None:
        for part in value.split(b"\\"):
            match = _MAPPED.fullmatch(part)
            _require(match is not None and part not in self._expected.uids, "UID")
            number = int(match.group(1)) if match else 0
            _require(number >> 76 & 0xF == 8 and number >> 62 & 3 == 2 and number < 1 << 128, "UID is no stand-in")

    def date(self, vr: str, value: bytes, rule: Mapping[str, Any]) -> None:
        for part in value.split(b"\\"):
            _require(_DATE[vr].fullmatch(part) is not None, "date")
            _require(part[:8] not in self._expected.dates, "a true date")

    def age(self, vr: str, value: bytes, rule: Mapping[str, Any]) -> None:
        _require(_AGE.fullmatch(value) is not None, "age")

    def pseudonym(self, vr: str, value: bytes, rule: Mapping[str, Any]) -> None:
        _require(_TOKEN.fullmatch(value) is not None and value not in self._expected.identifiers, "pseudonym")

    def constant(self, vr: str, value: bytes, rule: Mapping[str, Any]) -> None:
        _require(value == rule["constant"].encode("ascii"), "constant")

    def nothing(self, vr: str, value: bytes, rule: Mapping[str, Any]) -> None:
        raise _FoundError("a value where none may be")

    def _search(self, value: bytes) -> None:
        """An identifier that stands alone, or a longer one anywhere; true dates as they are written."""
        folded = value.lower()
        parts = set(folded.split(b"\\"))
        for identifier in self._folded:
            _require(identifier not in parts, "an identifier")
            _require(len(identifier) < 6 or identifier not in folded, "an identifier within")
        for date in self._expected.dates:
            _require(date not in folded, "a true date")

    # --- pixels ------------------------------------------------------------------------------------------------------
    def _pixel_data(self, head: bytes, at: int, vr: str, length: int) -> int:
        _require(vr in {"OB", "OW"}, "VR of pixels")
        if length != 0xFFFFFFFF:
            _require(at + length == self._size, "pixels end the file")
            self._search_pixels(at, length)
            if self._expected.pixels:
                self._compare(at, length)
            return at + length
        while True:
            group, number, length = struct.unpack("<HHI", self._take(at, 8))
            at += 8
            if (group, number, length) == (0xFFFE, 0xE0DD, 0):
                return at
            _require((group, number) == (0xFFFE, 0xE000) and at + length <= self._size, "fragment")
            self._search_pixels(at, length)
            at += length

    def _compare(self, at: int, length: int) -> None:
        for piece in self._expected.pixels() if self._expected.pixels else ():
            same = (
                self._head_bytes.startswith(piece, at)
                if self._at_hand(at + len(piece))
                else self._take(at, len(piece)) == piece
            )
            _require(same, "pixels differ")
            at += len(piece)
            length -= len(piece)
        _require(0 <= length <= 1, "pixels of another length")

    def _search_pixels(self, at: int, length: int) -> None:
        """Identifiers of eight bytes or more, where there is a run of printable bytes as long."""
        known = self._expected.identifiers | self._expected.uids | self._expected.dates
        wanted = [each for each in known if len(each) >= SHORTEST_IN_PIXELS]
        end = at + length
        while at < end and wanted:
            size = min(PIECE + 128, end - at)
            piece = self._view[at : at + size] if self._at_hand(at + size) else self._take(at, size)
            if _may_hold_text(piece) and _RUN in bytes(piece).translate(_PRINTABLE):
                folded = bytes(piece).lower()
                _require(not any(each.lower() in folded for each in wanted), "an identifier in the pixels")
            at += PIECE

    def _take(self, at: int, length: int) -> bytes:
        if self._at_hand(at + length):
            return self._head_bytes[at : at + length]
        return os.pread(self._descriptor, length, at)

    def _at_hand(self, end: int) -> bool:
        return end <= len(self._head_bytes) or len(self._head_bytes) == self._size

    def _hash(self) -> str:
        digest, at = hashlib.sha256(self._head_bytes), len(self._head_bytes)
        while piece := self._take(at, PIECE):
            digest.update(piece)
            at += len(piece)
        return digest.hexdigest()


_CHECKS: Final[Mapping[str, Callable[[_Reader, str, bytes, Mapping[str, Any]], None]]] = {
    "keep": _Reader.keep,
    "vocabulary": _Reader.vocabulary,
    "map-uid": _Reader.mapped,
    "shift-date": _Reader.date,
    "cap-age": _Reader.age,
    "pseudonym": _Reader.pseudonym,
    "constant": _Reader.constant,
    "empty": _Reader.nothing,
}


def _may_hold_text(piece: bytes | memoryview) -> bool:
    """Whether four bytes, from a multiple of four on, are all from 0x20 to 0x7F: of eight printable ones some four are."""
    words = np.frombuffer(piece, dtype=np.uint32, count=len(piece) // 4)
    for at in range(0, len(words), BLOCK):
        some = words[at : at + BLOCK]
        found = some << np.uint32(1)  # a byte's bit 5 comes to stand where bit 6 is
        found |= some
        found &= np.uint32(0x40404040)
        found |= some & np.uint32(0x80808080)
        if (found == 0x40404040).any():
            return True
    return False


def _require(right: bool, where: str) -> None:
    if not right:
        raise _FoundError(where)
