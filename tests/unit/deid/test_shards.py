"""A run in shards: the bytes of an unsharded one, for any cut, in any order, killed wherever it may be and started again."""

from __future__ import annotations

import functools
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from readingroom.adapters.deid_staging import StagedPlan, write_plan
from readingroom.adapters.memory.ledger import MemoryLedger
from readingroom.adapters.tables import TableFiles
from readingroom.adapters.tree import Tree
from readingroom.adapters.warehouse import FileSheet, FolderWarehouse
from readingroom.application.clean_clinical import Clinical
from readingroom.application.deidentify import Run, Sheets, World, deidentify
from readingroom.application.deidentify_shards import finish_shards, plan_shards, work_shard
from readingroom.application.ports_deid import Ledger
from readingroom.domain.clinical.record import told_by
from readingroom.domain.deid.shards import Image, ShardLimits, shards_of
from readingroom.domain.errors import Refused, TryAgain, WrongSetUp
from readingroom.domain.ids import project_id
from tests import dicom_factory as make
from tests.unit.clinical.engine import InProcess, by_chance, policy, record
from tests.unit.deid.engine import resolved

RUN = Run(project=project_id("demo"), profile="nccid", profile_sha256=resolved().sha256)
TERMS = {"project": "demo", "explain": True, "engine": "this one"}
ROOM = ShardLimits(instances=2000, bytes=1 << 30)


def ct(number: int, patient: int, **changes: Any) -> bytes:
    own = {
        "x00100020": ("LO", f"P{patient}"),
        "x0020000D": ("UI", f"1.2.9.{patient}"),
        "x00080018": ("UI", f"1.2.3.{number}"),
        "x00200013": ("IS", str(number)),
    }
    return make.part10(make.ct(make.slice_pixels(16, seed=number), **{**own, **changes}))


FILES: Mapping[str, bytes] = {
    "one/a": ct(1, 1),
    "one/b": ct(2, 1),
    "again": ct(1, 1),  # the same bytes
    "two": ct(3, 2),
    "mid": ct(4, 3),
    "z-two": ct(5, 2),
    "doubt1": ct(6, 4),
    "doubt2": ct(6, 4, x00180060=("DS", "100")),  # one instance UID, other bytes
    "born1": ct(7, 5, x00100030=("DA", "19600101")),
    "born2": ct(8, 5, x00100030=("DA", "19610101")),  # a patient of two birth dates
    "film": ct(9, 1, x00080016=("UI", make.CR_CLASS)),  # held
    "text": b"no DICOM at all",
    "odd\udcff": b"",
    "p1_data.json": record("P1", Age=61),
    "p9_data.json": record("P9", Age=62),
}


