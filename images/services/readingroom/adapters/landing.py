"""The inbox, the landing and the receipt as folders: what a centre sent, what was received of it, what it is told.

`landing/<centre>/<YYYY-MM-DD>/<batch>/`: `instances/<aa>/<sha256>.dcm`, `clinical/<sha256>.json`, `batch.json`. A batch is
made in a folder whose name begins with a dot and is renamed once, whole: whoever reads follows `batch.json`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from readingroom.adapters.bounded import Call, Pool
from readingroom.adapters.durable import alone, show, sync
from readingroom.adapters.tree import Tree
from readingroom.application.ports_deid import Resolved
from readingroom.domain.clinical.record import Sort, Told, told_by
from readingroom.domain.deid.outcome import FileRejected, Reason
from readingroom.domain.door import Identity, Seen, token
from readingroom.domain.errors import ReadingRoomError, TryAgain, WrongSetUp
from readingroom.domain.opt_out import NAMELESS, names_from

DOOR: Final = "readingroom.adapters.door_worker:factory"
RECORD: Final = "batch.json"
LARGEST_FILE: Final = 2 << 30
MAKING: Final = ".batch-"
_PIECE: Final = 1 << 20
INSTANCES: Final = "instances"
CLINICAL: Final = "clinical"
_NAME: Final = re.compile(r"([0-9a-f]{64})\.(?:dcm|json)")


class InboxFolder:
    """See the port `Inbox`."""

    def __init__(  # noqa: PLR0913 (each but the first by its name, and rarely)
        self,
        tree: Tree,
        *,
        jobs: int,
        clinical: Resolved | None = None,
        files: Sequence[str] | None = None,
        told: Callable[[str], Told] = told_by,
        key: bytes | None = None,
        pool: Pool | None = None,
    ) -> None:
        """Without the rules of the clinical table, no file is a clinical record; without `files`, all below the folder count.

        Without `key`, tokens are of this run alone. A `pool` of the caller's, with this key, outlives the look.
        """
        self._tree, self._jobs, self._clinical, self._told = tree, jobs, clinical, told
        self._names = tree.files() if files is None else files
        self._key, self._pool = key or secrets.token_bytes(32), pool

    def __len__(self) -> int:
        return len(self._names)

    def seen(self) -> Iterator[Seen]:
        """See the port `Inbox`."""
        unread: list[Seen] = []
        setup = {"key": self._key.hex(), "clinical": self._clinical.document if self._clinical else None}
        with nullcontext(self._pool) if self._pool else Pool(DOOR, setup, jobs=self._jobs) as pool:
            for answer in pool.run(self._calls(unread)):
                yield from unread
                unread.clear()
                name, sha256, size = answer.key
                identity, sort = answer.document.get("identity"), answer.document.get("sort")
                accepted = identity is not None or sort is not None
                yield Seen(
                    input=name,
                    sha256=sha256,
                    size=size,
                    identity=Identity(**identity) if identity else None,
                    clinical=replace(self._told(name), sort=Sort(sort)) if sort else None,
                    names=names_from(answer.document["names"]) if "names" in answer.document else NAMELESS,
                    reason=None if accepted else Reason(answer.fault or answer.document["reason"]),
                )
        yield from unread

    def token(self, name: str) -> str:
        """See the port `Inbox`."""
        return token(name, self._key)

    def pieces(self, name: str) -> Iterator[bytes]:
        """See the port `Inbox`."""
        try:
            with os.fdopen(self._tree.open(name), "rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
        except OSError as error:
            raise FileRejected(Reason.UNREADABLE) from error

    def _calls(self, unread: list[Seen]) -> Iterator[Call[tuple[str, str, int]]]:
        """One call for each file that can be read; the parent hashes bytes and looks at none of them."""
        for name in self._names:
            try:
                descriptor = self._tree.open(name)
            except OSError:
                unread.append(Seen(input=name, reason=Reason.UNREADABLE))
                continue
            try:
                size = os.fstat(descriptor).st_size
                if size > LARGEST_FILE:
                    raise FileRejected(Reason.OVER_LIMIT)
                with os.fdopen(os.dup(descriptor), "rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            except (OSError, FileRejected) as error:
                os.close(descriptor)
                reason = error.reason if isinstance(error, FileRejected) else Reason.UNREADABLE
                unread.append(Seen(input=name, reason=reason))
                continue
            yield Call(key=(name, sha256, size), document={"sort": self._told(name).sort}, descriptors=(descriptor,))


class BatchFolder:
    """See the port `Batch`."""

    def __init__(self, folder: Path, day: Path) -> None:
        self._folder, self._day = folder, day

    def store(self, pieces: Iterable[bytes], sha256: str, *, clinical: bool = False) -> bool:
        """See the port `Batch`."""
        place = Path(CLINICAL, f"{sha256}.json") if clinical else Path(INSTANCES, sha256[:2], f"{sha256}.dcm")
        path, found = self._folder / place, hashlib.sha256()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                for piece in pieces:
                    found.update(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        except FileRejected:
            path.unlink()
            raise
        if found.hexdigest() != sha256:
            path.unlink()
            return False
        path.chmod(0o440)
        return True

    def commit(self, batch: str, record: Mapping[str, Any]) -> None:
        """See the port `Batch`."""
        draft = self._folder / f".{RECORD}"
        draft.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        draft.chmod(0o440)
        for folder in sorted(path for path in self._folder.rglob("*") if path.is_dir()):
            sync(folder)
        show(draft, self._folder / RECORD)
        self._day.mkdir(exist_ok=True)
        self._folder.chmod(0o750)
        self._folder.rename(self._day / batch)  # fails on a batch that is there: a folder with something in it stays
        sync(self._day)
        sync(self._day.parent)


class LandingFolder:
    """See the port `Landing`: one centre's part of it. `day` is the day of receipt."""

    def __init__(self, landing: Path, centre: str, day: date) -> None:
        self._landing, self._centre, self._day = landing, landing / centre, day

    def stored(self) -> dict[str, str]:
        """See the port `Landing`."""
        found: dict[str, str] = {}
        with _written(self._landing):
            for record in sorted(self._centre.glob(f"[0-9]*/[!.]*/{RECORD}")):
                contents = (record.parent.glob(f"{INSTANCES}/*/*.dcm"), record.parent.glob(f"{CLINICAL}/*.json"))
                for path in itertools.chain(*contents):
                    if match := _NAME.fullmatch(path.name):
                        found.setdefault(match.group(1), str(path.relative_to(self._landing)))
        return found

    @contextmanager
    def batch(self) -> Iterator[BatchFolder]:
        """See the port `Landing`. What a killed run left is swept."""
        busy = TryAgain(
            what="ingest",
            which=self._centre.name,
            why="another batch of this centre is being received",
            next_step="wait for it, then run the same command again",
        )
        with _written(self._landing), alone(self._centre, busy):
            for left in self._centre.glob(f"{MAKING}*"):
                shutil.rmtree(left)
            making = Path(tempfile.mkdtemp(dir=self._centre, prefix=MAKING))
            try:
                yield BatchFolder(making, self._centre / self._day.isoformat())
            finally:
                shutil.rmtree(making, ignore_errors=True)


