"""`Ledger` without files: it keeps the same contract, under the same tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class MemoryLedger:
    """What was committed of one plan, as long as the process lives."""

    def __init__(self) -> None:
        self._shards: dict[int, tuple[Mapping[str, Any], ...]] = {}

    def commit(self, shard: int, entries: Sequence[Mapping[str, Any]]) -> None:
        """See the port."""
        self._shards[shard] = tuple(entries)

    def entries(self, shard: int) -> Iterator[Mapping[str, Any]] | None:
        """See the port."""
        return iter(self._shards[shard]) if shard in self._shards else None
