"""Rules of a resumable upload: what it is called, how a file of it grows, and how much one answer may hold.

An upload is the files of one sending. Its key is made of them (`key_of`), so whoever sends the same files again means the same
upload: it goes on where it was, or is done already. A file is known by its SHA-256 alone; no name of a hospital's comes along.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from readingroom.domain.peers import Limits

KEY: Final = re.compile(r"[0-9a-f]{32}")
CONTENT: Final = re.compile(r"[0-9a-f]{64}")
LARGEST_CHUNK: Final = 8 << 20  # bytes


class State(StrEnum):
    """Of an upload: files still come; all came and wait to be ingested; it is ingested and has a receipt."""

    OPEN = "open"
    WAITING = "waiting"
    DONE = "done"


class Answer(StrEnum):
    """What becomes of one chunk."""

    TAKEN = "taken"
    ELSEWHERE = "elsewhere"  # another offset is due: the answer says which
    DAMAGED = "damaged"  # the chunk is not what its digest says, or the whole file is not what its name says
    OVER_LIMIT = "over-limit"
    OUT_OF_SPACE = "out-of-space"
    CLOSED = "closed"  # all files of this upload came before


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """A piece of one file: where it belongs, how large the file will be, and what it holds."""

    content: str  # SHA-256 of the whole file
    offset: int
    size: int  # of the whole file
    data: bytes


def key_of(contents: Iterable[str]) -> str:
    """The key of an upload of files with these SHA-256s, in any order."""
    return hashlib.sha256("\n".join(sorted(contents)).encode("ascii")).hexdigest()[:32]


def fits(chunk: Chunk, sizes: Mapping[str, int], limits: Limits) -> bool:
    """Whether an upload that holds files of these sizes may take this chunk. Only a file's end may bring nothing."""
    end = chunk.offset + len(chunk.data)
    return (
        end <= chunk.size <= limits.object_bytes
        and (bool(chunk.data) or end == chunk.size)
        and len(sizes) + (chunk.content not in sizes) <= limits.association_objects
        and sum(sizes.values()) + len(chunk.data) <= limits.association_bytes
    )
