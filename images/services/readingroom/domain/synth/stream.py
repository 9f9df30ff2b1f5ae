"""Chance as a keyed counter: the same seed and path give the same numbers, on any machine and in any order.

Whole numbers only. A float's last digit may differ between machines, and `random` has a state that everybody shares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Stream:
    """Numbers that depend on a path of names and numbers, the seed first, and on how many were drawn before."""

    __slots__ = ("_count", "_key", "_path")

    def __init__(self, *path: str | int) -> None:
        self._path = path
        self._key = hashlib.sha256("/".join(map(str, path)).encode("utf-8")).digest()
        self._count = 0

    def child(self, *more: str | int) -> Stream:
        """A stream of its own: what is drawn here changes nothing there."""
        return Stream(*self._path, *more)

    def below(self, end: int) -> int:
        """A number from 0 to `end`, which is left out. Of 64 bits: no bias that a count could show."""
        self._count += 1
        digest = hashlib.sha256(self._key + self._count.to_bytes(8, "big")).digest()
        return int.from_bytes(digest[:8], "big") % end

    def between(self, low: int, high: int) -> int:
        """A number from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def chance(self, share: int, of: int = 1000) -> bool:
        """Whether what happens `share` times in `of` happens now."""
        return self.below(of) < share

    def pick(self, choices: Sequence[T]) -> T:
        """One of several, all alike."""
        return choices[self.below(len(choices))]

    def weighted(self, choices: Sequence[tuple[T, int]]) -> T:
        """One of several, each as often as its weight says."""
        drawn = self.below(sum(weight for _, weight in choices))
        for choice, weight in choices[:-1]:
            if drawn < weight:
                return choice
            drawn -= weight
        return choices[-1][0]

    def geometric(self, mean_tenths: int) -> int:
        """How many tries until it succeeds, first try included, where the mean is `mean_tenths` / 10."""
        tries = 1
        while not self.chance(10, mean_tenths):
            tries += 1
        return tries

    def token(self) -> bytes:
        """Sixteen bytes that name what is made next: the key of its noise."""
        return self.below(1 << 64).to_bytes(8, "big") + self.below(1 << 64).to_bytes(8, "big")
