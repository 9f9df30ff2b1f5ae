"""Collecting from a PACS: what is asked, how gently, and that a kill at any moment loses nothing and doubles nothing."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.adapters.collect_inbox import InboxOut
from readingroom.adapters.collect_journal import AwaitingSpool, JournalFolder
from readingroom.application.collect import BARREN, Pace, Site, collect, plan
from readingroom.application.ports_collect import Arrived
from readingroom.domain.collection import (
    Allowed,
    Content,
    Hours,
    Instance,
    Missing,
    Query,
    Question,
    Study,
    Tally,
    batches,
    check_can_ask,
    is_asked,
    queries_of,
)
from readingroom.domain.deid.outcome import Reason
from readingroom.domain.door import Identity, Seen
from readingroom.domain.errors import Refused, Rejected, TryAgain, WrongSetUp
from readingroom.domain.peers import Limits
from tests.unit.data.stopping import stops

DAY = date(2026, 1, 10)
QUESTION = Question(first=DAY, last=DAY + timedelta(2), modalities=("CT", "MR"))
WHOLE_DAY = Hours(start=time(0), end=time(0))


class FakeClock:
    """Time passes while somebody waits, and only then."""

    def __init__(self, now: datetime = datetime(2026, 1, 10, 12, tzinfo=UTC)) -> None:
        self.now, self.waited = now, list[float]()

    def local(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += timedelta(seconds=seconds)


def pace(clock: FakeClock | None = None, say: Callable[[str], None] = print, **changes: object) -> Pace:
    told: dict[str, object] = {"hours": (WHOLE_DAY,), "per_second": 1000.0, "pause": 30.0, "pauses": 2, **changes}
    return Pace(clock=clock or FakeClock(), say=say, **told)  # type: ignore[arg-type]


def show(stage: str, done: int, total: int) -> None:
    """Nothing."""


days = st.dates(date(2026, 1, 1), date(2026, 1, 20))


@given(days, days, st.sets(st.sampled_from(["CT", "MR", "DX"]), min_size=1))
def test_each_day_is_asked_for_each_modality_once(first: date, last: date, modalities: set[str]) -> None:
    asked = list(queries_of(Question(first=first, last=last, modalities=tuple(modalities))))
    wanted = {(first + timedelta(n), each) for n in range((last - first).days + 1) for each in modalities}
    assert len(asked) == len(wanted)
    assert {(query.day, query.modality) for query in asked} == wanted


@given(
    st.none() | days,
    st.sampled_from(["", "A1", "A2"]),
    st.sets(st.sampled_from(["CT", "SR"])),
    st.booleans(),
    days,
)
def test_only_what_fits_the_question_is_asked_further(
    day: date | None, accession: str, modalities: set[str], by_number: bool, asked: date
) -> None:
    question = Question(first=date(2026, 1, 5), last=date(2026, 1, 15), modalities=("CT",))
    query = Query(accession="A1") if by_number else Query(day=asked, modality="CT")
    study = Study(uid="1.2", day=day, accession=accession, modalities=frozenset(modalities))
    wanted = (
        day is not None
        and date(2026, 1, 5) <= day <= date(2026, 1, 15)
        and (accession == "A1" if by_number else day == asked)
        and modalities != {"SR"}
    )
    assert is_asked(study, query, question) is wanted


ALLOWED = Allowed(modalities=frozenset({"CT", "MR"}), first=DAY, last=DAY + timedelta(2))


def test_the_set_up_allows_what_it_says_and_nothing_else() -> None:
    check_can_ask(QUESTION, ALLOWED)
    for first, last, modalities, accessions in (
        (DAY - timedelta(1), DAY, ("CT",), ()),
        (DAY, DAY + timedelta(3), ("CT",), ()),
        (DAY, DAY, ("CT", "US"), ()),
        (DAY, DAY, ("CT",), ("A1",)),
    ):
        with pytest.raises(Refused):
            check_can_ask(Question(first=first, last=last, modalities=modalities, accessions=accessions), ALLOWED)


@pytest.mark.parametrize(
    ("start", "end", "within", "without"),
    [
        ("08:00", "18:00", ("08:00", "12:00", "17:59"), ("07:59", "18:00", "00:00")),
        ("19:00", "06:00", ("19:00", "23:59", "00:00", "05:59"), ("06:00", "18:59", "12:00")),
        ("00:00", "00:00", ("00:00", "23:59"), ()),
        ("00:00", "06:00", ("00:00",), ("06:00", "23:00")),
    ],
)
def test_hours_may_pass_midnight(start: str, end: str, within: Sequence[str], without: Sequence[str]) -> None:
    hours = Hours(start=time.fromisoformat(start), end=time.fromisoformat(end))
    for moments, wanted in ((within, True), (without, False)):
        for at in moments:
            assert hours.hold(datetime.combine(DAY, time.fromisoformat(at), UTC)) is wanted


def test_outside_the_hours_nothing_is_asked_until_they_begin() -> None:
    clock, said = FakeClock(), list[str]()
    gentle = pace(clock, said.append, hours=(Hours(start=time(19), end=time(6)),))
    assert gentle.ask(clock.local) == datetime(2026, 1, 10, 19, tzinfo=UTC)
    assert said == ["outside the hours of the set-up: waiting for them"]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.sampled_from([0.2, 5.0, 40.0]))
def test_on_average_no_more_is_asked_than_agreed(parts: list[int], per_second: float) -> None:
    clock = FakeClock()
    began, gentle = clock.seconds(), pace(clock, per_second=per_second)
    for number, part in enumerate(parts):
        gentle.turn(part)
        assert clock.seconds() - began >= sum(parts[:number]) / per_second - 0.001
    assert 1 <= gentle.batch <= max(1, per_second * 10)


def test_pauses_grow_and_end() -> None:
    clock, calls = FakeClock(), list[int]()

    def busy() -> int:
        calls.append(1)
        if len(calls) < 6:
            raise TryAgain(what="asking", why="busy", next_step="wait")
        return 7

    assert pace(clock, pause=200.0, pauses=5).patiently(busy) == 7
    assert clock.waited == [200, 400, 600, 600, 600]
    calls.clear()
    with pytest.raises(TryAgain):
        pace(pauses=2).patiently(busy)
    assert len(calls) == 3


@given(st.lists(st.integers(1, 3), max_size=30), st.integers(1, 7))
def test_a_part_is_of_one_series_and_all_parts_are_the_whole(series: list[int], most: int) -> None:
    found = [Instance(uid=f"1.{n}", series=f"2.{of}", modality="CT") for n, of in enumerate(series)]
    parts = list(batches(found, most))
    assert all(len(part) <= most and len({each.series for each in part}) == 1 for part in parts)
    assert sorted(each.uid for part in parts for each in part) == sorted(each.uid for each in found)


class FakePacs:
    """Two studies, and what it fails at as told."""

    def __init__(self, spool: AwaitingSpool, *, lists: int = 2, withholds: Sequence[str] = ()) -> None:
        self.spool, self.lists, self.withholds = spool, lists, set(withholds)
        self.retrieved: Counter[str] = Counter()
        self.asked = 0

    def studies(self, query: Query) -> Sequence[Study]:
        self.asked += 1
        return [Study(uid=f"1.2.{n}", day=DAY) for n in range(1, self.lists + 1)] if query.day == DAY else []

    def content(self, study: Study, question: Question) -> Content:
        self.asked += 1
        return Content(instances=tuple(Instance(uid=f"{study.uid}.{n}", series="9", modality="CT") for n in (1, 2)))

    def retrieve(self, study: Study, instances: Sequence[Instance]) -> None:
        with self.spool.awaiting(each.uid for each in instances):
            arriving = self.spool.begin("", datetime(2026, 1, 10, tzinfo=UTC))
            for each in instances:
                self.retrieved[each.uid] += 1
                if each.uid not in self.withholds:
                    incoming = arriving.begin(each.uid)
                    incoming.write(each.uid.encode())
                    incoming.keep()
            arriving.end()


class Counting(InboxOut):
    """Says what it was given."""

    given: set[str]

    def deliver(self, instances: Sequence[Arrived]) -> Iterator[tuple[str, str]]:
        self.given = {each.uid for each in instances}
        yield from super().deliver(instances)


class Journal(JournalFolder):
    """Whose look at the files starts no children: each holds its UID, and its study is that without the last part."""

    def seen(self, names: Sequence[str]) -> Iterator[tuple[Seen, Callable[[str], str]]]:
        for name in names:
            uid = (self._folder / "spool" / name).read_text()
            who = Identity(instance=uid, study=uid.rpartition(".")[0], patient="p", birth="")
            yield (
                Seen(input=name, sha256=uid, identity=None if uid.endswith("0") else who, reason=Reason.MALFORMED),
                str,
            )


def journal(work: Path, question: Question = QUESTION) -> Journal:
    return Journal(work / "journal", question, Limits())


def brought(work: Path, out: Counting | None = None, **told: object) -> tuple[Tally, FakePacs]:
    kept = journal(work)
    with kept.opened():
        pacs = FakePacs(kept.spool, **told)  # type: ignore[arg-type]
        site = Site(pacs=pacs, journal=kept, destination=out or InboxOut(work / "inbox"))
        tally = collect(QUESTION, 50, site, pace(), show)
        kept.close(tally)
    return tally, pacs


def acknowledged(work: Path) -> set[str]:
    """By the whole lines of the journal."""
    lines = [
        json.loads(line)
        for path in (work / "journal" / "studies").glob("*.jsonl")
        for line in path.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]
    return {line["instance"] for line in lines if line.get("missing") == ""}


EVERYTHING = {f"1.2.{study}.{number}" for study in (1, 2) for number in (1, 2)}


def there(work: Path) -> set[str]:
    return {path.name.removesuffix(".dcm") for path in (work / "inbox").glob("*")}


def test_killed_before_any_change_of_the_disk_the_same_command_ends_it_and_what_came_is_not_asked_again(
    tmp_path: Path,
) -> None:
    work = tmp_path / "w"
    work.mkdir()
    points = spared = 0
    for _ in stops(lambda: brought(work, lists=1)):
        points += 1
        assert acknowledged(work) <= there(work)
        spooled = {path.name.split("_")[1] for path in (work / "journal").glob("spool/*/[0-9]*")}
        through, out = acknowledged(work), Counting(work / "inbox")
        out.given = set()
        tally, pacs = brought(work, out, lists=1)
        assert not through & (out.given | pacs.retrieved.keys())
        assert there(work) == acknowledged(work) == {"1.2.1.1", "1.2.1.2"}
        assert (tally.found, tally.acknowledged, tally.moved, tally.to_come) == (2, 2, 2, 0)
        assert not spooled & pacs.retrieved.keys()
        spared += len(spooled) > 0
        assert list((work / "journal").glob("spool/*/*")) == []
        shutil.rmtree(work)
        work.mkdir()
    assert points > 40
    assert spared > 5


def test_what_the_pacs_withholds_is_asked_for_thrice_and_again_by_the_next_run(tmp_path: Path) -> None:
    tally, pacs = brought(tmp_path, withholds=["1.2.1.2"])
    assert tally.missing == {Missing.NOT_SENT: 1}
    assert (tally.complete, tally.moved, tally.to_come) == (1, 3, 1)
    assert pacs.retrieved == {**dict.fromkeys(EVERYTHING, 1), "1.2.1.2": 3}
    tally, pacs = brought(tmp_path)
    assert (tally.missing.total(), pacs.asked, pacs.retrieved) == (0, 0, {"1.2.1.2": 1})


def test_of_a_pacs_that_lists_and_sends_nothing_not_all_is_asked(tmp_path: Path) -> None:
    everything = [f"1.2.{study}.{number}" for study in range(1, 30) for number in (1, 2)]
    with pytest.raises(TryAgain):
        brought(tmp_path, lists=29, withholds=everything)
    assert len(list((tmp_path / "journal" / "studies").iterdir())) == BARREN


def test_what_is_refused_by_the_other_side_is_said_and_not_sent_again(tmp_path: Path) -> None:
    class Refusing(InboxOut):
        sent = 0

        def deliver(self, instances: Sequence[Arrived]) -> Iterator[tuple[str, str]]:
            Refusing.sent += len(instances)
            for each in instances:
                yield each.uid, Missing.REFUSED

    for _ in range(2):
        kept = journal(tmp_path)
        with kept.opened():
            site = Site(pacs=FakePacs(kept.spool), journal=kept, destination=Refusing(tmp_path))
            tally = collect(QUESTION, 50, site, pace(), show)
    assert tally.missing == {Missing.REFUSED: 4}
    assert (tally.moved, tally.to_come, Refusing.sent) == (4, 0, 4)


def test_a_study_whose_content_is_no_answer_is_counted_and_stops_no_other(tmp_path: Path) -> None:
    class Mute(FakePacs):
        def content(self, study: Study, question: Question) -> Content:
            if study.uid == "1.2.1":
                raise Rejected(what="an answer", why="none", next_step="x")
            return super().content(study, question)

    kept = journal(tmp_path)
    with kept.opened():
        pacs = Mute(kept.spool)
        assert plan(QUESTION, 50, pacs, pace(), show).unlisted == 1
        tally = collect(
            QUESTION, 50, Site(pacs=pacs, journal=kept, destination=InboxOut(tmp_path / "inbox")), pace(), show
        )
    assert (tally.unlisted, tally.acknowledged, tally.to_come) == (1, 2, 1)


def test_a_line_that_was_cut_off_is_no_line_and_one_that_is_off_is_said(tmp_path: Path) -> None:
    brought(tmp_path)
    record = tmp_path / "journal" / "studies" / "000001.jsonl"
    whole = record.read_bytes()
    for cut in [*range(0, len(whole), 47), len(whole) - 1]:
        record.write_bytes(whole[:cut])
        assert [brought(tmp_path)[0].acknowledged for _ in range(2)] == [4, 4]
    record.write_bytes(b"{}\n")
    with pytest.raises(WrongSetUp):
        brought(tmp_path)


def test_one_run_at_a_time_has_a_journal_and_it_answers_one_question(tmp_path: Path) -> None:
    with journal(tmp_path).opened(), pytest.raises(TryAgain), journal(tmp_path).opened():
        pass
    other = Question(first=DAY, last=DAY, modalities=("CT",))
    with pytest.raises(WrongSetUp), journal(tmp_path, other).opened():
        pass


def test_what_is_not_awaited_or_comes_twice_is_refused(tmp_path: Path) -> None:
    spool = AwaitingSpool(tmp_path / "spool", Limits(spool_bytes=10))
    with spool.opened(), spool.awaiting(["1.1", "1.2", "1.3"]):
        arriving = spool.begin("", datetime(2026, 1, 10, tzinfo=UTC))
        answers = []
        for uid, size in (("1.1", 6), ("1.1", 1), ("1.9", 1), ("1.2", 6), ("1.3", 4)):
            incoming = arriving.begin(uid)
            incoming.write(bytes(size))
            incoming.keep()
            answers.append(incoming.reason)
        arriving.end()
        assert answers == [None, Reason.UID_MALFORMED, Reason.UID_MALFORMED, Reason.OUT_OF_SPACE, None]
        assert sorted(spool.kept()) == ["1.1", "1.3"]
        assert spool.was_full()
        assert not spool.was_full()
