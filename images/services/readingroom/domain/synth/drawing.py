"""What is drawn over a picture: letters that tell who, marks that tell nothing, and bits above the stored ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from readingroom.domain.synth.key import Class, Entry, Must
from readingroom.domain.synth.letters import WIDTH
from readingroom.domain.synth.modalities import FILMS, Kind
from readingroom.domain.synth.plans import Burn, Picture, Rates
from readingroom.domain.synth.stream import Stream

PIXELS_A_POINT: Final = 200  # of a picture's height, for a point of a letter


def drawn(
    kind: Kind, picture: Picture, facts: Mapping[str, str], rates: Rates, stream: Stream
) -> tuple[Picture, tuple[Entry, ...]]:
    """A picture with letters burned in, the marks of a film, and something in its spare bits; what the key says of them."""
    entries: list[Entry] = []
    burns: list[Burn] = []
    if kind in FILMS or kind is Kind.MG:
        burns.append(_mark(picture))
        entries.append(_box("marker of a film", burns[-1], Must.PIXELS_KEPT, Class.UTILITY))
    always = kind in {Kind.US, Kind.CAPTURE}
    share = 1000 if always else rates.film_burned_in if kind in FILMS else rates.burned_in
    if picture.style != "mask" and stream.chance(share):
        burns.append(_letters(facts, picture, stream))
        entries.append(_box("letters burned in", burns[-1], Must.PIXELS_HIDDEN, Class.PIXELS))
    name = facts["natural"]
    hidden = picture.allocated == 16 and stream.chance(rates.spare_bits)
    if hidden:
        where = "7FE00010 bits 12 to 15, a nibble a sample"
        spare = Entry(
            kind=Class.PIXELS, fault="spare bits", where=where, was=name, must=Must.REMOVED, encoding="nibbles"
        )
        entries.append(spare)
    drawn = replace(picture, burns=tuple(burns), spare=name.encode("ascii") if hidden else b"")
    return drawn, tuple(entries)


def _mark(picture: Picture) -> Burn:
    """The side marker of a film: no identifier."""
    scale = max(1, picture.rows // PIXELS_A_POINT)
    return Burn(text="R", x=4 * scale, y=4 * scale, scale=scale, grey=(1 << picture.bits) - 1)


def _letters(facts: Mapping[str, str], picture: Picture, stream: Stream) -> Burn:
    """Name or number: bright or dim, across the middle or the foot of the picture, or down its side."""
    scale = max(1, picture.rows // PIXELS_A_POINT)
    room = min(picture.rows, picture.columns) // scale // WIDTH
    text = next((each for each in (facts["shouted"], facts["nhs"]) if len(each) <= room), "")
    grey = ((1 << picture.bits) - 1) * stream.pick((100, 100, 70)) // 100
    if stream.chance(200):
        return Burn(text=text, x=picture.columns - 10 * scale, y=scale, scale=scale, grey=grey, down=True)
    y = stream.pick((picture.rows - 10 * scale, picture.rows - 10 * scale, picture.rows // 2))
    return Burn(text=text, x=scale, y=y, scale=scale, grey=grey)


def _box(fault: str, burn: Burn, must: Must, kind: Class) -> Entry:
    return Entry(kind=kind, fault=fault, where=burn.where, was=burn.text, must=must)
