"""Landing and receipts as the quality report reads them: batch by batch, line by line, nothing kept of either."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from readingroom.adapters.bounded import Call, Pool
from readingroom.adapters.landing import CLINICAL, INSTANCES, RECORD, CommittedBatches, record_unreadable
from readingroom.adapters.tree import Tree
from readingroom.domain.clinical.cells import How
from readingroom.domain.clinical.record import Sort
from readingroom.domain.deid.outcome import Reason
from readingroom.domain.door import CENTRE, Answer
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.quality import BatchLook, ImageLook, RecordLook

WORKER: Final = "readingroom.adapters.quality_worker:factory"
LONGEST_LINE: Final = 1 << 20
NEW: Final = "new"  # received without a reason


class LandingContents:
    """See the port `Received`."""

    def __init__(self, tree: Tree, *, jobs: int, clinical: Mapping[str, Any], makers: Sequence[str]) -> None:
        self._tree, self._jobs = tree, jobs
        self._setup = {"key": secrets.token_bytes(32).hex(), "clinical": clinical, "makers": list(makers)}

    def centres(self) -> Sequence[str]:
        """See the port."""
        return [name for name in self._tree.folders("") if CENTRE.fullmatch(name)]

    def batches(self, centre: str) -> Iterator[BatchLook]:
        """See the port."""
        for batch in self._batches(centre):
            try:
                with os.fdopen(self._tree.open(f"{batch}/{RECORD}"), "rb") as file:
                    record = json.load(file)
                counts = {str(name): int(count) for name, count in record["counts"].items()}
                numbers = len(record[INSTANCES]), len(record.get(CLINICAL, ()))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise record_unreadable(error) from error
            yield BatchLook(day=batch.split("/")[1], instances=numbers[0], records=numbers[1], counts=counts)

    def looks(self, centre: str) -> Iterator[ImageLook | RecordLook | None]:
        """See the port."""
        gone: list[None] = []
        with Pool(WORKER, self._setup, jobs=self._jobs) as pool:
            for answer in pool.run(self._calls(centre, gone)):
                yield from gone
                gone.clear()
                yield _look(answer.document)
        yield from gone

    def _batches(self, centre: str) -> Iterator[str]:
        for day in self._tree.folders(centre):
            for batch in self._tree.folders(f"{centre}/{day}"):
                yield f"{centre}/{day}/{batch}"

    def _calls(self, centre: str, gone: list[None]) -> Iterator[Call[None]]:
        for batch in self._batches(centre):
            names = self._tree.files(hidden=False, below=batch)
            if f"{batch}/{RECORD}" not in names:
                continue
            told = CommittedBatches(self._tree).told  # of one batch: it keeps what it has read
            for name in names:
                kind = name.split("/")[3]
                if kind not in {INSTANCES, CLINICAL}:
                    continue
                sort = (told(name).sort or Sort.DATA) if kind == CLINICAL else None
                try:
                    descriptor = self._tree.open(name)
                except OSError:  # retracted meanwhile
                    gone.append(None)
                    continue
                yield Call(key=None, document={"sort": sort}, descriptors=(descriptor,))


def _look(document: Mapping[str, Any]) -> ImageLook | RecordLook | None:
    if "modality" in document:
        return ImageLook(**document)
    if "how" in document:
        how = {name: How(each) for name, each in document["how"].items()}
        lists = {name: tuple(document[name]) for name in ("unclear", "assumed")}
        return RecordLook(**{**document, **lists, "how": how})
    return None


class ReceiptFiles:
    """See the port `Receipts`: files that `ingest --receipt` wrote, by the centre they are said to be of."""

    def __init__(self, files: Iterable[tuple[str, Path]]) -> None:
        self._files = list(files)

    def of(self, centre: str) -> Iterator[Iterator[tuple[str, str]]]:
        """See the port."""
        for code, path in self._files:
            if code == centre:
                yield _lines(path, centre)


def _lines(path: Path, centre: str) -> Iterator[tuple[str, str]]:
    """Raises `WrongSetUp` also for a receipt whose outputs lie with another centre."""
    try:
        with path.open("rb") as file:
            for number, text in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), start=1):
                yield _answer(text, number, centre)
    except OSError as error:
        raise _off("the file given", f"it cannot be read ({type(error).__name__})") from error


def _answer(text: bytes, number: int, centre: str) -> tuple[str, str]:
    try:
        line = json.loads(text)
        outcome, reason, output = Answer(line["outcome"]), line["reason"], line["output"]
        told = Reason(reason).value if reason is not None else NEW
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _off(f"line {number}", "it is no line of a receipt") from error
    if output is not None and not str(output).startswith(f"{centre}/"):
        raise _off(f"line {number}", f"it is not of centre {centre}")
    return outcome.value, told


def _off(which: str, why: str) -> WrongSetUp:
    return WrongSetUp(
        what="receipt", which=which, why=why, next_step="give what `readingroom ingest --receipt` wrote for this centre"
    )
