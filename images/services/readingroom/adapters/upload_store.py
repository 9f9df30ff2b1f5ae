"""Uploads under way, in the spool: `<spool>/.uploads/<centre>/<key>/`, a file `<sha256>.part` while it grows, then `<sha256>`.

An answer is given for what is on the disk, so an upload goes on after any kill where the last answer left it. Once all files
came, the folder becomes an association of the spool that is over, by one rename: `<spool>/<centre>/upload-<key>`. What comes
after that is the spool's; its receipt says for good that this upload was ingested.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from readingroom.adapters.durable import sync
from readingroom.adapters.spool import SpoolFolder
from readingroom.domain.deid.outcome import FileRejected
from readingroom.domain.upload import Answer, Chunk, State, fits

FOLDER: Final = ".uploads"
PART: Final = ".part"
FORGOTTEN_SECONDS: Final = 7 * 86_400.0  # after the last file of an upload that was never closed


@dataclass
class _Open:
    """What is known of an upload under way. Whoever holds the lock may change it and its folder."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    sizes: dict[str, int] | None = None  # bytes that came of each file; None: look


class UploadStore:
    """One process uses it, that which holds the spool; any number of threads."""

    def __init__(self, spool: SpoolFolder, receipts: Path) -> None:
        self._spool, self._receipts = spool, receipts
        self._root = spool.folder / FOLDER
        self._guard, self._known = threading.Lock(), dict[Path, _Open]()

    def state(self, centre: str, key: str) -> State | None:
        """None where no file of it came yet, or it was given up."""
        if (self._receipts / centre / f"upload-{key}.jsonl").exists():
            return State.DONE
        if (self._spool.folder / centre / f"upload-{key}").exists():
            return State.WAITING
        return State.OPEN if self._folder(centre, key).exists() else None

    def came(self, centre: str, key: str) -> tuple[list[str], Mapping[str, int]]:
        """Of an open upload: the files that are whole, and how many bytes of each other one came."""
        try:
            sizes = {entry.name: entry.stat().st_size for entry in os.scandir(self._folder(centre, key))}
        except FileNotFoundError:  # it was closed meanwhile
            return [], {}
        parts = {name.removesuffix(PART): size for name, size in sizes.items() if name.endswith(PART)}
        return sorted(name for name in sizes if not name.endswith(PART)), parts

    def put(self, centre: str, key: str, chunk: Chunk) -> tuple[Answer, int]:
        """Keeps one chunk; the answer, and how many bytes of the file are there for good. Raises `OSError`."""
        folder = self._folder(centre, key)
        upload = self._open(folder)
        with upload.lock:
            if self.state(centre, key) in {State.WAITING, State.DONE}:
                return Answer.CLOSED, chunk.size
            self._make(folder)
            if upload.sizes is None:
                upload.sizes = _sizes(folder)
            if (folder / chunk.content).exists():
                return Answer.TAKEN, upload.sizes[chunk.content]
            there = upload.sizes.get(chunk.content, 0)
            if chunk.offset != there:
                return Answer.ELSEWHERE, there
            if not fits(chunk, upload.sizes, self._spool.limits):
                return Answer.OVER_LIMIT, there
            sizes, upload.sizes = upload.sizes, None  # to be looked at again if what follows fails
            answer = self._grow(folder / f"{chunk.content}{PART}", chunk)
            if answer is Answer.TAKEN:
                sizes[chunk.content] = there = chunk.offset + len(chunk.data)
            elif answer is Answer.DAMAGED:
                sizes.pop(chunk.content, None)
                there = 0
            upload.sizes = sizes
            return answer, there

    def close(self, centre: str, key: str, files: int) -> bool:
        """All files came: it waits to be ingested. False where there are not so many, each whole. May be repeated."""
        folder = self._folder(centre, key)
        with self._open(folder).lock:
            if self.state(centre, key) in {State.WAITING, State.DONE}:
                return True
            names = [path.name for path in folder.iterdir()] if folder.exists() else []
            if len(names) != files or any(name.endswith(PART) for name in names) or not names:
                return False
            final = self._spool.folder / centre / f"upload-{key}"
            final.parent.mkdir(exist_ok=True)
            sync(self._spool.folder)
            sync(folder)
            folder.rename(final)
            sync(final.parent)
            sync(folder.parent)
        with self._guard:
            self._known.pop(folder, None)
        self._spool.changed.set()
        return True

    def forget_old(self) -> int:
        """Gives up what nobody went on with for a week; says how many uploads. None of them was ever said to be received."""
        old = [path for path in self._root.glob("*/*") if time.time() - path.stat().st_mtime > FORGOTTEN_SECONDS]
        for folder in old:
            size = sum(_sizes(folder).values())
            shutil.rmtree(folder)
            self._spool.take(-size)
        return len(old)

    def _grow(self, part: Path, chunk: Chunk) -> Answer:
        """A whole file is looked at once more, from the disk: its name is what it holds, or nothing of it stays."""
        try:
            self._spool.take(len(chunk.data))
        except FileRejected:
            return Answer.OUT_OF_SPACE
        try:
            with part.open("ab") as file:
                file.write(chunk.data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:  # a full disk
            os.truncate(part, chunk.offset)
            self._spool.take(-len(chunk.data))
            return Answer.OUT_OF_SPACE
        if chunk.offset + len(chunk.data) == chunk.size:
            with part.open("rb") as whole:
                holds = hashlib.file_digest(whole, "sha256").hexdigest()
            if holds != chunk.content:
                part.unlink()
                sync(part.parent)
                self._spool.take(-chunk.size)
                return Answer.DAMAGED
            part.rename(part.with_suffix(""))
        sync(part.parent)
        return Answer.TAKEN

    def _make(self, folder: Path) -> None:
        if not folder.exists():
            folder.mkdir(parents=True)
            for each in (folder.parent, self._root, self._spool.folder):
                sync(each)

    def _folder(self, centre: str, key: str) -> Path:
        return self._root / centre / key

    def _open(self, folder: Path) -> _Open:
        with self._guard:
            return self._known.setdefault(folder, _Open())


def _sizes(folder: Path) -> dict[str, int]:
    return {entry.name.removesuffix(PART): entry.stat().st_size for entry in os.scandir(folder)}
