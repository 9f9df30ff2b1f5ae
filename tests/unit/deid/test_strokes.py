"""What looks like writing is seen, also blurred, thick, dark, on its side or across a seam; what is clean is not."""

from __future__ import annotations

import tracemalloc
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from readingroom.adapters.dicom.strokes import OVERLAP, TILE, letters_in, strokes_in
from readingroom.domain.deid.doubt import MOST_STROKES
from readingroom.domain.deid.profile import Look, profile_set
from readingroom.domain.synth.letters import HEIGHT, WIDTH, points
from tests import dicom_factory as make
from tests.unit.deid.engine import resolved, run

Array = NDArray[Any]
LOOKS: Final = {each.name: each.looks for each in profile_set(resolved().document, resolved().sha256).profiles}
TEXTS: Final = ("FEATHERSTONE", "24/12/1951", "943 476 5919")


def ink(text: str, scale: int, *, blurred: bool = False, turns: int = 0) -> Array:
    """How much of each pixel a text covers."""
    glyphs = np.zeros((HEIGHT + 4, len(text) * WIDTH + 4), dtype=bool)
    rows, columns = np.array(points(text)).T
    glyphs[rows + 2, columns + 2] = True
    share = np.kron(glyphs, np.ones((scale, scale)))
    for axis in (0, 1) if blurred else ():
        share = (np.roll(share, 1, axis) + 2 * share + np.roll(share, -1, axis)) / 4
    return np.rot90(share, turns)


def with_text(picture: Array, share: Array, by: float, y: int = 20, x: int = 20) -> Array:
    drawn = picture.astype(np.int32)
    drawn[y : y + share.shape[0], x : x + share.shape[1]] += np.rint(share * by).astype(np.int32)
    return drawn


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("rules", ["ct", "mr"])
def test_a_text_of_any_size_direction_and_colour_is_seen(scale: int, turns: int, rules: str) -> None:
    picture = make.slice_pixels(384)
    for number, text in enumerate(TEXTS):
        for by in (1040, -1040, 520):  # the picture's range is about 1040
            for blurred in (False, scale > 1):
                drawn = with_text(picture, ink(text, scale, blurred=blurred, turns=turns), by, 20 + 4 * number, 21)
                chained = strokes_in(drawn) > MOST_STROKES[False]
                assert chained or letters_in(drawn, LOOKS[rules]), (text, by, blurred)


def test_what_sharp_edges_in_chains_miss_holds_the_file_all_the_same() -> None:
    for scale, by in ((2, 230), (3, -230), (4, 230)):
        drawn = with_text(make.slice_pixels(384), ink(TEXTS[0], scale, blurred=True), by).astype("<i2")
        assert strokes_in(drawn) <= MOST_STROKES[True]
        assert run(make.part10(make.ct(drawn))).outcome == "held pixels-doubtful"


@pytest.mark.parametrize("size", [64, 128, 512])
def test_a_clean_slice_is_no_text(size: int) -> None:
    for seed in range(4):
        assert not letters_in(make.slice_pixels(size, seed=seed), LOOKS["ct"])
        assert not letters_in(make.slice_pixels(size, seed=seed, signed=False), LOOKS["mr"])


def test_edges_lines_and_a_single_letter_are_no_text() -> None:
    picture = np.zeros((300, 300), dtype=np.int32)
    rows, columns = np.mgrid[:300, :300]
    picture[rows > columns] = 900
    picture[(rows // 2) % 75 == 0] += 500
    picture[abs(rows - 3 * columns) < 4] += 500
    assert not letters_in(picture, LOOKS["ct"])
    assert not letters_in(with_text(np.zeros((300, 300)), ink("R", 4), 900), LOOKS["ct"])


def test_text_on_black_is_seen_although_it_adds_nothing_to_the_range() -> None:
    assert letters_in(with_text(np.zeros((512, 512)), ink("SMITH", 1), 1), LOOKS["ct"])


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("scale", [2, 3])
def test_the_least_text_is_seen_wherever_a_seam_cuts_it(upright: bool, scale: int) -> None:
    share, strip = ink("HH", scale), np.zeros((60, TILE + 200))  # four strokes: half of it is nothing
    for x in range(TILE - OVERLAP - 40, TILE + 10, 3):
        drawn = with_text(strip, share, 300, 20, x)
        assert letters_in(drawn if upright else np.ascontiguousarray(drawn.T), LOOKS["ct"]), x


def test_a_large_picture_costs_the_memory_of_a_tile() -> None:
    picture = np.zeros((2600, 2600), dtype=np.uint16)
    tracemalloc.start()
    try:
        assert not letters_in(picture, LOOKS["ct"])
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("rules", ["ct", "mr"])
def test_a_page_full_of_text_is_seen_though_strokes_are_usual_there(scale: int, rules: str) -> None:
    line = ink("FEATHERSTONE 24/12/1951 943 476 5919", scale)
    page = np.tile(line, (512 // line.shape[0] + 1, 512 // line.shape[1] + 1))[:512, :512]
    assert letters_in(np.rint(page * 900).astype("<i2"), LOOKS[rules])
    assert letters_in(np.rint(900 - page * 900).astype("<u2"), LOOKS[rules])


TYPES: Final = st.sampled_from(["<u1", "<i1", "<i2", "<u2"])


@settings(max_examples=60, deadline=None)
@given(TYPES.flatmap(lambda kind: arrays(kind, array_shapes(min_dims=2, max_dims=2, max_side=40))), st.data())
def test_any_picture_has_an_answer_and_the_same_one_on_its_side(picture: Array, data: st.DataObject) -> None:
    rows = data.draw(st.tuples(*[st.integers(0, 10)] * 3))
    looks = [Look(share=0.1, times=2, rows=rows)]
    found = letters_in(picture, looks)
    assert found == letters_in(np.ascontiguousarray(picture.T), looks) == letters_in(picture.astype(np.int64), looks)
