"""Profiles as data: what is written wrongly stops the run, and what changes an output changes the hash."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from readingroom.adapters.dicom import dictionary
from readingroom.adapters.policy_files import PolicyFiles, shard_limits
from readingroom.domain.deid.outcome import FileHeld, FileRejected, Outcome, Reason
from readingroom.domain.errors import WrongSetUp
from tests.unit.deid.engine import POLICIES

NAMES = sorted(path.stem for path in (POLICIES / "deid" / "profiles").glob("*.yaml") if path.stem != "base")


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    shutil.copytree(POLICIES / "deid", tmp_path / "deid")
    shutil.copytree(POLICIES / "schema", tmp_path / "schema")
    return tmp_path


def edit(policies: Path, file: str, old: str, new: str) -> None:
    path = policies / "deid" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_shipped_profiles_are_sound() -> None:
    files = PolicyFiles(POLICIES, dictionary)
    found = {name: files.profile(name) for name in NAMES}
    assert set(found) >= {"ct", "mr", "xr", "nccid"}
    assert len({each.sha256 for each in found.values()}) == len(found)
    assert found["nccid"].sha256 == PolicyFiles(POLICIES, dictionary).profile("nccid").sha256


def test_reasons_are_exactly_what_code_gives() -> None:
    found = PolicyFiles(POLICIES, dictionary).reasons()
    assert set(found) == set(Reason)
    for reason in Reason:
        raised = {FileHeld(reason).outcome, FileRejected(reason).outcome, Outcome.RELEASED}
        assert found[reason] in raised


@pytest.mark.parametrize(
    ("file", "old", "new", "word"),
    [
        ("profiles/ct.yaml", "version: 1", "version: 1\nkeep_on_error: true", "ct.yaml"),
        ("profiles/ct.yaml", "do: keep, values: [CT]", "do: keep, values: [CT], unless: x", "ct.yaml"),
        ("profiles/ct.yaml", "text_gate: suspect", "text_gate: never", "text_gate"),
        ("profiles/xr.yaml", "text_gate: always", "text_gate: suspect", "no looks"),
        ("profiles/ct.yaml", "rows: [3, 3, 0]", "rows: [3, 3]", "rows"),
        ("profiles/ct.yaml", "KVP: {do: keep, range: [0, 500]", "KVP: {do: keep", "range is missing"),
        ("profiles/ct.yaml", "KVP:", "KVPP:", "KVPP"),
        ("profiles/ct.yaml", "  KVP: {", "  PatientAddress: {do: keep, values: [x], why: research}\n  KVP: {", "LO"),
        ("profiles/ct.yaml", "  KVP: {", "  PatientComments: {do: keep, values: [x], why: research}\n  KVP: {", "LT"),
        ("profiles/ct.yaml", "  KVP: {", "  OperatorsName: {do: vocabulary, list: words, why: research}\n  KVP: {", "PN"),
        ("profiles/ct.yaml", "  KVP: {", "  ICCProfile: {do: keep, range: [0, 1], why: research}\n  KVP: {", "OB"),
        ("profiles/ct.yaml", "  KVP: {", "  StudyDate: {do: shift-date, why: research}\n  KVP: {", "listed already"),
        ("profiles/ct.yaml", "elements:\n", "elements:\n  KVP: {do: keep, range: [0, 1], why: research}\n", "widens"),
        ("profiles/ct.yaml", "list: kernels", "list: gone", "gone.yaml"),
        ("profiles/ct.yaml", "list: kernels", "list: anatomy", "another kind"),
        ("profiles/ct.yaml", "[CTImageStorage]", "[CTImageStorag]", "CTImageStorag"),
        ("profiles/ct.yaml", "extends: base", "extends: ct", "itself"),
        ("profiles/ct.yaml", "why: technique}", "why: ''}", "ct.yaml"),
        ("profiles/ct.yaml", "profile: ct", "profile: mr", "itself otherwise"),
        ("profiles/ct.yaml", "  KVP: {do", "  KVP: {do: empty, why: twice}\n  KVP: {do", "ct.yaml"),
        ("profiles/ct.yaml", "extends: base\n", "", "options"),
        ("profiles/base.yaml", "do: map-uid", "do: keep", "values is missing"),
        ("profiles/mr.yaml", "[MRImageStorage]", "[CTImageStorage]", "two profiles"),
        ("profiles/mr.yaml", "dummy: [RM]", "dummy: [XX]", "'XX' is not on its list"),
        ("profiles/mr.yaml", "dummy: [RM]", "dummy: [RM], else: empty", "no use"),
        ("profiles/base.yaml", "else: reject, why: geometry", "dummy: ['1'], why: geometry", "no use"),
        ("profiles/base.yaml", "needs: [WindowWidth]", "needs: [WindowWide]", "WindowWide"),
        ("profiles/nccid.yaml", "serves: [ct", "serves: [us", "us.yaml"),
        ("vocabularies/kernels.yaml", "[A, B", "[A, a, B", "twice"),
        ("vocabularies/descriptions.yaml", "[CT, MRI", "[CT, COVID-19, MRI", "twice"),
        ("vocabularies/phantoms.yaml", "codes:", "codes: []\nterms:", "phantoms.yaml"),
        ("vocabularies/words.yaml", "terms: [1H", "terms: ['na\\ïve', 1H", "words.yaml"),
    ],
)  # fmt: skip
def test_an_unknown_word_stops_the_run(policies: Path, file: str, old: str, new: str, word: str) -> None:
    edit(policies, file, old, new)
    with pytest.raises(WrongSetUp, match=r".+") as caught:
        PolicyFiles(policies, dictionary).profile("nccid")
    assert word in str(caught.value)


def test_a_missing_reason_stops_the_run(policies: Path) -> None:
    edit(policies, "reasons.yaml", "  verifier:", "  verified:")
    with pytest.raises(WrongSetUp, match="verifier"):
        PolicyFiles(policies, dictionary).reasons()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("profiles/base.yaml", "range: [0.001, 50]", "range: [0.001, 51]"),
        ("profiles/nccid.yaml", "version: 1", "version: 2"),
        ("vocabularies/kernels.yaml", "[A, B", "[A, AB, B"),
        ("profiles/base.yaml", "faces: [HEAD", "faces: [KNEE, HEAD"),
    ],
)
def test_whatever_could_change_an_output_changes_the_hash(policies: Path, file: str, old: str, new: str) -> None:
    before = PolicyFiles(policies, dictionary).profile("nccid").sha256
    (policies / "deid" / file).write_text("# a remark\n" + (policies / "deid" / file).read_text())
    assert PolicyFiles(policies, dictionary).profile("nccid").sha256 == before
    edit(policies, file, old, new)
    assert PolicyFiles(policies, dictionary).profile("nccid").sha256 != before


def test_no_rule_keeps_text_as_it_is_written() -> None:
    free = {"LO", "SH", "ST", "LT", "UC", "UT", "PN", "AE", "UR", "UN"}

    def kept(rules: dict[str, dict[str, object]]) -> list[object]:
        found = [rule["name"] for rule in rules.values() if rule["do"] == "keep" and free & set(rule["vr"])]  # type: ignore[call-overload]
        return found + [name for rule in rules.values() for name in kept(rule.get("items", {}))]  # type: ignore[arg-type]

    for profile in PolicyFiles(POLICIES, dictionary).profile("nccid").document["profiles"]:
        assert kept(profile["elements"]) == []


def test_the_vocabularies_hold_no_stray_type() -> None:
    for path in (POLICIES / "deid" / "vocabularies").glob("*.yaml"):
        terms = yaml.safe_load(path.read_text()).get("terms", [])
        assert [term for term in terms if not isinstance(term, str)] == []


def test_the_size_of_a_shard_is_policy_and_what_the_scale_plan_assumes(policies: Path) -> None:
    limits = shard_limits(POLICIES)
    assumed = yaml.safe_load((POLICIES / "scale" / "plan.yaml").read_text())["engine"]
    assert limits.instances == assumed["shard_instances"]["value"]
    assert limits.bytes == assumed["shard_megabytes"]["value"] * 1_000_000
    edit(policies, "shards.yaml", "instances: 2000", "instances: 0")
    with pytest.raises(WrongSetUp, match=r"shards\.yaml"):
        shard_limits(policies)
