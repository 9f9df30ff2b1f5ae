"""Stand-ins under a key, and what a value must be to stay."""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.contract import PURPOSES
from readingroom.domain.deid import values
from readingroom.domain.deid.conflicts import Marks, conflicts
from readingroom.domain.deid.elements import Element
from readingroom.domain.deid.identity import identity_of, is_nhs_number, known_from
from readingroom.domain.deid.keys import Pseudonyms, PurposeKeys
from readingroom.domain.deid.outcome import Reason
from readingroom.domain.deid.profile import Count, Do, Rule, Vocabulary
from readingroom.domain.errors import WrongSetUp

SECRET = bytes(range(32))
ONE, OTHER = (Pseudonyms(PurposeKeys.from_secret(SECRET), project) for project in ("demo", "other"))
KNOWN = known_from(
    [
        Element(0x00100010, "PN", 0, 0, b"Graves^Percy"),
        Element(0x00100020, "LO", 0, 0, b"943 476 5919"),
        Element(0x00080050, "SH", 0, 0, b"A-1234"),
    ],
    frozenset(),
)


def rule(vr: str, low: float = -1000, high: float = 1000, count: Count | None = None, **more: object) -> Rule:
    given: dict[str, object] = {"do": Do.KEEP, "vrs": (vr,), "name": "x", "range": (low, high), **more}
    return Rule(count=count or Count(low=1, high=1), **given)  # type: ignore[arg-type]


def test_purpose_keys_are_the_hmac_that_vault_would_give() -> None:
    keys = PurposeKeys.from_secret(SECRET).reveal()
    assert set(keys) == set(PURPOSES)
    assert keys["uid"] == hmac.new(SECRET, b"rr/deid/v1/uid", hashlib.sha256).digest()
    assert len(set(keys.values())) == len(PURPOSES)


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33), b"0" * 64])
def test_a_key_of_another_length_is_none(secret: bytes) -> None:
    with pytest.raises(WrongSetUp):
        PurposeKeys.from_secret(secret)


def test_keys_do_not_show_themselves() -> None:
    keys = PurposeKeys.from_secret(SECRET)
    shown = f"{keys!r} {keys} {ONE!r} {KNOWN!r}"
    assert SECRET.hex() not in shown
    assert "Graves" not in shown
    assert not any(str(key) in shown for key in keys.reveal().values())


@given(st.text(max_size=80))
def test_stand_ins_have_their_form_and_projects_share_none(old: str) -> None:
    assert re.fullmatch("[A-Z2-7]{20}", ONE.patient(old))
    assert re.fullmatch("[A-Z2-7]{16}", ONE.code("accession", old, "local::1"))
    number = ONE.uid(old).removeprefix("2.25.")
    assert len(ONE.uid(old)) <= 44
    assert uuid.UUID(int=int(number)).version == 8
    assert uuid.UUID(int=int(number)).variant == uuid.RFC_4122
    assert 30 <= ONE.days(old) < 30 + 3652
    assert ONE.patient(old) != OTHER.patient(old)
    assert ONE.uid(old) != OTHER.uid(old)
    assert ONE.patient(old) == Pseudonyms(PurposeKeys.from_secret(SECRET), "demo").patient(old)


def test_parts_of_an_input_cannot_slide_into_each_other() -> None:
    assert ONE.code("study", "ab", "c") != ONE.code("study", "a", "bc")


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        ("9434765919", True),
        ("4505577104", True),
        ("9434765918", False),
        ("943476591", False),
        ("1111111111", False),
        ("943476591X", False),
    ],
)
def test_nhs_numbers_have_a_check_digit(number: str, valid: bool) -> None:
    assert is_nhs_number(number) == valid


def test_an_identity_is_the_same_however_it_is_spaced_and_never_mixes_namespaces() -> None:
    def identity(text: bytes, issuer: bytes = b"") -> str:
        return identity_of([Element(0x00100020, "LO", 0, 0, text), Element(0x00100021, "LO", 0, 0, issuer)])

    assert (
        identity(b"943 476 5919") == identity(b"943-476-5919 ") == identity(b"9434765919", b"RX1") == "nhs:9434765919"
    )
    assert identity(b"9434765918").startswith("local:")
    assert identity(b"77", b"RX1") != identity(b"77", b"RX2")


