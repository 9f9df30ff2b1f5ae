"""`readingroom synth`: one line for wrong input, a summary for the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.command import one_line, run, start


def making(place: Path, *more: object, patients: object = 2, seed: object = 1) -> list[object]:
    return ["synth", place, "--patients", patients, "--seed", seed, "--compact", *more]


def test_a_tree_is_made_and_said(tmp_path: Path) -> None:
    done = start(*making(tmp_path / "out", "--json"))
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "identified",
        "key.jsonl",
        "opt-outs-after-release.txt",
        "opt-outs.txt",
        "summary.json",
    ]
    told = run(*making(tmp_path / "again"))
    assert told.returncode == 0
    assert "2 invented patients" in told.stdout
    assert summary["tree_sha256"] in told.stdout
    assert told.stderr == ""


@pytest.mark.parametrize(
    ("option", "value"),
    [("patients", 0), ("patients", -1), ("patients", "many"), ("patients", 900_001), ("patients", "1.5"), ("seed", -1),
     ("seed", "x"), ("seed", ""), ("seed", 2**63)],
)  # fmt: skip
def test_a_bad_number_is_wrong_usage(tmp_path: Path, option: str, value: object) -> None:
    done = run(*making(tmp_path / "out", **{option: value}))
    assert done.returncode == 2
    assert f"--{option}" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["--patients", "--seed"])
def test_number_and_seed_are_asked_for(tmp_path: Path, missing: str) -> None:
    words = making(tmp_path / "out")
    place = words.index(missing)
    done = run(*words[:place], *words[place + 2 :])
    assert done.returncode == 2
    assert missing in done.stderr


def test_a_folder_with_something_in_it_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = run(*making(tmp_path))
    assert done.returncode == 1
    assert "something already" in one_line(done)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_place_below_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = run(*making(tmp_path / "file" / "out"))
    assert done.returncode == 1
    assert "cannot be written" in one_line(done)


def test_ctrl_c_leaves_nothing_half(tmp_path: Path) -> None:
    command = ["readingroom", *map(str, making(tmp_path / "out", patients=100_000))]
    # Whoever runs the tests may ignore the signal, and what it starts would too.
    with subprocess.Popen(["env", "--default-signal=INT", *command], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".out.synth/identified/*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    assert "Ctrl-C" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
