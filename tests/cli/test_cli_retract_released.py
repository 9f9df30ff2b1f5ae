"""`readingroom cohort retract --warehouse`: what was released leaves warehouse and cuts; no cut that held it is used again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from readingroom.adapters.cuts import CutFolder, WarehouseFolder
from readingroom.adapters.retractable import RetractableWarehouse
from readingroom.adapters.shelf import CutShelf
from readingroom.application.cut_cohort import cut_cohort
from readingroom.application.retract_released import Effects, retract_released
from readingroom.contract import SERVICE_UID, cut_file
from readingroom.domain.cut import CutRecord
from readingroom.domain.errors import Refused, TryAgain
from readingroom.domain.ids import Digest, project_id
from readingroom.domain.retraction import Chosen
from tests.cli.command import Done, one_line, run
from tests.cli.test_cli_cohort import cutting, granting_from
from tests.cli.test_cli_decide import deciding
from tests.unit.clinical.engine import pseudonyms
from tests.unit.clinical.test_clinical_cut import warehouse as with_records
from tests.unit.data.stopping import stops
from tests.unit.data.warehouses import FILES, NOW, build, decision, unpacked, write_lines
from tests.unit.optout.people import ONE, TWO, image

DEMO = project_id("demo")
LANDING = "  landing keeps the originals, and `deid` releases them again: retract them there too"


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A warehouse, a decision, a cut and a grant over it; no cluster."""
    build(tmp_path / "w")
    for words in (deciding(), cutting(tmp_path), granting_from(tmp_path / "out" / "cut.json")):
        done = run(*words, state=tmp_path)
        assert done.returncode == 0, done.stderr
    return tmp_path


def retracting(work: Path, *more: object) -> Done:
    words = ("--warehouse", work / "w", "--cuts", work / "out", "--project", "demo")
    return run("cohort", "retract", *words, *more, state=work)


def named(work: Path, *names: str) -> Path:
    (work / "names").write_text("".join(f"{name}\n" for name in names))
    return work / "names"


def contents(work: Path, *folders: str) -> dict[str, bytes]:
    found = [path for folder in folders for path in (work / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(work)): path.read_bytes() for path in found}


def paths(work: Path) -> set[str]:
    return {json.loads(line)["path"] for line in (work / "w" / "manifest.jsonl").read_text().splitlines()}


def record(work: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work / "out" / "cut.json").read_text())
    return found


def grant(work: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("project", "show", "demo", "--json", state=work).stdout)
    return found


def test_it_says_what_it_reaches_and_then_takes_it_out_of_warehouse_cut_and_grant(room: Path) -> None:
    old, before = record(room), contents(room, "w", "out", "readingroom")
    archive = (room / "out" / old["tar"]).read_bytes()
    shutil.copyfile(room / "out" / "cut.json", room / "kept.json")
    choice = ("--pseudonym-file", named(room, "2.1"))
    dry = retracting(room, *choice)
    assert (dry.returncode, dry.stderr) == (0, "")
    assert dry.stdout.splitlines() == [
        "2 files of 1 patients, 1 studies, and 0 rows of demo would go",
        f"  cut {old['digest']} would be retired  granted in demo v1",
        "next: the same command with --confirm does it",
    ]
    assert contents(room, "w", "out", "readingroom") == before

    done = retracting(room, *choice, "--confirm", "--json")
    assert done.returncode == 0, done.stderr
    told, new = json.loads(done.stdout), record(room)
    assert (told["files"], told["cuts"], told["granted"]) == (2, [old["digest"]], "demo v1")
    assert (told["retired"], told["cut"], told["grant"]) == ([old["digest"]], new, "demo v2")
    left = {file.path for file in FILES if "/2.1/" not in file.path}
    assert paths(room) == left
    assert {name for name in contents(room, "w") if name != "w/manifest.jsonl"} == {f"w/{path}" for path in left}
    inside = unpacked(room / "out" / new["tar"])
    assert not any("2.1" in name.split("/") for name in inside)
    assert any("1.1" in name.split("/") for name in inside)
    assert set(contents(room, "out")) == {"out/cut.json", "out/retired.json", f"out/{new['tar']}"}
    assert json.loads((room / "out" / "retired.json").read_text()) == [old["digest"]]
    assert (grant(room)["version"], grant(room)["cut_image"], len(grant(room)["members"])) == (2, new["image"], 1)

    after = contents(room, "w", "out", "readingroom")
    again = retracting(room, *choice, "--confirm")
    assert again.stdout == "0 files of 0 patients, 0 studies, and 0 rows of demo are removed\n"
    assert contents(room, "w", "out", "readingroom") == after

    # nothing brings the old digest back: neither its record, nor its archive, nor the same files once more
    (room / "out" / "old.json").write_bytes((room / "kept.json").read_bytes())
    (room / "out" / old["tar"]).write_bytes(archive)
    refused = run(*granting_from(room / "out" / "old.json"), state=room)
    assert (refused.returncode, grant(room)["version"]) == (3, 2)
    assert "retired" in one_line(refused)
    build(room / "w")
    refused = run(*cutting(room), state=room)
    assert refused.returncode == 3
    assert "retired" in refused.stderr
    assert record(room) == new


