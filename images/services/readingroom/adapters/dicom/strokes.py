"""What in a picture looks like writing: one frame at a time, with no arithmetic that differs between machines.

Two measures, neither of which reads. Sharp edges in chains find small hard letters in a fraction of a millisecond; rows of
strokes, at three scales, find what is blurred, thick or weak as well. What they miss is on record: decision 0905.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from readingroom.domain.deid.profile import Look

Array = NDArray[Any]

WIDEST_STROKE: Final = 12  # pixels, and between strokes
STROKES_IN_ROW: Final = 6  # edges: three strokes
REACH: Final = ((2,), (2, 4), (2, 4))  # pixels to either side of a stroke, where its ground is, at each scale
WORD: Final = (10, 40)  # rows and columns of a window, at each scale: room for four letters
LETTERS: Final = 4  # strokes that a row of it has
AROUND: Final = 96  # pixels of a block whose usual strokes are known
TILE: Final = 1024
OVERLAP: Final = 192  # a word at the coarsest scale, and its ground


def strokes_in(samples: Array) -> int:
    """How many edges stand in rows (or columns) as those of letters do: under 1 ms a CT slice.

    Letters side by side make a chain of sharp edges, rising and falling in turn, each a few pixels from the last. Counted
    are edges of chains of three strokes or more. Edges of anatomy are softer, noise is weaker, vessels stand alone: on the
    real CT and MR images and films at hand the count is nothing, on two letters in any grey that differs it is tens.
    """
    low, high = int(samples.min()), int(samples.max())
    narrow = high - low <= np.iinfo(np.int16).max  # half the memory, twice the speed
    wide: Array = (samples if samples.dtype.kind == "i" else samples - samples.dtype.type(low)).astype(
        np.int16 if narrow else np.int32, copy=False
    )
    if min(wide.shape) < 2:
        return 0
    least = max(4.0, 0.12 * range_of(wide))
    return max(_chained(wide[:, 1:] - wide[:, :-1], 1, least), _chained(wide[1:] - wide[:-1], 0, least))


def letters_in(samples: Array, looks: Sequence[Look]) -> bool:
    """Whether, to one of the looks, rows of strokes lie one above the other as those of a word do.

    A stroke is brighter (or darker) than its ground on both sides. It counts if it stands out by a share of the picture's
    range, and by a multiple of what nine of ten places around it do: ribs, vessels and noise among their like do not.
    """
    contrast = range_of(samples)
    return any(_worded(tile, looks, contrast) for tile in _tiles(samples))


def _tiles(samples: Array) -> Iterator[Array]:
    """Pieces that overlap by more than a word, so that a picture of any size costs the memory of one of them."""
    rows, columns = (max(1, math.ceil((side - OVERLAP) / (TILE - OVERLAP))) for side in samples.shape)
    step = TILE - OVERLAP
    for y, x in itertools.product(range(rows), range(columns)):
        yield samples[y * step : y * step + TILE, x * step : x * step + TILE]


def _worded(tile: Array, looks: Sequence[Look], contrast: float) -> bool:
    for place, (scaled, area) in enumerate(_scales(tile)):
        asked = [(max(1, math.ceil(look.share * contrast * area)), look) for look in looks if look.rows[place]]
        for lines in (scaled, np.ascontiguousarray(scaled.T)) if asked else ():
            ridges, usual = _ridges(lines, REACH[place]), None
            for ridge in ridges:
                strokes = np.flatnonzero(ridge >= min(least for least, _ in asked))  # few: the rest is done on these
                heights = ridge.reshape(-1)[strokes]
                for least, look in asked:
                    chosen, wanted = heights >= least, look.rows[place]
                    if _rows(strokes[chosen], lines.shape[1], wanted) < wanted:
                        continue
                    usual = _usual(np.maximum(*ridges)).reshape(-1) if usual is None else usual
                    chosen &= heights >= look.times * usual[strokes]
                    if _rows(strokes[chosen], lines.shape[1], wanted) >= wanted:
                        return True
    return False


def _scales(tile: Array) -> Iterator[tuple[Array, int]]:
    """The tile as it is, at half and at a quarter, with how many pixels are added up in one."""
    low, high = int(tile.min()), int(tile.max())
    kinds = [np.int16 if (high - low) * area <= np.iinfo(np.int16).max else np.int32 for area in (1, 4, 16)]
    scaled: Array = np.subtract(tile, low, dtype=np.int32).astype(kinds[0])  # half the memory, twice the speed
    for area, kind, reaches in zip((1, 4, 16), [*kinds[1:], kinds[-1]], REACH, strict=True):
        if min(scaled.shape) <= 2 * max(reaches):
            return
        yield scaled, area
        even = scaled[: scaled.shape[0] // 2 * 2, : scaled.shape[1] // 2 * 2]
        halved = np.add(even[::2], even[1::2], dtype=kind)
        scaled = halved[:, ::2] + halved[:, 1::2]


def _ridges(lines: Array, reaches: Sequence[int]) -> tuple[Array, Array]:
    """How far each pixel stands above both its sides along the line, and how far below."""
    bright, dark = np.zeros_like(lines), np.zeros_like(lines)
    for reach in reaches:
        middle, high, low = lines[:, reach:-reach], bright[:, reach:-reach], dark[:, reach:-reach]
        left, right = middle - lines[:, : -2 * reach], middle - lines[:, 2 * reach :]
        np.maximum(high, np.minimum(left, right), out=high)
        np.minimum(low, np.maximum(left, right, out=left), out=low)
    return bright, np.negative(dark, out=dark)


def _rows(strokes: Array, width: int, wanted: int) -> int:
    """The most rows with enough strokes that any window has; less is said where it is less than what is wanted.

    `strokes` are places in a picture of that width, in order. None is in its first column, so no run goes on in the next row.
    """
    if len(strokes) < wanted * LETTERS:
        return 0
    row, column = np.divmod(strokes[np.diff(strokes, prepend=-2) != 1], width)
    together = (row[LETTERS - 1 :] == row[: 1 - LETTERS]) & (
        column[LETTERS - 1 :] - column[: 1 - LETTERS] < min(WORD[1], width)
    )
    rich = row[: 1 - LETTERS][together]
    if not len(rich):
        return 0
    # Which windows, told by their first column, hold such strokes: an interval for each four, in its row.
    last = column[: 1 - LETTERS][together]
    first = np.maximum(column[LETTERS - 1 :][together] - WORD[1] + 1, 0)
    marks = np.zeros((rich[-1] - rich[0] + 1 + WORD[0], width + 1), dtype=np.int16)
    np.add.at(marks, (rich - rich[0] + WORD[0], first), 1)
    np.add.at(marks, (rich - rich[0] + WORD[0], last + 1), -1)
    counted = np.cumsum(np.cumsum(marks, axis=1, dtype=np.int16) > 0, axis=0, dtype=np.int16)
    return int((counted[WORD[0] :] - counted[: -WORD[0]]).max())


def _usual(ridge: Array) -> Array:
    """What nine of ten places of a block do at most, or, where a block is odd, what its neighbours' blocks do."""
    edges = [np.linspace(0, side, max(1, round(side / AROUND)) + 1).astype(int) for side in ridge.shape]
    blocks = [
        [_share(ridge[top:bottom:2, left:right:3].ravel(), 0.9) for left, right in itertools.pairwise(edges[1])]
        for top, bottom in itertools.pairwise(edges[0])
    ]
    wide = np.pad(np.array(blocks), 1, mode="edge")
    high, across = len(blocks), len(blocks[0])
    near = np.median([wide[y : y + high, x : x + across] for y in range(3) for x in range(3)], axis=0)
    usual: Array = near.repeat(np.diff(edges[0]), axis=0).repeat(np.diff(edges[1]), axis=1)
    return usual


