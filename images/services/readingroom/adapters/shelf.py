"""A project's cuts as a folder: what each archive holds, and `retired.json`, the digests that are never mounted again."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Sequence, Set
from pathlib import Path
from typing import IO, Any, Final

from readingroom.adapters.cuts import RECORD, STAGING, read_record
from readingroom.adapters.durable import alone, show
from readingroom.adapters.retired import retired_in
from readingroom.contract import MANIFEST, RETIRED, cut_file
from readingroom.domain.cut import CutRecord
from readingroom.domain.errors import TryAgain, WrongSetUp
from readingroom.domain.ids import Digest
from readingroom.domain.retraction import Held

_ARCHIVE: Final = re.compile(r"[0-9a-f]{64}\.tar")


class CutShelf:
    """See the port `Shelf`: `OUT` of `readingroom cohort cut`, which may not be there yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def held(self) -> Sequence[Held]:
        """See the port."""
        found = self._folder.iterdir() if self._folder.is_dir() else ()
        return [_held(path) for path in sorted(found) if _ARCHIVE.fullmatch(path.name)]

    def retired(self) -> frozenset[Digest]:
        """See the port."""
        return retired_in(self._folder)

    def retire(self, digests: Set[Digest]) -> None:
        """See the port."""
        if digests <= self.retired():
            return
        with alone(self._folder, self._busy()):
            draft = self._folder / f".{RETIRED}"
            draft.write_text(json.dumps(sorted(self.retired() | digests), indent=1) + "\n", encoding="ascii")
            show(draft, self._folder / RETIRED)

    def last(self) -> CutRecord | None:
        """See the port."""
        path = self._folder / RECORD
        return read_record(path) if path.exists() else None

    def sweep(self) -> None:
        """See the port."""
        if not self._folder.is_dir():
            return
        with alone(self._folder, self._busy()):
            for left in self._folder.glob(f"{STAGING}*"):
                shutil.rmtree(left)
            for digest in self.retired():
                (self._folder / cut_file(digest)).unlink(missing_ok=True)

    def _busy(self) -> TryAgain:
        return TryAgain(
            what="retract",
            which=self._folder.name,
            why="a cut is being made there",
            next_step="wait for it, then run the same command again",
        )


def _held(path: Path) -> Held:
    try:
        document = _manifest(path)
        made_by = document.get("made_by")
        return Held(
            digest=Digest(f"sha256:{path.stem}"),
            images=frozenset(file["path"] for file in document["files"] if file["path"].startswith("images/")),
            made_by=None if made_by is None else frozenset((one["profile_sha256"], one["engine"]) for one in made_by),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, tarfile.TarError) as error:
        raise WrongSetUp(
            what="cut",
            which=path.name[:16],
            why=f"it cannot be read ({type(error).__name__}), so nobody knows what it holds",
            next_step="remove it, and run the same command again",
        ) from error


def _manifest(path: Path) -> dict[str, Any]:
    """MANIFEST.json of an archive: the only file of its last layer."""
    with tarfile.open(path, "r:") as layout:
        index = json.load(_member(layout, "index.json"))
        image = json.load(_member(layout, _blob(index["manifests"][0]["digest"])))
        with tarfile.open(fileobj=_member(layout, _blob(image["layers"][-1]["digest"])), mode="r:") as layer:
            found: dict[str, Any] = json.load(_member(layer, MANIFEST))
    return found


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(name)
    if found is None:
        raise ValueError(name)
    return found


def _blob(digest: str) -> str:
    return "blobs/sha256/" + digest.removeprefix("sha256:")