@functools.cache
def expected() -> dict[str, bytes]:
    """What an unsharded run leaves."""
    with folder() as here:
        with opened(here) as world, sheets(here) as told:
            deidentify(RUN, world, told)
        return left(here)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        for path, data in FILES.items():
            place = Path(name, "in", path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        yield Path(name)


@contextmanager
def opened(here: Path, shard: int | None = None, chance: int = 0) -> Iterator[World]:
    with ExitStack() as things:
        tree = things.enter_context(Tree(here / "in"))
        warehouse = FolderWarehouse(here / "out", "demo", shard)
        things.callback(warehouse.close)
        report = FileSheet(here / "report") if shard is None else None
        if report:
            things.callback(report.abandon)
        clinical = Clinical(policy=policy(), tables=TableFiles(), told=told_by, report=report)
        workers = InProcess(tree, warehouse, "demo", chance, ())
        yield World(inputs=tree, workers=workers, warehouse=warehouse, clinical=clinical)


@contextmanager
def sheets(here: Path) -> Iterator[Sheets]:
    receipt, explain = FileSheet(here / "receipt"), FileSheet(here / "explain")
    try:
        yield Sheets(receipt=receipt, explain=explain)
    finally:
        receipt.abandon()
        explain.abandon()


def left(here: Path) -> dict[str, bytes]:
    found = {p.relative_to(here).as_posix(): p.read_bytes() for p in sorted((here / "out").rglob("*")) if p.is_file()}
    return found | {name: (here / name).read_bytes() for name in ("receipt", "explain", "report")}


def planned(here: Path, at_least: int, limits: ShardLimits = ROOM, chance: int = 0) -> tuple[StagedPlan, int]:
    with opened(here, chance=chance) as world:
        write = functools.partial(write_plan, here / "staging", TERMS)
        digest, images = plan_shards(RUN, world, limits, at_least, write)
    return StagedPlan(here / "staging", digest), len(images)


def work(here: Path, staged: StagedPlan, shard: int, *, ledger: Ledger | None = None, chance: int = 0) -> bool:
    with opened(here, shard, chance) as world:
        return work_shard(RUN, world, TERMS, staged, ledger or staged, shard)


def finish(here: Path, staged: StagedPlan, ledger: Ledger | None = None, **terms: Any) -> object:
    warehouse = FolderWarehouse(here / "out", "demo")
    try:
        with sheets(here) as told:
            terms = {"project": "demo", "explain": True, **terms}
            return finish_shards(terms, staged, ledger or staged, warehouse, told)
    finally:
        warehouse.close()


def all_of_it(here: Path, at_least: int, chance: int = 0) -> None:
    staged, count = planned(here, at_least, chance=chance)
    for shard in by_chance(list(range(count)), chance):
        work(here, staged, shard, chance=chance)
    finish(here, staged)


IMAGES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), max_size=40).map(
    lambda drawn: [
        Image(
            number=n, paths=(str(n),), content=str(n), size=size, patient=f"P{patient}", place=f"images/P{patient}/{n}"
        )
        for n, (patient, size) in enumerate(drawn)
    ]
)


@example([Image(number=n, paths=("",), content="", size=0, patient=f"P{n}", place="") for n in range(2)], 1, 1, 2)
@given(IMAGES, st.integers(1, 12), st.integers(1, 90), st.integers(1, 12))
def test_shards_are_whole_patients_each_once_and_within_the_limits(
    images: list[Image], instances: int, size: int, at_least: int
) -> None:
    found = shards_of(images, ShardLimits(instances=instances, bytes=size), at_least)
    assert sorted((image for shard in found for image in shard), key=lambda image: image.number) == images
    owners = [{image.patient for image in shard} for shard in found]
    assert sum(map(len, owners)) == len({image.patient for image in images}), "a patient is in one shard"
    assert len(found) >= min(at_least, len({image.patient for image in images}))
    for shard, patients in zip(found, owners, strict=True):
        numbers = [image.number for image in shard]
        assert shard
        assert numbers == sorted(numbers)
        if len(patients) > 1:
            assert len(shard) <= instances
            assert sum(image.size for image in shard) <= size


@pytest.mark.parametrize(("at_least", "chance"), [(1, 0), (2, 3), (9, 5)])
def test_any_number_of_shards_in_any_order_gives_the_bytes_of_an_unsharded_run(at_least: int, chance: int) -> None:
    with folder() as here:
        all_of_it(here, at_least, chance)
        assert left(here) == expected()
        assert [path.name for path in (here / "staging").iterdir()] == ["plan.json"], (
            "the plan and the ledger are swept"
        )
    assert {json.loads(line)["reason"] for line in expected()["receipt"].splitlines()} >= {
        "same-as-another", "uid-conflict", "identity-conflict", "pixels-doubtful", "not-dicom",
    }  # fmt: skip
    assert "out/clinical.parquet" in expected()


WRITES = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "os.chmod"}


