"""`readingroom project decide`, and a grant that follows from a decision: nothing wider than what was decided."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.cli.command import one_line, run, start
from tests.cli.test_cli_project_workspace import ADA, granting


def deciding(project: str = "demo", **changes: str) -> list[str]:
    options = {
        "title": "Lungs & ribs",
        "request": "rq-0042",
        "until": "2036-05-22",
        "modality": "CT",
        "member": "ada.lovelace",
        **changes,
    }
    return ["project", "decide", project, *(word for name, value in options.items() for word in (f"--{name}", value))]


def without(arguments: list[str], *names: str) -> list[str]:
    """The arguments without these options and their values."""
    gone = {f"--{name}" for name in names}
    return [word for n, word in enumerate(arguments) if word not in gone and arguments[n - 1] not in gone]


def folder(state: Path) -> Path:
    return state / "readingroom" / "decisions" / "demo"


def test_a_decision_is_written_once_and_a_change_is_the_next_version(tmp_path: Path) -> None:
    done = start(*deciding(), "--member", "ben", "--modality", "MR", state=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ada" not in done.stdout
    first = folder(tmp_path) / "d1.json"
    document = json.loads(first.read_text())
    assert document["members"] == [{"username": "ada.lovelace"}, {"username": "ben"}]
    assert document["data"] == {"modalities": ["CT", "MR"]}
    assert first.stat().st_mode & 0o777 == 0o600
    before = first.read_bytes()
    summary = json.loads(run(*deciding(modality="DX"), "--json", state=tmp_path).stdout)
    assert (summary["version"], summary["file"]) == (2, str(folder(tmp_path) / "d2.json"))
    assert first.read_bytes() == before
    assert sorted(path.name for path in folder(tmp_path).iterdir()) == ["d1.json", "d2.json"]


WRONG = {
    "a reserved project": (deciding("holdout"), 3, "reserved"),
    "an end in the past": (deciding(until="2020-01-01"), 3, "past"),
    "no time": (deciding(until="soon"), 2, "soon"),
    "a modality that is none": (deciding(modality="lungs"), 1, "modalities"),
    "a person's name for a user name": (deciding(member="Ada Lovelace"), 1, "members"),
    "markup in the title": (deciding(title="<script>"), 1, "title"),
    "a request off the pattern": (deciding(request="RQ 1"), 1, "request"),
    "nobody": (without(deciding(), "member"), 2, "--member"),
    "no modality": (without(deciding(), "modality"), 2, "--modality"),
    "the same person twice": ([*deciding(), "--member", "ada.lovelace"], 1, "members"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_wrong_input_is_one_line_and_the_right_status(tmp_path: Path, name: str) -> None:
    arguments, status, word = WRONG[name]
    done = run(*arguments, state=tmp_path)
    assert done.returncode == status, done.stderr
    assert word in done.stderr
    assert "Lovelace" not in done.stderr
    if status != 2:
        one_line(done)
    assert not list(tmp_path.rglob("d*.json"))


def test_an_edited_decision_is_not_believed(tmp_path: Path) -> None:
    run(*deciding(), state=tmp_path)
    file = folder(tmp_path) / "d1.json"
    document = json.loads(file.read_text())
    wider = {"modalities": ["CT"], "centres": []}
    for broken in ({**document, "extra": 1}, {**document, "data": wider}, {**document, "version": 2}):
        file.write_text(json.dumps(broken))
        done = run(*granting(request="rq-0042"), state=tmp_path)
        assert done.returncode == 1
        one_line(done)


def test_a_grant_takes_title_request_and_end_from_the_decision_and_names_its_content(tmp_path: Path) -> None:
    run(*deciding(title="As decided"), state=tmp_path)
    done = run(*without(granting(), "title", "until"), state=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    grant = json.loads((tmp_path / "readingroom" / "grants" / "demo" / "v1.json").read_text())
    assert (grant["title"], grant["until"]) == ("As decided", "2036-05-22T00:00:00Z")
    assert grant["members"] == [{"handle": ADA, "until": "2036-05-22T00:00:00Z"}]
    content = {**json.loads((folder(tmp_path) / "d1.json").read_text()), "members": []}
    record = hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert grant["decision"] == {"request": "rq-0042", "record_sha256": record}


@pytest.mark.parametrize(
    "wider",
    [granting(until="2036-05-23"), granting(request="rq-0001"), granting(member=f"{ADA}=2036-05-22T00:00:01Z")],
    ids=["later", "another request", "a member who stays longer"],
)
def test_a_grant_is_never_wider_than_its_decision(tmp_path: Path, wider: list[str]) -> None:
    run(*deciding(), state=tmp_path)
    done = run(*wider, state=tmp_path)
    assert done.returncode == 3
    assert "demo d1" in one_line(done)
    assert run(*granting(until="2036-05-21"), state=tmp_path).returncode == 0


def test_without_a_decision_the_options_are_needed(tmp_path: Path) -> None:
    done = run(*without(granting(), "title"), state=tmp_path)
    assert done.returncode == 2
    assert "--title" in done.stderr
