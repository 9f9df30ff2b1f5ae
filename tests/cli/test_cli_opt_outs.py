"""A patient who opts out: refused at the door, gone at the next `deid`, gone from the next cut, through the real commands."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from tests.cli.command import Done, one_line, run, start
from tests.cli.test_cli_decide import deciding
from tests.unit.clinical.engine import record
from tests.unit.data.warehouses import unpacked
from tests.unit.optout.people import ONE, THREE, TWO, image, spaced
from tests.unit.synth.trees import OFTEN, TINY, Made, at, make

TODAY = datetime.now(UTC).date()
OLD = TODAY - timedelta(days=8)
SENT = {
    "one/1.dcm": image(ONE),
    "one/2.dcm": image(ONE, 2),
    f"one/data/{ONE}_data.json": record(ONE, Age=50),
    "two/1.dcm": image(spaced(TWO)),
    "two/2.dcm": image("RXH0000002", x00101000=("LO", TWO)),
    "two/3.dcm": image("RXH0000002", 2),
    "two/data/RXH0000002_data.json": record("RXH0000002", Age=51),
    f"two/data/{TWO}_data.json": record(TWO, Age=52),
    "local/1.dcm": image("RXH0000003"),
}
SECRETS = (ONE, TWO, THREE, spaced(TWO), "RXH000000")


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    for name, content in SENT.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "key").write_bytes(b"k" * 32)
    (tmp_path / "who").mkdir()
    return tmp_path


def ingest(work: Path, inbox: str = "in", *more: object) -> Done:
    return run(
        "ingest", work / inbox, "--centre", "ABC", "--landing", work / "landing", "--receipt", work / "told", *more
    )


def deid(work: Path, *more: object) -> Done:
    given = ("--project", "demo", "--key-file", work / "key", "--receipt", work / "receipt.jsonl", "--jobs", 2)
    return run("deid", work / "landing", work / "w", "--landing", *given, *more)


def cut(work: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The record of a cut that carries the table, and what is in it."""
    if not list(work.rglob("decisions")):
        assert run(*deciding(), "--clinical", state=work).returncode == 0
    done = run("cohort", "cut", "--project", "demo", "--warehouse", work / "w", "--out", work / "cuts", state=work)
    assert done.returncode == 0, done.stderr
    made = json.loads((work / "cuts" / "cut.json").read_text())
    inside = unpacked(work / "cuts" / made["tar"])
    return made, {name: content for name, content in inside.items() if isinstance(content, bytes)}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def answers(path: Path) -> dict[str, str]:
    return {line["input"]: f"{line['outcome']} {line['reason'] or ''}".strip() for line in lines(path)}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(table: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(table.decode().splitlines()))


def test_who_opts_out_after_a_cut_is_in_no_byte_of_the_next_one_and_nobody_elses_bytes_change(sent: Path) -> None:
    assert (done := ingest(sent)).returncode == 0, done.stderr
    assert (done := deid(sent)).returncode == 0, done.stderr
    before, had = cut(sent)
    warehouse = contents(sent / "w")
    whose = {
        line["input"]: line["output"].split("/")[1]
        for line in lines(sent / "receipt.jsonl")
        if line["output"][0] == "i"
    }
    place = {line["input"]: line["output"] for line in lines(sent / "told")}
    theirs = {whose[place[f"two/{number}.dcm"]] for number in (1, 2, 3)}
    assert len(theirs) == 2  # two numbers, two stand-ins
    assert theirs <= {row["patient"] for row in rows(had["clinical.csv"])}

    (sent / "who" / "opted-out.txt").write_text(f"{spaced(TWO)}\n")
    done = deid(sent, "--opt-outs", sent / "who")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["9 files: 4 released, 0 held, 5 rejected", "  rejected  opted-out  5"]
    after, has = cut(sent)
    assert after["digest"] != before["digest"]
    assert after["counts"]["patients"] == before["counts"]["patients"] - 2
    everything = b"\n".join([*has.values(), *(name.encode() for name in has)])
    everything += b"\n".join([*contents(sent / "w").values(), *(name.encode() for name in contents(sent / "w"))])
    everything += repr(parquet.read_table(io.BytesIO(has["clinical.parquet"])).to_pylist()).encode()
    assert [patient for patient in theirs if patient.encode() in everything] == []
    assert [secret for secret in SECRETS if secret.encode() in everything + done.stdout.encode()] == []
    images = {name: content for name, content in had.items() if name.startswith("images/")}
    stay = {name: content for name, content in images.items() if name.split("/")[1] not in theirs}
    assert {name: content for name, content in has.items() if name.startswith("images/")} == stay
    assert rows(has["clinical.csv"]) == [row for row in rows(had["clinical.csv"]) if row["patient"] not in theirs]

    (sent / "who" / "opted-out.txt").write_text("")  # taken back: no status was kept anywhere
    assert deid(sent, "--opt-outs", sent / "who").returncode == 0
    assert contents(sent / "w") == warehouse
    assert cut(sent)[0]["digest"] == before["digest"]


