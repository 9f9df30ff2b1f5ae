"""An opt-out through both doors: theirs are refused whatever else is wrong with them, and nothing of anybody else changes."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readingroom.adapters.door_worker import factory
from readingroom.domain.door import Answer, Identity, Seen, judge, token
from readingroom.domain.opt_out import NOBODY, OptOuts, names_from
from tests.dicom_factory import SR_CLASS, part10
from tests.unit.clinical.engine import RULES, Output, deid, record
from tests.unit.optout.people import ONE, THREE, TWO, UID, image, opted_out, spaced

ALSO_ONE = {"x00101002": ("SQ", [{0x00100020: ("LO", spaced(ONE)), 0x00100021: ("LO", "NHS")}])}
SHARED = f"{UID}.9"
FILES: Mapping[str, bytes] = {
    "one": image(ONE),
    "one spaced": image(spaced(ONE), 2),
    "one under another number": image("H1", **ALSO_ONE),
    "that number": image("H1", 2),
    "that number, and a study": image("H1", study=SHARED),
    "the study under a third": image("H7", 2, study=SHARED),
    "one as a third, elsewhere": image("H7", study=f"{UID}.8"),
    "one, a film": image(ONE, 3, x00080060=("CS", "CR"), x00080016=("UI", "1.2.840.10008.5.1.4.1.1.1")),
    "one, a report": image(ONE, 4, x00080016=("UI", SR_CLASS)),
    "one, without pixels": image(ONE, 5, x7FE00010=None),
    "one, another birth date": image(ONE, 6, x00100030=("DA", "19990101")),
    "one, once more": image(ONE),
    "one_data.json": record(ONE, Age=50),
    "H1_data.json": record("H1", Age=51),
    "two": image(TWO),
    "two_data.json": record(TWO, Age=52),
    "local": image("K1"),
    "local_data.json": record("K1", Age=53),
    "local, cut short": image("K1")[:-9],
    "no image_data.json": record("K9", Age=54),
}
OF_ONE = {name for name in FILES if name.startswith(("one", "that", "the study", "H1"))}


@functools.cache
def through(opt_outs: OptOuts, chance: int = 0) -> Output:
    return deid(FILES, chance=chance, opt_outs=opt_outs)


def others(output: Output, names: set[str]) -> dict[str, bytes]:
    """What came out of these inputs alone."""
    alone = deid({name: FILES[name] for name in names})
    return {place: content for place, content in alone.files.items() if place.startswith("images/")}


def test_theirs_are_refused_whatever_else_is_wrong_with_them_and_nothing_else_changes() -> None:
    before, after = through(NOBODY), through(opted_out(ONE))
    assert {name for name, answer in after.receipt.items() if answer == "rejected opted-out"} == OF_ONE
    rest = set(FILES) - OF_ONE
    assert {name: after.receipt[name] for name in rest} == {name: before.receipt[name] for name in rest}
    assert {place: content for place, content in after.files.items() if place.startswith("images/")} == others(
        after, rest
    )
    assert after.rows == {patient: row for patient, row in before.rows.items() if row["age"] not in {"50", "51"}}
    assert sorted(row["age"] for row in after.rows.values()) == ["52", "53", "54"]
    agreeing = OF_ONE - {"one, another birth date", "that number, and a study", "the study under a third"}
    released = deid({name: FILES[name] for name in agreeing}).files
    gone = {place.split("/")[1] for place in released if place.startswith("images/")}
    assert len(gone) == 3
    everything = b"\n".join([*after.files.values(), *(place.encode() for place in after.files)])
    assert not any(patient.encode() in everything for patient in gone)


# what is listed, what is asked → whose files get which answer
CASES: dict[str, tuple[OptOuts, dict[str, str]]] = {
    "by a local number": (opted_out("k-1"), {"local": "rejected opted-out", "local_data.json": "rejected opted-out",
                                           "local, cut short": "rejected truncated", "two": "released"}),
    "a record alone": (opted_out("K9"), {"no image_data.json": "rejected opted-out", "local_data.json": "released"}),
    "by a third number": (opted_out("H7"), dict.fromkeys(OF_ONE, "rejected opted-out")),
    "not asked about": (opted_out(asked=(ONE,)), {"two": "held opt-out-unknown", "two_data.json": "held opt-out-unknown",
                                                   "local": "released", "one, a report": "rejected sop-class"}),
    "nobody asked about one": (opted_out(asked=(TWO,)), {"one under another number": "held opt-out-unknown", "two": "released",
                               "H1_data.json": "held opt-out-unknown", "one, a film": "held opt-out-unknown",
                               "one, a report": "rejected sop-class", "the study under a third": "held opt-out-unknown"}),
    "somebody else": (opted_out(THREE, asked=(ONE, TWO)), {"two": "released", "local": "released"}),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CASES))
def test_who_when_and_what_answer(name: str) -> None:
    opt_outs, wanted = CASES[name]
    found = through(opt_outs).receipt
    assert {file: found[file] for file in wanted} == wanted


def test_everybody_may_be_gone() -> None:
    found = through(opted_out(ONE, TWO, "K1", "K9"))
    assert found.files == {"manifest.jsonl": b""}
    assert not any(answer.startswith("released") for answer in found.receipt.values())


def test_no_order_of_inputs_and_answers_changes_anything() -> None:
    assert through(opted_out(ONE), chance=1) == through(opted_out(ONE), chance=2)


def test_a_file_of_theirs_still_counts_against_anothers_so_that_nothing_new_comes_out() -> None:
    uid = {"x00080018": ("UI", f"{UID}.5")}
    files = {"a": image(ONE, **uid), "b": image(TWO, **uid), "c": image(THREE)}
    assert deid(files, opt_outs=opted_out(ONE)).receipt == {
        "a": "rejected opted-out",
        "b": "held uid-conflict",
        "c": "released",
    }


def test_a_record_whose_number_two_bear_is_not_given_to_the_one_who_stays() -> None:
    files = {"a": image("H1", x00100021=("LO", "A"), **ALSO_ONE), "b": image("H1", 2, study=SHARED, x00100021=("LO", "B")),
             "H1_data.json": record("H1", Age=50)}  # fmt: skip
    assert deid(files).receipt["H1_data.json"] == "held identity-conflict"
    found = deid(files, opt_outs=opted_out(ONE))
    assert found.receipt == {"a": "rejected opted-out", "b": "released", "H1_data.json": "rejected opted-out"}
    assert found.rows == {}


KEY = b"k" * 32


@functools.cache
def at_the_door(content: bytes, sort: str | None = None) -> Seen:
    """What the door's child says of a file, as the inbox takes it."""
    look = factory({"key": KEY.hex(), "clinical": RULES.document})
    descriptor = os.memfd_create("file")
    os.write(descriptor, content)
    said = look({"sort": sort}, [descriptor])
    os.close(descriptor)
    assert not any(secret in str(said) for secret in (ONE, TWO, spaced(ONE), "H1", "H7"))
    who = Identity(**said["identity"]) if "identity" in said else None
    names = names_from(said["names"]) if "names" in said else None
    return Seen(
        input="f",
        sha256=str(hash(content)),
        identity=who,
        reason=said.get("reason"),
        **({"names": names} if names else {}),
    )


