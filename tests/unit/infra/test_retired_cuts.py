"""A cut taken back, or not cleared of the hold-out, is not mounted: `platform up` refuses, admission is told of none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra import places
from infra.node import images as node_images
from infra.programs import host, project
from readingroom.adapters.holdout_files import clear
from readingroom.domain.errors import Refused, WrongSetUp
from tests.unit.hub.grants import ADA, CUT, DIGEST, document

OTHER = DIGEST.replace("1", "2")


@pytest.fixture
def grant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A grant over a cut that the runtime knows under two names, beside another."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    listing = ["REF TYPE DIGEST SIZE PLATFORMS LABELS"]
    known = {CUT: DIGEST, f"sha256:{'c' * 64}": DIGEST, CUT.replace(DIGEST, OTHER): OTHER}
    listing += [f"{name} application/x {digest} 1.0 MiB linux/amd64 -" for name, digest in known.items()]
    done: list[tuple[str, ...]] = []

    def ctr(*words: str) -> str:
        done.append(words)
        return "\n".join(known) if "-q" in words else "\n".join(listing)

    monkeypatch.setattr(node_images, "_ctr", ctr)
    monkeypatch.setattr(host, "images", lambda: None)
    monkeypatch.setattr(host, "folders", lambda owners: done.append(("folders", *sorted(owners))))
    monkeypatch.setattr(node_images, "done", done, raising=False)
    return write(tmp_path)


def write(work: Path, **changes: object) -> Path:
    (work / "v1.json").write_text(json.dumps(document(**changes)))
    return work / "v1.json"


def retire(*digests: object) -> None:
    file = places.volume("cuts-demo") / "retired.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(digests))


def admitted(grant: Path) -> dict[str, str]:
    return project.admission_parameters(project.Places.read(grant))


def test_a_grant_of_a_retired_cut_is_refused_and_its_bytes_are_forgotten_under_every_name(grant: Path) -> None:
    done: list[tuple[str, ...]] = node_images.done  # type: ignore[attr-defined]  # of the fixture
    project.prepare(grant)
    assert not any("rm" in words for words in done), "nothing is retired yet"
    assert admitted(grant)["cut"] == CUT
    retire(DIGEST)
    done.clear()
    with pytest.raises(Refused, match="taken back"):
        project.prepare(grant)
    assert ("images", "rm", "--sync", CUT, f"sha256:{'c' * 64}") in done
    assert not any(words[0] == "folders" for words in done)
    assert admitted(grant)["cut"] == ""
    assert ADA in admitted(grant)["handles"]


def test_another_cut_is_untouched_and_a_grant_for_nobody_goes_on(grant: Path, tmp_path: Path) -> None:
    retire(OTHER)
    project.prepare(grant)
    assert admitted(grant)["cut"] == CUT
    retire(DIGEST)
    project.prepare(write(tmp_path, members=[]))


@pytest.mark.parametrize("text", ["{", "{}x", "{}", '["latest"]', "[1]", '"sha256"'])
def test_a_record_that_cannot_be_read_lets_nothing_open(grant: Path, text: str) -> None:
    retire()
    (places.volume("cuts-demo") / "retired.json").write_text(text)
    with pytest.raises(WrongSetUp, match="nobody knows"):
        project.Places.read(grant)


def test_where_a_hold_out_is_kept_apart_only_a_cleared_cut_is_mounted(grant: Path, tmp_path: Path) -> None:
    done: list[tuple[str, ...]] = node_images.done  # type: ignore[attr-defined]  # of the fixture
    mark = places.volume("landing") / ".split.json"
    mark.parent.mkdir(parents=True)
    mark.write_text("{}")
    with pytest.raises(Refused, match="is not cleared of it") as found:
        project.prepare(grant)
    assert "holdout-check --project demo" in str(found.value)
    assert not any(words[0] == "folders" for words in done)
    assert (admitted(grant)["cut"], ADA in admitted(grant)["handles"]) == ("", True)
    project.prepare(write(tmp_path, members=[]))

    clear(places.volume("cleared"), OTHER)
    with pytest.raises(Refused):
        project.prepare(write(tmp_path))
    clear(places.volume("cleared"), DIGEST)
    clear(places.volume("cleared"), DIGEST)
    project.prepare(grant)
    assert admitted(grant)["cut"] == CUT
    retire(DIGEST)
    assert admitted(grant)["cut"] == "", "cleared, and taken back since"
