"""Who comes: the shares that data.md section 13 gives, within what chance allows, and nobody real."""

from __future__ import annotations

import functools
import re
from collections import Counter

import pytest

from readingroom.domain.deid.identity import is_nhs_number
from readingroom.domain.synth.centres import CENTRES, MAKERS
from readingroom.domain.synth.facts import facts_of
from readingroom.domain.synth.letters import points
from readingroom.domain.synth.plans import COMPACT, FULL, put
from readingroom.domain.synth.population import MOST_PATIENTS, Patient, population
from readingroom.domain.synth.stream import Stream
from readingroom.domain.synth.words import FIRST_HALF, SECOND_HALF, check_digit, family_name

MANY = 4000


@functools.cache
def people() -> list[Patient]:
    return list(population(11, MANY, COMPACT))


def share(number: int, of: int) -> float:
    return number / of


def test_a_third_is_positive_and_site_confounds_it() -> None:
    assert share(sum(one.positive for one in people()), MANY) == pytest.approx(1 / 3, abs=0.03)
    seen: Counter[str] = Counter(one.centres[0].code for one in people())
    positive: Counter[str] = Counter(one.centres[0].code for one in people() if one.positive)
    shares = [positive[code] / number for code, number in seen.items() if number > 100]
    assert max(shares) - min(shares) > 0.2


def test_studies_are_geometric_with_mean_2_8() -> None:
    many = Counter(len(one.studies) for one in people())
    assert sum(number * times for number, times in many.items()) / MANY == pytest.approx(2.8, abs=0.15)
    assert share(many[1], MANY) == pytest.approx(10 / 28, abs=0.03)
    for number in (1, 2, 3):
        assert many[number + 1] / many[number] == pytest.approx(18 / 28, abs=0.1)


def test_most_studies_are_films_some_are_ct_and_a_trace_is_the_rest() -> None:
    kinds = Counter(study.kind for one in people() for study in one.studies)
    total = sum(kinds.values())
    assert share(kinds["film"], total) == pytest.approx(0.82, abs=0.015)
    assert share(kinds["ct"], total) == pytest.approx(0.18, abs=0.015)
    assert 0 < kinds["mr"] + kinds["mg"] + kinds["us"] < total / 100
    assert kinds.keys() == {"film", "ct", "mr", "mg", "us"}


def test_centres_are_26_unequal_ones_with_makers_of_their_own() -> None:
    sizes = Counter(one.centres[0].code for one in people())
    assert len(CENTRES) == len(sizes) == 26
    assert max(sizes.values()) > 10 * min(sizes.values())
    assert 3 <= len(MAKERS) <= 5
    largest = sizes.most_common(1)[0][0]
    makers = Counter(study.maker.name for one in people() for study in one.studies if study.centre.code == largest)
    assert makers.most_common(1)[0][1] > sum(makers.values()) / 2
    favourites = {centre.makers[0][0].name for centre in CENTRES}
    assert len(favourites) == len(MAKERS)


def test_some_are_seen_at_two_centres_and_some_opt_out_at_the_stated_rate() -> None:
    assert share(sum(len(one.centres) > 1 for one in people()), MANY) == pytest.approx(0.03, abs=0.012)
    fates = Counter(one.opted_out for one in people())
    assert share(fates["before"], MANY) == pytest.approx(0.010, abs=0.006)
    assert share(fates["after"], MANY) == pytest.approx(0.005, abs=0.004)


def test_numbers_are_valid_of_the_test_range_and_nobody_shares_one() -> None:
    numbers = [one.nhs for one in people()]
    assert len(set(numbers)) == MANY
    assert all(is_nhs_number(number) and number.startswith("999") for number in numbers)
    uids = [study.uid for one in people() for study in one.studies]
    assert len(set(uids)) == len(uids)
    assert all(re.fullmatch(r"2\.999(\.(0|[1-9]\d*))+", uid) and len(uid) < 50 for uid in uids)


def test_there_are_as_many_test_numbers_as_patients_may_be_asked_for() -> None:
    assert sum(check_digit(f"999{number:06d}") < 10 for number in range(0, 10**6, 97)) * 97 > MOST_PATIENTS


def test_what_could_reach_somebody_reaches_nobody() -> None:
    for one in people()[:300]:
        facts = facts_of(one, one.studies[0])
        assert facts["phone"].startswith("01632 960")
        assert facts["mobile"].startswith("07700 900")
        assert facts["email"].endswith("@example.org")
        assert facts["postcode"].startswith("ZZ99 ")


def test_family_names_are_480_and_each_is_made_of_two_invented_halves() -> None:
    names = {family_name(number) for number in range(480)}
    assert len(names) == 480
    assert all(name.startswith(FIRST_HALF) and name.endswith(SECOND_HALF) for name in names)


def test_dates_of_a_patient_go_forward_and_ages_are_ages() -> None:
    for one in people():
        days = [study.when for study in one.studies]
        assert days == sorted(days)
        assert 17 <= (days[0].date() - one.born).days // 365.25 <= 105
    assert any((one.studies[0].when.date() - one.born).days > 90 * 366 for one in people())


def test_the_first_patients_are_the_same_however_many_follow() -> None:
    assert list(population(11, 5, COMPACT)) == people()[:5]
    assert list(population(12, 5, COMPACT)) != people()[:5]
    assert [one.nhs for one in population(11, 5, FULL)] == [one.nhs for one in people()[:5]]


def test_a_stream_depends_on_its_path_alone() -> None:
    first = [Stream(1, "a").below(10**9), Stream(1, "b").below(10**9), Stream(2, "a").below(10**9)]
    assert len(set(first)) == 3
    stream = Stream(1)
    child = stream.child("a").below(10**9)
    stream.below(5)
    assert stream.child("a").below(10**9) == child == first[0]


def test_a_known_number_of_a_known_stream_never_changes() -> None:
    assert [Stream(7, "fixed").between(1, 1000) for _ in range(2)] == [301, 301]


def test_a_value_is_put_at_a_path_and_nothing_else_is_touched() -> None:
    before = {0x00100010: ("PN", "A"), 0x00081110: ("SQ", ({0x00081150: ("UI", "1.2")},))}
    after = put(before, "00081110[2].00081250[1].00100010", "PN", "B")
    assert before[0x00081110] == ("SQ", ({0x00081150: ("UI", "1.2")},))
    assert after[0x00081110] == (
        "SQ",
        ({0x00081150: ("UI", "1.2")}, {0x00081250: ("SQ", ({0x00100010: ("PN", "B")},))}),
    )
    assert after[0x00100010] == ("PN", "A")


def test_letters_that_nobody_drew_are_a_full_box() -> None:
    assert len(points("~")) == 35
    assert points(" ") == []
