"""The spool and who may fill it: nothing acknowledged is lost, nothing half is seen, whatever moment the process dies at."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.adapters import spool as spool_module
from readingroom.adapters.door_files import counts_by_centre, receipt_of
from readingroom.adapters.landing import LandingFolder
from readingroom.adapters.spool import Arriving, AssociationInbox, Exhausted, SpoolFolder
from readingroom.adapters.tree import Tree
from readingroom.application.receive_associations import Desk, receive_associations
from readingroom.domain.deid.outcome import Reason
from readingroom.domain.door import Seen
from readingroom.domain.errors import Refused, TryAgain, WrongSetUp
from readingroom.domain.opt_out import NOBODY
from readingroom.domain.peers import Caller, Limits, Peer, Peers
from tests.unit.data.instances import instance
from tests.unit.data.stopping import stops

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
UIDS = ("1.2.1", "1.2.2")


def content(uid: str) -> bytes:
    return instance(instance=uid, study="1.2", patient="P-1")


def arrive(arriving: Arriving, uid: str, piece: bytes) -> Reason | None:
    incoming = arriving.begin(uid)
    incoming.write(piece)
    incoming.keep()
    return incoming.reason


def desk(work: Path) -> Desk:
    return Desk(
        landing=lambda centre: LandingFolder(work / "landing", centre, date(2026, 11, 25)),
        receipt=lambda association: receipt_of(work / "receipts", association),
        opt_outs=lambda: NOBODY,
    )


def told(work: Path, centre: str = "ABC") -> list[tuple[str, str, str | None]]:
    """All lines of all receipts, without the place."""
    paths = sorted((work / "receipts" / centre).glob("[!.]*.jsonl"))
    lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return [(line["input"], line["outcome"], line["reason"]) for line in lines]


def landed(work: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in (work / "landing").glob("*/[0-9]*/[!.]*/instances/*/*.dcm"))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_killed_before_any_change_of_the_disk_what_was_acknowledged_is_received_once_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole life of an association: two objects, one refused, the end, the batch, the receipt, the forgetting.

    The children's look is taken from a run before: here the disk is tried, and a fork may start no children.
    """
    looked: dict[str, Seen] = {}

    class Looked(AssociationInbox):
        def seen(self) -> Iterator[Seen]:
            if not looked:
                looked.update({seen.input: seen for seen in super().seen()})
            there = {match[1] for match in self._refused} | set(self._names)
            yield from (looked[name] for name in sorted(there & set(looked)))
            yield from (Seen(input=name, reason=Reason.TRUNCATED) for name in sorted(there - set(looked)))

    monkeypatch.setattr(spool_module, "AssociationInbox", Looked)
    work = tmp_path / "w"

    def live() -> None:
        spool = SpoolFolder(work / "spool", Limits(object_bytes=5000), jobs=1)
        with spool.opened():
            receive_associations(spool, desk(work), print)
            arriving = spool.begin("ABC", NOW)
            for uid in UIDS:
                assert arrive(arriving, uid, content(uid)) is None
                (work / f"acknowledged {uid}").touch()
            assert arrive(arriving, "1.2.3", bytes(6000)) is Reason.OVER_LIMIT
            arriving.end()
            assert receive_associations(spool, desk(work), print) == 0

    def finish() -> None:
        spool = SpoolFolder(work / "spool", Limits(), jobs=1)
        with spool.opened():
            assert receive_associations(spool, desk(work), print) == 0
            assert list(spool.finished()) == []

    work.mkdir()
    live()
    whole = told(work)
    assert [line[1:] for line in whole] == [("received", None), ("received", None), ("rejected", "over-limit")]
    points = middle = 0
    shutil.rmtree(work)
    work.mkdir()
    for _ in stops(live):
        points += 1
        acknowledged = [uid for uid in UIDS if (work / f"acknowledged {uid}").exists()]
        finish()
        received = [name.partition("_")[2] for name, outcome, _ in told(work) if outcome == "received"]
        assert set(acknowledged) <= set(received)
        assert len(received) == len(set(received)) == len(landed(work))
        assert set(landed(work)) == {content(uid) for uid in received}
        assert len({name for name, _, _ in told(work)}) == len(told(work))
        assert files(work / "spool") == []
        middle += len(acknowledged) == 1
        shutil.rmtree(work)
        work.mkdir()
    assert points > 40
    assert middle > 3
    assert told(work) == whole