def test_what_a_cut_does_not_hold_leaves_cut_and_grant_as_they_are(room: Path) -> None:
    before = contents(room, "out", "readingroom")
    done = retracting(room, "--pseudonym-file", named(room, "PC"), "--confirm")
    assert done.stdout.splitlines() == ["1 files of 1 patients, 1 studies, and 0 rows of demo are removed", LANDING]
    assert contents(room, "out", "readingroom") == before
    assert "PC" not in str(paths(room))


def test_what_the_warehouse_lost_by_itself_leaves_its_cuts_too(room: Path) -> None:
    old = record(room)
    assert retracting(room, "--gone").stdout.startswith("0 files")
    assert "retired" not in retracting(room, "--gone", "--confirm").stdout
    build(room / "w", [file for file in FILES if file.patient != "PB"])
    done = retracting(room, "--gone", "--confirm")
    assert done.returncode == 0, done.stderr
    assert f"cut {old['digest']} is retired  granted in demo v1" in done.stdout
    assert record(room)["counts"]["patients"] == 1
    assert grant(room)["cut_image"] == record(room)["image"]


OTHER = "8" * 64
MAKERS = {
    "a profile": (("--profile-hash", OTHER), {"profile_sha256": OTHER}),
    "an engine": (("--engine-version", "2.0"), {"engine": "2.0"}),
    "an engine that no line says": (("--engine-version", "unrecorded"), {"engine": None}),
}


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_all_that_a_profile_or_an_engine_made_goes(tmp_path: Path, name: str) -> None:
    choice, made = MAKERS[name]
    build(tmp_path / "w")
    lines = [file.line() | (made if file.patient == "PA" else {}) for file in FILES]
    write_lines(tmp_path / "w", [{key: value for key, value in line.items() if value} for line in lines])
    for words in (deciding(), cutting(tmp_path)):
        assert run(*words, state=tmp_path).returncode == 0
    old = record(tmp_path)
    assert retracting(tmp_path, "--profile-hash", "7" * 64, "--confirm").stdout.startswith("0 files")
    done = retracting(tmp_path, *choice, "--confirm")
    assert done.stdout.splitlines()[:2] == [
        "3 files of 1 patients, 2 studies, and 0 rows of demo are removed",
        f"  cut {old['digest']} is retired",
    ]
    assert paths(tmp_path) == {file.path for file in FILES if file.patient != "PA"}
    assert record(tmp_path)["digest"] != old["digest"]


def test_a_cut_that_does_not_say_how_it_was_made_is_reached_by_any_profile() -> None:
    from readingroom.domain.retraction import Held

    silent = Held(digest=Digest("d"), images=frozenset({"images/PA/1/1/1.dcm"}), made_by=None)
    said = Held(digest=Digest("d"), images=silent.images, made_by=frozenset({("9" * 64, "1")}))
    assert Chosen(profile=OTHER).reaches(silent, silent.images)
    assert not Chosen(profile=OTHER).reaches(said, said.images)
    assert not Chosen(names=frozenset({"PB"})).reaches(silent, frozenset())


