"""What landing holds, to be found by patient and taken out: the only writer of a batch that is committed.

A batch's record is rewritten first, by rename, and counts what it lost; then the bytes go. So a record never names what is
not there, and what a killed run left is found by its bytes, which the record does not name, and goes with the next run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final

from readingroom.adapters.durable import alone, show, sync
from readingroom.adapters.landing import CLINICAL, INSTANCES, MAKING, RECORD, CommittedBatches, InboxFolder, batch_of
from readingroom.adapters.tree import Tree
from readingroom.application.ports_deid import Resolved
from readingroom.domain.clinical.record import Sort, Told
from readingroom.domain.errors import ReadingRoomError, TryAgain, WrongSetUp
from readingroom.domain.opt_out import Names

RETRACTED: Final = "retracted"  # among the counts of a batch


class LandingOriginals:
    """See the port `Originals`."""

    def __init__(self, landing: Path, tree: Tree, clinical: Resolved, *, jobs: int, key: bytes | None = None) -> None:
        """`tree` is that of `landing`; without `key`, tokens are of this run. Raises `WrongSetUp` for no landing."""
        self._landing = landing
        self._files = CommittedBatches(tree).files()
        self._inbox = InboxFolder(tree, jobs=jobs, clinical=clinical, files=self._files, told=_told, key=key)

    def names(self) -> Iterator[tuple[str, Names | None]]:
        """See the port."""
        for seen in self._inbox.seen():
            yield seen.input, None if seen.reason else seen.names

    def token(self, name: str) -> str:
        """See the port."""
        return self._inbox.token(name)

    def places(self, within: str) -> list[str]:
        """See the port."""
        if not (self._landing / within).is_dir():
            raise WrongSetUp(
                what="retract",
                which=within,
                why="landing has no such centre or batch",
                next_step="see how it is written there",
            )
        return [name for name in self._files if name.startswith(f"{within}/")]

    def remove(self, places: Sequence[str]) -> None:
        """See the port. What a killed ingest left of anybody is swept too: nobody could say whose it is."""
        self.each_batch(places, lambda batch, files: forget(batch / RECORD, files))

    def each_batch(self, places: Sequence[str], do: Callable[[Path, list[Path]], None]) -> None:
        """Does something to these originals, batch by batch, while their centre is locked and swept."""
        batches: dict[str, list[Path]] = {}
        for place in places:
            batches.setdefault(batch_of(place), []).append(self._landing / PurePosixPath(place))
        with _written():
            for centre in sorted(path for path in self._landing.iterdir() if path.is_dir() and not path.is_symlink()):
                with alone(centre, _busy(centre.name)):
                    for left in centre.glob(f"{MAKING}*"):
                        shutil.rmtree(left)
                    for batch, files in batches.items():
                        if batch.split("/")[0] == centre.name:
                            do(self._landing / batch, files)


def _told(place: str) -> Told:
    """What lies among the records is one, whatever its name says no more."""
    return Told(sort=Sort.DATA if place.split("/")[3] == CLINICAL else None)


def forget(path: Path, files: Sequence[Path]) -> None:
    """The record of a batch is without these files, and says how many of them it named until now; then they are gone."""
    gone = {file.stem for file in files}
    record: dict[str, Any] = json.loads(path.read_bytes())
    before = sum(len(record.get(kind, ())) for kind in (INSTANCES, CLINICAL))
    for kind in (INSTANCES, CLINICAL):
        if kind in record:
            record[kind] = [entry for entry in record[kind] if entry["sha256"] not in gone]
    lost = before - sum(len(record.get(kind, ())) for kind in (INSTANCES, CLINICAL))
    record["counts"][RETRACTED] = record["counts"].get(RETRACTED, 0) + lost
    draft = path.parent / f".{RECORD}"
    draft.unlink(missing_ok=True)
    draft.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draft.chmod(0o440)
    show(draft, path)
    for file in files:
        file.unlink(missing_ok=True)
    for folder in {file.parent for file in files}:
        sync(folder)


def _busy(centre: str) -> TryAgain:
    return TryAgain(
        what="landing",
        which=centre,
        why="a batch of this centre is being received",
        next_step="wait for it, then run the same command again",
    )


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except ReadingRoomError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WrongSetUp(
            what="landing",
            which="a batch",
            why=f"it cannot be read or written ({type(error).__name__})",
            next_step="see to space, permissions and the record of each batch, then run the same command again",
        ) from error
