"""`readingroom deid` as a user calls it: every promise of contract.md section 2, and each wrong input one clear line."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import struct
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests import dicom_factory as make
from tests.cli.command import Done, run, start

KEY = bytes(range(32))


def deid(folder: Path, *more: object, out: str = "out", by: Callable[..., Done] = run) -> Done:
    """The usual call: `in`, `out`, a key, a receipt."""
    (folder / "key").write_bytes(KEY)
    given = ["--project", "demo", "--key-file", folder / "key", "--receipt", folder / "receipt.jsonl"]
    return by("deid", folder / "in", folder / out, *given, *more)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def answers(folder: Path) -> dict[str, str]:
    return {
        line["input"]: f"{line['outcome']} {line['reason'] or ''}".strip() for line in lines(folder / "receipt.jsonl")
    }


def put(folder: Path, **files: bytes) -> None:
    for name, data in files.items():
        place = folder / "in" / name.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def numbered(number: int, **changes: Any) -> bytes:
    return make.part10(make.ct(x00080018=("UI", f"1.2.3.{number}"), x00200013=("IS", str(number)), **changes))


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    put(
        tmp_path,
        Featherstone_Barnaby=numbered(1),
        copy=numbered(1),
        sub__two=numbered(2),
        text=b"PID4471882 is not DICOM",
        empty=b"",
        report=make.part10(make.ct(x00080016=("UI", make.SR_CLASS))),
        film=make.part10(make.ct(x00080016=("UI", make.CR_CLASS))),
        short=numbered(3)[:-100],
    )
    return tmp_path


def test_every_input_gets_one_line_and_outputs_follow_the_contract(mixed: Path) -> None:
    done = deid(mixed, "--jobs", 2, by=start)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "8 files: 3 released, 1 held, 4 rejected"
    assert answers(mixed) == {
        "Featherstone_Barnaby": "released",
        "copy": "released same-as-another",
        "empty": "rejected not-dicom",
        "film": "held pixels-doubtful",
        "report": "rejected sop-class",
        "short": "rejected truncated",
        "sub/two": "released",
        "text": "rejected not-dicom",
    }
    receipt = lines(mixed / "receipt.jsonl")
    assert all(list(line) == ["input", "outcome", "reason", "output"] for line in receipt)
    assert all((line["output"] is not None) == (line["outcome"] == "released") for line in receipt)
    manifest = lines(mixed / "out" / "manifest.jsonl")
    assert [line["path"] for line in manifest] == sorted({line["output"] for line in receipt if line["output"]})
    for line in manifest:
        data = (mixed / "out" / line["path"]).read_bytes()
        found = pydicom.dcmread(mixed / "out" / line["path"])
        assert set(line) == {
            "path",
            "sha256",
            "sop_class_uid",
            "modality",
            "profile",
            "profile_sha256",
            "actions",
            "project",
            "engine",
        }
        assert (line["project"], line["profile"], line["modality"]) == ("demo", "nccid", "CT")
        assert line["sha256"] == hashlib.sha256(data).hexdigest()
        assert line["sop_class_uid"] == make.CT_CLASS
        assert len(line["profile_sha256"]) == 64
        parts = [found.PatientID, found.StudyInstanceUID, found.SeriesInstanceUID, f"{found.SOPInstanceUID}.dcm"]
        assert line["path"] == "images/" + "/".join(parts)
    everything = b"".join(name.encode() + data for name, data in contents(mixed / "out").items()) + done.stdout.encode()
    assert [secret for secret in make.SECRETS if secret.lower() in everything.lower()] == []
    assert sorted(path.name for path in (mixed / "out").iterdir()) == ["images", "manifest.jsonl"]
    assert (mixed / "receipt.jsonl").stat().st_mode & 0o077 == 0


def test_a_rerun_any_number_of_jobs_and_any_names_give_the_same_bytes(mixed: Path) -> None:
    assert deid(mixed, "--jobs", 1).returncode == 0
    first, receipt = contents(mixed / "out"), (mixed / "receipt.jsonl").read_bytes()
    assert deid(mixed, "--jobs", 3).returncode == 0
    assert contents(mixed / "out") == first
    assert (mixed / "receipt.jsonl").read_bytes() == receipt
    for number, path in enumerate(sorted((mixed / "in").rglob("*"), reverse=True)):
        if path.is_file():
            path.rename(mixed / "in" / f"n{number}")
    assert deid(mixed, out="again").returncode == 0
    assert contents(mixed / "again") == first


def test_what_is_no_longer_in_the_input_leaves_the_warehouse(mixed: Path) -> None:
    assert deid(mixed).returncode == 0
    (mixed / "in" / "sub" / "two").unlink()
    stray = mixed / "out" / "images" / "stray.dcm"
    stray.write_bytes(b"half a file")
    (mixed / "out" / ".staging").mkdir()
    (mixed / "out" / ".staging" / "7.dcm").write_bytes(b"left by a run that was killed")
    assert deid(mixed).returncode == 0
    assert len(contents(mixed / "out")) == 2


def test_files_that_contradict_each_other_are_all_held(tmp_path: Path) -> None:
    same = {"x0020000D": ("UI", "1.2.9.1")}
    born = {"x00100020": ("LO", "TWOBIRTHS"), "x0020000D": ("UI", "1.2.9.2")}
    put(
        tmp_path,
        a=numbered(1),
        b=numbered(1, x00180060=("DS", "100")),
        c=numbered(2, x00100020=("LO", "OTHER1"), **same),
        d=numbered(3, x00100020=("LO", "OTHER2"), **same),
        e=numbered(4, x00100030=("DA", "19600101"), **born),
        f=numbered(5, x00100030=("DA", "19610101"), **born),
        g=numbered(6, x00100020=("LO", "ALONE"), x0020000D=("UI", "1.2.9.3")),
    )
    assert deid(tmp_path).returncode == 0
    assert answers(tmp_path) == {
        **dict.fromkeys("ab", "held uid-conflict"),
        **dict.fromkeys("cdef", "held identity-conflict"),
        "g": "released",
    }


def test_a_file_that_is_held_already_contradicts_others_and_a_rejected_one_does_not(tmp_path: Path) -> None:
    film, report = {"x00080016": ("UI", make.CR_CLASS)}, {"x00080016": ("UI", make.SR_CLASS)}
    one, two = (
        {"x00100020": ("LO", "ONE"), "x0020000D": ("UI", "1.2.9.1")},
        {"x00100020": ("LO", "TWO"), "x0020000D": ("UI", "1.2.9.2")},
    )
    put(
        tmp_path,
        a=numbered(1, x00100030=("DA", "19600101"), **one),
        b=numbered(2, x00100030=("DA", "19610101"), **one, **film),
        c=numbered(3, x00100030=("DA", "19600101"), **two),
        d=numbered(4, x00100030=("DA", "19610101"), **two, **report),
    )
    assert deid(tmp_path).returncode == 0
    assert answers(tmp_path) == {
        "a": "held identity-conflict", "b": "held pixels-doubtful", "c": "released", "d": "rejected sop-class",
    }  # fmt: skip


def test_links_are_not_followed_and_odd_names_are_answered(tmp_path: Path) -> None:
    put(tmp_path, inside=numbered(1))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_bytes(numbered(2))
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere" / "x")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "in" / "pipe")
    (tmp_path / "in" / os.fsdecode(b"\xff\n.dcm")).write_bytes(numbered(3))
    assert deid(tmp_path).returncode == 0
    assert answers(tmp_path) == {"inside": "released", "\udcff\n.dcm": "released"}


def deep(levels: int) -> bytes:
    inner = b""
    for _ in range(levels):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
        inner = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, len(item)) + item
    return make.part10({}) + inner


def hostile() -> dict[str, bytes]:
    head = make.part10({})
    engine = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = b"".join(engine.compress(bytes(1 << 20)) for _ in range(700)) + engine.flush()
    endless = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    items = endless + struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 30_000
    huge = make.ct(x00280010=("US", 32768), x00280011=("US", 32768))
    return {
        "deep": deep(2000),
        "deepest": deep(60),
        "bomb": make.part10({}, make.DEFLATED)[:-2] + bomb,
        "claim": head + struct.pack("<HH2sHI", 0x0010, 0x0010, b"UT", 0, 0xFFFFFFF0),
        "endless": head + endless * 5000,
        "items": head + items,
        "pixels": make.part10(huge),
        "noise": head + bytes(range(256)) * 1000,
        "many": make.part10({0x00080000 + 2 * n: ("LO", "x") for n in range(30_000)}),
        "ls": make.part10(
            make.ct(x7FE00010=("OB", make.fragments(b"\xff\xd8" + b"\xff\xf7\0\x0b" + bytes(4000)))), make.JPEG_LS
        ),
    }


def test_hostile_files_cost_bounded_time_and_never_the_run(tmp_path: Path) -> None:
    put(tmp_path, good=numbered(1), **hostile())
    began = time.monotonic()
    assert deid(tmp_path, "--jobs", 2).returncode == 0
    assert time.monotonic() - began < 60
    found = answers(tmp_path)
    assert found.pop("good") == "released"
    assert {name: each for name, each in found.items() if each.startswith("released")} == {}
    assert len(found) == len(hostile())
    assert found["deep"] == found["deepest"] == "rejected over-limit"
    assert found["bomb"] == "rejected over-limit"
    assert found["claim"] == "rejected truncated"


def test_the_explain_log_is_on_the_identified_side_and_holds_no_value(mixed: Path) -> None:
    assert deid(mixed, "--explain", mixed / "explain.jsonl").returncode == 0
    found = lines(mixed / "explain.jsonl")
    assert {line["input"] for line in found} == {"Featherstone_Barnaby", "sub/two"}
    assert {tuple(line) for line in found} == {("input", "path", "vr", "action", "rule", "reason")}
    values = json.dumps([{key: line[key] for key in line if key != "input"} for line in found]).encode()
    assert [secret for secret in make.SECRETS if secret.lower() in values.lower()] == []
    first = (mixed / "explain.jsonl").read_bytes()
    assert deid(mixed, "--explain", mixed / "explain.jsonl", "--jobs", 3).returncode == 0
    assert (mixed / "explain.jsonl").read_bytes() == first


def test_a_terminal_sees_progress_and_a_pipe_plain_lines(mixed: Path) -> None:
    (mixed / "key").write_bytes(KEY)
    leader, follower = pty.openpty()
    try:
        done = subprocess.run(
            ["readingroom", "deid", mixed / "in", mixed / "out", "--project", "demo", "--key-file", mixed / "key"],
            stdout=subprocess.PIPE, stderr=follower, timeout=60, check=True,
        )  # fmt: skip
        shown = os.read(leader, 1 << 16)
    finally:
        os.close(leader)
        os.close(follower)
    assert b"looked at 8 of 8 files" in shown
    assert b"de-identified 2 of 2 files" in shown
    assert b"\x1b" not in done.stdout


USUAL = ["in", "out", "--project", "demo", "--key-file", "key"]
WRONG: dict[str, tuple[list[str], int, str]] = {
    "no key": (USUAL[:4], 2, "--key-file"),
    "two keys": ([*USUAL, "--vault"], 2, "--key-file"),
    "a short key": ([*USUAL[:5], "short"], 1, "31 bytes"),
    "an absent key": ([*USUAL[:5], "gone"], 1, "key file"),
    "an absent input": (["gone", *USUAL[1:]], 1, "folder"),
    "a reserved project": (["in", "out", "--project", "holdout", *USUAL[4:]], 3, "reserved"),
    "a project off the pattern": (["in", "out", "--project", "Demo!", *USUAL[4:]], 3, "project id"),
    "an unknown profile": ([*USUAL, "--profile", "none"], 1, "none.yaml"),
    "a profile that is a path": ([*USUAL, "--profile", "../ct"], 2, "profile"),
    "output inside input": (["in", "in/out", *USUAL[2:]], 2, "apart"),
    "input inside output": (["in/sub", "in", *USUAL[2:]], 2, "apart"),
    "a receipt inside the output": ([*USUAL, "--receipt", "out/r"], 2, "--receipt"),
    "an explain log inside the input": ([*USUAL, "--explain", "in/e"], 2, "--explain"),
    "one file for both": ([*USUAL, "--explain", "r", "--receipt", "r"], 2, "two files"),
    "an output that holds something else": (["in", "other", *USUAL[2:]], 1, "output folder"),
    "an output that is a file": (["in", "key", *USUAL[2:]], 1, "output folder"),
    "no jobs": ([*USUAL, "--jobs", "0"], 2, "jobs"),
    "shards without a staging folder": ([*USUAL, "--shards", "2"], 2, "--staging"),
    "a staging folder for nothing": ([*USUAL, "--staging", "s"], 2, "--staging"),
    "staging in the output": ([*USUAL, "--shards", "2", "--staging", "out/s"], 2, "--staging"),
    "a worker without a plan": ([*USUAL, "--staging", "s", "--step", "work", "--shard", "0"], 2, "--plan"),
    "a worker without a shard": ([*USUAL, "--staging", "s", "--step", "work", "--plan", "0"], 2, "--shard"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_clear_line_and_writes_nothing(tmp_path: Path, name: str) -> None:
    arguments, status, word = WRONG[name]
    put(tmp_path, sub__one=numbered(1))
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "short").write_bytes(KEY[:31])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").write_text("x")
    before = contents(tmp_path)
    done = run("deid", *arguments, folder=tmp_path)
    assert done.returncode == status, done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == (1 if status != 2 else 4)
    assert contents(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_a_warehouse_of_another_project_is_refused(mixed: Path) -> None:
    assert deid(mixed).returncode == 0
    before = contents(mixed / "out")
    done = run("deid", mixed / "in", mixed / "out", "--project", "other", "--key-file", mixed / "key")
    assert done.returncode == 3
    assert "another project" in done.stderr
    assert contents(mixed / "out") == before


def test_a_profile_of_one_modality_rejects_the_others(tmp_path: Path) -> None:
    put(tmp_path, ct=numbered(1), mr=make.part10(make.ct(x00080016=("UI", make.MR_CLASS), x00080060=("CS", "MR"))))
    assert deid(tmp_path, "--profile", "mr").returncode == 0
    assert answers(tmp_path) == {"ct": "rejected sop-class", "mr": "released"}
    assert lines(tmp_path / "out" / "manifest.jsonl")[0]["profile"] == "mr"


def test_without_vault_nothing_is_written_and_one_line_says_so(tmp_path: Path) -> None:
    put(tmp_path, ct=numbered(1))
    done = run("deid", tmp_path / "in", tmp_path / "out", "--project", "demo", "--vault", "--vault-wait", 0)
    assert done.returncode in {1, 3}  # no token is mounted here: refused before Vault is even asked
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_in_shards_the_bytes_are_the_same(mixed: Path) -> None:
    put(mixed, other=numbered(7, x00100020=("LO", "OTHER"), x0020000D=("UI", "1.2.9.7")))
    sheets = (mixed / "receipt.jsonl", mixed / "explain.jsonl")
    whole = deid(mixed, "--explain", sheets[1])
    first = [contents(mixed / "out"), *(sheet.read_bytes() for sheet in sheets)]
    done = deid(
        mixed, "--explain", sheets[1], "--shards", 2, "--staging", mixed / "staging", "--jobs", 2, out="sharded"
    )
    assert (done.returncode, done.stdout) == (0, whole.stdout)
    assert [contents(mixed / "sharded"), *(sheet.read_bytes() for sheet in sheets)] == first
    plan = json.loads((mixed / "staging" / "plan.json").read_text())
    assert (plan["shards"], plan["finished"]) == (2, True)


def test_a_shard_that_fails_ends_the_command_with_its_own_line_and_nothing_counts(
    mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = ("--staging", mixed / "staging")
    monkeypatch.setattr(
        "readingroom.entrypoints.cli.deid_shards.START", "import sys; sys.exit('refused: a shard: said so')"
    )
    done = deid(mixed, "--shards", 1, *staging)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "refused: a shard: said so")
    plan = json.loads((mixed / "staging" / "plan.json").read_text())
    assert (plan["shards"], plan["finished"]) == (1, False)
    early = deid(mixed, *staging, "--step", "finish", "--plan", plan["plan"])
    assert (early.returncode, "1 of 1 are not done" in early.stderr) == (1, True)
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "9")
    absent = deid(mixed, *staging, "--step", "work", "--plan", plan["plan"])
    assert (absent.returncode, "shard 9" in absent.stderr) == (1, True)
    assert [path.name for path in (mixed / "out").iterdir() if path.name != ".staging"] == ["images"]
    assert contents(mixed / "out") == {}
    assert not (mixed / "receipt.jsonl").exists()
