"""De-identify in shards: one `plan`, any number of workers at a time, in any order and again after any end, one `finish`.

What comes out is byte for byte what `deidentify` alone writes: these are its own three steps. What was done of a shard counts
once, when all its files are in place and its entries are committed; a worker that finds both has nothing to do.
"""

from __future__ import annotations

import base64
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Final

from readingroom.application.deidentify import Acted, Plan, Run, Sheets, World, finish, plan, release
from readingroom.application.ports_deid import Document, Ledger, ShardPlan, Warehouse
from readingroom.domain.deid.outcome import Verdict
from readingroom.domain.deid.shards import Image, ShardLimits, shards_of
from readingroom.domain.errors import Refused, TryAgain, WrongSetUp

REST: Final = "rest"
_SHARDS: Final = "a run in shards"
Write = Callable[[Document, Sequence[Document]], str]


def plan_shards(run: Run, world: World, limits: ShardLimits, at_least: int, write: Write) -> tuple[str, list[int]]:
    """The digest of the plan, and how many images each shard has. `write` takes the rest and the shards."""
    planned = plan(run, world)
    known = planned.verdicts
    shards = shards_of(planned.images, limits, at_least)
    rest = {
        "paths": list(planned.paths),
        "verdicts": {path: asdict(known[path]) for path in planned.paths if path in known},
        "tables": {place: base64.b64encode(content).decode("ascii") for place, content in planned.tables.items()},
        "manifest": list(planned.manifest),
    }
    return write(rest, [{"images": [asdict(image) for image in shard]} for shard in shards]), list(map(len, shards))


def work_shard(run: Run, world: World, terms: Document, staged: ShardPlan, ledger: Ledger, shard: int) -> bool:
    """Releases the images of one shard. Whether there was anything to do.

    Raises `Refused` for a plan made under other terms than this worker's, or that is not what was planned.
    """
    if staged.is_finished():
        return False
    head = staged.head()
    if head["run"] != terms:
        raise Refused(
            what=_SHARDS,
            which=f"shard {shard}",
            why="it was planned for another project, by other rules, keys or engine, or with another --explain",
            next_step="plan again",
        )
    if not 0 <= shard < head["shards"]:
        raise WrongSetUp(
            what=_SHARDS, which=f"shard {shard}", why=f"the plan has {head['shards']}", next_step="give one of them"
        )
    images = _images(staged, shard)
    if _is_done(images, ledger.entries(shard), world.warehouse):
        return False
    acted = release(run, world, images, sure=True)
    entries = [_entry(image, done) for image, done in zip(images, acted, strict=True)]
    world.warehouse.settle()
    ledger.commit(shard, entries)
    return True


def finish_shards(
    run: Document, staged: ShardPlan, ledger: Ledger, warehouse: Warehouse, sheets: Sheets
) -> Counter[tuple[str, str]] | None:
    """Counts, or None for a plan that was finished before. `run` holds what must be true of the plan.

    Raises `TryAgain` while a shard is not done.
    """
    if staged.is_finished():
        staged.finished()
        return None
    head = staged.head()
    if any(head["run"][name] != value for name, value in run.items()):
        raise Refused(
            what=_SHARDS, why="it was planned for another project, or with another --explain", next_step="plan again"
        )
    shards = range(head["shards"])
    images = {shard: _images(staged, shard) for shard in shards}
    missing = [shard for shard in shards if not _is_done(images[shard], ledger.entries(shard), warehouse)]
    if missing:
        raise TryAgain(
            what=_SHARDS,
            which=f"shard {missing[0]}",
            why=f"{len(missing)} of {len(shards)} are not done",
            next_step="do them, then finish",
        )
    rest = staged.part(REST)
    planned = Plan(
        paths=rest["paths"],
        verdicts={path: Verdict(**verdict) for path, verdict in rest["verdicts"].items()},
        images=sorted(itertools.chain.from_iterable(images.values()), key=lambda image: image.number),
        tables={place: base64.b64decode(content) for place, content in rest["tables"].items()},
        manifest=rest["manifest"],
    )
    told = [ledger.entries(shard) or iter(()) for shard in shards]
    acted = map(_acted, heapq.merge(*told, key=lambda entry: entry["number"]))
    counts = finish(planned, acted, warehouse, sheets)
    staged.finished()
    return counts


def _images(staged: ShardPlan, shard: int) -> list[Image]:
    return [Image(**{**each, "paths": tuple(each["paths"])}) for each in staged.part(str(shard))["images"]]


def _is_done(images: Sequence[Image], entries: Iterator[Document] | None, warehouse: Warehouse) -> bool:
    """The ledger has exactly these contents, and their files are in place: somebody may have swept them since."""
    told = [(entry["content"], entry["line"] and entry["line"]["path"]) for entry in entries or ()]
    if entries is None or [content for content, _ in told] != [image.content for image in images]:
        return False
    released = {place for _, place in told if place}
    return released <= {image.place for image in images} and warehouse.holds(released)


def _entry(image: Image, done: Acted) -> Document:
    return {"number": image.number, "content": image.content, **asdict(done)}


def _acted(entry: Document) -> Acted:
    return Acted(verdict=Verdict(**entry["verdict"]), line=entry["line"], explained=entry["explained"])