def test_what_root_does_to_a_volume_leaves_it_to_the_account_of_its_jobs(room: Path) -> None:
    for path in (room / "w", room / "out", *(room / "w").rglob("*"), *(room / "out").rglob("*")):
        os.chown(path, SERVICE_UID, SERVICE_UID)
    assert retracting(room, "--pseudonym-file", named(room, "PB"), "--confirm").returncode == 0
    left = [*(room / "w").rglob("*"), *(room / "out").rglob("*")]
    assert {path.stat().st_uid for path in left} == {SERVICE_UID}
    assert {path.name for path in left} >= {"manifest.jsonl", "retired.json", "cut.json"}


def test_where_nothing_is_left_to_cut_the_grant_gives_nobody_anything(room: Path) -> None:
    done = retracting(room, "--profile-hash", "9" * 64, "--confirm")
    assert done.returncode == 0, done.stderr
    assert "no cut takes its place: no file of the warehouse (0 files) is covered" in done.stdout
    assert "demo v2 gives nobody anything" in done.stdout
    assert (grant(room)["state"], grant(room)["members"]) == ("revoked", [])
    assert set(contents(room, "out")) == {"out/cut.json", "out/retired.json"}
    assert contents(room, "w") == {"w/manifest.jsonl": b""}
    assert retracting(room, "--profile-hash", "9" * 64, "--confirm").returncode == 0
    assert grant(room)["version"] == 2


def test_a_cut_for_another_decision_is_granted_to_nobody_by_itself(room: Path) -> None:
    assert run(*deciding(request="rq-9999"), state=room).returncode == 0
    assert retracting(room, "--pseudonym-file", named(room, "PB"), "--confirm").returncode == 0
    assert (grant(room)["version"], grant(room)["state"]) == (2, "revoked")


AWAY = {
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "x",
}


def test_a_cluster_that_is_away_is_said_at_the_end_and_the_same_command_tells_it(room: Path) -> None:
    (room / "readingroom" / "deployer.kubeconfig").write_text(json.dumps(AWAY))
    choice = ("--pseudonym-file", named(room, "PB"), "--confirm")
    done = retracting(room, *choice)
    assert done.returncode == 1
    assert "the cluster was not told" in done.stderr
    assert grant(room)["version"] == 2
    assert "PB" not in str(paths(room))
    again = retracting(room, *choice)
    assert (again.returncode, grant(room)["version"]) == (1, 2)
    assert "the cluster was not told" in one_line(again), "it is asked each time, until it answers"


def test_a_granted_cut_that_nobody_can_look_at_is_retired(room: Path) -> None:
    old = record(room)
    (room / "out" / old["tar"]).unlink()
    assert old["digest"] in retracting(room, "--pseudonym-file", named(room, "PA")).stdout


def test_rows_of_a_patient_go_from_every_form_of_the_table(tmp_path: Path) -> None:
    with_records(tmp_path / "w")
    one, _, three = (pseudonyms().patient(f"local::Covid{number}") for number in (1, 2, 3))
    (tmp_path / "out").mkdir()
    before = [json.loads(line) for line in (tmp_path / "w" / "manifest.jsonl").read_text().splitlines()]
    done = retracting(tmp_path, "--pseudonym-file", named(tmp_path, one, three), "--confirm")
    assert done.stdout.splitlines()[0] == "1 files of 1 patients, 1 studies, and 2 rows of demo are removed", (
        done.stderr
    )
    assert not [name for name, content in contents(tmp_path, "w").items() if one.encode() in content + name.encode()]
    lines = [json.loads(line) for line in (tmp_path / "w" / "manifest.jsonl").read_text().splitlines()]
    assert [list(line) for line in lines] == [list(line) for line in before[: len(lines)]]
    for line in lines:
        assert hashlib.sha256((tmp_path / "w" / line["path"]).read_bytes()).hexdigest() == line["sha256"]
    assert [line["actions"] for line in lines if line["modality"] == "clinical"] == [{"clean": 1}] * 3
    after = contents(tmp_path, "w")
    assert retracting(tmp_path, "--pseudonym-file", named(tmp_path, one, three), "--confirm").returncode == 0
    assert contents(tmp_path, "w") == after


