"""Ways that are there to be quick say the same as the plain ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.adapters.dicom.strokes import _share
from readingroom.adapters.dicom.verify import SHORTEST_IN_PIXELS, _may_hold_text
from readingroom.domain.deid.keys import Pseudonyms, PurposeKeys

EDGES = st.sampled_from([0x00, 0x1F, 0x20, 0x41, 0x5F, 0x60, 0x7E, 0x7F, 0x80, 0xA0, 0xFF])


@given(st.lists(EDGES, max_size=40), st.binary(max_size=9), st.integers(0, 40))
def test_text_that_can_be_looked_for_in_pixels_is_never_passed_over(around: list[int], text: bytes, at: int) -> None:
    printable = bytes(0x20 + byte % 95 for byte in text.ljust(SHORTEST_IN_PIXELS))
    assert _may_hold_text(bytes(around[:at]) + printable + bytes(around[at:]))


def test_pixels_of_twelve_bits_hold_no_text_and_text_at_the_very_end_of_many_is_seen() -> None:
    pixels = np.arange(1 << 18, dtype="<u2") & 0x0FFF
    assert not _may_hold_text(pixels.tobytes())
    assert _may_hold_text(pixels.tobytes() + b"QUENNELL")


@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=60), st.sampled_from([0.01, 0.5, 0.9, 0.99]))
def test_a_share_is_what_numpy_calls_a_percentile(values: list[int], share: float) -> None:
    given_values: Any = np.array(values, dtype=np.int32)
    assert _share(given_values, share) == pytest.approx(float(np.percentile(given_values, 100 * share)), abs=1e-9)


def test_answers_that_are_kept_are_those_of_their_question() -> None:
    pseudonyms = Pseudonyms(PurposeKeys.from_secret(bytes(32)), "demo")
    questions = [("1.2", "uid"), ("1.2", "mark"), ("1.3", "uid"), ("1.3", "mark"), ("1.2", "uid")]

    def ask(value: str, kind: str) -> str:
        return pseudonyms.uid(value) if kind == "uid" else pseudonyms.mark("bytes", value)

    answers = [ask(*question) for question in questions]
    assert len(set(answers)) == 4
    assert answers[0] == answers[4]
    assert answers == [Pseudonyms(PurposeKeys.from_secret(bytes(32)), "demo").uid(value) if kind == "uid" else
                       Pseudonyms(PurposeKeys.from_secret(bytes(32)), "demo").mark("bytes", value)
                       for value, kind in questions]  # fmt: skip