def until(end: int, act: Callable[[], None]) -> list[str] | None:
    """Runs in a child that is killed before its write number `end`. What it wrote, in order, or None if it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        done: list[str] = []

        def before(event: str, arguments: tuple[Any, ...]) -> None:
            if event in WRITES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT):
                done.append(f"{event} {arguments[1] if event == 'os.rename' else arguments[0]}")
                if len(done) == end:
                    os._exit(9)

        status = 1
        try:
            sys.addaudithook(before)
            act()
            os.write(writer, "\n".join(done).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as told:
        said = told.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, 9}, "it neither ended well nor was killed"
    return said.splitlines() if status == 0 else None


def test_killed_between_any_two_writes_and_started_again_it_gives_the_same_bytes() -> None:
    """Before each commit of plan and ledger, and at moments by chance; then killed by chance once more."""
    with folder() as here:
        writes = until(0, lambda: all_of_it(here, 3)) or []
        assert left(here) == expected()
    commits = [n for n, write in enumerate(writes, 1) if write.startswith("os.rename") and "/staging/" in write]
    assert len(commits) == 7, "plan, pointer, three shards, pointer, and what is swept"
    chance = random.Random()  # noqa: S311 (which moments are tried: others each time)
    for end in {*commits, *chance.sample(range(1, len(writes) + 1), 5)}:
        with folder() as here:
            assert until(end, lambda: all_of_it(here, 3)) is None
            until(chance.randrange(1, len(writes)), lambda: all_of_it(here, 3, 1))
            all_of_it(here, 3, 2)
            assert left(here) == expected(), f"killed before {writes[end - 1]}"
            assert [path.name for path in (here / "staging").iterdir()] == ["plan.json"]
            assert not (here / "out" / ".staging").exists()


def test_a_shard_that_is_done_is_not_done_again_and_counts_once() -> None:
    with folder() as here:
        staged, count = planned(here, 2)
        assert [work(here, staged, shard) for shard in (0, 1, 0)] == [True, True, False]
        assert count == 2
        again, _ = planned(here, 2, chance=4)
        assert [work(here, again, shard) for shard in (0, 1)] == [False, False], "the same plan is the same ledger"
        gone = next((here / "out" / "images").rglob("*.dcm"))
        gone.unlink()
        with pytest.raises(TryAgain, match="1 of 2 are not done"):
            finish(here, staged)
        assert sorted(work(here, staged, shard) for shard in (0, 1)) == [False, True], "what was swept is made again"
        assert finish(here, staged)
        assert left(here) == expected()
        assert finish(here, staged) is None
        assert work(here, staged, 0) is False
        assert left(here) == expected()


def test_a_ledger_elsewhere_serves_as_well() -> None:
    with folder() as here:
        ledger = MemoryLedger()
        staged, count = planned(here, 3)
        for shard in range(count):
            assert work(here, staged, shard, ledger=ledger)
        assert finish(here, staged, ledger)
        assert left(here) == expected()


def test_nothing_counts_before_every_shard_is_done() -> None:
    with folder() as here:
        staged, count = planned(here, 3)
        for shard in range(count - 1):
            work(here, staged, shard)
            with pytest.raises(TryAgain, match=f"shard {shard + 1}"):
                finish(here, staged)
        assert not (here / "out" / "manifest.jsonl").exists()
        assert not (here / "receipt").exists()


@pytest.mark.parametrize("name", ["head.json", "0.json", "rest.json"])
def test_a_changed_plan_is_refused(name: str) -> None:
    with folder() as here:
        staged, _ = planned(here, 1)
        if name == "rest.json":
            work(here, staged, 0)
        (changed,) = (here / "staging").glob(f"*/{name}")
        changed.write_bytes(changed.read_bytes().replace(b"held", b"none").replace(b"images/", b"images_"))
        if name == "head.json":
            changed.write_bytes(changed.read_bytes() + b" ")
        with pytest.raises(Refused, match="not what was planned"):
            finish(here, staged) if name == "rest.json" else work(here, staged, 0)
        assert not (here / "out" / "manifest.jsonl").exists()


def test_a_ledger_that_names_another_file_or_another_content_is_none() -> None:
    with folder() as here:
        staged, _ = planned(here, 1)
        work(here, staged, 0)
        entries = list(staged.entries(0) or ())
        line = next(entry["line"] for entry in entries if entry["line"])
        (here / "out" / "images" / "more.dcm").touch()
        for wrong in (
            [{**entries[0], "line": {**line, "path": "images/more.dcm"}}, *entries[1:]],
            entries[1:],
            entries * 2,
        ):
            staged.commit(0, wrong)
            with pytest.raises(TryAgain):
                finish(here, staged)
        assert work(here, staged, 0)
        finish(here, staged)
        assert left(here) == expected()


def test_a_worker_of_other_terms_is_refused_and_so_is_a_finish_of_another_project() -> None:
    with folder() as here:
        staged, _ = planned(here, 1)
        with opened(here, 0) as world, pytest.raises(Refused):
            work_shard(RUN, world, {**TERMS, "engine": "a newer one"}, staged, staged, 0)
        with pytest.raises(WrongSetUp):
            work(here, staged, 7)
        work(here, staged, 0)
        for terms in ({"project": "other"}, {"explain": False}):
            with pytest.raises(Refused):
                finish(here, staged, **terms)


def test_an_input_that_changed_since_the_plan_is_rejected() -> None:
    with folder() as here:
        staged, _ = planned(here, 1)
        (here / "in" / "two").write_bytes(ct(33, 2))
        work(here, staged, 0)
        finish(here, staged)
        receipt = [json.loads(line) for line in (here / "receipt").read_text().splitlines()]
        assert {line["reason"] for line in receipt if line["input"] == "two"} == {"unreadable"}
        assert len((here / "out" / "manifest.jsonl").read_text().splitlines()) == 4 + 3


def test_a_shard_is_worked_on_by_one_and_a_run_waits_for_shards() -> None:
    with folder() as here:
        staged, _ = planned(here, 2)
        with opened(here, 0), pytest.raises(TryAgain), opened(here, 0):
            pass
        with opened(here, 0), opened(here, 1):
            with pytest.raises(TryAgain), opened(here):
                pass
            with pytest.raises(TryAgain):
                finish(here, staged)


def test_nothing_of_the_identified_side_is_in_the_warehouse_meanwhile() -> None:
    with folder() as here:
        staged, count = planned(here, 2)
        for shard in range(count):
            work(here, staged, shard)
        names = {p.relative_to(here / "out").as_posix() for p in (here / "out").rglob("*") if p.is_file()}
        assert names == {name.removeprefix("out/") for name in expected() if name.startswith("out/images/")}
        assert all(path.stat().st_mode & 0o077 == 0 for path in (here / "staging").iterdir())


@pytest.mark.parametrize("kind", ["memory", "folder"])
class TestLedger:
    """What any `Ledger` does."""

    @pytest.fixture
    def ledger(self, kind: str, tmp_path: Path) -> Ledger:
        if kind == "memory":
            return MemoryLedger()
        return StagedPlan(tmp_path, write_plan(tmp_path, {}, {}, [{}, {}]))

    def test_a_shard_is_there_whole_once_it_is_committed(self, ledger: Ledger) -> None:
        entries = [{"number": 3, "content": "x"}, {"number": 1, "content": "y"}]
        assert ledger.entries(0) is None
        for _ in range(2):
            ledger.commit(0, entries)
            assert list(ledger.entries(0) or ()) == entries
        assert ledger.entries(1) is None
        ledger.commit(1, [])
        assert list(ledger.entries(1) or ()) == []
        assert ledger.entries(1) is not None


def test_another_plan_starts_another_ledger_and_strangers_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    first = StagedPlan(tmp_path, write_plan(tmp_path, {"engine": "1"}, {}, [{}]))
    first.commit(0, [])
    second = StagedPlan(tmp_path, write_plan(tmp_path, {"engine": "2"}, {}, [{}]))
    assert second.entries(0) is None
    with pytest.raises(WrongSetUp):
        first.head()
    assert (tmp_path / "thesis").is_dir()
    with pytest.raises(WrongSetUp):
        StagedPlan(tmp_path, "../thesis")