def test_identified_names_turn_into_this_projects_pseudonyms_as_deid_does_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"k" * 32)
    (tmp_path / "in").mkdir()
    files = {"1": image(ONE), "2": image(TWO), "3": image("RXH0000003", 3)}
    for name, content in files.items():
        (tmp_path / "in" / name).write_bytes(content)
    keys = ("--project", "demo", "--key-file", tmp_path / "key")
    assert run("deid", tmp_path / "in", tmp_path / "w", *keys).returncode == 0
    uid = pydicom_study(files["3"])
    for option, line, left in (("--patient-file", f"{TWO[:3]} {TWO[3:6]} {TWO[6:]}", 2), ("--study-file", uid, 1)):
        done = retracting(tmp_path, option, named(tmp_path, line), "--key-file", tmp_path / "key", "--confirm")
        assert done.stdout.startswith("1 files of 1 patients, 1 studies"), done.stderr
        assert len(paths(tmp_path)) == left
        assert not any(secret in done.stdout + done.stderr for secret in (TWO, uid, "RXH0000003"))


def pydicom_study(content: bytes) -> str:
    import io

    import pydicom

    return str(pydicom.dcmread(io.BytesIO(content)).StudyInstanceUID)


# --- killed, and beside others ----------------------------------------------------------------------------------------
def carried_out(work: Path, chosen: Chosen, stop: Callable[[frozenset[Digest]], None] = lambda _: None) -> Any:
    files = WarehouseFolder(work / "w")

    def recut() -> CutRecord:
        return cut_cohort(decision("CT"), "0" * 64, files, CutFolder(work / "out", files), NOW, lambda _: None)[0]

    effects = Effects(stop=stop, recut=recut)
    return retract_released(chosen, RetractableWarehouse(work / "w", DEMO), CutShelf(work / "out"), effects, None)


def made(work: Path) -> CutRecord:
    files = WarehouseFolder(build(work / "w", FILES[:4]))
    return cut_cohort(decision("CT"), "0" * 64, files, CutFolder(work / "out", files), NOW, lambda _: None)[0]


def test_killed_at_any_point_no_half_state_is_seen_and_the_same_command_ends_it(tmp_path: Path) -> None:
    old = made(tmp_path / "start")
    chosen = Chosen(names=frozenset({"PB"}))
    shutil.copytree(tmp_path / "start", tmp_path / "whole")
    carried_out(tmp_path / "whole", chosen)
    wanted = contents(tmp_path / "whole", "w", "out")
    work, kills = tmp_path / "work", 0
    shutil.copytree(tmp_path / "start", work)
    for kills in stops(lambda: carried_out(work, chosen)):  # noqa: B007 (how many there were counts afterwards)
        lines, shelf = WarehouseFolder(work / "w").released(), CutShelf(work / "out")
        for line in lines:  # whatever the manifest names is there
            assert (work / "w" / line.path).is_file()
        if len(lines) < 4:  # what is taken from the warehouse is retired already
            assert old.digest in shelf.retired()
        last = shelf.last()
        assert last is not None
        assert last.digest in shelf.retired() or (work / "out" / cut_file(last.digest)).is_file()
        carried_out(work, chosen)
        assert contents(work, "w", "out") == wanted
        shutil.rmtree(work)
        shutil.copytree(tmp_path / "start", work)
    assert kills > 20
    assert contents(work, "w", "out") == wanted


def test_killed_between_manifest_and_table_a_cut_refuses_and_the_same_call_ends_it(tmp_path: Path) -> None:
    with_records(tmp_path / "start")
    one = pseudonyms().patient("local::Covid1")

    def taken(folder: Path) -> None:
        store = RetractableWarehouse(folder, DEMO)
        store.retract({line.path for line in store.released() if one in line.path}, {one})

    shutil.copytree(tmp_path / "start", tmp_path / "whole")
    taken(tmp_path / "whole")
    wanted = contents(tmp_path, "whole")
    work = tmp_path / "work"
    shutil.copytree(tmp_path / "start", work)
    for _ in stops(lambda: taken(work)):
        taken(work)
        assert {f"whole/{name}": content for name, content in contents(work, "").items()} == wanted
        shutil.rmtree(work)
        shutil.copytree(tmp_path / "start", work)