@pytest.mark.parametrize(
    ("vr", "value", "stays"),
    [
        ("DS", b"1.50 ", b"1.50"),
        ("DS", b"-.5e1", b"-.5e1"),
        ("DS", b"1e9", None),
        ("DS", b"nan", None),
        ("DS", b"inf", None),
        ("DS", b"1.5mm", None),
        ("DS", b"1,5", None),
        ("DS", b"0x10", None),
        ("DS", b"1_000", None),
        ("DS", b"\xd9\xa1", None),  # a digit, but none of ours
        ("DS", b"1\\2", None),
        ("DS", b"", None),
        ("IS", b"+12", b"+12"),
        ("IS", b"1.0", None),
        ("IS", b"1234", None),
        ("TM", b"235959.123456", b"235959.123456"),
        ("TM", b"2359", b"2359"),
        ("TM", b"240000", None),
        ("TM", b"10:11:12", None),
        ("US", b"\x10\0", b"\x10\0"),
        ("US", b"\x10\0\0", None),
        ("US", b"\xd2\x04", None),
        ("FD", b"\0\0\0\0\0\0\xf8\x7f", None),
        ("FD", b"\0\0\0\0\0\0\xf8\x3f", b"\0\0\0\0\0\0\xf8\x3f"),
        ("LO", b"anything", None),
        ("CS", b"ANYTHING", None),  # no list, no value
        ("UI", b"1.2.840.10008.1.2", None),
        ("OB", b"anything", None),
    ],
)
def test_a_value_stays_only_if_it_is_exactly_right(vr: str, value: bytes, stays: bytes | None) -> None:
    assert values.kept(rule(vr, -1000, 5000 if vr in {"US", "IS"} else 1000), vr, value, KNOWN) == stays


@pytest.mark.parametrize("number", ["9434765919", "94347.65919", "0.9434765919", "1234", "-1234", "001234"])
def test_a_number_that_is_an_identifier_goes(number: str) -> None:
    assert values.kept(rule("DS", -1e12, 1e12), "DS", number.encode(), KNOWN) is None


@pytest.mark.parametrize("number", ["12345", "512", "0.12341", "943476"])
def test_a_number_that_only_looks_like_one_stays(number: str) -> None:
    assert values.kept(rule("DS", -1e12, 1e12), "DS", number.encode(), KNOWN) is not None


def test_code_strings_keep_their_places() -> None:
    places = rule(
        "CS",
        values=(frozenset({"ORIGINAL"}), frozenset({"PRIMARY"}), frozenset({"AXIAL"})),
        count=Count(low=1, high=None),
    )
    assert values.kept(places, "CS", b"ORIGINAL\\SMITH\\AXIAL\\SMITH", KNOWN) == b"ORIGINAL\\\\AXIAL"
    assert values.kept(places, "CS", b"SMITH", KNOWN) is None
    assert values.kept(places, "CS", b"original", KNOWN) is None


def test_terms_stay_in_our_spelling_and_a_patients_own_word_goes() -> None:
    vocabulary = Vocabulary.from_terms(["CT Chest", "Graves disease", "GRAVES", "NECK"])
    assert values.terms(b"ct  CHEST: graves' Mr Graves, neck", vocabulary, KNOWN) == b"CT Chest NECK"
    assert values.terms(b"GRAVES-DISEASE of Percy Graves", vocabulary, KNOWN) == b"Graves disease"
    assert values.terms(b"Jones", vocabulary, KNOWN) is None


@pytest.mark.parametrize(
    ("vr", "value", "moved"),
    [
        ("DA", b"20200301", b"20200131"),
        ("DA", b"20200301\\20200302", b"20200131\\20200201"),
        ("DA", b"20200301\\x", None),
        ("DA", b"00010101", None),
        ("DT", b"20200301101112.5", b"20200131101112.5"),
        ("DT", b"20200301", b"20200131"),
        ("DT", b"202003", None),
        ("DT", b"20200301101112+0100", None),
        ("DT", b"20200301991112", None),
        ("DT", b"20200301 Smith", None),
    ],
)
def test_dates_move_or_go(vr: str, value: bytes, moved: bytes | None) -> None:
    assert values.shifted(vr, value, 30) == moved


def mark(content: str = "c", instance: str = "i", study: str = "s", patient: str = "p", born: str = "b") -> Marks:
    return Marks(content=content, instance=instance, study=study, patient=patient, born=born)


def test_conflicts_hold_every_party() -> None:
    assert conflicts({"a": mark(), "b": mark()}) == {}
    assert conflicts({"a": mark(), "b": mark(content="d")}) == dict.fromkeys("ab", Reason.UID_CONFLICT)
    shared = {
        "a": mark(),
        "b": mark("d", "j", patient="q"),
        "c": mark("e", "k", "t", patient="q"),
        "d": mark("f", "l", "u", "r"),
    }
    assert conflicts(shared) == dict.fromkeys("abc", Reason.IDENTITY_CONFLICT)
    births = {"a": mark(), "b": mark("d", "j", "t", born="z"), "c": mark("e", "k", "u", born="")}
    assert conflicts(births) == dict.fromkeys("abc", Reason.IDENTITY_CONFLICT)
