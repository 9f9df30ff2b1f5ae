"""The spool: what came over the network, until it is ingested. `data.md` section 3, network door.

`<spool>/<centre>/<association>/<number>_<SOP instance UID>` is an object that was acknowledged; with a reason code behind a
second dot it is empty and stands for one that was refused. An association under way has a folder whose name begins with a
dot, as has an object that is not yet whole. A name without the dot is there for good before anybody is told.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from readingroom.adapters.durable import alone, sync
from readingroom.adapters.landing import InboxFolder
from readingroom.adapters.tree import Tree
from readingroom.application.ports_spool import Association
from readingroom.domain.clinical.record import Told
from readingroom.domain.deid.outcome import FileRejected, Reason
from readingroom.domain.deid.values import is_uid
from readingroom.domain.door import Seen
from readingroom.domain.errors import TryAgain, WrongSetUp
from readingroom.domain.peers import Limits

_PENDING: Final = "."
_GONE: Final = ".gone-"
_REFUSED: Final = re.compile(r"(\d{6}_[0-9.]*)\.([a-z][a-z-]*)")
_BUFFER: Final = 1 << 20


class Exhausted(Exception):
    """A peer has sent as much as one association may: it ends."""


class SpoolFolder:
    """See the port `Spool`; and where the listener puts what comes."""

    def __init__(self, folder: Path, limits: Limits, *, jobs: int) -> None:
        self.folder, self._jobs, self.limits = folder, jobs, limits
        self._used, self._lock = 0, threading.Lock()
        self.changed = threading.Event()  # an association is over

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Held by one process at a time. What a killed one left is put in order: acknowledged objects stay, others go.

        Raises `TryAgain` when another process has it, `WrongSetUp` when it cannot be written.
        """
        busy = TryAgain(
            what="the spool",
            which=self.folder.name,
            why="another process receives into it",
            next_step="end that one, or give another folder",
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        with alone(self.folder, busy):
            self._put_in_order()
            yield

    def begin(self, centre: str, now: datetime) -> Arriving:
        """A place for the objects of a new association. Raises `OSError` where there is none."""
        name = f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"
        folder = self.folder / centre / f"{_PENDING}{name}"
        folder.mkdir(parents=True)
        sync(folder.parent)
        sync(self.folder)
        return Arriving(self, folder)

    def finished(self) -> Sequence[Association]:
        """See the port."""
        found = [
            Association(name=path.name, centre=path.parent.name)
            for path in self.folder.glob("[!.]*/[!.]*")
            if path.is_dir()
        ]
        return sorted(found, key=lambda each: each.name)

    @contextmanager
    def inbox(self, association: Association) -> Iterator[AssociationInbox]:
        """See the port."""
        with Tree(self.folder / association.centre / association.name) as tree:
            yield AssociationInbox(tree, jobs=self._jobs)

    def done(self, association: Association) -> None:
        """See the port. The name goes first, whole."""
        folder = self.folder / association.centre / association.name
        gone = folder.with_name(f"{_GONE}{association.name}")
        size = _size(folder)
        try:
            folder.rename(gone)
            sync(gone.parent)
            shutil.rmtree(gone)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        self.take(-size)

    def take(self, size: int) -> None:
        """Room for so many bytes more. Raises `FileRejected` (out-of-space) when there is none."""
        with self._lock:
            if size > 0 and self._used + size > self.limits.spool_bytes:
                raise FileRejected(Reason.OUT_OF_SPACE)
            self._used += size

    def _put_in_order(self) -> None:
        try:
            for folder in self.folder.glob("[!.]*/.*"):
                if folder.name.startswith(_GONE):
                    shutil.rmtree(folder)
                else:
                    finish(folder)
            self._used = _size(self.folder)
        except OSError as error:
            raise _unwritable(self.folder, error) from error


class Arriving:
    """The objects of one association under way. One thread at a time uses it."""

    def __init__(self, spool: SpoolFolder, folder: Path) -> None:
        self.spool, self.folder = spool, folder
        self.kept = self.refused = 0
        self._number = self._bytes = 0
        self.under_way: set[Incoming] = set()

    def begin(self, uid: str) -> Incoming:
        """A place for one object. Raises `Exhausted` when it is one too many."""
        if self._number >= self.spool.limits.association_objects:
            raise Exhausted
        self._number += 1
        if is_uid(uid):
            return Incoming(self, f"{self._number:06}_{uid}")
        incoming = Incoming(self, f"{self._number:06}_")
        incoming.refuse(Reason.UID_MALFORMED)
        return incoming

    def count(self, size: int) -> None:
        """So many bytes have come, whether kept or not. Raises `Exhausted`."""
        self._bytes += size
        if self._bytes > self.spool.limits.association_bytes:
            raise Exhausted

    def end(self) -> None:
        """The association is over: what was acknowledged waits to be ingested, what did not come whole was refused."""
        for incoming in list(self.under_way):
            incoming.refuse(Reason.TRUNCATED)
        finish(self.folder)
        self.spool.changed.set()


class Incoming:
    """One object as it comes. It is whole and on the disk after `keep`, or its refusal is after `refuse`."""

    def __init__(self, arriving: Arriving, name: str) -> None:
        self.reason: Reason | None = None
        self._arriving, self._name, self._size = arriving, name, 0
        self._part = arriving.folder / f"{_PENDING}{name}"
        self._file = self._part.open("xb", buffering=_BUFFER)
        arriving.under_way.add(self)

    def write(self, piece: bytes) -> None:
        """The next bytes; of a refused object they go nowhere. A full disk refuses it. Raises `Exhausted`."""
        self._arriving.count(len(piece))
        if self.reason is not None:
            return
        try:
            if self._size + len(piece) > self._arriving.spool.limits.object_bytes:
                raise FileRejected(Reason.OVER_LIMIT)
            self._arriving.spool.take(len(piece))
            self._size += len(piece)
            self._file.write(piece)
        except FileRejected as rejected:
            self.refuse(rejected.reason)
        except OSError:
            self.refuse(Reason.OUT_OF_SPACE)

    def keep(self) -> None:
        """The object is there for good: only after this may anybody be told so. A full disk refuses it."""
        if self.reason is not None:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            self.refuse(Reason.OUT_OF_SPACE)
            return
        self._file.close()
        self._part.rename(self._arriving.folder / self._name)
        sync(self._arriving.folder)
        self._arriving.under_way.discard(self)
        self._arriving.kept += 1

    def refuse(self, reason: Reason) -> None:
        """None of its bytes stay, and its name does, with the reason."""
        if self.reason is None:
            self.reason = reason
            with suppress(OSError):  # on a full disk what was not written cannot be flushed
                self._file.close()
            os.truncate(self._part, 0)
            self._arriving.spool.take(-self._size)
            self._part.rename(self._arriving.folder / f"{self._name}.{reason}")
            sync(self._arriving.folder)
            self._arriving.under_way.discard(self)
            self._arriving.refused += 1


def finish(folder: Path) -> None:
    """An association's folder gets its name. Objects that a kill left half were refused (truncated). Empty, it goes."""
    for part in folder.glob(".[0-9]*"):
        os.truncate(part, 0)
        part.rename(folder / f"{part.name.removeprefix(_PENDING)}.{Reason.TRUNCATED}")
    sync(folder)
    if any(folder.iterdir()):
        folder.rename(folder.with_name(folder.name.removeprefix(_PENDING)))
    else:
        folder.rmdir()
    sync(folder.parent)


class AssociationInbox(InboxFolder):
    """See the port `Inbox`: the objects of an association that is over, and those refused while it lasted."""

    def __init__(self, tree: Tree, *, jobs: int) -> None:
        names = tree.files(hidden=False)
        self._refused = [match for match in map(_REFUSED.fullmatch, names) if match]
        away = {match[0] for match in self._refused}
        files = [name for name in names if name not in away]
        super().__init__(tree, jobs=jobs, files=files, told=lambda _: Told())

    def __len__(self) -> int:
        return super().__len__() + len(self._refused)

    def seen(self) -> Iterator[Seen]:
        """See the port."""
        for match in self._refused:
            yield Seen(input=match[1], reason=Reason(match[2]))
        yield from super().seen()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _unwritable(folder: Path, error: OSError) -> WrongSetUp:
    return WrongSetUp(
        what="the spool",
        which=folder.name,
        why=f"it cannot be read or written ({error.strerror or type(error).__name__})",
        next_step="see to space and permissions, then start again",
    )


def pending_in(centre: Path) -> int:
    """How many objects of a centre were acknowledged and are not ingested yet. What goes meanwhile does not count."""
    pending = 0
    for folder, _, names in os.walk(centre):
        if not Path(folder).name.startswith(_GONE):
            pending += sum(name[0] != _PENDING and not _REFUSED.fullmatch(name) for name in names)
    return pending
