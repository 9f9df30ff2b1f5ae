"""`readingroom cohort`: from a decision to an archive, and from its record to a grant; each wrong input in one line."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from readingroom.contract import SERVICE_UID
from tests.cli.command import one_line, run, start, status_of
from tests.cli.test_cli_decide import deciding, without
from tests.cli.test_cli_project_workspace import granting
from tests.unit.data.warehouses import FILES, build, decision_document, unpacked, write_lines


def cutting(work: Path, *more: str, project: str = "demo") -> list[str]:
    return ["cohort", "cut", "--project", project, "--warehouse", f"{work}/w", "--out", f"{work}/out", *more]


def granting_from(record: Path, **changes: str) -> list[str]:
    named = without(granting(**changes), "cut", "cut-image", "manifest-sha256", "title", "until")
    return [*named, "--cut-file", str(record)]


def test_from_decision_to_cut_to_grant(tmp_path: Path) -> None:
    build(tmp_path / "w")
    assert run(*deciding(), state=tmp_path).returncode == 0
    done = start(*cutting(tmp_path), state=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "cut.json").read_text())
    assert record["image"] == f"rr.local/cut-demo@{record['digest']}"
    assert record["counts"] == {"patients": 2, "studies": 2, "series": 2, "instances": 3}
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["in", "the", "warehouse", "3", "4", "5", "6"] in rows
    assert ["modality", "CT", "2", "2", "2", "3"] in rows
    text = unpacked(tmp_path / "out" / record["tar"])["MANIFEST.json"]
    assert isinstance(text, bytes)
    decided = json.loads((tmp_path / "readingroom" / "decisions" / "demo" / "d1.json").read_text())
    assert decided["members"], "the copy in the cluster names nobody, and is the same decision"
    content = json.dumps({**decided, "members": []}, sort_keys=True, separators=(",", ":"))
    assert json.loads(text)["grant"]["record_sha256"] == hashlib.sha256(content.encode()).hexdigest()

    again = run(*cutting(tmp_path, "--json"), state=tmp_path)
    assert json.loads(again.stdout) == record
    assert "nothing changed" in run(*cutting(tmp_path), state=tmp_path).stdout
    shown = run("cohort", "show", str(tmp_path / "out"), "--json", state=tmp_path)
    assert json.loads(shown.stdout) == record

    granted = run(*granting_from(tmp_path / "out" / "cut.json"), state=tmp_path)
    assert (granted.returncode, granted.stderr) == (0, "")
    grant = json.loads((tmp_path / "readingroom" / "grants" / "demo" / "v1.json").read_text())
    assert grant["data"] == {
        "cut": record["cut"],
        "image": record["image"],
        "claim": None,
        "manifest_sha256": hashlib.sha256(text).hexdigest(),
    }

    run(*deciding(modality="DX"), state=tmp_path)
    stale = run(*granting_from(tmp_path / "out" / "cut.json"), state=tmp_path)
    assert stale.returncode == 3
    assert "another decision" in one_line(stale)
    both = run(*granting_from(tmp_path / "out" / "cut.json"), "--cut", "c-1", state=tmp_path)
    assert both.returncode == 2


def decided(work: Path, **changes: object) -> list[str]:
    (work / "d.json").write_text(json.dumps(decision_document(**changes)))
    return cutting(work, "--decision", f"{work}/d.json")


def foreign(work: Path) -> None:
    write_lines(work / "w", [file.line("other") for file in FILES])


def altered(work: Path) -> None:
    (work / "w" / FILES[0].path).write_bytes(b"x" * 3000)


WRONG: dict[str, tuple[Callable[[Path], object], Callable[[Path], list[str]], int, str]] = {
    "another project's warehouse": (foreign, decided, 3, "another project"),
    "another project's decision": (foreign, lambda w: decided(w, project="other"), 3, "other"),
    "a reserved project": (Path.exists, lambda w: cutting(w, project="holdout"), 3, "reserved"),
    "a project that is none": (Path.exists, lambda w: cutting(w, project="../x"), 3, "project"),
    "altered bytes": (altered, decided, 3, "bytes"),
    "an empty result": (Path.exists, lambda w: decided(w, data={"modalities": ["US"]}), 3, "no file"),
    "a decision that ended": (Path.exists, lambda w: decided(w, until="2026-11-02T00:00:00Z"), 3, "ended"),
    "a decision with an unknown key": (Path.exists, lambda w: decided(w, extra=1), 1, "extra"),
    "no decision": (Path.exists, lambda w: cutting(w, "--state", f"{w}/state"), 1, "no such decision"),
    "no such decision file": (Path.exists, lambda w: cutting(w, "--decision", f"{w}/none.json"), 1, "none.json"),
    "no warehouse": (lambda w: (w / "w/manifest.jsonl").unlink(), decided, 1, "manifest.jsonl"),
    "a file where cuts should lie": (lambda w: (w / "out").write_text(""), decided, 2, "out"),
    "two decisions": (Path.exists, lambda w: [*decided(w), "--state", f"{w}/state"], 2, "--state"),
    "nothing cut yet": (Path.exists, lambda w: ["cohort", "show", str(w)], 1, "cut.json"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_wrong_input_is_one_line_and_the_right_status(tmp_path: Path, name: str) -> None:
    prepare, arguments, status, word = WRONG[name]
    build(tmp_path / "w")
    prepare(tmp_path)
    told = run(*arguments(tmp_path))
    assert told.returncode == status, told.stderr
    assert word in told.stderr
    assert "Traceback" not in told.stderr
    lines = [line for line in told.stderr.splitlines() if not line.startswith("layer ")]
    assert status == 2 or len(lines) == 1, told.stderr
    assert told.stdout == ""
    assert not list(tmp_path.rglob("*.tar"))
    assert not list(tmp_path.rglob("cut.json"))


def test_the_job_of_the_cluster_can_do_it(capfd: pytest.CaptureFixture[str]) -> None:
    """As uid 10001, which owns nothing but the folder of the cuts: no other file is written."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        work.chmod(0o755)
        build(work / "w")
        arguments = decided(work)
        (work / "out").mkdir()
        os.chown(work / "out", SERVICE_UID, SERVICE_UID)
        child = os.fork()
        if not child:
            status = 1
            try:
                os.setgroups([])
                os.setgid(SERVICE_UID)
                os.setuid(SERVICE_UID)
                status = status_of(arguments)
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == 0, capfd.readouterr().err
        assert sorted(path.suffix for path in (work / "out").iterdir()) == [".json", ".tar"]
