"""Pixels: their shape, whether they are all there, and what of their bits is no sample.

Native frames are copied byte for byte unless spare bits hold something; encapsulated frames keep their syntax and lose
what is no sample. What was left out must not matter: a rewritten frame decodes to the same samples, or its file is held.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from readingroom.adapters.dicom import codestream
from readingroom.adapters.dicom.completeness import check_encapsulated, check_native
from readingroom.adapters.dicom.prescan import ENCAPSULATED, Scan
from readingroom.adapters.dicom.read import number, swapped
from readingroom.domain.deid.elements import PIXEL_DATA, Element, Elements, find, text
from readingroom.domain.deid.outcome import FileHeld, FileRejected, Reason

Array = NDArray[Any]

MOST_FRAMES: Final = 20_000
LONGEST_SIDE: Final = 32_768
LARGEST_FRAME: Final = 256 << 20
RLE: Final = "1.2.840.10008.1.2.5"
JPEG2000: Final = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One sample a pixel, eight or sixteen bits of it allocated."""

    rows: int
    columns: int
    frames: int
    allocated: int
    stored: int
    signed: bool
    photometric: str

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame, decoded."""
        return self.rows * self.columns * self.allocated // 8

    @property
    def dtype(self) -> str:
        """NumPy's name for a sample."""
        return f"<{'i' if self.signed else 'u'}{self.allocated // 8}"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame to write, and its samples to measure."""

    data: bytes
    samples: Array
    touched: bool


def shape_of(elements: Elements) -> Shape:
    """The shape that the header claims. Raises `FileRejected` for an impossible or too large one, `FileHeld` for an odd one.

    Computed and bounded before any decoder is called.
    """
    rows, columns, allocated, stored, high, signed = (
        number(elements, tag) for tag in (0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103)
    )
    count = text(find(elements, 0x00280008)) or "1"
    if not rows or not columns or not allocated or not stored or not (count.isascii() and count.isdigit()):
        raise FileRejected(Reason.MALFORMED)
    frames = int(count[:9])
    if not 0 < frames <= MOST_FRAMES or max(rows, columns) > LONGEST_SIDE:
        raise FileRejected(Reason.OVER_LIMIT)
    if rows * columns * allocated // 8 > LARGEST_FRAME:
        raise FileRejected(Reason.OVER_LIMIT)
    if signed not in {0, 1} or stored > allocated:
        raise FileRejected(Reason.MALFORMED)
    if allocated not in {8, 16} or high != stored - 1:
        raise FileHeld(Reason.PIXELS_DOUBTFUL)
    return Shape(
        rows=rows,
        columns=columns,
        frames=frames,
        allocated=allocated,
        stored=stored,
        signed=bool(signed),
        photometric=text(find(elements, 0x00280004)),
    )


def whole_pixels(scan: Scan, shape: Shape) -> Element:
    """The pixel data, all of it there: a short file is never read successfully.

    The arithmetic is that of `completeness`. Raises `FileRejected`.
    """
    pixels = find(scan.elements, PIXEL_DATA)
    if pixels is None:
        raise FileRejected(Reason.TRUNCATED)
    encapsulated = scan.syntax.startswith(ENCAPSULATED)
    if encapsulated != (pixels.fragments is not None) or pixels.items is not None:
        raise FileRejected(Reason.MALFORMED)
    if encapsulated:
        check_encapsulated(pixels, shape.frames)
    else:
        check_native(pixels, 8 * shape.frame_bytes * shape.frames)
    return pixels


def frames(scan: Scan, pixels: Element, shape: Shape) -> Iterator[Frame]:
    """The frames, one at a time."""
    if pixels.fragments is None:
        yield from _native(scan, pixels, shape)
        return
    for places in _by_frame(pixels, shape):
        yield _encapsulated(b"".join(scan.source.take(*place) for place in places), scan.syntax, shape)


def _native(scan: Scan, pixels: Element, shape: Shape) -> Iterator[Frame]:
    length = shape.frame_bytes
    together = shape.frames if not scan.little else 1  # words may cross frames: a big-endian value is turned whole
    if together * length > LARGEST_FRAME:
        raise FileRejected(Reason.OVER_LIMIT)
    for first in range(0, shape.frames, together):
        data = scan.source.take(pixels.at + first * length, together * length + (together * length) % 2)
        data = swapped(pixels, data, little=scan.little)
        for place in range(together):
            piece = data[place * length : (place + 1) * length]
            samples = np.frombuffer(piece, dtype=shape.dtype).reshape(shape.rows, shape.columns)
            clean = _without_spare_bits(samples, shape)
            yield Frame(
                data=piece if clean is samples else clean.tobytes(), samples=clean, touched=clean is not samples
            )


def _without_spare_bits(samples: Array, shape: Shape) -> Array:
    """The same array, or one whose bits above the stored depth are cleared (or repeat the sign)."""
    spare = shape.allocated - shape.stored
    if not spare:
        return samples
    top = (1 << shape.stored) - 1  # a negative sample repeats its sign above, or leaves the spare bits empty
    if samples.min() >= (-(top + 1) // 2 if shape.signed else 0) and samples.max() <= top:
        return samples
    if not shape.signed:
        cleared: Array = samples & samples.dtype.type(top)
        return cleared
    wide, sign = samples.astype(np.int32) & top, 1 << shape.stored - 1
    return ((wide ^ sign) - sign).astype(samples.dtype)


def _by_frame(pixels: Element, shape: Shape) -> list[list[tuple[int, int]]]:
    """Which fragments make which frame. PS3.5 A.4: one each, all of them one, or as the offset table says."""
    fragments = pixels.fragments or []
    if shape.frames == 1:
        return [fragments]
    if len(fragments) == shape.frames:
        return [[fragment] for fragment in fragments]
    if len(pixels.table) != 4 * shape.frames:
        raise FileHeld(Reason.CODESTREAM_DOUBTFUL)
    begins = set(struct.unpack(f"<{shape.frames}I", pixels.table))
    found: list[list[tuple[int, int]]] = []
    for at, length in fragments:
        if at - 8 - (fragments[0][0] - 8) in begins or not found:
            found.append([])
        found[-1].append((at, length))
    if len(found) != shape.frames:
        raise FileHeld(Reason.CODESTREAM_DOUBTFUL)
    return found


def _encapsulated(data: bytes, syntax: str, shape: Shape) -> Frame:
    if syntax == RLE:
        clean, planes = codestream.rle(data, shape.rows * shape.columns, shape.allocated // 8)
        joined = np.empty((shape.rows * shape.columns, len(planes)), dtype=np.uint8)
        for place, plane in enumerate(reversed(planes)):
            joined[:, place] = np.frombuffer(plane, dtype=np.uint8)
        samples = joined.view(shape.dtype).reshape(shape.rows, shape.columns)
    else:
        stream = codestream.jpeg2000(data) if syntax in JPEG2000 else codestream.jpeg(data)
        claimed = (stream.rows, stream.columns, stream.components)
        if claimed != (shape.rows, shape.columns, 1) or not 0 < stream.precision <= shape.allocated:
            raise FileHeld(Reason.CODESTREAM_DOUBTFUL)
        clean = stream.data
        samples = _decoded(clean, syntax, shape)
        if clean != data and not np.array_equal(samples, _decoded(data, syntax, shape)):
            raise FileHeld(Reason.CODESTREAM_DOUBTFUL)
    if _without_spare_bits(samples, shape) is not samples:
        raise FileHeld(Reason.CODESTREAM_DOUBTFUL)
    return Frame(data=clean, samples=samples, touched=clean != data.rstrip(b"\0"))


def _decoded(data: bytes, syntax: str, shape: Shape) -> Array:
    """Samples by pydicom's decoder of that syntax. Whatever it cannot do makes the file doubtful."""
    odd = len(data) % 2
    item = (
        struct.pack("<HHI", 0xFFFE, 0xE000, 0)
        + struct.pack("<HHI", 0xFFFE, 0xE000, len(data) + odd)
        + data
        + b"\0" * odd
    )
    options: dict[str, Any] = {
        "rows": shape.rows,
        "columns": shape.columns,
        "samples_per_pixel": 1,
        "number_of_frames": 1,
        "bits_allocated": shape.allocated,
        "bits_stored": shape.stored,
        "pixel_representation": int(shape.signed),
        "photometric_interpretation": shape.photometric,
        "pixel_keyword": "PixelData",
        "correct_unused_bits": False,  # what hides there must be seen
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array, _ = get_decoder(UID(syntax)).as_array(item, index=0, raw=True, **options)
    except MemoryError:
        raise
    except Exception as error:  # the edge to foreign decoders: any failure is doubt
        raise FileHeld(Reason.CODESTREAM_DOUBTFUL) from error
    if array.shape != (shape.rows, shape.columns):
        raise FileHeld(Reason.CODESTREAM_DOUBTFUL)
    return array


def bone_share(samples: Array, slope: float, intercept: float) -> float:
    """How much of what is denser than -300 HU is denser than 300 HU: bone, and whatever is as bright."""
    dense, bone = (int(np.count_nonzero(samples > (limit - intercept) / slope)) for limit in (-300, 300))
    return bone / dense if dense else 0.0
