"""What a bounded child does to compare images: a keyed hash of the pixels as they are stored, and of nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from readingroom.adapters.dicom.completeness import PIXELS
from readingroom.adapters.dicom.dictionary import vr_of
from readingroom.adapters.dicom.prescan import prescan
from readingroom.adapters.dicom.source import Source
from readingroom.domain.deid.elements import find
from readingroom.domain.deid.outcome import FileRejected

Document = Mapping[str, Any]
PERIOD: Final = 12  # bytes that hold whole pixels of one to four bytes, and of three colours


def factory(setup: Document) -> Callable[[Document, Sequence[int]], Document]:
    """For `adapters.bounded`. `pixels` is empty where there are none, or where one pixel is like another: a blank is nobody's."""
    key = bytes.fromhex(setup["key"])

    def look(_: Document, descriptors: Sequence[int]) -> Document:
        try:
            scan = prescan(Source(descriptors[0]), vr_of)
            pixels = next((found for tag in PIXELS if (found := find(scan.elements, tag))), None)
            if pixels is None:
                return {"pixels": ""}
            mark, before, blank = hashlib.blake2b(key=key), b"", True
            for at, length in pixels.fragments or [(pixels.at, pixels.length)]:
                for piece in scan.source.pieces(at, length):
                    mark.update(piece)
                    run = before + piece
                    blank = blank and run[PERIOD:] == run[:-PERIOD]
                    before = run[-PERIOD:]
            return {"pixels": "" if blank else mark.hexdigest()}
        except FileRejected as rejected:
            return {"reason": rejected.reason}

    return look
