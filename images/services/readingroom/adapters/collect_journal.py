"""The journal of a collection and the instances on their way, in one folder at the site. All of it is identified.

    question.json           what was asked: another question needs another folder
    studies.json            the studies that fit it; written once, whole
    studies/<number>.jsonl  of each study: first what is in it, then a line for each instance that is through
    spool/<association>/    instances that came and are not through, as in the spool of the network door
    receipt.json            counts alone

A line that a kill left half is no line. Folders are for the owner alone, and so are files (`umask`, by whoever starts this).
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from readingroom.adapters.bounded import Pool
from readingroom.adapters.durable import alone, show, sync
from readingroom.adapters.landing import DOOR, InboxFolder
from readingroom.adapters.spool import Arriving, Incoming, SpoolFolder
from readingroom.adapters.tree import Tree
from readingroom.application.ports_collect import Arrived
from readingroom.domain.clinical.record import Told
from readingroom.domain.collection import Content, Found, Instance, Missing, Question, Study, Tally, is_final
from readingroom.domain.deid.outcome import Reason
from readingroom.domain.door import Seen
from readingroom.domain.errors import ReadingRoomError, TryAgain, WrongSetUp
from readingroom.domain.peers import Limits

_OWNER: Final = 0o600
Look = Callable[[Sequence[str]], Iterable[tuple[Seen, Callable[[str], str]]]]


class AwaitingSpool(SpoolFolder):
    """Takes in what is awaited, each once, and nothing else."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        super().__init__(folder, limits, jobs=1)
        self._awaited: set[str] = set()
        self._waiting = threading.Lock()

    @contextmanager
    def awaiting(self, uids: Iterable[str]) -> Iterator[None]:
        """These, and meanwhile alone."""
        with self._waiting:
            self._awaited = set(uids)
        try:
            yield
        finally:
            with self._waiting:
                self._awaited = set()

    def takes(self, uid: str) -> bool:
        """Whether an instance is awaited; it is not any more, then."""
        with self._waiting:
            taken = uid in self._awaited
            self._awaited.discard(uid)
        return taken

    def begin(self, centre: str, now: datetime) -> Arriving:
        """See `SpoolFolder`. Its folder has its name at once: what is whole in it counts while the rest still comes."""
        folder = self.folder / f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"
        folder.mkdir()
        sync(self.folder)
        return _AwaitingArriving(self, folder)

    def kept(self) -> dict[str, list[Path]]:
        """Whole instances, by UID: the same one may have come twice."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.folder.glob("*/[0-9]*_*")):
            uid = path.name.partition("_")[2]
            if not uid.endswith(tuple(f".{reason}" for reason in Reason)):
                found.setdefault(uid, []).append(path)
        return found

    def drop(self, paths: Iterable[Path]) -> None:
        """Instances that are through go."""
        for path in paths:
            size = path.stat().st_size
            path.unlink()
            self.take(-size)

    def was_full(self) -> bool:
        """Whether something was refused for want of room; it is forgotten then."""
        marks = list(self.folder.glob(f"*/*.{Reason.OUT_OF_SPACE}"))
        for mark in marks:
            mark.unlink()
        return bool(marks)

    def sweep(self) -> None:
        """What was refused leaves nothing."""
        kept = {path for paths in self.kept().values() for path in paths}
        for path in self.folder.glob("*/[0-9]*_*"):
            if path not in kept:
                path.unlink()

    def _put_in_order(self) -> None:
        for part in self.folder.glob("*/.*"):
            part.unlink()
        self.sweep()
        for folder in self.folder.iterdir():
            if not any(folder.iterdir()):
                folder.rmdir()
        self._used = sum(path.stat().st_size for path in self.folder.glob("*/*"))


class _AwaitingArriving(Arriving):
    """See `Arriving`; refuses what is not awaited (PS3.7 annex C: invalid SOP instance)."""

    def begin(self, uid: str) -> Incoming:
        """See `Arriving`."""
        incoming = super().begin(uid)
        spool = self.spool
        if isinstance(spool, AwaitingSpool) and not spool.takes(uid):
            incoming.refuse(Reason.UID_MALFORMED)
        return incoming

    def end(self) -> None:
        """See `Arriving`; the folder stays as it is."""
        for incoming in list(self.under_way):
            incoming.refuse(Reason.TRUNCATED)


class JournalFolder:
    """See the port `Journal`."""

    def __init__(self, folder: Path, question: Question, limits: Limits) -> None:
        self._folder, self._question = folder, question
        self.spool = AwaitingSpool(folder / "spool", limits)
        self._found: Found | None = None
        self._key = secrets.token_bytes(32)
        self._pool = Pool(DOOR, {"key": self._key.hex(), "clinical": None})

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Held by one process at a time. Raises `TryAgain` when another has it, `WrongSetUp` when it is of another question."""
        busy = TryAgain(
            what="the journal",
            which=self._folder.name,
            why="another run works with it",
            next_step="let that one end, or give another folder",
        )
        with _used(self._folder), alone(self._folder, busy):
            self._folder.chmod(0o700)
            self._check_question()
            (self._folder / "studies").mkdir(exist_ok=True)
            self._found = self._read_found()
            with self.spool.opened(), self._pool:
                yield

    @property
    def found(self) -> Found | None:
        """See the port."""
        return self._found

    def note(self, found: Found) -> None:
        """See the port."""
        self._write("studies.json", {"studies": [study.uid for study in found.studies], "odd": found.odd})
        self._found = found

    @contextmanager
    def of(self, study: Study) -> Iterator[StudyKeeping]:
        """See the port."""
        uids = [each.uid for each in self._found.studies] if self._found else []
        number = uids.index(study.uid) + 1
        yield StudyKeeping(self._folder / "studies" / f"{number:06}.jsonl", study.uid, self.spool, self.seen)
        self.spool.sweep()

    def seen(self, names: Sequence[str]) -> Iterator[tuple[Seen, Callable[[str], str]]]:
        """What the door would say of files of the spool, with the tokens by which it says it.

        It looks in bounded children: no value of a file comes out of them.
        """
        with Tree(self._folder / "spool") as tree:
            look = InboxFolder(tree, jobs=1, files=names, told=lambda _: Told(), key=self._key, pool=self._pool)
            for seen in look.seen():
                yield seen, look.token

    def close(self, tally: Tally) -> None:
        """The receipt."""
        self._write("receipt.json", tally.to_document())

    def _check_question(self) -> None:
        path, asked = self._folder / "question.json", self._question.to_document()
        if not path.exists():
            self._write(path.name, asked)
        if _json(path.read_bytes(), path) != asked:
            raise WrongSetUp(
                what="the journal",
                which=self._folder.name,
                why="it belongs to another question",
                next_step="ask the same days, modalities and accession numbers, or give another folder",
            )

    def _read_found(self) -> Found | None:
        path = self._folder / "studies.json"
        if not path.exists():
            return None
        said = _json(path.read_bytes(), path)
        try:
            return Found(studies=tuple(Study(uid=uid) for uid in said["studies"]), odd=said["odd"])
        except (KeyError, TypeError) as error:
            raise _unreadable(path, error) from error

    def _write(self, name: str, document: object) -> None:
        draft = self._folder / f".{name}"
        draft.write_text(json.dumps(document, sort_keys=True) + "\n", encoding="ascii")
        draft.chmod(_OWNER)
        show(draft, self._folder / name)