def test_at_the_door_nothing_of_theirs_is_stored_and_the_receipt_alone_says_so(sent: Path) -> None:
    (sent / "who" / "opted-out.txt").write_text(f"RXH-0000002\n{TWO}\n")
    done = ingest(sent, "in", "--opt-outs", sent / "who", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["received"], told["held"], told["rejected"]) == ({"new": 4}, {}, {"opted-out": 5})
    found = {line["input"]: (line["outcome"], line["reason"], line["output"]) for line in lines(sent / "told")}
    assert {name for name in found if found[name] == ("rejected", "opted-out", None)} == {
        name for name in SENT if name.startswith("two/")
    }
    kept = contents(sent / "landing")
    assert sorted(content for name, content in kept.items() if not name.endswith("batch.json")) == sorted(
        content for name, content in SENT.items() if not name.startswith("two/")
    )
    [batch] = (sent / "landing").rglob("batch.json")
    assert json.loads(batch.read_text())["counts"] == {"received": 4, "held": 0, "rejected": 5}
    assert not list(sent.rglob(".batch-*"))
    again = ingest(sent, "in", "--opt-outs", sent / "who", "--json")
    assert json.loads(again.stdout)["batch"] is None
    assert contents(sent / "landing") == kept
    shutil.rmtree(sent / "in" / "one")
    shutil.rmtree(sent / "in" / "local")
    shutil.rmtree(sent / "landing")
    alone = ingest(sent, "in", "--opt-outs", sent / "who")
    assert "no new batch" in alone.stdout
    assert contents(sent / "landing") == {}


def test_the_nation_is_asked_about_every_number_and_who_is_not_in_its_answer_is_out(sent: Path) -> None:
    assert ingest(sent).returncode == 0
    (sent / "new").mkdir()
    (sent / "new" / "3.dcm").write_bytes(image(spaced(THREE)))
    asking = ("cohort", "ask-opt-outs", sent / "landing", sent / "new", "--opt-outs", sent / "who")
    done = start(*asking)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "asked about 3 NHS numbers of 11 files"  # the batch's record is one of them
    question = sent / "who" / f"asked-{TODAY}.txt"
    assert question.read_text() == "".join(f"{number}\n" for number in sorted([ONE, TWO, THREE]))
    assert json.loads(run(*asking, "--json").stdout) == {"day": str(TODAY), "files": 11, "numbers": 3, "new": False}
    waiting = deid(sent, "--opt-outs", sent / "who")
    assert waiting.returncode == 3
    assert "not answered" in one_line(waiting)
    assert not (sent / "w").exists()

    (sent / "who" / f"answered-{TODAY}.txt").write_text(f"{ONE}\n{spaced(THREE)}\n")
    assert deid(sent, "--opt-outs", sent / "who").returncode == 0
    found = answers(sent / "receipt.jsonl")
    place = {line["input"]: line["output"] for line in lines(sent / "told")}
    assert {name: found[where] for name, where in place.items()} == {
        name: "rejected opted-out" if name.startswith("two/") else "released" for name in SENT
    }
    (sent / "new" / "4.dcm").write_bytes(image("9990689563"))  # came after the question
    late = json.loads(ingest(sent, "new", "--opt-outs", sent / "who", "--json").stdout)
    assert (late["received"], late["held"]) == ({"new": 1}, {"opt-out-unknown": 1})
    assert len(list((sent / "landing").rglob("*.dcm"))) == 7


def put(work: Path, **files: str) -> None:
    for name, text in files.items():
        (work / "who" / f"{name.replace('_', '-')}.txt").write_text(text)


WRONG: dict[str, tuple[Callable[[Path], object], str, int, str]] = {
    "an empty folder": (lambda _: None, "who", 1, "holds neither"),
    "no folder": (lambda _: None, "nowhere", 1, "cannot be read"),
    "a file": (lambda w: (w / "file").write_text(""), "file", 2, "is a file"),
    "too old": (lambda w: put(w, **{f"asked-{OLD}": ONE, f"answered-{OLD}": ONE}), "who", 3, "older than 7 days"),
    "a mistyped number": (lambda w: put(w, opted_out=f"{ONE}\n999 214 8579\n"), "who", 1, "line 2"),
    "a torn answer": (lambda w: put(w, **{f"asked-{TODAY}": ONE, f"answered-{TODAY}": ONE[:7]}), "who", 1, "line 1"),
    "a file of another name": (lambda w: put(w, opted_out="", Featherstone=""), "who", 1, "another name"),
    "inside IN_DIR": (lambda w: (w / "in" / "who").mkdir(), "in/who", 2, "--opt-outs"),
}