def range_of(samples: Array) -> float:
    """From the dark to the bright of a picture, a hundredth left out at either end."""
    some = samples[::8, ::8].ravel().astype(np.int32)
    return _share(some, 0.99) - _share(some, 0.01)


def _share(values: Array, share: float) -> float:
    """The value below which that share of some values lies, between two of them in proportion: `numpy.percentile`, without
    its preparations, which cost more than the search.
    """
    below, part = divmod(share * (len(values) - 1), 1)
    places = int(below), min(int(below) + 1, len(values) - 1)
    low, high = (float(value) for value in np.partition(values, places)[list(places)])
    return high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part


def _chained(steps: Array, axis: int, least: float) -> int:
    """Edges of chains along one axis. `least` is what a step must be; more, where the image is rough."""
    height = np.abs(steps)
    usual = _share(height[::8, ::8].ravel(), 0.9)
    edges = np.flatnonzero(height >= math.ceil(max(least, 4 * usual)))  # compared as floats, each step would be copied
    if len(edges) < STROKES_IN_ROW:
        return 0
    line, place = np.divmod(edges, steps.shape[1])
    rising = steps.ravel()[edges] > 0
    if axis == 0:
        order = np.lexsort((line, place))
        line, place, rising = place[order], line[order], rising[order]
    linked = (np.diff(place) <= WIDEST_STROKE) & (line[1:] == line[:-1]) & (rising[1:] != rising[:-1])
    turns = np.flatnonzero(np.diff(np.concatenate(([False], linked, [False])).astype(np.int8)))
    lengths = turns[1::2] - turns[::2] + 1
    return int(lengths[lengths >= STROKES_IN_ROW].sum())
