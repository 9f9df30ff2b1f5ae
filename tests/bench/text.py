"""How much planted text the measures of `adapters/dicom/strokes` see, and which clean images they hold: decision 0905.

`python -m tests.bench.text`: names, dates and numbers in six faces, 8 to 48 pixels high, bright or dark, in four directions,
some at a slant, some blurred, are drawn into the CT, MR and film of pydicom and pydicom-data. Contrast is a share of the
picture's own range, from dark to bright without the hundredth at either end. Whatever is planted is counted.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from pydicom.data import get_testdata_file

from infra import places
from readingroom.adapters.dicom import dictionary
from readingroom.adapters.dicom.strokes import letters_in, range_of, strokes_in
from readingroom.adapters.policy_files import PolicyFiles
from readingroom.domain.deid.doubt import MOST_STROKES
from readingroom.domain.deid.profile import Look, profile_set
from tests.bench.figures import table

Array = NDArray[Any]
FACES = sorted(Path("/usr/share/fonts/truetype/dejavu").glob("DejaVuS*.ttf"))  # fonts-dejavu-core
CT = ("693_UNCR.dcm", "bad_sequence.dcm", "explicit_VR-UN.dcm")
MR = ("MR2_UNCR.dcm", "MR-SIEMENS-DICOM-WithOverlays.dcm")
FILMS = ("RG1_UNCR.dcm", "RG3_UNCR.dcm")  # the second bears the letter R, alone
SIZES = (8, 10, 12, 14, 18, 24, 34, 48)  # of type, in pixels
CONTRASTS = (0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
SHORT = "two letters"  # at any contrast: a line of its own
SIDE = 512
NAMES = ("SMITH", "Okafor", "Novak", "WILLIAMS", "Li", "Wu", "O'Brien", "GARCIA", "Kowalski", "Hill")
GIVEN = ("JOHN", "Mary", "Ali", "Jill", "P.")


def real(names: Sequence[str]) -> dict[str, Array]:
    """The pixels of these files, which pydicom and pydicom-data bring."""
    return {name: pydicom.dcmread(str(get_testdata_file(name, download=False))).pixel_array for name in names}


def words(chance: random.Random) -> str:
    """A name, a date or a number, as they are burned in."""
    digits = "".join(chance.choice("0123456789") for _ in range(10))
    day = (chance.randrange(1, 29), chance.randrange(1, 13), chance.randrange(1930, 2021))
    name, given = chance.choice(NAMES), chance.choice(GIVEN)
    return chance.choice(
        [f"{name}^{given}", f"{name}, {given}", name, f"{digits[:3]} {digits[3:6]} {digits[6:]}", digits[:7],
         f"ID: {digits[:7]}", "{:02d}/{:02d}/{}".format(*day), "{2}{1:02d}{0:02d}".format(*day)]
    )  # fmt: skip


def drawn(text: str, size: int, chance: random.Random) -> Array:
    """A text as a share of ink for each pixel."""
    face = ImageFont.truetype(str(chance.choice(FACES)), size)
    left, top, right, bottom = (int(side) for side in face.getbbox(text))
    picture = Image.new("L", (right - left + 8, bottom - top + 8))
    ImageDraw.Draw(picture).text((4 - left, 4 - top), text, font=face, fill=255)
    if chance.random() < 0.25:
        picture = picture.rotate(chance.uniform(-8, 8), expand=True, resample=Image.Resampling.BICUBIC)
    picture = picture.rotate(chance.choice((0, 0, 0, 90, 180, 270)), expand=True)
    blur = min(chance.choice((0, 0, 0.5, 0.8, 1.2)), size / 16)
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(blur)), dtype=np.float32) / 255


def planted(pixels: Array, ink: Array, contrast: float, chance: random.Random) -> Array | None:
    """A part of the picture with a text in it; None where it has no room, or nothing to stand out from."""
    high, wide = pixels.shape
    top, left = chance.randrange(max(1, high - SIDE)), chance.randrange(max(1, wide - SIDE))
    part = pixels[top : top + SIDE, left : left + SIDE].astype(np.float32)
    depth = range_of(part.astype(np.int32))
    if depth < 40 or ink.shape[0] >= part.shape[0] or ink.shape[1] >= part.shape[1]:
        return None
    y, x = chance.randrange(part.shape[0] - ink.shape[0]), chance.randrange(part.shape[1] - ink.shape[1])
    part[y : y + ink.shape[0], x : x + ink.shape[1]] += ink * contrast * depth * chance.choice((1, 1, -1))
    return np.rint(part).astype(np.int32)


def plants(pictures: dict[str, Array], count: int, seed: int) -> Iterator[tuple[str, Array]]:
    """Each picture, with the line of the table that it counts in."""
    chance = random.Random(seed)  # noqa: S311 (a bench is repeated)
    while count:
        contrast, text = chance.choice(CONTRASTS), words(chance)
        ink = drawn(text, chance.choice(SIZES), chance)
        found = planted(pictures[chance.choice(sorted(pictures))], ink, contrast, chance)
        if found is not None:
            count -= 1
            yield f"{contrast:.0%}" if len(text) > 2 else SHORT, found


def seen(picture: Array, looks: Sequence[Look]) -> tuple[bool, bool]:
    """Whether the chains of edges hold it, and whether the rows of strokes do."""
    return strokes_in(picture) > MOST_STROKES[False], letters_in(picture, looks)


def recall(pictures: dict[str, Array], looks: Sequence[Look], count: int, seed: int) -> str:
    """A table by contrast: planted, and found by each measure and by either."""
    counted: Counter[tuple[str, str]] = Counter()
    for line, picture in plants(pictures, count, seed):
        chained, lettered = seen(picture, looks)
        counted[line, "planted"] += 1
        counted[line, "chains of edges"] += chained
        counted[line, "rows of strokes"] += lettered
        counted[line, "either"] += chained or lettered
    columns = ("planted", "chains of edges", "rows of strokes", "either")
    lines = [*(f"{each:.0%}" for each in CONTRASTS), SHORT]
    return table(["contrast", *columns], [[line, *(str(counted[line, each]) for each in columns)] for line in lines])


@click.command()
@click.option(
    "--planted", "count", type=click.IntRange(1), default=3000, show_default=True, help="Texts for each table."
)
@click.option("--seed", type=int, default=1, show_default=True)
def main(count: int, seed: int) -> None:
    """Recall on CT, on MR, and on films by what is looked for in CT; and which of the pictures are held as they are."""
    resolved = PolicyFiles(places.CHECKOUT / "policies", dictionary).profile("nccid")
    looks = {each.name: each.looks for each in profile_set(resolved.document, resolved.sha256).profiles}
    for what, rules, names in (("CT", "ct", CT), ("MR", "mr", MR), ("films", "ct", FILMS)):
        pictures = real(names)
        click.echo(f"{what}\n{recall(pictures, looks[rules], count, seed)}")
        held = [name for name, pixels in pictures.items() if any(seen(pixels, looks[rules]))]
        click.echo(f"held as they are: {', '.join(held) or 'none'} of {', '.join(names)}\n")


if __name__ == "__main__":
    main()
