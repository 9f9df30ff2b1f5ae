"""A folder becomes entries without this machine's accidents, and a layer holds only what is new."""

from __future__ import annotations

from pathlib import Path

import pytest

from images import tree
from images.recipe import Folder
from readingroom.oci import Entry, Kind


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "su").write_bytes(b"program")
    (tmp_path / "bin" / "su").chmod(0o6755)
    (tmp_path / "bin" / "sudo").hardlink_to(tmp_path / "bin" / "su")
    (tmp_path / "bin" / "sh").symlink_to("su")
    (tmp_path / "var" / "log").mkdir(parents=True)
    (tmp_path / "var" / "log" / "boot").write_text("today")
    return tmp_path


def by_path(entries: list[Entry]) -> dict[str, Entry]:
    return {entry.path: entry for entry in entries}


def test_no_program_keeps_the_right_to_run_as_another_user(root: Path) -> None:
    assert by_path(tree.scan(root))["bin/su"].mode == 0o755


def test_two_names_of_one_file_stay_one_file(root: Path) -> None:
    entry = by_path(tree.scan(root))["bin/sudo"]
    assert (entry.kind, entry.target) == (Kind.HARDLINK, "bin/su")


def test_a_link_is_kept_and_not_followed(root: Path) -> None:
    entry = by_path(tree.scan(root))["bin/sh"]
    assert (entry.kind, entry.target) == (Kind.SYMLINK, "su")


def test_logs_of_the_build_stay_out_and_their_folder_stays(root: Path) -> None:
    found = by_path(tree.scan(root, leave_out=tree.LEFT_OUT))
    assert "var/log" in found
    assert "var/log/boot" not in found


def test_copyright_files_stay_and_changelogs_do_not(tmp_path: Path) -> None:
    doc = tmp_path / "usr/share/doc/thing"
    doc.mkdir(parents=True)
    for name in ("copyright", "changelog.gz", "README", "control.txt"):
        (doc / name).write_text("x")
    found = [
        path
        for path in by_path(tree.scan(tmp_path, leave_out=tree.LEFT_OUT))
        if path.startswith("usr/share/doc/thing/")
    ]
    assert found == ["usr/share/doc/thing/control.txt", "usr/share/doc/thing/copyright"]


def test_only_what_changed_goes_into_the_next_layer(root: Path) -> None:
    before = tree.listing(tree.scan(root))
    (root / "bin" / "new").write_bytes(b"new")
    assert [entry.path for entry in tree.only_new(tree.scan(root), before)] == ["bin/new"]


def test_a_changed_mode_or_owner_or_content_is_new() -> None:
    old = Entry("a", 0o644, b"one")
    for changed in (Entry("a", 0o600, b"one"), Entry("a", 0o644, b"two"), Entry("a", 0o644, b"one", uid=7)):
        assert tree.only_new([changed], tree.listing([old])) == [changed]


def test_a_path_that_vanished_is_an_error_since_layers_only_add() -> None:
    with pytest.raises(ValueError, match="1 paths of the layer below are gone"):
        tree.only_new([], tree.listing([Entry("a", 0o644, b"one")]))


def test_a_new_name_of_an_old_file_becomes_a_copy_in_the_new_layer(root: Path) -> None:
    before = tree.listing(tree.scan(root))
    (root / "bin" / "sulogin").hardlink_to(root / "bin" / "su")
    (entry,) = tree.only_new(tree.scan(root), before)
    assert (entry.path, entry.kind, entry.content) == ("bin/sulogin", Kind.FILE, root / "bin" / "su")


def test_copied_sources_are_readable_by_all_whatever_the_checkout_says(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x")
    (tmp_path / "a.py").chmod(0o600)
    (tmp_path / "run").write_text("x")
    (tmp_path / "run").chmod(0o700)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("x")
    found = {entry.path: entry.mode for entry in tree.copied("opt/ours", tmp_path)}
    assert found == {"opt": 0o755, "opt/ours": 0o755, "opt/ours/a.py": 0o644, "opt/ours/run": 0o755}


def test_a_folder_gets_the_owner_it_asks_for() -> None:
    entry = tree.owned(Folder(path="home/researcher", mode=0o700, owner=1000))
    assert (entry.kind, entry.mode, entry.uid, entry.gid) == (Kind.FOLDER, 0o700, 1000, 1000)
