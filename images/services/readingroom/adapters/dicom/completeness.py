"""Whether a file's pixels are all there. A short file is never read successfully.

Lengths only: no pixel is decoded. A file may end after any element and still be well formed, so the class decides whether
there must be pixels: an image without any is short. PS3.3 C.7.6.3 (Image Pixel), PS3.5 sections 8.2 and A.4.
"""

from __future__ import annotations

from typing import Final

from pydicom._uid_dict import UID_dictionary

from readingroom.adapters.dicom.prescan import Scan
from readingroom.domain.deid.elements import PIXEL_DATA, Element, find, text
from readingroom.domain.deid.instance import SOP_CLASS
from readingroom.domain.deid.outcome import FileRejected, Reason

SAMPLES, PHOTOMETRIC, FRAMES, ROWS, COLUMNS, BITS = (
    0x00280002,
    0x00280004,
    0x00280008,
    0x00280010,
    0x00280011,
    0x00280100,
)
PIXELS: Final = (PIXEL_DATA, 0x7FE00008, 0x7FE00009)  # whole numbers, float, double float
NEEDED: Final = (SOP_CLASS, SAMPLES, PHOTOMETRIC, FRAMES, ROWS, COLUMNS, BITS)
_IMAGES: Final = frozenset(
    uid
    for uid, entry in UID_dictionary.items()
    if "ImageStorage" in entry[4] or entry[4] in {"SegmentationStorage", "ParametricMapStorage"}
)
_ONE_STREAM: Final = "1.2.840.10008.1.2.4.10"  # MPEG2, MPEG-4 and HEVC: all frames in one stream


def check_complete(scan: Scan) -> None:
    """An image has the pixels that its header promises: native ones by length, encapsulated ones by frames.

    The caller has read the values of `NEEDED`. A file that promises no image is complete. Raises `FileRejected`:
    truncated, or malformed where the promise cannot be understood.
    """
    rows, columns = _number(scan, ROWS), _number(scan, COLUMNS)
    pixels = next((found for tag in PIXELS if (found := find(scan.elements, tag))), None)
    if pixels is None:
        if rows or columns or text(find(scan.elements, SOP_CLASS)) in _IMAGES:
            raise FileRejected(Reason.TRUNCATED)
        return
    frames = _frames(scan)
    if pixels.fragments is not None:
        _check_fragments(scan, pixels, frames)
        return
    samples, bits = _number(scan, SAMPLES), _number(scan, BITS)
    if not (rows and columns and samples and bits):
        raise FileRejected(Reason.MALFORMED)
    if text(find(scan.elements, PHOTOMETRIC)) == "YBR_FULL_422":
        samples = 2  # two pixels share their colour: PS3.3 C.7.6.3.1.2
    check_native(pixels, rows * columns * samples * bits * frames)


def check_native(pixels: Element, bits: int) -> None:
    """Native pixels are as long as that many bits, at least. Raises `FileRejected`."""
    if pixels.length < (bits + 7) // 8:
        raise FileRejected(Reason.TRUNCATED)


def check_encapsulated(pixels: Element, streams: int) -> None:
    """Encapsulated pixels have a fragment for each codestream, at least. Raises `FileRejected`."""
    if len(pixels.fragments or ()) < streams:
        raise FileRejected(Reason.TRUNCATED)


def _check_fragments(scan: Scan, pixels: Element, frames: int) -> None:
    """Every frame has a fragment of its own at least, and an offset table, where there is one, counts the frames."""
    one_stream = scan.syntax.startswith(_ONE_STREAM)
    check_encapsulated(pixels, 1 if one_stream else frames)
    if not one_stream and pixels.table and len(pixels.table) != 4 * frames:
        raise FileRejected(Reason.TRUNCATED if len(pixels.table) < 4 * frames else Reason.MALFORMED)


def _frames(scan: Scan) -> int:
    given = text(find(scan.elements, FRAMES))
    if not given:
        return 1
    if not given.lstrip("+").isascii() or not given.lstrip("+").isdigit() or int(given) < 1:
        raise FileRejected(Reason.MALFORMED)
    return int(given)


def _number(scan: Scan, tag: int) -> int:
    element = find(scan.elements, tag)
    if element is None:
        return 0
    if len(element.value) != 2:
        raise FileRejected(Reason.MALFORMED)
    return int.from_bytes(element.value, "little" if scan.little else "big")
