"""`readingroom score`: counts for people and programs, one line for wrong input, nothing of a patient in either."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.command import one_line, run, start


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("score") / "tree"
    assert run("synth", place, "--patients", 1, "--seed", 4, "--compact").returncode == 0
    return place


def test_a_copy_of_the_tree_is_scored_in_lines_and_as_json(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "identified", tmp_path / "out")
    done = start("score", tmp_path / "out", "--key", tree / "key.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert "withstood   0 of " in done.stdout
    found = json.loads(run("score", tmp_path / "out", "--key", tree / "key.jsonl", "--json").stdout)
    assert found["schema"] == "readingroom/score/v1"
    assert found["inputs"] == len([path for path in (tree / "identified").rglob("*") if path.is_file()])
    assert sum(each["left"] for each in found["leaks"].values()) > 0
    names = {
        line["was"]
        for line in map(json.loads, (tree / "key.jsonl").read_text().splitlines())
        if line["must"] == "removed"
    }
    assert [name for name in names if name and name in done.stdout] == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("gone", "--key", "{tree}/key.jsonl"), "it is no folder"),
        (("{tree}", "--key", "{tree}/gone.jsonl"), "cannot be read"),
        (("{tree}", "--key", "{tree}/summary.json"), "line 1 is no JSON"),
        (("{tree}", "--key", "{tree}/key.jsonl", "--inputs", "{tree}/gone"), "it is no folder"),
        (("{tree}", "--key", "{tree}/key.jsonl", "--inputs", "{tree}"), "not among the inputs"),
        (("{tree}", "--key", "{tree}/key.jsonl", "--receipt", "{tree}/summary.json"), "receipt: summary.json"),
    ],
)
def test_wrong_input_gets_one_line(tree: Path, given: tuple[str, ...], said: str) -> None:
    done = run("score", *(each.format(tree=tree) for each in given))
    assert done.returncode == 1
    assert said in one_line(done)


def test_the_key_is_asked_for(tree: Path) -> None:
    done = run("score", tree)
    assert done.returncode == 2
    assert "--key" in done.stderr
