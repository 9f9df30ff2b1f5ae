"""Codestreams of synthetic pictures, with what archives leave beside the image: JPEG baseline and lossless by encoders of our
own, so that the same seed gives the same bytes; JPEG-LS and JPEG 2000, lossless, by the pinned libraries.

Huffman codes are of fixed lengths as far as they go: simple, valid, and no smaller than they need to be. ISO/IEC 10918-1
(JPEG), 14495-1 (JPEG-LS), 15444-1 (JPEG 2000); PS3.5 A.4.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import UID

from readingroom.domain.synth.centres import JPEG_2000, JPEG_BASELINE, JPEG_LOSSLESS
from readingroom.domain.synth.plans import Picture

Array = NDArray[Any]
START: Final = b"\xff\xd8"
END: Final = b"\xff\xd9"
JPEG_MARKS: Final = {"application": b"\xff\xe1", "comment": b"\xff\xfe"}
J2K_MARKS: Final = {"application": b"\0\0", "comment": b"\0\1"}  # registration of a comment: binary, Latin
STEP: Final = 2  # of quantisation: what is lost is hardly seen
CHUNK: Final = 1 << 16  # samples whose bits are laid out at once
# Categories of differences: fifteen codes of four bits, then one of five and one of six. No code is all ones.
DIFFERENCES: Final = (15, {4: 15, 5: 1, 6: 1}, tuple(range(17)))
_RUNS: Final = tuple(run << 4 | size for run in range(16) for size in range(1, 11))
COEFFICIENTS: Final = (0, {8: 2 + len(_RUNS)}, (0x00, 0xF0, *_RUNS))
# Order of an eight by eight block from low to high frequency: figure A.6.
ZIGZAG: Final = sorted(range(64), key=lambda at: (at // 8 + at % 8, (at // 8 if (at // 8 + at % 8) % 2 else at % 8)))


def codestream(picture: Picture, frame: Array, syntax: str, marks: tuple[tuple[str, bytes], ...], tail: bytes) -> bytes:
    """One frame in a syntax, the marks after its head, and the tail after its end."""
    depth = 8 * frame.itemsize if picture.spare else picture.bits  # spare bits travel only in an image of full depth
    match syntax:
        case _ if syntax == JPEG_BASELINE:
            stream = _baseline(frame)
        case _ if syntax == JPEG_LOSSLESS:
            stream = _lossless(frame, depth)
        case _:
            stream = _by_library(frame, depth, syntax)
    if syntax == JPEG_2000:
        at = 4 + int.from_bytes(stream[4:6], "big")  # after SOC and SIZ
        segments = [_segment(b"\xff\x64", J2K_MARKS[kind] + data) for kind, data in marks]
    else:
        at = len(START)
        segments = [_segment(JPEG_MARKS[kind], data) for kind, data in marks]
    return stream[:at] + b"".join(segments) + stream[at:] + tail


def _segment(marker: bytes, data: bytes) -> bytes:
    return marker + (2 + len(data)).to_bytes(2, "big") + data


def _by_library(frame: Array, depth: int, syntax: str) -> bytes:
    options: dict[str, Any] = {
        "rows": frame.shape[0],
        "columns": frame.shape[1],
        "samples_per_pixel": 1,
        "number_of_frames": 1,
        "bits_allocated": 8 * frame.itemsize,
        "bits_stored": depth,
        "pixel_representation": 0,
        "photometric_interpretation": "MONOCHROME2",
    }
    return bytes(get_encoder(UID(syntax)).encode(np.ascontiguousarray(frame), **options))


def _jpeg(marker: int, depth: int, shape: tuple[int, ...], tables: bytes, scan: tuple[bytes, Array, Array]) -> bytes:
    """A frame of one component. `scan`: its parameters, then codes and their lengths in bits."""
    head = struct.pack(">BHHBBBB", depth, *shape, 1, 1, 0x11, 0)
    parameters, codes, lengths = scan
    data = _bits(codes, lengths).replace(b"\xff", b"\xff\0")
    return START + tables + _segment(bytes([0xFF, marker]), head) + _segment(b"\xff\xda", parameters) + data + END


def _table(place: int, counts: dict[int, int], symbols: tuple[int, ...]) -> bytes:
    return _segment(b"\xff\xc4", bytes([place, *(counts.get(length, 0) for length in range(1, 17)), *symbols]))


def _codes(counts: dict[int, int], symbols: tuple[int, ...]) -> tuple[Array, Array]:
    """By symbol: its code and the code's length. Annex C."""
    codes, lengths = np.zeros(256, np.int64), np.zeros(256, np.int64)
    code, place = 0, 0
    for length in range(1, 17):
        for _ in range(counts.get(length, 0)):
            codes[symbols[place]], lengths[symbols[place]] = code, length
            code, place = code + 1, place + 1
        code <<= 1
    return codes, lengths


