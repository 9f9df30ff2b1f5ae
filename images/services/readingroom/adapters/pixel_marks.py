"""Marks of pixels, by which images of two places are compared: of the hold-out's storage, and of a cut's archive."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from readingroom.adapters.bounded import Call, Pool
from readingroom.adapters.cuts import RECORD, check_kept, read_record
from readingroom.adapters.holdout_files import APART, LEDGER
from readingroom.adapters.tree import Tree
from readingroom.contract import cut_file
from readingroom.domain.errors import WrongSetUp

WORKER: Final = "readingroom.adapters.pixel_worker:factory"
IMAGE: Final = ".dcm"


class PixelMarks:
    """Marks under one key: equal where stored pixels are equal. See `application/check_holdout`."""

    def __init__(self, key: bytes, *, jobs: int) -> None:
        self._setup, self._jobs = {"key": key.hex()}, jobs

    def of_holdout(self, storage: Path) -> Iterator[tuple[str, str | None]]:
        """Of originals and of what was released of them; not of what lies apart. Raises `WrongSetUp` for no hold-out."""
        if not (storage / LEDGER).exists():
            raise WrongSetUp(
                what="hold-out",
                which="the storage given",
                why="it holds no ledger of `readingroom holdout split`",
                next_step="give the folder that was given to it as --holdout",
            )
        with Tree(storage) as tree:
            names = [name for name in tree.files() if name.endswith(IMAGE) and not name.startswith(f"{APART}/")]
            yield from self._marked(Call(key=name, document={}, descriptors=(tree.open(name),)) for name in names)

    def of_cut(self, folder: Path) -> Iterator[tuple[str, str | None]]:
        """Of the last cut of a folder, out of its layers. Raises `WrongSetUp` where its archive is not the one it names."""
        record = read_record(folder / RECORD)
        check_kept(folder, record)
        try:
            with tarfile.open(folder / cut_file(record.digest), "r:") as archive:
                yield from self._marked(_images(archive, record.digest))
        except (OSError, ValueError, KeyError, tarfile.TarError) as error:
            raise WrongSetUp(
                what="cut",
                which=record.cut,
                why=f"its archive cannot be read ({type(error).__name__})",
                next_step="run `readingroom cohort cut` again",
            ) from error

    def _marked(self, calls: Iterator[Call[str]]) -> Iterator[tuple[str, str | None]]:
        with Pool(WORKER, self._setup, jobs=self._jobs) as pool:
            for answer in pool.run(calls):
                yield answer.key, None if answer.fault else answer.document.get("pixels")


def _images(archive: tarfile.TarFile, digest: str) -> Iterator[Call[str]]:
    """Each image of each layer, as a nameless file: a child reads a descriptor."""
    manifest = json.load(_blob(archive, digest))
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=_blob(archive, layer["digest"]), mode="r:") as files:
            for member in files:
                content = files.extractfile(member) if member.isreg() and member.name.endswith(IMAGE) else None
                if content is not None:
                    with tempfile.TemporaryFile() as copy:
                        shutil.copyfileobj(content, copy)
                        copy.flush()
                        yield Call(key=member.name, document={}, descriptors=(os.dup(copy.fileno()),))


def _blob(archive: tarfile.TarFile, digest: str) -> IO[bytes]:
    found = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
    if found is None:
        raise ValueError("a blob is no file")
    return found