@pytest.mark.parametrize("error", [TryAgain, Refused])
def test_a_cluster_that_does_not_answer_holds_nothing_else_up(tmp_path: Path, error: type[TryAgain | Refused]) -> None:
    old = made(tmp_path)
    told: list[frozenset[Digest]] = []

    def away(digests: frozenset[Digest]) -> None:
        told.append(digests)
        raise error(what="cluster", which="x", why="no answer", next_step="wait")

    done = carried_out(tmp_path, Chosen(names=frozenset({"PB"})), away)
    assert told == [frozenset({old.digest})] * 2
    assert done.unstopped is not None
    assert done.cut.digest == CutShelf(tmp_path / "out").last().digest != old.digest  # type: ignore[union-attr]  # there is one
    assert "PB" not in str(paths(tmp_path))


def test_a_cut_that_somebody_made_meanwhile_is_retired_too(tmp_path: Path) -> None:
    old = made(tmp_path)
    late: list[Digest] = []

    def meanwhile(_: frozenset[Digest]) -> None:
        if not late:
            files = WarehouseFolder(tmp_path / "w")
            folder = CutFolder(tmp_path / "out", files)
            late.append(cut_cohort(decision("CT", "DX"), "1" * 64, files, folder, NOW, lambda _: None)[0].digest)

    done = carried_out(tmp_path, Chosen(names=frozenset({"PB"})), meanwhile)
    assert done.retired == {old.digest, *late}
    assert done.cut.digest not in done.retired


# --- wrong input ------------------------------------------------------------------------------------------------------
def spoil(name: str, text: str) -> Callable[[Path], tuple[object, ...]]:
    def prepare(work: Path) -> tuple[object, ...]:
        (work / name).write_text(text)
        return "--pseudonym-file", named(work, "PA")

    return prepare


def other(work: Path) -> tuple[object, ...]:
    build(work / "w", project="other")
    return "--gone", "--confirm"


WRONG: dict[str, tuple[Callable[[Path], tuple[object, ...]], int, str]] = {
    "no choice": (lambda _: (), 2, "give one of"),
    "two choices": (lambda _: ("--gone", "--engine-version", "1"), 2, "give one of"),
    "a choice of landing": (lambda _: ("--centre", "ABC"), 2, "give one of"),
    "two places": (lambda w: ("--landing", w, "--gone"), 2, "--landing or --warehouse"),
    "half a hash": (lambda _: ("--profile-hash", "99"), 2, "64"),
    "an odd version": (lambda _: ("--engine-version", "../1"), 2, "engine"),
    "identifiers in the warehouse": (lambda w: ("--pseudonym-file", w / "w" / "manifest.jsonl"), 2, "outside"),
    "a key for nothing": (lambda w: ("--gone", "--key-file", w / "key"), 2, "belong"),
    "no key": (lambda w: ("--study-file", named(w, "1.2.3")), 2, "--key-file"),
    "a hospital's own number": (lambda w: ("--patient-file", named(w, "RXH1"), "--vault"), 1, "landing"),
    "nobody": (lambda w: ("--pseudonym-file", named(w)), 1, "names nobody"),
    "a path for a pseudonym": (lambda w: ("--pseudonym-file", named(w, "../x")), 1, "line 1"),
    "another project's warehouse": (other, 3, "another project"),
    "a manifest that is none": (spoil("w/manifest.jsonl", "{}\n"), 3, "manifest"),
    "a record of the retired that is none": (spoil("out/retired.json", '["x"]'), 1, "retired.json"),
    "an archive that is none": (spoil(f"out/{'a' * 64}.tar", "x"), 1, "nobody knows what it holds"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_wrong_input_is_one_line_and_changes_nothing(tmp_path: Path, name: str) -> None:
    prepare, status, words = WRONG[name]
    build(tmp_path / "w")
    (tmp_path / "out").mkdir()
    choice = prepare(tmp_path)
    before = contents(tmp_path, "w", "out")
    done = retracting(tmp_path, *choice, "--confirm")
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert status == 2 or one_line(done)
    assert "RXH1" not in done.stderr
    assert contents(tmp_path, "w", "out") == before