@pytest.mark.parametrize("command", ["ingest", "deid"])
@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_list_that_is_off_refuses_the_run_before_anything_is_done(sent: Path, name: str, command: str) -> None:
    prepare, folder, status, words = WRONG[name]
    prepare(sent)
    deid_it = ("deid", sent / "in", sent / "w", "--project", "demo", "--key-file", sent / "key")
    ingest_it = ("ingest", sent / "in", "--centre", "ABC", "--landing", sent / "landing", "--receipt", sent / "told")
    done = run(*(ingest_it if command == "ingest" else deid_it), "--opt-outs", sent / folder)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert status == 2 or "Next:" in one_line(done)
    assert not any(secret in done.stderr for secret in (*SECRETS, "Featherstone", "999 214 8579", ONE[:7]))
    assert not (sent / "landing").exists()
    assert not (sent / "w").exists()
    assert not (sent / "told").exists()


@pytest.mark.parametrize("folder", ["w", "w/who"])
def test_a_list_is_no_output(sent: Path, folder: str) -> None:
    (sent / folder).mkdir(parents=True)
    done = run(
        "deid", sent / "in", sent / "w", "--project", "demo", "--key-file", sent / "key", "--opt-outs", sent / folder
    )
    assert done.returncode == 2
    assert "--opt-outs" in done.stderr


@pytest.mark.parametrize(
    "arguments", [(), ("in",), ("--opt-outs", "in/who"), ("nowhere", "--opt-outs", "who"), ("in", "--opt-outs", "in")]
)
def test_a_question_wants_folders_and_a_place_apart(sent: Path, arguments: tuple[str, ...]) -> None:
    words = [word if word.startswith("--") else sent / word for word in arguments]
    done = run("cohort", "ask-opt-outs", *words)
    assert done.returncode == (1 if "nowhere" in arguments else 2), done.stderr
    assert not list(sent.rglob("asked-*"))


def listed_of(tree: Made) -> tuple[set[int], list[str]]:
    """Who is in the generator's list, and what their hospitals call them besides: no file of those says the NHS number."""
    numbers = (tree.root / "opt-outs.txt").read_text().split()
    people = {line["patient"] for line in tree.key if line["fault"].startswith("opted out") and line["was"] in numbers}
    assert len(people) == len(numbers) > 0
    own = {"patient id", "pseudonym of the centre"}
    return people, [
        *numbers,
        *sorted({line["was"] for line in tree.key if line["patient"] in people and line["fault"] in own}),
    ]


def bears(tree: Made, file: str, names: list[str]) -> bool:
    """Whether a file that the key says nothing of is of one of them."""
    return at(tree.identified / file, "00100020").decode().strip() in {*names, *(spaced(name) for name in names)}


def test_of_the_synthetic_nccid_every_listed_patient_is_gone(tmp_path: Path) -> None:
    many = replace(TINY, rates=replace(OFTEN, opted_out_before=250))
    tree = make(tmp_path / "tree", patients=16, seed=4, design=many)
    (tmp_path / "key").write_bytes(b"k" * 32)
    (tmp_path / "who").mkdir()
    given = ("--project", "demo", "--key-file", tmp_path / "key", "--receipt", tmp_path / "receipt.jsonl", "--jobs", 2)
    assert run("deid", tree.identified, tmp_path / "w", *given).returncode == 0
    before = {line["input"]: line for line in lines(tmp_path / "receipt.jsonl")}
    people, names = listed_of(tree)
    files = {line["file"]: line["patient"] for line in tree.key}
    theirs = {file for file in before if files.get(file) in people or (file not in files and bears(tree, file, names))}
    stand_ins = {
        before[file]["output"].split("/")[1] for file in theirs if (before[file]["output"] or "").startswith("images/")
    }
    assert stand_ins
    patients = {row["patient"] for row in rows((tmp_path / "w" / "clinical.csv").read_bytes())}
    others = {name: content for name, content in contents(tmp_path / "w").items() if name.startswith("images/")
              and name.split("/")[1] not in stand_ins}  # fmt: skip

    (tmp_path / "who" / "opted-out.txt").write_text("\n".join(names))
    assert run("deid", tree.identified, tmp_path / "w", *given, "--opt-outs", tmp_path / "who").returncode == 0
    found = {line["input"]: line for line in lines(tmp_path / "receipt.jsonl")}
    unread = {file for file in theirs if before[file]["reason"] in {"truncated", "not-dicom", "malformed"}}
    assert {found[file]["reason"] for file in theirs - unread} == {"opted-out"}
    assert {found[file]["outcome"] for file in theirs} == {"rejected"}
    assert {file: line for file, line in found.items() if file not in theirs} == {
        file: line for file, line in before.items() if file not in theirs
    }
    out = contents(tmp_path / "w")
    assert {name: content for name, content in out.items() if name.startswith("images/")} == others
    left = {row["patient"] for row in rows(out["clinical.csv"])}
    assert left < patients
    everything = b"\n".join([*out.values(), *(name.encode() for name in out)])
    assert [patient for patient in stand_ins if patient.encode() in everything] == []
