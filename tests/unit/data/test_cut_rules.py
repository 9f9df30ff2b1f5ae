"""What a decision covers and how a cut is laid out: pure rules, each against an oracle of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.domain import cut as cut_module
from readingroom.domain.access import Decision, Released, check_can_cut, covers, from_document
from readingroom.domain.cut import CutRecord, Ground, Stored, count, covered_by, in_layers, manifest
from readingroom.domain.cut import from_document as record_from
from readingroom.domain.errors import ReadingRoomError, Refused, WrongSetUp
from readingroom.domain.ids import Digest, ProjectId
from readingroom.entrypoints import settings
from tests.unit.data.warehouses import NOW, decision, decision_document

SCHEMA = json.loads((settings.policies_folder() / "schema" / "decision.schema.json").read_text())
MODALITIES = st.sampled_from(["CT", "DX", "MR", "US", "PR", "CTX", "C", ""])
GROUND = Ground(decision="demo d1", request="rq-0042", record_sha256="7" * 64)
PLACES = st.tuples(*[st.integers(0, 2)] * 4)


def released(place: tuple[int, int, int, int], modality: str = "CT", project: str = "demo") -> Released:
    patient, study, series, instance = place
    return Released(
        path=f"images/P{patient}/{study}/{series}/{instance}.dcm",
        sha256="5" * 64,
        sop_class_uid="1.2",
        modality=modality,
        profile_sha256="9" * 64,
        project=project,
    )


WAREHOUSES = st.dictionaries(PLACES, MODALITIES, max_size=25).map(
    lambda found: [released(place, modality) for place, modality in found.items()]
)


@given(lines=WAREHOUSES, granted=st.sets(st.sampled_from(["CT", "DX", "MR"]), min_size=1))
def test_a_cut_holds_what_the_decision_names_and_nothing_else(lines: list[Released], granted: set[str]) -> None:
    asked = decision(*granted)
    wanted = sorted(line.path for line in lines if line.modality in granted)
    if not wanted:
        with pytest.raises(Refused, match="no file"):
            covered_by(asked, lines)
        return
    found, steps = covered_by(asked, lines)
    assert [line.path for line in found] == wanted
    parts = [path.split("/") for path in wanted]
    assert steps[-1].left == count(found)
    assert steps[-1].left.studies == len({(part[1], part[2]) for part in parts})
    assert steps[-1].left.series == len({tuple(part[1:4]) for part in parts})
    assert steps[0].left.instances == len(lines) >= steps[-1].left.instances == len(wanted)


@given(lines=WAREHOUSES, stranger=st.sampled_from(["other", "demo2", "", "holdout"]))
def test_one_file_of_another_project_stops_the_cut(lines: list[Released], stranger: str) -> None:
    foreign = released((9, 9, 9, 9), project=stranger)
    assert not covers(decision("CT"), foreign)
    with pytest.raises(Refused, match="another project"):
        covered_by(decision("CT"), [*lines, foreign])


@given(sizes=st.dictionaries(PLACES, st.integers(0, 400), min_size=1), bound=st.integers(1, 900))
def test_layers_are_whole_studies_in_order_bounded_and_few(sizes: dict[Any, int], bound: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cut_module, "LAYER_BYTES", bound)
        patch.setattr(cut_module, "MOST_LAYERS", 8)
        measured = {released(place): size for place, size in sizes.items()}
        layers = in_layers(measured)
    flat = [line.path for layer in layers for line in layer]
    assert flat == sorted(line.path for line in measured)
    where = {}
    for number, layer in enumerate(layers):
        assert layer
        for line in layer:
            assert where.setdefault(line.study, number) == number
        whole = sum(measured[line] for line in layer)
        assert whole <= max(bound, sum(sizes.values()) // 4) or len({line.study for line in layer}) == 1
    assert len(layers) <= 9


def test_the_id_of_a_cut_is_made_of_its_content_and_stands_in_the_manifest() -> None:
    asked = decision("CT")
    lines = [released((1, 1, 1, n)) for n in range(3)]
    _, steps = covered_by(asked, lines)
    stored = [Stored(line=line, size=4) for line in lines]
    cut, text = manifest(asked, GROUND, stored, steps)
    document = json.loads(text)
    assert document["cut"] == cut
    assert document["grant"] == {"decision": "demo d1", "request": "rq-0042", "record_sha256": "7" * 64}
    assert document["counts"] == {"patients": 1, "studies": 1, "series": 1, "instances": 3}
    assert [step["studies"] for step in document["attrition"]] == [1, 1]
    assert manifest(asked, GROUND, reversed(stored), steps) == (cut, text)
    other = replace(stored[0], line=replace(lines[0], sha256="6" * 64))
    assert manifest(asked, GROUND, [other, *stored[1:]], steps)[0] != cut
    assert manifest(asked, replace(GROUND, record_sha256="8" * 64), stored, steps)[0] != cut


@pytest.mark.parametrize(("day", "may"), [(21, True), (22, False), (23, False)])
def test_nothing_is_cut_once_the_decision_has_ended(day: int, may: bool) -> None:
    moment = datetime(2036, 5, day, tzinfo=UTC)
    if may:
        check_can_cut(decision("CT"), moment)
        return
    with pytest.raises(Refused, match="ended"):
        check_can_cut(decision("CT"), moment)


GOOD = decision_document()
OFF = {
    "an unknown key": {**GOOD, "more": 1},
    "an unknown filter": {**GOOD, "data": {"modalities": ["CT"], "centres": ["A"]}},
    "no modality": {**GOOD, "data": {"modalities": []}},
    "modalities absent": {**GOOD, "data": {}},
    "all modalities": {**GOOD, "data": {"modalities": "*"}},
    "a modality twice": {**GOOD, "data": {"modalities": ["CT", "CT"]}},
    "a modality in small letters": {**GOOD, "data": {"modalities": ["ct"]}},
    "a modality that is a number": {**GOOD, "data": {"modalities": [1]}},
    "a person by name": {**GOOD, "members": [{"username": "Ada L"}]},
    "a person with more": {**GOOD, "members": [{"username": "ada", "role": "x"}]},
    "the hold-out": {**GOOD, "project": "holdout"},
    "a version that is true": {**GOOD, "version": True},
    "version 0": {**GOOD, "version": 0},
    "another schema": {**GOOD, "schema": "readingroom/grant/v1"},
    "a time without its zone": {**GOOD, "until": "2036-05-22T00:00:00"},
    "a list": [GOOD],
    **{f"without {key}": {k: v for k, v in GOOD.items() if k != key} for key in GOOD},
}
BY_RULE_ONLY = {
    "an end before the start": {**GOOD, "until": "2026-10-01T00:00:00Z"},
    "a day that is none": {**GOOD, "until": "2036-02-30T00:00:00Z"},
    "a person twice": {**GOOD, "members": [{"username": "ada"}, {"username": "ada"}]},
}


def test_the_copy_for_the_cluster_names_nobody_and_cuts_the_same() -> None:
    told = from_document({**GOOD, "members": []})
    assert told.members == ()
    assert told.modalities == from_document(GOOD).modalities


@pytest.mark.parametrize("name", sorted(OFF))
def test_schema_and_parser_both_refuse(name: str) -> None:
    with pytest.raises(ReadingRoomError):
        from_document(OFF[name])
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(OFF[name])


@pytest.mark.parametrize("name", sorted(BY_RULE_ONLY))
def test_the_parser_refuses_what_a_schema_cannot_see(name: str) -> None:
    with pytest.raises(WrongSetUp):
        from_document(BY_RULE_ONLY[name])


def test_schema_and_parser_both_accept_a_decision_and_its_people_are_not_printed() -> None:
    found: Decision = from_document(decision_document(members=[{"username": "zebedee"}]))
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(GOOD)
    assert (found.id, found.modalities, found.members) == ("demo d1", frozenset({"CT"}), ("zebedee",))
    assert "zebedee" not in repr(found)


RECORD = CutRecord(
    project=ProjectId("demo"),
    cut="c-0123456789ab",
    digest=Digest("sha256:" + "1" * 64),
    manifest_sha256="2" * 64,
    ground=GROUND,
    counts=count([released((1, 1, 1, 1))]),
    attrition=covered_by(decision("CT"), [released((1, 1, 1, 1))])[1],
)


def test_a_record_comes_back_as_it_was_and_an_edited_one_does_not() -> None:
    document = RECORD.to_document()
    assert record_from(json.loads(json.dumps(document))) == RECORD
    for edit in (
        {"image": f"rr.local/cut-other@{RECORD.digest}"},
        {"image": RECORD.image.replace("1", "4")},
        {"tar": "../x.tar"},
        {"cut": "c-1"},
        {"more": 1},
        {"counts": {**document["counts"], "more": 1}},
        {"counts": {**document["counts"], "studies": -1}},
    ):
        with pytest.raises(WrongSetUp):
            record_from({**document, **edit})


def test_the_moment_of_the_tests_lies_within_their_decision(tmp_path: Path) -> None:
    check_can_cut(decision("CT"), NOW)
