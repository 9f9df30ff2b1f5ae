"""Pictures of nobody: a body in slices, a head with a face, a film, a page, a fan, a mask; drawn in whole numbers, the same
on every machine.

Edges are soft, as anatomy's are; letters are sharp. Noise comes from a hash of the picture's key, since NumPy's own
generators and transcendental functions may differ between versions and processors.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from readingroom.domain.synth.letters import HEIGHT, points
from readingroom.domain.synth.plans import Burn, Picture

Array = NDArray[Any]
CENTRE: Final = 500
EDGE: Final = 1 << 20  # value of an ellipse's form at its rim


def samples(picture: Picture) -> bytes:
    """The bytes of all frames, native, little endian."""
    return packed(picture, drawn(picture))


def drawn(picture: Picture) -> Array:
    """The samples of one frame, letters and spare bits included."""
    match picture.style:
        case "body":
            frame = _slice(picture)
        case "head":
            frame = _head(picture)
        case "film":
            frame = _film(picture)
        case "mask":
            frame = (_ellipse(picture, CENTRE, CENTRE, 200, 200) < EDGE).astype(np.uint8)
        case "fan":
            frame = _fan(picture)
        case _:
            frame = np.full((picture.rows, picture.columns), 30, dtype=np.uint8)
    for burn in picture.burns:
        _burn(frame, burn)
    if picture.spare:
        nibbles = np.frombuffer(picture.spare.hex().encode("ascii"), dtype=np.uint8)
        values = np.where(nibbles < 97, nibbles - 48, nibbles - 87).astype(np.uint16)
        frame.reshape(-1)[: len(values)] |= values << np.uint16(picture.bits)
    return frame


def packed(picture: Picture, frame: Array) -> bytes:
    """A frame as often as there are frames; single bits eight to a byte. PS3.5 section 8.1.1."""
    if picture.bits == 1:
        return np.packbits(np.tile(frame.reshape(-1), picture.frames), bitorder="little").tobytes()
    return frame.astype("<u2" if picture.allocated == 16 else "u1", copy=False).tobytes() * picture.frames


@lru_cache(maxsize=4)
def _grid(rows: int, columns: int) -> tuple[Array, Array]:
    """Places of rows and columns, in thousandths."""
    down = (np.arange(rows, dtype=np.int32) * 1000 // rows).reshape(-1, 1)
    return down, (np.arange(columns, dtype=np.int32) * 1000 // columns).reshape(1, -1)


@lru_cache(maxsize=4)
def _form(rows: int, columns: int, y: int, x: int, high: int, wide: int) -> Array:
    down, across = _grid(rows, columns)
    form: Array = ((down - y) * 1024 // high) ** 2 + ((across - x) * 1024 // wide) ** 2
    return form


def _ellipse(picture: Picture, y: int, x: int, high: int, wide: int) -> Array:
    """Of each pixel how far out it lies: `EDGE` on the rim, squared distance elsewhere."""
    return _form(picture.rows, picture.columns, y, x, high, wide)


def _inside(form: Array, rim: int, soft: int) -> Array:
    """From 0 outside to 64 inside, over a soft rim."""
    inside: Array = np.clip((rim - form) >> soft, 0, 64)
    return inside


def _noise(picture: Picture, level: int) -> Array:
    """From -15 to 15, most often nothing."""
    size = picture.rows * picture.columns
    data = hashlib.shake_128(picture.noise + level.to_bytes(4, "big")).digest(size)
    grey = np.frombuffer(data, dtype=np.uint8).reshape(picture.rows, picture.columns)
    noise: Array = (grey & 15).astype(np.int16) + (grey >> 4) - 15
    return noise


def _slice(picture: Picture) -> Array:
    """Air, a body, two lungs that are widest in the middle of the scan, a spine. Values as CT stores them: HU + 1024."""
    wide, high, lung, tall, shift = picture.anatomy
    rim = EDGE * (1000 - abs(picture.level - CENTRE)) // 1000
    body = _inside(_ellipse(picture, CENTRE, CENTRE, high, wide), EDGE, 13)
    left = _inside(_ellipse(picture, CENTRE - 20, CENTRE - 180 + shift, tall, lung), rim, 14)
    right = _inside(_ellipse(picture, CENTRE - 20, CENTRE + 180 + shift, tall, lung), rim, 14)
    spine = _inside(_ellipse(picture, CENTRE + 190, CENTRE, 60, 60), EDGE, 14)
    grey = 24 + body * 16 - (left + right) * 12 + spine * 6 + _noise(picture, picture.level)
    frame: Array = np.clip(grey, 0, 4095).astype(np.uint16)
    return frame


def _head(picture: Picture) -> Array:
    """Skin, skull and brain; below the brow a nose before the face, orbits, air behind the nose, and the spine."""
    wide, high, _, _, shift = picture.anatomy

    def shape(y: int, x: int, tall: int, broad: int, soft: int = 13) -> Array:
        return _inside(_ellipse(picture, y, CENTRE + x, tall, broad), EDGE, soft)

    skin = shape(CENTRE, 0, high + 100, wide - 90)
    bone = shape(CENTRE, 0, high + 60, wide - 125, 11) - shape(CENTRE, 0, high + 15, wide - 165, 11)
    air = np.zeros_like(skin)
    if picture.level < CENTRE:  # counted from the chin
        nose = shape(CENTRE - high - 85 + shift, 0, 60, 40)
        skin, air = np.maximum(skin, nose), shape(CENTRE - high + 60, 0, 80, 30)
        orbits = np.maximum(*(shape(CENTRE - high + 20, side, 45, 60) for side in (-110, 110)))
        bone = np.maximum(np.clip(bone - orbits, 0, 64), shape(CENTRE + 60, 0, 90, 60))
    grey = 24 + skin * 16 + bone * 14 - air * 15 + _noise(picture, picture.level)
    frame: Array = np.clip(grey, 0, 4095).astype(np.uint16)
    return frame


def _film(picture: Picture) -> Array:
    wide, high, lung, tall, shift = picture.anatomy
    chest = _inside(_ellipse(picture, CENTRE + 50, CENTRE, high + 180, wide + 40), EDGE, 14)
    left = _inside(_ellipse(picture, CENTRE, CENTRE - 200 + shift, tall + 90, lung), EDGE, 14)
    right = _inside(_ellipse(picture, CENTRE, CENTRE + 200 + shift, tall + 90, lung), EDGE, 14)
    grey = 300 + chest * 40 - (left + right) * 20 + _noise(picture, 0)
    frame: Array = np.clip(grey, 0, 4095).astype(np.uint16)
    return frame


def _fan(picture: Picture) -> Array:
    sector = _inside(_ellipse(picture, 100, CENTRE, 800, 400), EDGE, 14)
    frame: Array = np.clip(sector + _noise(picture, picture.level), 0, 255).astype(np.uint8)
    return frame


def _burn(frame: Array, burn: Burn) -> None:
    for row, column in points(burn.text):
        down, across = (column, HEIGHT - 1 - row) if burn.down else (row, column)
        y, x = burn.y + down * burn.scale, burn.x + across * burn.scale
        frame[y : y + burn.scale, x : x + burn.scale] = burn.grey
