"""A folder of somebody else's, walked without following a link.

Only regular files below the root are seen; links, sockets, pipes and devices are not, and a folder that was swapped for
a link between looking and opening is refused by the kernel (`O_NOFOLLOW` on every part of the path). Names are bytes to
us: they come out as text with surrogates and are used for nothing but finding the file again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from readingroom.domain.errors import WrongSetUp

DEEPEST: Final = 64  # folders below the root
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Tree:
    """The regular files below one folder."""

    def __init__(self, root: Path) -> None:
        """Raises `WrongSetUp` when `root` is no folder that can be read."""
        try:
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable("the folder given", type(error).__name__) from error

    def close(self) -> None:
        """Lets go of the folder."""
        os.close(self._root)

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def files(self, *, hidden: bool = True, below: str = "") -> list[str]:
        """Paths of all regular files, relative to the root, sorted by their bytes; without `hidden`, no name begins with a dot.

        With `below`, those of that folder alone.

        Raises `WrongSetUp` when a folder cannot be read or lies too deep: a file that nobody saw would get no answer.
        """
        return sorted(self._walk(hidden, below), key=os.fsencode)

    def folders(self, path: str) -> list[str]:
        """Names of the folders in one folder that do not begin with a dot, sorted by their bytes.

        Raises `WrongSetUp` when it cannot be read.
        """
        try:
            folder = self._open_folder(_parts(path))
            try:
                with os.scandir(folder) as entries:
                    found = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            finally:
                os.close(folder)
        except OSError as error:
            raise _unreadable("a folder", type(error).__name__) from error
        return sorted((name for name in found if not name.startswith(".")), key=os.fsencode)

    def open(self, path: str) -> int:
        """A read-only descriptor of the file at `path`, which the caller closes.

        Raises `OSError` when it is gone, may not be read, or is no regular file any more.
        """
        *folders, name = path.split("/")
        folder = self._open_folder(folders)
        try:
            descriptor = os.open(name, _FILE, dir_fd=folder)
        finally:
            os.close(folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError("no regular file")
        return descriptor

    def _walk(self, hidden: bool, below: str) -> Iterator[str]:
        waiting: list[list[str]] = [_parts(below)]
        while waiting:
            parts = waiting.pop()
            if len(parts) > DEEPEST:
                raise _unreadable(f"a folder {len(parts)} levels down", f"only {DEEPEST} levels are walked")
            try:
                folder = self._open_folder(parts)
                try:
                    with os.scandir(folder) as entries:
                        for entry in entries:
                            if entry.name.startswith(".") and not hidden:
                                continue
                            if entry.is_dir(follow_symlinks=False):
                                waiting.append([*parts, entry.name])
                            elif entry.is_file(follow_symlinks=False):
                                yield "/".join([*parts, entry.name])
                finally:
                    os.close(folder)
            except OSError as error:
                raise _unreadable(f"a folder {len(parts)} levels down", type(error).__name__) from error

    def _open_folder(self, parts: list[str]) -> int:
        folder = os.dup(self._root)
        for part in parts:
            try:
                below = os.open(part, _FOLDER, dir_fd=folder)
            finally:
                os.close(folder)
            folder = below
        return folder


def _parts(path: str) -> list[str]:
    return path.split("/") if path else []


def _unreadable(which: str, why: str) -> WrongSetUp:
    return WrongSetUp(
        what="walking a folder", which=which, why=f"it cannot be read ({why})", next_step="give one that can be read"
    )
