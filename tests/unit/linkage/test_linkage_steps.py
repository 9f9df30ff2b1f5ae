"""The steps of a link in this process: no order of images and rows matters, and what does not belong together is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.adapters.sealed_rows import SealedRows
from readingroom.application.link import Link, Opening, ask, join, match_sides, offer
from readingroom.application.ports_link import Joined, Looked, Spine
from readingroom.domain.errors import Refused
from readingroom.domain.linkage.tokens import LinkKey
from readingroom.domain.opt_out import NOBODY, Names, OptOuts
from tests.unit.linkage.test_linkage_table import CLEAN, POLICY, ROW
from tests.unit.optout.people import ONE, THREE, TWO

KEY = LinkKey(b"k" * 32, "l-0123456789abcdef")
LINK = Link(key=KEY, policy=POLICY, project="demo")
PATIENTS = ("A" * 20, "B" * 20, "C" * 20)


@dataclass
class LandedHere:
    """The port `Landed`, of what a test says."""

    images: Sequence[Looked | None]

    def looked(self) -> Iterable[Looked | None]:
        return self.images


@dataclass
class TablesHere:
    """The port `LinkedTables`, in memory."""

    rows: list[Mapping[str, Any]] = field(default_factory=list)

    def put(self, facts: Mapping[str, str], columns: Sequence[object], rows: Sequence[Mapping[str, Any]]) -> bool:
        changed = self.rows != list(rows)
        self.rows = list(rows)
        return changed


def looked(patient: str, *numbers: str, said: str | None = None, name: str = "") -> Looked:
    names = frozenset({name} if name else ())
    return Looked(
        patient=patient,
        days=100,
        numbers=frozenset(map(KEY.number, numbers)),
        demographics=said,
        names=Names(sought=names, told=names),
    )


IMAGES = (
    looked(PATIENTS[0], ONE, said="x"),
    looked(PATIENTS[0], said="x"),
    looked(PATIENTS[1], TWO, said="y"),
    looked(PATIENTS[1], TWO, THREE, said="z"),
    looked(PATIENTS[2], THREE),
    None,
)
ROWS = tuple(
    {**ROW, "NHS NUMBER": number, "FVC": fvc} for number, fvc in ((ONE, "1"), (TWO, "2"), (THREE, "3"), ("", "4"))
)


@given(st.permutations(IMAGES), st.permutations(ROWS))
def test_no_order_of_images_or_rows_changes_an_output(images: list[Looked | None], rows: list[dict[str, str]]) -> None:
    asked = ask(LINK, LandedHere(images), PATIENTS, NOBODY)
    offered = offer(LINK, rows, SealedRows(KEY.reveal_sealing()))
    assert asked == ask(LINK, LandedHere(IMAGES), PATIENTS, NOBODY)
    assert offered == offer(LINK, ROWS, SealedRows(KEY.reveal_sealing()))
    spine, _ = match_sides(asked.tokens, offered)
    assert [line.patient for line in spine.lines] == [PATIENTS[0], PATIENTS[2]]  # the second has two numbers


def test_one_barred_image_bars_the_patient_and_so_does_a_number_that_nobody_asked_about() -> None:
    images = (looked(PATIENTS[0], ONE, name="mark"), looked(PATIENTS[0], ONE), looked(PATIENTS[1], TWO))
    away = OptOuts(opted_out=frozenset({"mark"}))
    assert [record.reference for record in ask(LINK, LandedHere(images), PATIENTS, away).tokens.records] == [
        PATIENTS[1]
    ]
    held = replace(images[0], names=Names(sought=frozenset({"n"}), numbers=frozenset({"n"})))
    unasked = ask(LINK, LandedHere((held, *images[1:])), PATIENTS, OptOuts(asked=frozenset({"other"})))
    assert [record.reference for record in unasked.tokens.records] == [PATIENTS[1]]


def opening(**changes: Any) -> Opening:
    kept = ask(LINK, LandedHere(IMAGES), PATIENTS, NOBODY).kept
    return replace(Opening(kept=kept, policy=POLICY, patients=PATIENTS), **changes)


def spine(row: Mapping[str, Any], **changes: str) -> Spine:
    [sealed] = SealedRows(KEY.reveal_sealing()).sealed([("a" * 40, row)])
    line = Joined(patient=PATIENTS[0], partner="a" * 40, by="number", row=sealed)
    return replace(Spine(link=KEY.link, policy="x", policy_sha256=POLICY.sha256, lines=(line,)), **changes)


def test_what_a_partner_sealed_against_the_policy_makes_no_table() -> None:
    tables = TablesHere()
    assert join(spine(CLEAN), opening(), SealedRows(KEY.reveal_sealing()), tables) == (1, True)
    tables = TablesHere()
    with pytest.raises(Refused, match="vital_status"):
        join(spine({**CLEAN, "vital_status": "Mary"}), opening(), SealedRows(KEY.reveal_sealing()), tables)
    assert tables.rows == []


@pytest.mark.parametrize(
    ("line", "opened"),
    [
        ({"link": "l-fedcba9876543210"}, {}),
        ({"policy_sha256": "0" * 64}, {}),
        ({}, {"policy": replace(POLICY, sha256="0" * 64)}),
    ],
)
def test_a_spine_of_another_link_or_policy_is_refused(line: dict[str, str], opened: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        join(spine(CLEAN, **line), opening(**opened), SealedRows(KEY.reveal_sealing()), TablesHere())