class CommittedBatches:
    """See the port `Inputs` of `deid`: of a landing, what lies in batches that have their record, and nothing else."""

    def __init__(self, landing: Tree) -> None:
        self._tree = landing
        self._told: dict[str, dict[str, Told]] = {}  # batch → content → what its name said

    def files(self) -> list[str]:
        """See the port. A killed run's folder begins with a dot and is not entered: it may go while this one looks.

        Raises `WrongSetUp` for a folder with files and no batch: an empty answer would empty the warehouse.
        """
        names = self._tree.files(hidden=False)
        batches = {batch_of(name) for name in names if name.split("/")[3:] == [RECORD]}
        if names and not batches:
            raise WrongSetUp(
                what="landing",
                which="the folder given",
                why="it holds files and no batch of `readingroom ingest`",
                next_step="give the folder that ingest was given as --landing, or leave out --landing",
            )
        return [
            name for name in names if batch_of(name) in batches and name.split("/")[3:4] in ([INSTANCES], [CLINICAL])
        ]

    def told(self, path: str) -> Told:
        """What the names of a clinical record said when it came: the batch's record keeps it.

        A day that no name said is that of its receipt. Raises `WrongSetUp` when the record of the batch cannot be read.
        """
        batch, (folder, *rest) = batch_of(path), path.split("/")[3:]
        if folder != CLINICAL:
            return Told()
        if batch not in self._told:
            self._told[batch] = self._record(batch)
        return self._told[batch].get(rest[-1].removesuffix(".json"), Told())

    def _record(self, batch: str) -> dict[str, Told]:
        received = batch.split("/")[1]
        try:
            with os.fdopen(self._tree.open(f"{batch}/{RECORD}"), "rb") as file:
                entries = json.load(file).get(CLINICAL, ())
            return {each["sha256"]: Told(sort=Sort(each["sort"]), day=each["day"] or received) for each in entries}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise record_unreadable(error) from error


def record_unreadable(error: Exception) -> WrongSetUp:
    """What to say of a committed batch whose record is off."""
    return WrongSetUp(
        what="landing",
        which=f"the {RECORD} of a batch",
        why=f"it cannot be read ({type(error).__name__})",
        next_step="restore it from the backup: ingest writes it once",
    )


def batch_of(name: str) -> str:
    return "/".join(name.split("/")[:3])


class ReceiptFile:
    """See the port `Receipt`: one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """See the port `Receipt`."""
        with _written(self._path.parent):
            descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=".receipt-")
            try:
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    file.writelines(json.dumps(line) + "\n" for line in lines)
                show(Path(name), self._path)
            finally:
                Path(name).unlink(missing_ok=True)


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except ReadingRoomError:
        raise
    except OSError as error:
        raise WrongSetUp(
            what="ingest",
            which=folder.name,
            why=f"a folder cannot be read or written ({error.strerror or type(error).__name__})",
            next_step="see to space and permissions, then run the same command again",
        ) from error