def _bits(codes: Array, lengths: Array) -> bytes:
    """Codes one after another, the highest bit first; the last byte is filled with ones."""
    pieces = []
    for at in range(0, len(codes), CHUNK):
        some, long = codes[at : at + CHUNK], lengths[at : at + CHUNK]
        ends = np.repeat(np.cumsum(long), long)
        pieces.append((np.repeat(some, long) >> (ends - 1 - np.arange(len(ends))) & 1).astype(np.uint8))
    bits = np.concatenate(pieces)
    return np.packbits(np.concatenate((bits, np.ones(-len(bits) % 8, np.uint8)))).tobytes()


def _category(values: Array) -> Array:
    """How many bits a value takes."""
    category: Array = np.frexp(np.abs(values))[1].astype(np.int64)
    return category


def _extra(values: Array, category: Array) -> Array:
    """The bits after a category: the value, or, for one below zero, the value less one."""
    extra: Array = (values - (values < 0)) & ((1 << category) - 1)
    return extra


def _lossless(frame: Array, depth: int) -> bytes:
    """Process 14, selection value 1: each sample less the one to its left; the first of a row less the one above."""
    samples = frame.astype(np.int64)
    before = np.empty_like(samples)
    before[:, 1:] = samples[:, :-1]
    before[1:, 0] = samples[:-1, 0]
    before[0, 0] = 1 << depth - 1
    values = (samples - before).ravel()
    values = (values + (1 << 15)) % (1 << 16) - (1 << 15)
    _, counts, symbols = DIFFERENCES
    codes, lengths = _codes(counts, symbols)
    category = _category(values)
    size = np.where(category == 16, 0, category)  # the one value of category 16 needs no bits
    whole = codes[category] << size | _extra(values, size)
    scan = b"\1\1\0\1\0\0", whole, lengths[category] + size
    return _jpeg(0xC3, depth, frame.shape, _table(0x00, counts, symbols), scan)


def _baseline(frame: Array) -> bytes:
    """Eight bits, eight by eight blocks, one table of equal steps. Cosines are whole numbers, the same everywhere."""
    rows, columns = frame.shape
    padded = np.pad(frame.astype(np.int64) - 128, ((0, -rows % 8), (0, -columns % 8)), mode="edge")
    high, wide = padded.shape[0] // 8, padded.shape[1] // 8
    blocks = padded.reshape(high, 8, wide, 8).swapaxes(1, 2).reshape(-1, 8, 8)
    cosines = np.array(
        [[round(4096 * math.cos((2 * x + 1) * u * math.pi / 16) * (1 if u else math.sqrt(0.5)) / 2) for x in range(8)]
         for u in range(8)]
    )  # fmt: skip
    turned = cosines @ blocks @ cosines.T
    steps = (turned + (STEP << 23)) // (STEP << 24)
    ordered = steps.reshape(-1, 64)[:, ZIGZAG]
    pairs = _block_codes(ordered)
    codes, lengths = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    quantisation = _segment(b"\xff\xdb", bytes([0, *[STEP] * 64]))
    tables = quantisation + _table(0x00, *DIFFERENCES[1:]) + _table(0x10, *COEFFICIENTS[1:])
    return _jpeg(0xC0, 8, frame.shape, tables, (b"\1\1\0\0\x3f\0", codes, lengths))


def _block_codes(blocks: Array) -> list[tuple[int, int]]:
    """Each block's first coefficient less that of the block before, then runs of nothing and what ends them."""
    first, more = _codes(*DIFFERENCES[1:]), _codes(*COEFFICIENTS[1:])
    found: list[tuple[int, int]] = []

    def put(table: tuple[Array, Array], run: int, value: int) -> None:
        size = abs(value).bit_length()
        symbol = run << 4 | size
        extra = (value - (value < 0)) & ((1 << size) - 1)
        found.append((int(table[0][symbol]) << size | extra, int(table[1][symbol]) + size))

    last = 0
    for block in blocks:
        put(first, 0, int(block[0]) - last)
        last, run = int(block[0]), 0
        for value in np.trim_zeros(block[1:], "b").tolist():
            while value and run > 15:
                found.append((int(more[0][0xF0]), int(more[1][0xF0])))
                run -= 16
            if value:
                put(more, run, value)
            run = 0 if value else run + 1
        if not block[63]:
            found.append((int(more[0][0]), int(more[1][0])))
    return found
