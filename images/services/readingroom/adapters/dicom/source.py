"""Bytes by offset, from an open descriptor: small files whole, large ones through a window, deflated ones inflated to disk.

Nothing is mapped: an address limit counts a mapping in full.
"""

from __future__ import annotations

import os
import tempfile
import weakref
import zlib
from collections.abc import Iterator
from typing import Final

from readingroom.domain.deid.outcome import FileRejected, Reason

LARGEST_FILE: Final = 2 << 30
LARGEST_INFLATED: Final = 512 << 20
RATIO_FROM: Final = 64 << 20  # beyond this much, no more than RATIO to one
RATIO: Final = 200
WINDOW: Final = 1 << 20
WHOLE: Final = 8 << 20
PIECE: Final = 4 << 20


class Source:
    """A file's bytes. The descriptor stays the caller's."""

    def __init__(self, descriptor: int) -> None:
        """Raises `FileRejected` (over-limit) for a file of more than 2 GiB."""
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        if self.size > LARGEST_FILE:
            raise FileRejected(Reason.OVER_LIMIT)
        self._from = 0
        self._window = b""

    def take(self, at: int, length: int) -> bytes:
        """`length` bytes from `at`, fewer where the file ends."""
        start = at - self._from
        if start < 0 or start + length > len(self._window):
            self._from = 0 if self.size <= WHOLE else at
            self._window = self._read(self._from, self.size if self.size <= WHOLE else max(length, WINDOW))
            start = at - self._from
        return self._window[start : start + length]

    def pieces(self, at: int, length: int) -> Iterator[bytes]:
        """The same bytes in pieces of a few megabytes."""
        end = min(at + length, self.size)
        while at < end:
            piece = self.take(at, min(PIECE, end - at))
            if not piece:
                return
            yield piece
            at += len(piece)

    def _read(self, at: int, length: int) -> bytes:
        whole = os.pread(self._descriptor, min(length, 1 << 30), at)
        if len(whole) == length or not whole:
            return whole  # nearly always: and no copy
        found = bytearray(whole)
        while len(found) < length:
            piece = os.pread(self._descriptor, min(length - len(found), 1 << 30), at + len(found))
            if not piece:
                break
            found += piece
        return bytes(found)


class Inflated(Source):
    """A deflated data set, inflated to a nameless temporary file. Bounded on the way, not afterwards. PS3.5 A.5."""

    def __init__(self, source: Source, at: int) -> None:
        """Raises `FileRejected`: truncated, malformed, or over-limit."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with this object)
        weakref.finalize(self, self._file.close)
        engine, written = zlib.decompressobj(-zlib.MAX_WBITS), 0
        try:
            for piece in source.pieces(at, source.size - at):
                waiting = piece
                while waiting and not engine.eof:
                    out = engine.decompress(waiting, PIECE)
                    waiting = engine.unconsumed_tail
                    written += len(out)
                    _check_size(written, source.size - at)
                    self._file.write(out)
                if engine.eof:
                    break
        except zlib.error as error:
            raise FileRejected(Reason.MALFORMED) from error
        if not engine.eof:
            raise FileRejected(Reason.TRUNCATED)
        self._file.flush()
        super().__init__(self._file.fileno())


def _check_size(written: int, deflated: int) -> None:
    if written > LARGEST_INFLATED or (written > RATIO_FROM and written > RATIO * deflated):
        raise FileRejected(Reason.OVER_LIMIT)
