"""`readingroom project` and `readingroom workspace`: each wrong input gives one clear line and the right exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import one_line, run, start

DIGEST = "sha256:" + "1" * 64
ADA, BEN = "raaaaaaa", "rbbbbbbb"


def granting(project: str = "demo", **changes: str) -> list[str]:
    options = {
        "title": "Lungs & ribs",
        "member": ADA,
        "until": "2036-05-22",
        "cut": "c-1",
        "cut-image": f"rr.local/cut-{project}@{DIGEST}",
        "manifest-sha256": "3" * 64,
        "image": f"imaging-cpu=rr.local/workspace-cpu@{DIGEST}",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return ["project", "grant", project, *(word for name, value in options.items() for word in (f"--{name}", value))]


def test_a_grant_is_written_once_shown_listed_and_revoked_as_a_new_version(tmp_path: Path) -> None:
    done = start(*granting(), "--member", f"{BEN}=2030-01-01T12:00:00Z", state=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    file = tmp_path / "readingroom" / "grants" / "demo" / "v1.json"
    document = json.loads(file.read_text())
    assert [member["handle"] for member in document["members"]] == [ADA, BEN]
    assert file.stat().st_mode & 0o777 == 0o444
    before = file.read_bytes()
    assert run("project", "show", "demo", state=tmp_path).returncode == 0
    assert "v1" in run("project", "list", state=tmp_path).stdout
    revoked = run("project", "revoke", "demo", "--member", BEN, state=tmp_path)
    assert revoked.returncode == 0, revoked.stderr
    assert "no cluster on this machine" in revoked.stdout
    assert run("project", "revoke", "demo", state=tmp_path).returncode == 0
    last = json.loads(run("project", "show", "demo", "--json", state=tmp_path).stdout)
    assert (last["version"], last["state"]) == (3, "revoked")
    assert file.read_bytes() == before


WRONG = {
    "a reserved project": (granting("holdout"), 3, "reserved"),
    "a project id off the pattern": (granting("Demo"), 3, "Demo"),
    "a person's name for a handle": (granting(member="ada"), 3, "handle"),
    "a cut of another project": (granting(cut_image=f"rr.local/cut-other@{DIGEST}"), 1, "rr.local/cut-demo"),
    "a cut by tag": (granting(cut_image="rr.local/cut-demo:latest"), 1, "grant"),
    "an image from elsewhere": (granting(image=f"imaging-cpu=example.org/x@{DIGEST}"), 1, "grant"),
    "an image without a name": (granting(image=f"rr.local/workspace-cpu@{DIGEST}"), 2, "--image"),
    "no time": (granting(until="soon"), 2, "soon"),
    "an end in the past": (granting(until="2020-01-01"), 3, "past"),
    "a short digest of the manifest": (granting(manifest_sha256="33"), 1, "manifest_sha256"),
    "markup in the title": (granting(title="<script>"), 1, "title"),
    "no such project": (["project", "show", "demo"], 1, "demo"),
    "no such version": (["project", "show", "demo", "--version", "7"], 1, "demo"),
    "nothing to revoke": (["project", "revoke", "demo"], 1, "demo"),
    "no cluster": (["workspace", "list"], 1, "readingroom node up"),
    "a handle that is none": (["workspace", "stop", "demo", "Ada"], 3, "handle"),
    "a project that is none": (["workspace", "stop", "../x", ADA], 3, "project"),
    "too few words": (["workspace", "stop", "demo"], 2, "HANDLE"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_wrong_input_is_one_line_and_the_right_status(tmp_path: Path, name: str) -> None:
    arguments, status, word = WRONG[name]
    done = run(*arguments, state=tmp_path)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert word in done.stderr
    if status != 2:
        one_line(done)
    assert not list(tmp_path.rglob("v*.json"))


def test_a_member_given_twice_is_wrong_usage(tmp_path: Path) -> None:
    done = run(*granting(), "--member", ADA, state=tmp_path)
    assert done.returncode == 2
    assert "twice" in done.stderr


def test_a_grant_file_that_was_changed_by_hand_is_not_believed(tmp_path: Path) -> None:
    run(*granting(), state=tmp_path)
    file = tmp_path / "readingroom" / "grants" / "demo" / "v1.json"
    document = json.loads(file.read_text())
    file.chmod(0o644)
    for broken in ({**document, "extra": 1}, {**document, "version": 2}, {**document, "project": "other"}):
        file.write_text(json.dumps(broken))
        done = run("project", "show", "demo", state=tmp_path)
        assert done.returncode == 1
        one_line(done)
