"""`OUT_DIR` of `deid` as a folder, and the sheets of the identified side. What is seen is whole: everything is renamed in.

A staged file is named by a number, so no name of an input reaches the folder. One run at a time: the folder is locked.
Shards of one run share the lock, and each stages in a folder of its own, `.staging/<shard>/<attempt>/`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Final

from readingroom.adapters.durable import alone, hand_over, sync, sync_all
from readingroom.adapters.tables import TABLES
from readingroom.domain.errors import Refused, TryAgain, WrongSetUp

MANIFEST: Final = "manifest.jsonl"
IMAGES: Final = "images"
STAGING: Final = ".staging"
TOGETHER: Final = 512  # files that get their names at once
_OURS: Final = frozenset({MANIFEST, IMAGES, STAGING, "lost+found", *TABLES})

Document = Mapping[str, Any]


class FolderWarehouse:
    """The port `Warehouse`."""

    def __init__(self, folder: Path, project: str, shard: int | None = None) -> None:
        """Opens or makes it, and clears what an earlier run left half done; for one shard, what earlier attempts at it left.

        Raises `Refused` for the warehouse of another project, `WrongSetUp` for a folder that holds something else,
        `TryAgain` while another run, or another attempt at the shard, has it.
        """
        self._folder, self._shard = folder, shard
        self._staging = folder / STAGING
        self._locks = contextlib.ExitStack()
        self._whole: dict[int, str] = {}  # staged and complete, and where they belong
        self._made: set[Path] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _wrong(f"it cannot be made or opened ({type(error).__name__})") from error
        try:
            self._take(project)
        except Exception:  # whatever it is goes on: only the folder is let go of
            self._locks.close()
            os.close(self._lock)
            raise

    def _take(self, project: str) -> None:
        busy = TryAgain(what="the output folder", why="another run has it", next_step="wait until it ends")
        try:
            fcntl.flock(self._lock, (fcntl.LOCK_EX if self._shard is None else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            raise busy from error
        self._check(project)
        try:
            if self._shard is None:
                shutil.rmtree(self._staging, ignore_errors=True)
                self._staging.mkdir(mode=0o700)
            else:
                self._staging.mkdir(mode=0o700, exist_ok=True)
                self._attempt(self._staging / str(self._shard), busy)
            hand_over(self._staging, self._folder)
            (self._folder / IMAGES).mkdir(exist_ok=True)
        except OSError as error:
            raise _wrong(f"it cannot be written ({type(error).__name__})") from error

    def _attempt(self, shard: Path, busy: TryAgain) -> None:
        self._locks.enter_context(alone(shard, busy))
        for left in shard.iterdir():
            shutil.rmtree(left)
        self._staging = Path(tempfile.mkdtemp(dir=shard))

    def open_staged(self, staged: int) -> int:
        """A fresh file for a worker to fill; the caller closes the descriptor."""
        return os.open(self._staged(staged), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def commit(self, staged: int, place: str) -> None:
        """See the port."""
        self._whole[staged] = place
        if len(self._whole) >= TOGETHER:
            self._show()

    def _show(self) -> None:
        """Whole files get their names, all together: once for many, the disk is waited for."""
        try:
            sync_all(self._lock)
            for staged, place in self._whole.items():
                target = self._folder / PurePosixPath(place)
                if target.parent not in self._made:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self._made.add(target.parent)
                self._staged(staged).replace(target)
        except OSError as error:
            raise _wrong(f"it cannot be written ({type(error).__name__})") from error
        self._whole.clear()

    def discard(self, staged: int) -> None:
        """See the port."""
        self._staged(staged).unlink(missing_ok=True)

    def settle(self) -> None:
        """See the port."""
        self._show()
        try:
            sync_all(self._lock)
        except OSError as error:
            raise _wrong(f"it cannot be written ({type(error).__name__})") from error

    def holds(self, places: Iterable[str]) -> bool:
        """See the port."""
        return all((self._folder / PurePosixPath(place)).is_file() for place in places)

    def put(self, place: str, content: bytes) -> None:
        """See the port."""
        if place not in TABLES:
            raise ValueError(place)
        draft = self._staging / place
        try:
            draft.write_bytes(content)
            sync(draft)
            hand_over(draft, self._folder)
            draft.replace(self._folder / place)
        except OSError as error:
            raise _wrong(f"it cannot be written ({type(error).__name__})") from error

    def finish(self, manifest: Sequence[Document], tables: Mapping[str, bytes] = MappingProxyType({})) -> None:
        """See the port. Tables that come with it follow the manifest, which names them already."""
        text = "".join(json.dumps(line, separators=(",", ":"), ensure_ascii=True) + "\n" for line in manifest)
        draft = self._staging / MANIFEST
        self._show()
        try:
            draft.write_text(text, encoding="ascii")
            sync_all(self._lock)  # the names that it names, too
            hand_over(draft, self._folder)
            draft.replace(self._folder / MANIFEST)
            for place, content in tables.items():
                self.put(place, content)
            self._sweep({line["path"] for line in manifest})
            shutil.rmtree(self._staging)
            os.fsync(self._lock)
        except OSError as error:
            raise _wrong(f"it cannot be written ({type(error).__name__})") from error

    def close(self) -> None:
        """Lets go of the folder; what was staged goes."""
        shutil.rmtree(self._staging, ignore_errors=True)
        self._locks.close()
        os.close(self._lock)

    def _sweep(self, named: set[str]) -> None:
        """Whatever the manifest does not name goes: a reader who lists the folder must see no more than one who reads it."""
        for name in TABLES - named:
            (self._folder / name).unlink(missing_ok=True)
        for folder, names, files in os.walk(self._folder / IMAGES, topdown=False):
            here = Path(folder)
            for name in files:
                if (here / name).relative_to(self._folder).as_posix() not in named:
                    (here / name).unlink()
            for name in names:
                if (here / name).is_symlink():
                    (here / name).unlink()
                elif not any((here / name).iterdir()):
                    (here / name).rmdir()

    def _check(self, project: str) -> None:
        if strangers := {path.name for path in self._folder.iterdir()} - _OURS:
            raise _wrong(f"it holds {len(strangers)} things that no run of deid wrote")
        try:
            with (self._folder / MANIFEST).open(encoding="ascii") as lines:
                owners = {json.loads(line)["project"] for line in lines}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _wrong("its manifest cannot be read") from error
        if owners - {project}:
            raise Refused(
                what="the output folder",
                why="it is the warehouse of another project, and projects share nothing",
                next_step="give each project a folder of its own",
            )

    def _staged(self, staged: int) -> Path:
        return self._staging / f"{staged}.dcm"


class FileSheet:
    """The port `Sheet`: JSON lines in a file that only its owner reads, complete or not there."""

    def __init__(self, path: Path) -> None:
        """Raises `WrongSetUp` when it cannot be written."""
        self._path = path
        try:
            descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".sheet-")
        except OSError as error:
            raise _unwritable(error) from error
        self._draft = Path(draft)
        self._file = os.fdopen(descriptor, "w", encoding="ascii")

    def line(self, document: Document) -> None:
        """See the port."""
        self._file.write(json.dumps(document, separators=(",", ":"), ensure_ascii=True) + "\n")

    def close(self) -> None:
        """See the port."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._draft.replace(self._path)
        except OSError as error:
            raise _unwritable(error) from error

    def abandon(self) -> None:
        """Removes a draft that was not put in its place."""
        self._file.close()
        self._draft.unlink(missing_ok=True)


def _unwritable(error: OSError) -> WrongSetUp:
    return WrongSetUp(
        what="a receipt or explain log",
        why=f"it cannot be written ({type(error).__name__})",
        next_step="give a file in a folder that is there and can be written",
    )


def _wrong(why: str) -> WrongSetUp:
    return WrongSetUp(
        what="the output folder", why=why, next_step="give an empty folder, or one that deid filled for this project"
    )
