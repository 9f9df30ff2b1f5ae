"""Identifiers in one spelling, and tokens of them: with the key everybody is found, without it nobody."""

from __future__ import annotations

import hashlib
from datetime import date

import pytest

from readingroom.domain.deid.identity import is_nhs_number
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.linkage.identifiers import demographics, family_name
from readingroom.domain.linkage.tokens import LinkKey

BORN = date(1951, 12, 24)
LINK = "l-0123456789abcdef"
KEY = LinkKey(b"k" * 32, LINK)
RANGE = [str(number) for number in range(9_991_246_000, 9_991_247_000) if is_nhs_number(str(number))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("O'Brien-Lloyd", "OBRIEN LLOYD"),
        ("Müller", "MULLER"),
        ("Mu\u0308ller", "müller"),  # a letter and its mark apart
        ("Weiß", "WEISS"),
        ("d’Arcy", "D'Arcy"),
        ("ﬁnch", "Finch"),
    ],
)
def test_spellings_of_one_name_agree(one: str, other: str) -> None:
    assert family_name(one) == family_name(other)


@pytest.mark.parametrize(("one", "other"), [("Smith", "Smyth"), ("Lee", "Lees"), ("Ørsted", "Orsted")])
def test_names_that_only_sound_alike_do_not(one: str, other: str) -> None:
    assert family_name(one) != family_name(other)


@pytest.mark.parametrize(
    ("name", "born", "sex"),
    [
        ("", BORN, "F"),
        ("X", BORN, "F"),
        ("UNKNOWN", BORN, "F"),
        ("Test", BORN, "F"),
        ("Smith", None, "F"),
        ("Smith", date(1900, 1, 1), "F"),
        ("Smith", BORN, "O"),
        ("Smith", BORN, ""),
    ],
)
def test_what_stands_for_nothing_makes_no_demographics(name: str, born: date | None, sex: str) -> None:
    assert demographics("Smith", BORN, "F") is not None
    assert demographics(name, born, sex) is None


def test_trying_all_numbers_finds_nobody_without_the_key_and_everybody_with_it() -> None:
    assert len(RANGE) > 80
    tokens = {KEY.number(number) for number in RANGE[::7]}
    with_key = {number for number in RANGE if LinkKey(b"k" * 32, LINK).number(number) in tokens}
    assert with_key == set(RANGE[::7])
    public = (hashlib.md5, hashlib.sha1, hashlib.sha256, hashlib.sha512, hashlib.blake2b)  # all that need no key
    for number in RANGE:
        salted = (number, f"nhs:{number}", LINK + number, f"rr/link/v1{number}", f"rr/link/v1{LINK}number{number}")
        for function in public:
            assert not any(function(text.encode()).hexdigest()[:40] in tokens for text in salted)
        assert LinkKey(bytes(32), LINK).number(number) not in tokens


def test_two_links_share_no_token_and_no_kind_is_another() -> None:
    said = demographics("Smith", BORN, "F")
    assert said is not None
    made = [
        tokens
        for key in (KEY, LinkKey(b"k" * 32, "l-fedcba9876543210"), LinkKey(b"j" * 32, LINK))
        for tokens in (key.number(RANGE[0]), key.demographics(said), key.partner(key.number(RANGE[0])), key.partner(""))
    ]
    assert len(set(made)) == len(made)


def test_parts_of_demographics_do_not_run_together() -> None:
    one, other = demographics("Lee", BORN, "F"), demographics("Lee", BORN, "M")
    assert one is not None
    assert other is not None
    assert KEY.demographics(one) != KEY.demographics(other)


def test_a_key_shows_itself_nowhere_and_what_is_none_is_refused() -> None:
    assert "k" * 4 not in repr(KEY)
    assert "Smith".lower() not in repr(demographics("Smith", BORN, "F")).lower()
    for secret, link in ((b"k" * 31, LINK), (b"k" * 32, "l-1")):
        with pytest.raises(WrongSetUp):
            LinkKey(secret, link)
