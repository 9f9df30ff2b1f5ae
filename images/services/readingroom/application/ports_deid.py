"""What de-identification needs from the world: a folder to read, children to work in, a warehouse to write, sheets to fill."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from readingroom.domain.clinical.cells import Value
from readingroom.domain.clinical.policy import TableColumn

Document = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A profile with everything put in, and the hash that names it."""

    document: Document
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """One file and what a worker is asked about it: to look, to release it into a staged file, or to clean it."""

    path: str
    ask: Document
    staged: int | None = None  # number of the staged file


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of a task: the worker's answer, which holds no value of the file, or a fault's code in it."""

    task: Task
    answer: Document


class Inputs(Protocol):
    """A folder of identified files.

    1. `files` lists every regular file below the folder, sorted, without following a link.
    2. The names are used to find a file again and for the receipt; nothing else may hold them.
    """

    def files(self) -> Sequence[str]:
        """1."""
        ...


class Workers(Protocol):
    """Bounded processes.

    1. Each task gets exactly one answer, in any order, whatever the file does: a crash, a time-out or too much memory
       is answered with `{"outcome", "reason"}` and the next task is unharmed.
    2. Answers depend on file, profile, keys and project alone; not on order, number of processes, or time.
    """

    def run(self, tasks: Iterable[Task]) -> Iterator[Done]:
        """1, 2."""
        ...


class Warehouse(Protocol):
    """De-identified files of one project, `OUT_DIR`.

    1. A staged file is not seen until it is renamed to its place, after `commit`, at the latest by `finish`; what is seen
       is whole and on disk.
    2. `finish` writes the manifest, by rename, and removes what it does not name. Repeated with the same, nothing changes.
    3. Whatever ends a run early leaves no half file in place, and the next run clears the rest.
    4. Shards of one run write at the same time; none of them finishes.
    """

    def commit(self, staged: int, place: str) -> None:
        """1. Raises `WrongSetUp` when the disk refuses."""
        ...

    def discard(self, staged: int) -> None:
        """Forgets a staged file."""
        ...

    def put(self, place: str, content: bytes) -> None:
        """A whole file of the clinical table, in its place at once. Raises as `commit` does."""
        ...

    def settle(self) -> None:
        """All that was committed is in its place and on disk. Raises as `commit` does."""
        ...

    def holds(self, places: Iterable[str]) -> bool:
        """Whether a file is in each of these places."""
        ...

    def finish(self, manifest: Sequence[Document]) -> None:
        """2."""
        ...


class Sheet(Protocol):
    """Lines for the identified side: a receipt, or the explain log. Complete or not there."""

    def line(self, document: Document) -> None:
        """Adds a line."""
        ...

    def close(self) -> None:
        """Puts the sheet in its place."""
        ...


class Tables(Protocol):
    """The clinical table as files. Equal columns and rows give equal bytes."""

    def files(self, columns: Sequence[TableColumn], rows: Sequence[Mapping[str, Value]]) -> Mapping[str, bytes]:
        """The table twice and its data dictionary, by their names in the warehouse."""
        ...


class ShardPlan(Protocol):
    """The plan of a run in shards, on the identified side, by its digest.

    1. What is read is byte for byte what was planned: each part's hash stands in the head, the head's is the digest.
       Raises `Refused` otherwise, and `WrongSetUp` when it is not there.
    2. `finished` is told last and may be told again; from then on nothing of the plan but that is kept.
    """

    def head(self) -> Document:
        """1: `{"run", "shards", "parts"}`."""
        ...

    def part(self, name: str) -> Document:
        """1: a shard, by its number, or `rest`."""
        ...

    def is_finished(self) -> bool:
        """2."""
        ...

    def finished(self) -> None:
        """2."""
        ...


class Ledger(Protocol):
    """What was done of one plan, which stands for project, rules and engine; each entry names the content it is about.

    1. `commit` is one act for a whole shard: all of it is read afterwards, or nothing.
    2. Repeated with the same, nothing changes: a content is never there twice.
    """

    def commit(self, shard: int, entries: Sequence[Document]) -> None:
        """1, 2."""
        ...

    def entries(self, shard: int) -> Iterator[Document] | None:
        """The entries in their order; None for a shard that was not committed."""
        ...
