"""Plan and ledger of a run in shards: a folder of the identified side, for its owner alone. Nothing of it reaches a warehouse.

`<digest>/head.json`, `rest.json`, `<shard>.json`: the plan, which appears whole. `<digest>/<shard>.done`: the ledger, a file a
shard, by rename. `plan.json`: which plan it is, how many shards it has, and whether it is finished.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from readingroom.adapters.durable import alone, show, sync_all
from readingroom.domain.errors import ReadingRoomError, Refused, TryAgain, WrongSetUp

POINTER: Final = "plan.json"
HEAD: Final = "head.json"
_DRAFT: Final = ".draft-"
_GONE: Final = ".gone-"
_OURS: Final = re.compile(r"[0-9a-f]{64}|\.(?:draft|gone)-.*")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

Document = Mapping[str, Any]


def write_plan(folder: Path, run: Document, rest: Document, shards: Sequence[Document]) -> str:
    """Shows a plan and gives its digest. The same plan again keeps what was committed of it; any other plan goes.

    Raises `TryAgain` while another plan is being written there, `WrongSetUp` when the folder cannot be written.
    """
    busy = TryAgain(what="the staging folder", why="another plan is being written", next_step="wait until it ends")
    parts = {"rest": _bytes(rest), **{str(number): _bytes(shard) for number, shard in enumerate(shards)}}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    head = _bytes({"run": run, "shards": len(shards), "parts": sums})
    digest = hashlib.sha256(head).hexdigest()
    with _written(), alone(folder, busy):
        for left in folder.iterdir():
            if left.name != digest and _OURS.fullmatch(left.name):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        if not (folder / digest).is_dir():
            draft = Path(tempfile.mkdtemp(dir=folder, prefix=_DRAFT))
            for name, content in {**parts, "head": head}.items():
                (draft / f"{name}.json").write_bytes(content)
            _sync(draft)
            draft.rename(folder / digest)
        _put(folder / POINTER, [_bytes({"plan": digest, "shards": len(shards), "finished": False})])
    return digest


class StagedPlan:
    """The ports `ShardPlan` and `Ledger`, of the plan of one digest."""

    def __init__(self, folder: Path, digest: str) -> None:
        """Raises `WrongSetUp` for what is no digest."""
        if not _DIGEST.fullmatch(digest):
            raise _absent("what was given is no digest")
        self._folder, self._digest = folder, digest

    def head(self) -> Document:
        """See the port."""
        return self._head

    @cached_property
    def _head(self) -> Document:
        """Read once: it names every shard, and each part is looked up in it."""
        return self._read(HEAD, self._digest)

    def part(self, name: str) -> Document:
        """See the port."""
        return self._read(f"{name}.json", self._head["parts"][name])

    def is_finished(self) -> bool:
        """See the port."""
        try:
            pointer = json.loads((self._folder / POINTER).read_bytes())
        except (OSError, ValueError):
            return False
        return isinstance(pointer, dict) and (pointer.get("plan"), pointer.get("finished")) == (self._digest, True)

    def finished(self) -> None:
        """See the port."""
        with _written():
            if not self.is_finished():
                pointer = {"plan": self._digest, "shards": self._head["shards"], "finished": True}
                _put(self._folder / POINTER, [_bytes(pointer)])
            if (plan := self._folder / self._digest).is_dir():
                plan.rename(self._folder / f"{_GONE}{self._digest}")
            shutil.rmtree(self._folder / f"{_GONE}{self._digest}", ignore_errors=True)

    def commit(self, shard: int, entries: Sequence[Document]) -> None:
        """See the port."""
        with _written():
            _put(self._done(shard), (_bytes(entry) + b"\n" for entry in entries))

    def entries(self, shard: int) -> Iterator[Document] | None:
        """See the port."""
        return self._lines(shard) if self._done(shard).is_file() else None

    def _lines(self, shard: int) -> Iterator[Document]:
        with self._done(shard).open("rb") as lines:
            for line in lines:
                yield json.loads(line)

    def _done(self, shard: int) -> Path:
        return self._folder / self._digest / f"{shard}.done"

    def _read(self, name: str, digest: str) -> Document:
        try:
            content = (self._folder / self._digest / name).read_bytes()
        except OSError as error:
            raise _absent(f"it cannot be read ({type(error).__name__})") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise Refused(
                what="the plan of a run in shards",
                which=name,
                why="it is not what was planned",
                next_step="plan again, and find out who writes to the staging folder",
            )
        found: Document = json.loads(content)
        return found


def _put(path: Path, content: Iterable[bytes]) -> None:
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=_DRAFT)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(content)
    show(Path(draft), path)


def _bytes(document: Document) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_all(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except ReadingRoomError:
        raise
    except OSError as error:
        raise WrongSetUp(
            what="the staging folder",
            why=f"it cannot be written ({type(error).__name__})",
            next_step="give a folder of the identified side with room that can be written",
        ) from error


def _absent(why: str) -> WrongSetUp:
    return WrongSetUp(what="the plan of a run in shards", why=why, next_step="plan again, and give the digest it tells")
