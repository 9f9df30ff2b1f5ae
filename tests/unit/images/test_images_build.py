"""The builder: twice the same, never a damaged thing believed, one clear line when it cannot."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from images import build as builder
from images import debian, layers
from images.recipe import SITE, Folder, Recipe, Run
from infra import places
from readingroom import contract, oci
from readingroom.domain.errors import WrongSetUp


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOCACHE", str(places.cache().parent / "go-build"))  # the compiler may remember; we may not
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    builder.recipes.cache_clear()
    builder._archive.cache_clear()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one recipe, `tool`, that copies one folder of Python."""
    source = tmp_path / "checkout" / "tool"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("ANSWER = {'a', 'b', 'c'}\n")
    monkeypatch.setattr(layers, "CHECKOUT", tmp_path / "checkout")
    tool = Recipe(
        name="tool",
        summary="a tool for a test",
        copy={f"{SITE}/tool": "tool"},
        folders=(Folder(path="data", owner=7),),
        run=Run(command=("tool",), environment={"A": "1"}),
    )
    monkeypatch.setattr(builder, "recipes", lambda: {"tool": tool})
    return source


def forget(tmp_path: Path) -> None:
    """As on another machine: an empty cache."""
    (tmp_path / "cache").rename(tmp_path / "cache-before")


def members(image: builder.Built) -> dict[str, tarfile.TarInfo]:
    """What the lowest layer of an image holds."""
    with tarfile.open(image.tar) as tar:
        manifest = json.loads(_blob(tar, oci.digest_of(image.tar)))
        blob = tar.extractfile("blobs/sha256/" + manifest["layers"][0]["digest"].removeprefix("sha256:"))
        with tarfile.open(fileobj=blob) as layer:
            return {member.name: member for member in layer}


def _blob(tar: tarfile.TarFile, digest: str) -> bytes:
    found = tar.extractfile("blobs/sha256/" + digest.removeprefix("sha256:"))
    assert found is not None
    return found.read()


def test_pause_built_twice_is_the_same(tmp_path: Path) -> None:
    first = builder.build("pause").digest
    forget(tmp_path)
    assert builder.build("pause").digest == first


def test_our_own_sources_built_twice_are_the_same_bytecode_included(tmp_path: Path, checkout: Path) -> None:
    first = builder.build("tool")
    assert f"{SITE}/tool/__pycache__/__init__.cpython-311.pyc" in members(first)
    forget(tmp_path)
    (checkout / "__init__.py").touch()
    (checkout / "__init__.py").chmod(0o600)
    assert builder.build("tool").digest == first.digest


def test_a_changed_source_is_another_image(checkout: Path) -> None:
    first = builder.build("tool").digest
    (checkout / "__init__.py").write_text("ANSWER = 43\n")
    assert builder.references() == {}
    assert builder.build("tool").digest != first


def test_an_image_that_is_there_is_not_built_again(checkout: Path) -> None:
    first = builder.build("tool")
    before = first.tar.stat().st_mtime_ns
    assert builder.build("tool") == first
    assert first.tar.stat().st_mtime_ns == before


def test_references_name_what_is_built_by_digest(checkout: Path) -> None:
    assert builder.references() == {}
    digest = builder.build("tool").digest
    assert builder.references() == {"tool": contract.image_reference("tool", digest)}


def test_a_cut_off_image_is_built_again(checkout: Path) -> None:
    first = builder.build("tool")
    first.tar.write_bytes(first.tar.read_bytes()[:-512])
    assert builder.references() == {}
    assert builder.build("tool").digest == first.digest


def test_a_layer_that_was_altered_in_the_cache_is_never_believed(checkout: Path) -> None:
    first = builder.build("tool")
    (layer,) = places.cache("images", "layers").glob("*/layer.tar")
    content = bytearray(layer.read_bytes())
    content[600] ^= 1
    layer.write_bytes(content)
    first.tar.unlink()
    assert builder.build("tool").digest == first.digest


def test_a_folder_has_its_owner_in_the_image(checkout: Path) -> None:
    found = members(builder.build("tool"))["data"]
    assert (found.isdir(), found.uid, found.gid) == (True, 7, 7)


def test_the_command_in_the_image_knows_only_nouns_that_are_in_the_image() -> None:
    written = dict(layers._entry_point_files())
    (nouns,) = (text.decode() for path, text in written.items() if path.endswith("/entry_points.txt"))
    assert "readingroom.entrypoints.cli:main" in nouns
    assert "workspace = readingroom." in nouns
    assert "infra." not in nouns


def test_old_results_are_removed_and_recent_ones_stay(checkout: Path) -> None:
    for number in range(builder.KEPT + 2):
        (checkout / "__init__.py").write_text(f"ANSWER = {number}\n")
        last = builder.build("tool")
    assert len(list(last.tar.parent.parent.iterdir())) == builder.KEPT
    assert last.tar.exists()
    assert len(list(places.cache("images", "layers").iterdir())) == builder.KEPT


def test_a_build_that_fails_leaves_nothing_under_its_name(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise WrongSetUp(what="bytecode", which="tool", why="no room", next_step="make room")

    monkeypatch.setattr(layers, "compile_bytecode", fail)
    with pytest.raises(WrongSetUp, match="no room"):
        builder.build("tool")
    assert builder.references() == {}
    assert not list(places.cache("images", "layers").glob("*"))


def test_an_unknown_image_is_one_clear_line_and_status_1() -> None:
    done = CliRunner().invoke(builder.main, ["nonsense"])
    assert done.exit_code == 1
    assert "nonsense" in done.stderr
    assert "choose of: " in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_part_is_no_image() -> None:
    with pytest.raises(WrongSetUp, match="no such image"):
        builder.build("base")


def test_a_version_that_is_gone_is_replaced_and_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    old, new, kept = debian.Pin("bash", "1", "a"), debian.Pin("bash", "2", "b"), debian.Pin("dash", "1", "c")

    class Today(debian.Archive):
        """An archive that has moved on."""

        def fetch(self, pins: object) -> dict[debian.Pin, Path]:
            found = list(pins)  # type: ignore[call-overload]
            if old in found:
                raise debian.NotServed([old])
            return {pin: tmp_path / pin.name for pin in found}

        def current(self, names: object) -> dict[str, debian.Pin]:
            return {"bash": new}

    assert set(debian.fetch_or_replace(Today(tmp_path), [old, kept], "base")) == {new, kept}
    assert "bash 1 → 2" in capsys.readouterr().err
