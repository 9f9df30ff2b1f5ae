"""A run cut into shards of whole patients, so that several workers can share it. `data.md` section 14.

Where an image goes and what it is called follow from the file alone, so no cut and no order can change an output.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """One content that may be released: its inputs (the first stands for all), a mark of its bytes, and where it belongs."""

    number: int  # in the order of the inputs
    paths: tuple[str, ...]
    content: str
    size: int
    patient: str
    place: str


@dataclass(frozen=True, kw_only=True)
class ShardLimits:
    """The most that a shard holds, unless one patient alone has more."""

    instances: int
    bytes: int


def shards_of(images: Sequence[Image], limits: ShardLimits, at_least: int = 1) -> list[list[Image]]:
    """Shards of whole patients, about alike in bytes; `at_least` so many where there are so many patients.

    The largest patient first, each to the shard that has least: the same images give the same shards.
    """
    patients: dict[str, list[Image]] = {}
    for image in images:
        patients.setdefault(image.patient, []).append(image)
    sized = sorted(((sum(image.size for image in theirs), name) for name, theirs in patients.items()), reverse=True)
    shards: list[list[Image]] = [[] for _ in range(min(at_least, len(patients)))]
    least = [(0, 0, number) for number in range(len(shards))]  # bytes, instances and number of each shard: a heap
    for size, name in sized:
        theirs = patients[name]
        held, count, number = least[0]
        if count and (held + size > limits.bytes or count + len(theirs) > limits.instances):
            number = len(shards)
            shards.append([])
            heapq.heappush(least, (size, len(theirs), number))
        else:
            heapq.heapreplace(least, (held + size, count + len(theirs), number))
        shards[number] += theirs
    return [sorted(shard, key=lambda image: image.number) for shard in shards]
