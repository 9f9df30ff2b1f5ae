"""Damaged copies of the DICOM files that the packages pydicom and pydicom-data hold: seeded, so that a find can be made again.

Each must end released, held or rejected, with a line in the receipt; none may end its process or take it for long.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

from readingroom.adapters.dicom.dictionary import vr_of
from readingroom.adapters.dicom.prescan import prescan
from readingroom.adapters.dicom.source import Source
from readingroom.domain.deid.instance import UIDS
from readingroom.domain.deid.outcome import FileRejected, Reason

LARGEST = 1 << 20  # of a file that is damaged: the structure is what counts, and a small file has all of it
LENGTHS = (0, 1, 2, 0xFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
HEAD = re.compile(rb"[A-Z]{2}")
NEVER = frozenset({Reason.CRASH, Reason.TIME_OUT, Reason.VERIFIER})
BATCH = 500
Mutate = Callable[[Random, bytearray, list[int]], None]


@dataclass(frozen=True)
class Survived:
    """What became of a number of mutants."""

    counts: Counter[tuple[str, str]]
    unanswered: int
    never: list[str]  # mutants that ended as none may, by name
    peak: int  # bytes of the largest process


def folders(*packages: str) -> list[Path]:
    """Where packages keep their data; one of them is not there in every environment."""
    found = [find_spec(package) for package in packages]
    return [Path(place) for spec in found if spec for place in spec.submodule_search_locations or []]


@cache
def originals() -> list[bytes]:
    """The files that a copy is made of."""
    paths = [path for folder in folders("pydicom.data", "data_store") for path in sorted(folder.rglob("*"))]
    wanted = (path for path in paths if path.is_file() and path.suffix not in {".py", ".pyc"})
    return [path.read_bytes() for path in wanted if path.stat().st_size <= LARGEST]


@dataclass(frozen=True)
class Places:
    """Where the elements of a file's top level begin, and where the values of its own UIDs stand; nothing of one that cannot
    be walked, or is deflated."""

    begin: list[int]
    uids: list[tuple[int, int]]


def places(path: Path) -> Places:
    with path.open("rb") as file:
        try:
            scan = prescan(Source(file.fileno()), vr_of)
        except FileRejected:
            return Places([], [])
    found = scan.elements if scan.source.size == path.stat().st_size else []
    return Places(
        [element.at - 8 for element in found], [(each.at, each.length) for each in found if each.tag in UIDS.values()]
    )


def name_anew(data: bytearray, uids: list[tuple[int, int]], number: int) -> None:
    """UIDs of its own, so that no mutant is held for what another one says."""
    for at, length in uids[1:]:  # the first is that of its class
        own = f"2.999.{number + 1}.{at}".encode("ascii")
        if len(own) <= length:
            data[at : at + length] = own.ljust(length, b"\0")


def flip(chance: Random, data: bytearray, _: list[int]) -> None:
    for _each in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def cut(chance: Random, data: bytearray, _: list[int]) -> None:
    del data[chance.randrange(len(data)) :]


def relength(chance: Random, data: bytearray, _: list[int]) -> None:
    """A number that says how long something is says something else."""
    heads = [found.end() for found in HEAD.finditer(data, 132, min(len(data), 20_000))] or [132]
    at, size = chance.choice(heads), chance.choice((2, 4))
    data[at : at + size] = (chance.choice(LENGTHS) & (1 << 8 * size) - 1).to_bytes(size, "little")


def duplicate(chance: Random, data: bytearray, at: list[int]) -> None:
    place = chance.randrange(len(at) - 1)
    whole = data[at[place] : at[place + 1]]
    where = chance.choice(at)
    data[where:where] = whole


def swap(chance: Random, data: bytearray, at: list[int]) -> None:
    one, two = sorted(chance.sample(range(len(at) - 1), 2))
    first, second = data[at[one] : at[one + 1]], data[at[two] : at[two + 1]]
    data[at[two] : at[two + 1]] = first
    data[at[one] : at[one + 1]] = second


def mutants(number: int, seed: int, work: Path) -> Iterator[tuple[str, bytes]]:
    """So many damaged files, by names that say how; `work` is a folder to walk the originals in."""
    chance = Random(seed)  # noqa: S311 (damage, not a secret)
    known: dict[int, Places] = {}
    for count in range(number):
        which = chance.randrange(len(originals()))
        data = bytearray(originals()[which])
        if which not in known:
            (work / "original").write_bytes(data)
            known[which] = places(work / "original")
        at = known[which].begin
        name_anew(data, known[which].uids, count)
        ways: tuple[Mutate, ...] = (flip, cut, relength, duplicate, swap) if len(at) > 3 else (flip, cut, relength)
        way = chance.choice(ways)
        way(chance, data, at)
        yield f"{seed}-{count:05d}-{which:03d}-{way.__name__}", bytes(data)


def survive(number: int, work: Path, *, seed: int = 1) -> Survived:
    """The mutants through `readingroom deid`, some hundreds at a time: each is a process's life."""
    counts: Counter[tuple[str, str]] = Counter()
    unanswered, never = 0, []
    (work / "key").write_bytes(bytes(range(32)))
    for batch, first in enumerate(range(0, number, BATCH)):
        source = work / f"in-{batch}"
        source.mkdir()
        names = set()
        for name, data in mutants(min(BATCH, number - first), seed + batch, work):
            (source / name).write_bytes(data)
            names.add(name)
        answers = _answers(source, work)
        unanswered += len(names ^ {answer["input"] for answer in answers}) + len(answers) - len(names)
        counts.update((answer["outcome"], answer["reason"] or "") for answer in answers)
        never += [f"{answer['input']}: {answer['reason']}" for answer in answers if answer["reason"] in NEVER]
        for name in names:
            (source / name).unlink()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
    return Survived(counts, unanswered, never, peak)


def _answers(source: Path, work: Path) -> list[dict[str, Any]]:
    receipt = work / "receipt.jsonl"
    command = str(Path(sys.executable).with_name("readingroom"))
    done = subprocess.run(
        [command, "deid", str(source), f"{source}.out", "--project", "mutants", "--key-file", str(work / "key"),
         "--receipt", str(receipt)],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    return [json.loads(line) for line in receipt.read_text(encoding="ascii").splitlines()]
