"""A folder is walked without following a link, and everything regular in it is seen."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from readingroom.adapters.tree import Tree
from readingroom.domain.errors import WrongSetUp


def contents(tree: Tree, path: str) -> bytes:
    descriptor = tree.open(path)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def test_regular_files_only_sorted_by_bytes_whatever_their_names(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    (inside / "b" / "deep").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    for name in (b"z", b"a\n b", b"\xff\xfe", b".hidden", b"b/deep/x"):
        (inside / os.fsdecode(name)).write_bytes(name)
    (inside / "link").symlink_to(outside / "secret")
    (inside / "folder-link").symlink_to(outside)
    os.mkfifo(inside / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(inside / "sock"))
        with Tree(inside) as tree:
            found = tree.files()
            assert [os.fsencode(path) for path in found] == [b".hidden", b"a\n b", b"b/deep/x", b"z", b"\xff\xfe"]
            assert [contents(tree, path) for path in found] == [os.fsencode(path) for path in found]


@pytest.mark.parametrize("path", ["link", "folder-link/secret", "pipe", "gone", "b"])
def test_what_became_a_link_or_no_file_is_not_opened(tmp_path: Path, path: str) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    outside.mkdir()
    (inside / "b").mkdir(parents=True)
    (outside / "secret").write_bytes(b"secret")
    (inside / "link").symlink_to(outside / "secret")
    (inside / "folder-link").symlink_to(outside)
    os.mkfifo(inside / "pipe")
    with Tree(inside) as tree, pytest.raises(OSError, match=r".+"):
        tree.open(path)


def test_a_folder_that_is_none_or_too_deep_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(WrongSetUp):
        Tree(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(WrongSetUp):
        Tree(tmp_path / "file")
    tmp_path.joinpath(*["d"] * 65).mkdir(parents=True)
    with Tree(tmp_path) as tree, pytest.raises(WrongSetUp, match="levels"):
        tree.files()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "f").touch()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Tree(tmp_path) as tree:
        os.close(tree.open("a/b/f"))
        tree.files()
        with pytest.raises(OSError, match=r".+"):
            tree.open("a/b")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_one_folder_can_be_looked_at_by_itself(tmp_path: Path) -> None:
    for place in ("a/b/1", "a/c/2", "a/.d/3", "e/4", "a/5"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "e")
    with Tree(tmp_path) as tree:
        assert tree.folders("a") == ["b", "c"]
        assert tree.folders("") == ["a", "e"]
        assert tree.files(below="a", hidden=False) == ["a/5", "a/b/1", "a/c/2"]
        for wrong in ("a/link", "a/5", "gone"):
            with pytest.raises(WrongSetUp, match="cannot be read"):
                tree.folders(wrong)
