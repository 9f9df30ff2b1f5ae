"""The ports of the door: where files come from, where they land, and who is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from readingroom.domain.door import Seen


class Inbox(Protocol):
    """What a centre sent: regular files of any name, somebody else's.

    1. `seen` gives each file once, checked by itself in a bounded place, in any order. A file that cannot be read or
       checked comes with its reason; nothing about it ends the run.
    2. Who a file is about stands there by tokens; `token` gives that of a name, the same in one run and in no other.
    3. `pieces` gives the bytes again; they may be others by now, so whoever stores them hashes them.
    """

    def __len__(self) -> int:
        """How many files there are."""
        ...

    def seen(self) -> Iterator[Seen]:
        """Each file as it is seen."""
        ...

    def token(self, name: str) -> str:
        """2."""
        ...

    def pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of one file. Raises `FileRejected` (unreadable) when it is gone or no regular file any more."""
        ...


class Batch(Protocol):
    """A batch in the making, seen by nobody until `commit`."""

    def store(self, pieces: Iterable[bytes], sha256: str, *, clinical: bool) -> bool:
        """Whether the bytes were those of the hash; then they are on the disk, else nothing of them stays.

        An instance lies apart from a clinical record.
        """
        ...

    def commit(self, batch: str, record: Mapping[str, Any]) -> None:
        """The batch is there, whole and for good, its record with it."""
        ...


class Landing(Protocol):
    """Received files of one centre: write-once, named by content.

    1. `stored` says where each content lies, of committed batches only; the next read sees what was committed.
    2. `batch` gives a place to work in; left without `commit`, or killed at any point, nothing of it was ever there.
    3. One batch at a time: `TryAgain` for a second.
    """

    def stored(self) -> dict[str, str]:
        """Place of each content by its SHA-256, relative to landing."""
        ...

    def batch(self) -> AbstractContextManager[Batch]:
        """A batch in the making."""
        ...


class Receipt(Protocol):
    """What the centre is told: identified, since it holds the names of files."""

    def write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """All lines, whole, in place of an earlier receipt."""
        ...
