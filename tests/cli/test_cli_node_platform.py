"""`readingroom node` and `readingroom platform`: each wrong input gives one clear line and the right exit status."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from images import build
from infra import places
from infra.node import supervisor
from tests.cli.command import one_line, run, start

NOUNS = ("node", "platform")

USAGE = {
    "node: no such verb": (["node", "restart"], "restart"),
    "node: an argument too many": (["node", "up", "now"], "now"),
    "node: no such option": (["node", "down", "--force"], "--force"),
    "platform: no such verb": (["platform", "apply"], "apply"),
    "platform: no such stack": (["platform", "up", "--stack", "aws2"], "aws2"),
    "platform: a project without a value": (["platform", "up", "--project"], "--project"),
    "platform: preview takes nothing back": (["platform", "preview", "--take-back"], "--take-back"),
    "platform: render without a folder": (["platform", "render"], "OUT_DIR"),
    "platform: no such job": (["platform", "job", "train"], "train"),
    "platform: ingest of nobody": (["platform", "job", "ingest"], "--centre"),
    "platform: a centre off the pattern": (["platform", "job", "ingest", "--centre", "st-mary"], "capital letters"),
    "platform: a centre that climbs": (["platform", "job", "ingest", "--centre", "../volumes"], "capital letters"),
    "platform: deid of nothing": (["platform", "job", "deid"], "--project"),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage_is_status_2_and_names_the_word(case: str, tmp_path: Path) -> None:
    words, said = USAGE[case]
    done = run(*words, state=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


AWAY = {  # without a node
    "preview": ["platform", "preview"],
    "up": ["platform", "up"],
    "status": ["platform", "status"],
}
NO_PROJECT = {
    "up": (["platform", "up", "--project", "nobody"], "nobody"),
    "preview": (["platform", "preview", "--project", "nobody"], "nobody"),
    "down": (["platform", "down", "--project", "nobody"], "nobody"),
    "down, a path": (["platform", "down", "--project", "../grants"], "../grants"),
    "deid": (["platform", "job", "deid", "--project", "nobody"], "nobody"),
    "deid, a path": (["platform", "job", "deid", "--project", "../../x"], "../../x"),
    "cut": (["platform", "job", "cut", "--project", "Demo"], "Demo"),
    "ingest": (["platform", "job", "ingest", "--centre", "NOBODY"], "NOBODY"),
    "enrol": (["platform", "job", "enrol"], "roster.json"),
}


@pytest.mark.parametrize("case", AWAY)
def test_without_a_node_it_is_not_now_and_says_how_to_start_one(case: str, tmp_path: Path) -> None:
    done = run(*AWAY[case], state=tmp_path)
    assert done.returncode == 1
    line = one_line(done)
    assert line.startswith("not now: ")
    assert line.endswith("Next: readingroom node up.")


@pytest.mark.parametrize("case", NO_PROJECT)
def test_who_or_what_is_not_there_is_named(case: str, tmp_path: Path) -> None:
    words, named = NO_PROJECT[case]
    done = run(*words, state=tmp_path)
    assert done.returncode == 1
    assert named in one_line(done)


def test_code_that_is_newer_than_its_images_is_told_to_go_up_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "readingroom" / "volumes" / "inbox" / "CENTRE").mkdir(parents=True)
    monkeypatch.setattr(build, "references", dict)
    done = run("platform", "job", "ingest", "--centre", "CENTRE", state=tmp_path)
    assert done.returncode == 1
    assert one_line(done).endswith("it is not built from this checkout as it is now. Next: readingroom platform up.")


def test_a_folder_with_something_in_it_is_not_rendered_into(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").touch()
    done = run("platform", "render", tmp_path / "out", state=tmp_path)
    assert done.returncode == 1
    assert "the folder is not empty" in one_line(done)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["kept"]


def test_platform_down_of_a_platform_that_is_not_up_says_so(tmp_path: Path) -> None:
    done = run("platform", "down", state=tmp_path)
    assert (done.returncode, done.stdout) == (0, "local: is not up\n")


def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose node belongs to somebody else."""
    owner = tmp_path / "owner.json"
    owner.write_text(json.dumps({"state": "/home/other/state/readingroom", "checkout": "/home/other/room"}))
    monkeypatch.setattr(supervisor, "owner_file", lambda: owner)


@pytest.mark.parametrize("words", [["up"], ["down"], ["down", "--remove-data"]])
def test_somebody_elses_node_is_left_alone_and_named(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other(tmp_path, monkeypatch)
    (tmp_path / "readingroom").mkdir()
    done = run("node", *words, state=tmp_path)
    assert done.returncode == 1
    line = one_line(done)
    assert "this machine already runs a node: /home/other/room" in line
    assert "make stop" in line
    assert (tmp_path / "readingroom").is_dir()


def test_status_of_somebody_elses_node_is_1_and_names_whose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other(tmp_path, monkeypatch)
    done = run("node", "status", state=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("AWAY  owner ")
    assert "/home/other/room" in done.stdout


def test_status_without_a_node_is_1_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "owner_file", lambda: tmp_path / "nobody")
    done = run("node", "status", state=tmp_path)
    assert done.returncode == 1
    assert "not running; start it with `readingroom node up`" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_the_kubeconfigs_path_is_printed_and_nothing_of_what_is_in_it(tmp_path: Path) -> None:
    done = run("node", "kubeconfig", state=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'readingroom' / places.OPERATOR_KUBECONFIG}\n")


def test_as_somebody_who_is_not_root_the_node_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "owner_file", lambda: tmp_path / "nobody")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for verb in ("up", "down"):
        done = run("node", verb, state=tmp_path)
        assert done.returncode == 1
        assert "this is not root" in one_line(done)


@pytest.mark.parametrize("noun", NOUNS)
def test_as_a_process_of_its_own(noun: str, tmp_path: Path) -> None:
    done = start(noun, "bogus", state=tmp_path)
    assert done.returncode == 2
    assert "bogus" in done.stderr
