"""Files that appear under their name whole, and on the disk, or not at all: whatever moment the machine stops at.

And folders that one process at a time works in: the lock goes with the process.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from readingroom.domain.errors import TryAgain


def write_new(path: Path, content: bytes, mode: int) -> None:
    """A file that was not there; a name that is taken stays as it is. Raises `FileExistsError` then."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".draft-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(mode)
        hand_over(Path(draft), path.parent)
        path.hardlink_to(draft)  # fails if the name is taken, unlike rename
    finally:
        Path(draft).unlink(missing_ok=True)
    sync(path.parent)


def show(draft: Path, final: Path) -> None:
    """A finished draft gets its name, in place of what had it before."""
    hand_over(draft, final.parent)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(final)
    sync(final.parent)


def hand_over(path: Path, folder: Path) -> None:
    """What root makes in somebody's folder becomes theirs, so that their own runs can read and replace it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def sync(path: Path) -> None:
    """A file's bytes are on the disk; of a folder, the names in it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(descriptor: int) -> None:
    """Whatever was written until now to the file system of an open file or folder is on the disk: one wait for many files.

    Python has no name for this call. Raises `OSError` when the disk refused any of it (Linux 5.8).
    """
    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
        raise OSError(ctypes.get_errno(), "syncfs")


@contextmanager
def alone(folder: Path, busy: TryAgain) -> Iterator[None]:
    """One process at a time works in a folder, which is made if it is not there. Raises `busy` when another does."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy from error
        yield
    finally:
        os.close(descriptor)