def test_the_door_refuses_the_same_files() -> None:
    seen = [
        Seen(input=name, sha256=name, identity=found.identity, names=found.names, reason=found.reason)
        for name, content in FILES.items()
        for found in [at_the_door(content)]
        if not name.endswith(".json")
    ]
    known = opted_out(ONE).known_as(lambda name: token(name, KEY))
    verdicts = {verdict.seen.input: verdict for verdict in judge(seen, known)}
    refused = {name for name, verdict in verdicts.items() if verdict.reason == "opted-out"}
    assert refused == {name for name in OF_ONE if not name.endswith(".json")}
    assert {verdicts[name].answer for name in refused} == {Answer.REJECTED}
    assert verdicts["two"].answer is Answer.RECEIVED
    unasked = judge(seen, opted_out(asked=(ONE,)).known_as(lambda name: token(name, KEY)))
    assert {v.seen.input: (v.answer, v.reason) for v in unasked}["two"] == (Answer.HELD, "opt-out-unknown")
    assert at_the_door(FILES["H1_data.json"], "data").names == at_the_door(record("h-1"), "data").names


@settings(max_examples=25, deadline=None)
@given(
    written=st.sampled_from([ONE, spaced(ONE), f"{ONE[:3]}-{ONE[3:6]}-{ONE[6:]}", f"NHS {ONE}", f" {ONE}"]),
    place=st.integers(0, 4),
)
def test_the_door_finds_a_number_wherever_an_identifier_stands(written: str, place: int) -> None:
    item = {0x00100020: ("LO", written)}
    changes = [
        {"x00100020": ("LO", written)},
        {"x00101000": ("LO", ["X1", written])},
        {"x00101002": ("SQ", [{0x00100020: ("LO", "X2")}, item])},
        {"x00081110": ("SQ", [{0x00081250: ("SQ", [item])}])},
        {"x00100020": ("LO", f"X3\\{written}")},
    ][place]
    seen = at_the_door(image("H5", **changes))
    [verdict] = judge([seen], opted_out(ONE).known_as(lambda name: token(name, KEY)))
    assert (verdict.answer, verdict.reason) == (Answer.REJECTED, "opted-out")


def test_a_file_of_very_many_identifiers_is_over_the_limit(tmp_path: Path) -> None:
    many = {0x00101002: ("SQ", [{0x00100020: ("LO", f"X{number}")} for number in range(19_000)])}
    found = at_the_door(part10({0x00080016: ("UI", "1.2"), **many}))
    assert (found.identity, found.reason) == (None, "over-limit")
    file = image("H5", x00101002=many[0x00101002])
    assert deid({"f": file}).receipt == {"f": "rejected over-limit"}