class StudyKeeping:
    """See the port `Keeping`."""

    def __init__(self, record: Path, study: str, spool: AwaitingSpool, look: Look) -> None:
        self._record, self._study, self._spool, self._look = record, study, spool, look
        self._content: Content | None = None
        self._settled: dict[str, str] = {}
        self._paths: dict[str, list[Path]] = {}  # as they were seen last
        for line in _lines(record):
            self._read(line)
        for uid, paths in spool.kept().items():
            if is_final(self._settled.get(uid, Missing.NOT_SENT)):  # killed between the two
                spool.drop(paths)

    @property
    def content(self) -> Content | None:
        """See the port."""
        return self._content

    @property
    def settled(self) -> Mapping[str, str]:
        """See the port."""
        return self._settled

    def listed(self, content: Content) -> None:
        """See the port."""
        self._append({"content": asdict(content)})
        self._content = content

    def came(self) -> frozenset[str]:
        """See the port."""
        return frozenset(self._came())

    def judged(self) -> Sequence[Arrived]:
        """See the port."""
        names = {f"{paths[-1].parent.name}/{paths[-1].name}": (uid, paths[-1]) for uid, paths in self._came().items()}
        found = []
        for seen, token in self._look(sorted(names)) if names else ():
            (uid, path), reason = names[seen.input], ""
            if seen.identity is None:
                reason = (seen.reason or Reason.UNREADABLE).value
            elif (seen.identity.instance, seen.identity.study) != (token(uid), token(self._study)):
                reason = Missing.ANOTHER.value
            found.append(Arrived(uid=uid, path=str(path), sha256=seen.sha256, reason=reason))
        return sorted(found, key=lambda each: each.uid)

    def settle(self, uid: str, reason: str = "") -> None:
        """See the port. The line comes first: bytes without a line are looked at again, a line without bytes is enough."""
        self._append({"instance": uid, "missing": reason})
        self._settled[uid] = reason
        if is_final(reason):
            self._spool.drop(self._paths.pop(uid, ()))

    def _came(self) -> dict[str, list[Path]]:
        listed = {instance.uid for instance in self._content.instances} if self._content else set()
        self._paths = {uid: paths for uid, paths in self._spool.kept().items() if uid in listed}
        return self._paths

    def _append(self, line: Mapping[str, Any]) -> None:
        new = not self._record.exists()
        descriptor = os.open(self._record, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _OWNER)
        try:
            text = json.dumps(line, sort_keys=True).encode("ascii") + b"\n"
            while text:
                text = text[os.write(descriptor, text) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            sync(self._record.parent)

    def _read(self, line: Mapping[str, Any]) -> None:
        try:
            if "content" in line:
                said = line["content"]
                self._content = Content(**{**said, "instances": tuple(Instance(**each) for each in said["instances"])})
            else:
                self._settled[line["instance"]] = line["missing"]
        except (KeyError, TypeError) as error:
            raise _unreadable(self._record, error) from error


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """Whole lines; what a kill left of one more is cut off."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    for line in content[:whole].splitlines():
        yield _json(line, path)


def _json(content: bytes, path: Path) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> WrongSetUp:
    return WrongSetUp(
        what="the journal",
        which=path.name,
        why=f"it cannot be read ({type(error).__name__})",
        next_step="restore it, or begin anew with another folder: what is sent again is received once",
    )


@contextmanager
def _used(folder: Path) -> Iterator[None]:
    try:
        yield
    except ReadingRoomError:
        raise
    except OSError as error:
        raise WrongSetUp(
            what="the journal",
            which=folder.name,
            why=f"it cannot be read or written ({error.strerror or type(error).__name__})",
            next_step="see to space and permissions, then run the same command again: it goes on from here",
        ) from error
