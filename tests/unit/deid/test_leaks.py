"""Any nesting, any VR, any encoding: a planted secret is in no output byte, and a number is in no name."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests import dicom_factory as make
from tests.unit.deid.engine import run
from tests.unit.deid.test_engine import leaks

UID = b"1.2.826.0.1.3680043.8.498.11111111"
WORDS = [b"Featherstone", b"FEATHERSTONE^BARNABY", b"Barnaby Featherstone", b"PID4471882", b"4471882", b"ACC7700123", b"19511224",
         b"20200403", UID, b"Queen Gwendolyn Infirmary"]  # fmt: skip
TEXT_VRS = [
    "AE",
    "AS",
    "CS",
    "DA",
    "DS",
    "DT",
    "IS",
    "LO",
    "LT",
    "PN",
    "SH",
    "ST",
    "TM",
    "UI",
    "UT",
    "UC",
    "UR",
    "UN",
    "OB",
]
# Tags that the profile lists, with those around them and private ones: where a rule could go wrong.
LISTED = [0x00080008, 0x00080021, 0x00080031, 0x0008103E, 0x00081140, 0x00082112, 0x00082218, 0x00080070, 0x00180010, 0x00180015,
          0x00180050, 0x00180060, 0x00181030, 0x00181210, 0x00200011, 0x00200013, 0x00204000, 0x00281054, 0x00281055, 0x00400275,
          0x00080100, 0x00080102, 0x00080104, 0x00081150, 0x00081155, 0x0040A730, 0x00091010, 0x00090010, 0x60000022, 0x50000010,
          0x00321060, 0x00020003, 0x00101000, 0x00102000, 0x00180022, 0x00189345, 0x00280120, 0x00280303, 0x00120063]  # fmt: skip
TAGS = st.one_of(st.sampled_from(LISTED), st.integers(0x00080001, 0x7FDFFFFF))


def values() -> st.SearchStrategy[tuple[str, Any]]:
    secret = st.sampled_from(WORDS)
    around = st.sampled_from([b"", b"\\", b" ", b"^", b"=", b"1", b"\x1b$B", b"x"])
    return st.tuples(st.sampled_from(TEXT_VRS), st.builds(lambda a, s, b: a + s + b, around, secret, around))


def nested() -> st.SearchStrategy[tuple[str, Any]]:
    return st.recursive(
        values(),
        lambda inner: st.tuples(st.just("SQ"), st.lists(st.dictionaries(TAGS, inner, max_size=4), max_size=3)),
        max_leaves=12,
    )


@given(
    planted=st.dictionaries(TAGS.filter(lambda tag: tag >> 16 != 0x0028), nested(), min_size=1, max_size=12),
    syntax=st.sampled_from(make.NATIVE),
    undefined=st.booleans(),
    trailing=st.sampled_from([b"", *WORDS]),
)  # fmt: skip
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_a_planted_secret_is_in_no_output(
    planted: dict[int, tuple[str, Any]], syntax: str, undefined: bool, trailing: bytes
) -> None:
    fields = {**make.ct(syntax=syntax), **{tag: each for tag, each in planted.items() if tag >= 0x00080000}}
    result = run(make.part10(fields, syntax, undefined=undefined, trailing=trailing))
    assert result.answer.get("reason") not in {"crash", "verifier"}
    assert leaks(result.data) == []
    shown = {key: value for key, value in result.answer.items() if key != "sha256"}
    assert leaks(repr(shown).encode()) == []
    if result.data:
        assert result.dataset.PatientIdentityRemoved == "YES"


@given(
    st.lists(st.tuples(st.sampled_from(WORDS), st.integers(0, 8000)), min_size=1, max_size=3), st.binary(max_size=40)
)
@settings(max_examples=60, deadline=None)
@example([(UID, 67)], b"\0")
def test_a_secret_written_over_pixels_rejects_or_goes(places: list[tuple[bytes, int]], other: bytes) -> None:
    pixels = bytearray(make.slice_pixels().tobytes())
    for secret, at in places:
        pixels[at : at + len(secret)] = secret
    pixels[100 : 100 + len(other)] = other
    result = run(make.part10(make.ct(x7FE00010=("OW", bytes(pixels[:8192])))))
    # A UID of which one digit is gone is nobody's: its root alone counts as found only where headers are concerned.
    assert [secret for secret in leaks(result.data) if len(secret) >= 8 and secret not in UID] == []
    assert UID not in result.data