@contextmanager
def opened(folder: Path, limits: Limits | None = None) -> Iterator[SpoolFolder]:
    spool = SpoolFolder(folder, limits or Limits(), jobs=1)
    with spool.opened():
        yield spool


@pytest.mark.parametrize("name", ["landing", "receipts"])
def test_what_stands_in_the_way_is_said_and_stops_no_other_centre(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "ABC").write_text("no folder")
    said: list[str] = []
    with opened(tmp_path / "spool") as spool:
        for centre in ("ABC", "XYZ"):
            arriving = spool.begin(centre, NOW)
            arrive(arriving, "1.2.1", content("1.2.1"))
            arriving.end()
        assert receive_associations(spool, desk(tmp_path), said.append) == 1
        assert [association.centre for association in spool.finished()] == ["ABC"]
        assert [line[1:] for line in told(tmp_path, "XYZ")] == [("received", None)]
        (tmp_path / name / "ABC").unlink()
        assert receive_associations(spool, desk(tmp_path), said.append) == 0
    assert [line[1:] for line in told(tmp_path)] == [("received", None)]
    assert sum("waits" in line for line in said) == 1


def test_one_process_at_a_time_has_a_spool(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(TryAgain), opened(tmp_path):
        pass
    with opened(tmp_path):
        pass


def test_an_association_that_brought_nothing_leaves_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.begin("ABC", NOW).end()
        assert list(spool.finished()) == []
        assert list((tmp_path / "ABC").iterdir()) == []


def test_a_full_spool_refuses_and_takes_again_once_something_is_done(tmp_path: Path) -> None:
    with opened(tmp_path, Limits(spool_bytes=1000)) as spool:
        first = spool.begin("ABC", NOW)
        assert arrive(first, "1.1", bytes(600)) is None
        assert arrive(first, "1.2", bytes(600)) is Reason.OUT_OF_SPACE
        assert arrive(first, "1.3", bytes(400)) is None
        first.end()
        spool.done(*spool.finished())
        second = spool.begin("ABC", NOW)
        assert arrive(second, "1.2", bytes(1000)) is None
        second.end()
    with opened(tmp_path, Limits(spool_bytes=1000)) as spool:  # what lies there counts after a start, too
        assert arrive(spool.begin("ABC", NOW), "1.4", b"x") is Reason.OUT_OF_SPACE


def test_a_full_disk_refuses_the_object_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.fsync, list[int]()

    def full_once(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, "no space")
        real(descriptor)

    with opened(tmp_path) as spool:
        arriving = spool.begin("ABC", NOW)
        monkeypatch.setattr(os, "fsync", full_once)
        assert arrive(arriving, "1.1", b"x") is Reason.OUT_OF_SPACE
        assert arrive(arriving, "1.2", b"y") is None
        arriving.end()
    assert files(tmp_path) == ["000001_1.1.out-of-space", "000002_1.2"]


def test_of_an_object_that_did_not_come_whole_no_byte_stays_and_its_room_is_free_again(tmp_path: Path) -> None:
    with opened(tmp_path, Limits(spool_bytes=1000)) as spool:
        arriving = spool.begin("ABC", NOW)
        arriving.begin("1.1").write(bytes(900))
        arriving.end()
        assert [path.stat().st_size for path in tmp_path.rglob("*_*")] == [0]
        other = spool.begin("ABC", NOW)
        assert arrive(other, "1.2", bytes(1000)) is None
        other.end()


def test_an_association_may_bring_so_much_and_no_more(tmp_path: Path) -> None:
    with opened(tmp_path, Limits(association_bytes=1000, association_objects=2)) as spool:
        arriving = spool.begin("ABC", NOW)
        arrive(arriving, "1.1", bytes(900))
        with pytest.raises(Exhausted):
            arrive(arriving, "1.2", bytes(101))
        with pytest.raises(Exhausted):
            arriving.begin("1.3")
        arriving.end()


@pytest.mark.parametrize("uid", ["", "../1", "1/2", "1..2", "1.2 ", "1" * 65, "x", ".1"])
def test_a_name_that_is_no_uid_names_no_file(tmp_path: Path, uid: str) -> None:
    with opened(tmp_path) as spool:
        arriving = spool.begin("ABC", NOW)
        assert arrive(arriving, uid, b"x") is Reason.UID_MALFORMED
        assert files(tmp_path) == ["000001_.uid-malformed"]


def test_objects_and_refusals_are_told_apart_by_every_reason(tmp_path: Path) -> None:
    for number, reason in enumerate(Reason):
        (tmp_path / f"{number:06}_1.2.3.{reason}").touch()
    (tmp_path / "000099_1.2.3").touch()
    with Tree(tmp_path) as tree:
        found = [seen.reason for seen in AssociationInbox(tree, jobs=1).seen()]
    assert sorted(found[:-1]) == sorted(Reason)
    assert found[-1] is Reason.NOT_DICOM


A = Peer(ae_title="A", centre="ABC", fingerprints=frozenset({"f1", "f2"}))
B = Peer(ae_title="B", centre="ABC", addresses=frozenset({"10.0.0.1"}))
C = Peer(ae_title="C", centre="XYZ", fingerprints=frozenset({"f3"}), addresses=frozenset({"10.0.0.3"}))
NOTHING = Peer(ae_title="N", centre="XYZ")
KNOWN = {("A", "f1", None), ("A", "f2", None), ("B", None, "10.0.0.1"), ("C", "f3", "10.0.0.3")}  # None: any


@given(st.sampled_from("ABCNZ"), st.sampled_from(["f1", "f2", "f3", ""]), st.sampled_from(["10.0.0.1", "10.0.0.3", ""]))
def test_a_peer_is_who_has_all_that_is_said_of_it(title: str, fingerprint: str, address: str) -> None:
    peers = Peers(ae_title="R", peers=(A, B, C, NOTHING), limits=Limits())
    caller = Caller(ae_title=title, fingerprint=fingerprint, address=address)
    wanted = any(title == t and f in (None, fingerprint) and a in (None, address) for t, f, a in KNOWN)
    if wanted:
        assert peers.called_by(caller).ae_title == title
    else:
        with pytest.raises(Refused):
            peers.called_by(caller)


def write_receipt(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [dict(zip(("input", "outcome", "reason"), line.split(), strict=True)) for line in lines]
    path.write_text("".join(json.dumps({**row, "reason": row["reason"].strip("-") or None}) + "\n" for row in rows))


def test_a_centre_reads_counts_in_which_each_file_stands_once(tmp_path: Path) -> None:
    write_receipt(tmp_path / "receipts" / "ABC" / "20261125T1.jsonl",
               "000001_1.1 received -", "000002_1.2 rejected out-of-space", "000003_1.3 held uid-conflict")  # fmt: skip
    write_receipt(tmp_path / "receipts" / "ABC" / "20261125T2.jsonl",
               "000001_1.2 received -", "000002_1.3 held uid-conflict", "000003_1.4 rejected truncated")  # fmt: skip
    batch = tmp_path / "landing" / "ABC" / "2026-11-25" / "b-1" / "instances"
    for digest in ("a" * 64, "b" * 64):
        (batch / digest[:2]).mkdir(parents=True)
        (batch / digest[:2] / f"{digest}.dcm").touch()
    (batch.parent / "batch.json").touch()
    one, two = (f"ABC/2026-11-25/b-1/instances/{digest[:2]}/{digest}.dcm" for digest in ("a" * 64, "b" * 64))
    deid = [tmp_path / "p1.jsonl", tmp_path / "p2.jsonl"]
    write_receipt(deid[0], f"{one} held pixels-doubtful", f"{two} released -")
    write_receipt(deid[1], f"{one} rejected sop-class", f"{two} held faces-possible", "XYZ/x released -")
    with opened(tmp_path / "spool") as spool:
        arriving = spool.begin("ABC", NOW)
        arrive(arriving, "1.5", b"x")
        arrive(arriving, "1..6", b"x")
        arriving.begin("1.7").write(b"x")
        found = counts_by_centre(tmp_path / "landing", tmp_path / "spool", tmp_path / "receipts", deid)
        arriving.end()
    assert found.keys() == {"ABC"}
    counts = found["ABC"]
    assert (counts.pending, counts.accepted, counts.released) == (1, 2, 1)
    assert counts.held == {"uid-conflict": 1, "pixels-doubtful": 1}
    assert counts.rejected == {"truncated": 1}


@pytest.mark.parametrize("text", ["{", "[]", '{"input": "x"}', "\xff"])
def test_a_receipt_that_is_none_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "landing" / "ABC").mkdir(parents=True)
    (tmp_path / "r.jsonl").write_text(text, encoding="latin-1")
    with pytest.raises(WrongSetUp):
        counts_by_centre(tmp_path / "landing", None, None, [tmp_path / "r.jsonl"])
