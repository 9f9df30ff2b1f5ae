"""How an archive packs a series: the transfer syntax it compresses to, and what its software leaves in each codestream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from readingroom.domain.synth.centres import EXPLICIT, JPEG_2000, JPEG_BASELINE, JPEG_LOSSLESS, JPEG_LS, RLE
from readingroom.domain.synth.hiding import Draft, Place, place
from readingroom.domain.synth.key import Class
from readingroom.domain.synth.plans import Field, Picture, Rates
from readingroom.domain.synth.stream import Stream

LOSSLESS: Final = ((JPEG_LOSSLESS, 4), (JPEG_2000, 3), (JPEG_LS, 2), (RLE, 1))
LOSSY: Final[Mapping[int, Field]] = {
    0x00282110: ("CS", "01"),
    0x00282112: ("DS", "4"),
    0x00282114: ("CS", "ISO_10918_1"),
}
APPLICATION: Final = Place(
    fault="application segment", kind=Class.PIXELS, path="7FE00010 application", text="{natural} {nhs}"
)
COMMENT: Final = Place(
    fault="comment segment", kind=Class.PIXELS, path="7FE00010 comment", text="of {shouted} at {station}"
)
AFTER: Final = Place(
    fault="after the end of a codestream", kind=Class.PIXELS, path="7FE00010 after", text="{natural} {nhs}"
)


def packed(picture: Picture | None, draft: Draft, facts: Mapping[str, str], rates: Rates, stream: Stream) -> Draft:
    """The draft as it is, or compressed, with identifiers beside the image data. What travels plain has no codestream."""
    if picture is None or picture.bits == 1 or draft.frame.syntax != EXPLICIT or not stream.chance(rates.compressed):
        return draft
    syntax = stream.weighted(LOSSLESS) if picture.allocated == 16 else JPEG_BASELINE
    fields = {**draft.fields, **LOSSY} if syntax == JPEG_BASELINE else draft.fields
    draft = replace(draft, fields=fields, frame=replace(draft.frame, syntax=syntax))
    for row in (AFTER,) if syntax == RLE else (APPLICATION, COMMENT, AFTER):
        if stream.chance(500):
            draft = place(row, draft, facts)
    return draft
