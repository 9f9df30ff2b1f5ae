"""`readingroom collect`: what was agreed comes from the PACS to the door, each instance once, and nothing else does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import stat
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pynetdicom import evt

from tests import pacs
from tests.cli.command import one_line, run
from tests.mortal import mortal
from tests.network_door import Site as RoomSite
from tests.network_door import door, wait_for
from tests.pacs import ROOT, Site, image
from tests.ports import free_port

ALL = ("--from", "2026-01-01", "--to", "2026-12-31")
SECRETS = ("Quux", "QUUX", pacs.NUMBER, ROOT)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def instances(*numbers: int, study: int = 1) -> list[str]:
    return [f"{ROOT}.{study}.1.{number}" for number in numbers]


def real_files() -> list[bytes]:
    """Two studies of ours, and what the packages ship: of other days, or without what is asked."""
    names = ("CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm")
    shipped = [Path(str(get_testdata_file(name, download=False))).read_bytes() for name in names]
    ours = [image(1, number) for number in range(1, 5)] + [image(2, 1)] + [image(3, 1, modality="OT")]
    return [*ours, image(4, 1, day="20250101"), *shipped]


def test_a_real_pacs_is_planned_and_then_collected_by_c_get_and_nothing_that_was_not_asked(site: Site) -> None:
    before = os.umask(0o022)
    with pacs.real(site, real_files()):
        planned = run(*site.plan(), "--json")
        assert json.loads(planned.stdout) == {
            "studies": 2, "unlisted": 0, "series": 2, "differing": 0, "odd": 0, "found": 5,
        }  # fmt: skip
        assert [path.name for path in site.work.iterdir() if path.is_dir()] == ["archive"]
        done = run(*site.run(), "--json")
        assert done.returncode == 0, done.stderr
        again = run(*site.run(), "--json")
    assert os.umask(before) == 0o022
    for path in [site.work / "journal", *(site.work / "journal").rglob("*"), *(site.work / "inbox").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert site.inbox() == instances(1, 2, 3, 4) + instances(1, study=2)
    assert json.loads(done.stdout) == json.loads(again.stdout) == site.receipt()
    assert site.receipt() == {
        "studies": 2, "complete": 2, "unlisted": 0, "series": 2, "differing": 0, "odd": 0,
        "found": 5, "moved": 5, "acknowledged": 5, "missing": {},
    }  # fmt: skip
    for secret in SECRETS:
        assert secret not in planned.stdout + planned.stderr + done.stdout + done.stderr
        assert secret not in (site.work / "journal" / "receipt.json").read_text()
    assert list((site.work / "journal" / "spool").glob("*/*")) == []


def test_by_c_move_it_comes_to_us_and_is_received_by_ingest(site: Site) -> None:
    site.listen = free_port()
    with pacs.real(site, real_files()):
        done = run(*site.run("--from", "2026-01-10", "--to", "2026-01-11", "--modality", "CT"))
    assert done.returncode == 0, done.stderr
    assert site.inbox() == instances(1, 2, 3, 4) + instances(1, study=2)
    received = run("ingest", site.work / "inbox", "--centre", "ABC", "--landing", site.work / "landing", "--json")
    assert json.loads(received.stdout)["received"] == {"new": 5}


def to_door(site: Site, port: int) -> None:
    tls = {"certificate": "abc.crt", "key": "abc.key", "authority": "ca.crt", "name": "door.test"}
    site.changes["ae_title"] = "PACS_ABC"
    site.changes["door"] = {"ae_title": "ROOM", "host": "127.0.0.1", "port": port, "tls": tls}


def lines(site: Site) -> int:
    """How many instances the journal says are through."""
    return sum(path.read_text().count('"missing": ""') for path in (site.work / "journal").glob("studies/*"))


def test_killed_in_the_middle_and_run_again_everything_is_at_the_door_once(site: Site) -> None:
    room = RoomSite(site.work)
    files = [image(1, number) for number in range(1, 13)]
    with door(room) as one, pacs.real(site, files):
        to_door(site, one.port)
        command = mortal(["readingroom", *map(str, site.run(*ALL[:1], "2026-01-10", *ALL[2:3], "2026-01-10"))])
        killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: lines(site) >= 3)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert lines(site) < len(files)
        done = run(*site.run())
        assert done.returncode == 0, done.stderr
        wait_for(lambda: len(room.landed()) == len(files) and not room.spooled())
        assert one.end() == 0
    found = sorted(str(pydicom.dcmread(path).SOPInstanceUID) for path in room.landed())
    assert found == sorted(instances(*range(1, 13)))
    assert {outcome for receipt in room.receipts() for outcome, _ in receipt} == {"received"}
    assert site.receipt()["acknowledged"] == len(files)
    for secret in SECRETS:
        assert secret not in done.stdout + done.stderr


def test_who_is_no_peer_of_the_door_sends_nothing_and_what_it_has_no_room_for_waits(site: Site) -> None:
    room = RoomSite(site.work)
    room.limits = {"spool_bytes": 12_000, "object_bytes": 50_000}
    room.write_peers()
    files = [image(1, 1), image(1, 2, x00204000=("LT", "Quux" * 15_000)), image(1, 3), image(1, 4)]
    with door(room) as one, pacs.fake(site, files):
        to_door(site, one.port)
        good = dict(site.changes["door"]["tls"])
        site.changes["door"]["tls"].update(certificate="xyz.crt", key="xyz.key")
        stranger = run(*site.run())
        assert stranger.returncode == 1
        assert "it wants no association with us" in stranger.stderr
        assert room.spooled() == room.landed() == []
        site.changes["door"]["tls"] = good
        full = run(*site.run())
        assert full.returncode == 1
        assert "out of resources" in full.stderr
    del site.changes["door"]
    done = run(*site.run())
    assert done.returncode == 0
    assert site.inbox() == instances(3, 4)
    assert site.receipt()["missing"] == {"over-limit": 1}
    for each in (stranger, full, done):
        assert not any(secret in each.stdout + each.stderr for secret in SECRETS)


def test_of_a_list_of_accession_numbers_those_are_collected_if_the_set_up_says_so(site: Site) -> None:
    listed = site.work / "list"
    listed.write_text("QUUX1\n\nQUUX7\n")
    words = ("--accession-file", listed)
    with pacs.fake(site, [image(1), image(2)]) as archive:
        refused = run(*site.run(*words))
        assert refused.returncode == 3
        assert "accession numbers is not allowed" in one_line(refused)
        assert archive.asked == []
        site.changes["collect"] = {
            "modalities": ["CT"], "from": "2026-01-01", "to": "2026-12-31", "studies": 50, "accessions": True,
        }  # fmt: skip
        done = run(*site.run(*words))
    assert done.returncode == 0
    assert site.inbox() == instances(1)
    for secret in SECRETS:
        assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize("text", ["*", "QUUX?", "Q" * 17, "A\\B", "", "\x07", "é"])
def test_a_list_that_matches_many_or_is_none_is_one_line_that_says_none_of_it(site: Site, text: str) -> None:
    (site.work / "list").write_text(text)
    done = run(*site.run("--accession-file", site.work / "list"))
    assert done.returncode == 1
    assert "Q" not in one_line(done)


REFUSED = {
    "a day too early": ("--from", "2025-12-31", "--to", "2026-01-02"),
    "a day too late": ("--from", "2026-12-31", "--to", "2027-01-01"),
    "another modality": (*ALL, "--modality", "US"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_the_set_up_does_not_allow_is_not_asked(site: Site, name: str) -> None:
    with pacs.fake(site) as archive:
        for command in (site.plan, site.run):
            done = run(*command(*REFUSED[name]))
            assert done.returncode == 3
            one_line(done)
    assert archive.asked == []
    assert not (site.work / "journal").exists()


def test_more_studies_than_allowed_are_refused_and_nothing_is_moved(site: Site) -> None:
    site.changes["collect"] = {"modalities": ["CT"], "from": "2026-01-01", "to": "2026-12-31", "studies": 1}
    with pacs.fake(site, [image(1), image(2)]) as archive:
        assert run(*site.run()).returncode == 3
    assert archive.got == []


@pytest.mark.parametrize("words", [(), ("--from", "yesterday"), ("--from", "2026-02-02", "--to", "2026-02-01")])
def test_a_question_must_be_asked_well(site: Site, words: tuple[str, ...]) -> None:
    assert run("collect", "plan", site.set_up(), *words).returncode == 2


TLS = {"certificate": "c", "key": "k", "authority": "a", "name": "n"}
HOST = {"ae_title": "A", "host": "h", "port": 1}
WRONG: dict[str, dict[str, Any]] = {
    "a word that is no key": {"everything": True},
    "a door without TLS": {"door": HOST},
    "a door and an inbox": {"door": {**HOST, "tls": TLS}, "inbox": "inbox"},
    "no hours": {"hours": []},
    "an hour that is none": {"hours": [{"from": "25:00", "to": "06:00"}]},
    "a day that is none": {"collect": {"modalities": ["CT"], "from": "2026-02-30", "to": "2026-12-31", "studies": 1}},
    "no rate": {"instances_per_second": 0},
    "a range of addresses": {"listen": {"host": "h", "port": 1, "addresses": ["10.0.0.0/8"]}},
    "nothing allowed": {"collect": {}},
    "a bound that is no bound": {"bounds": {"answers": 0}},
    "a certificate that is not there": {"door": {**HOST, "tls": TLS}},
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_set_up_that_is_off_is_one_line(site: Site, name: str) -> None:
    site.changes = WRONG[name]
    done = run(*site.run())
    assert done.returncode == 1
    one_line(done)


# A PACS that is broken or hostile: what fits is collected, the rest is counted, and the end comes soon.


def flooding(archive: pacs.Fake, asked: Dataset) -> pacs.Answers:
    """Study after study, without end."""
    number = 0
    while True:
        number += 1
        one = pacs.answer(archive.sets()[0], asked)
        one.StudyInstanceUID = f"{ROOT}.{number}"
        archive.got.append([one.StudyInstanceUID])
        yield 0xFF00, one


def test_answers_without_end_are_cut_off(site: Site) -> None:
    site.bounds["answers"] = 200
    with pacs.fake(site, find=flooding) as archive:
        started = time.monotonic()
        done = run(*site.run())
        assert time.monotonic() - started < 20
    assert done.returncode == 1
    one_line(done)
    assert len(archive.got) < 5000


def shouting(archive: pacs.Fake, asked: Dataset) -> pacs.Answers:
    one = pacs.answer(archive.sets()[0], asked)
    one.PatientComments = "Quux" * 1_000_000
    yield 0xFF00, one
    yield 0x0000, None


def refusing(archive: pacs.Fake, asked: Dataset) -> pacs.Answers:
    yield 0xC001, None


def of_two_minds(archive: pacs.Fake, asked: Dataset) -> pacs.Answers:
    """By its own count, a series holds more than it lists."""
    for status, one in pacs.honest(archive, asked):
        if one is not None and "NumberOfSeriesRelatedInstances" in asked:
            one.NumberOfSeriesRelatedInstances = "3"
        yield status, one


def test_a_series_that_holds_more_than_is_listed_is_said(site: Site) -> None:
    with pacs.fake(site, find=of_two_minds):
        planned = json.loads(run(*site.plan(), "--json").stdout)
    assert (planned["found"], planned["series"], planned["differing"]) == (1, 1, 1)


@pytest.mark.parametrize("find", [shouting, refusing])
def test_an_answer_that_is_none_is_one_line(site: Site, find: Any) -> None:
    with pacs.fake(site, find=find):
        done = run(*site.run())
    assert done.returncode == 1
    assert "Quux" not in one_line(done)


NESTED = struct.pack("<HHIHHI", 0x0008, 0x1140, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF) * 3000
NONSENSE = {
    "no elements": b"\xff" * 99,
    "an element without end": b"\x08\0\x20\0\xf0\xff\xff\x7f1",
    "sequences in sequences": NESTED,
}


@pytest.mark.parametrize("name", sorted(NONSENSE))
def test_an_answer_of_no_sense_is_one_line_and_nothing_of_it_is_said(
    site: Site, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pynetdicom.service_class.encode", lambda *_: NONSENSE[name])
    with pacs.fake(site):
        done = run(*site.plan(), "--json")
    assert "Traceback" not in done.stderr
    if done.returncode == 0:  # what can be read and names no study is no match
        assert json.loads(done.stdout)["found"] == 0
    else:
        assert one_line(done).startswith("rejected: an answer of the PACS; ")


def elsewhere(archive: pacs.Fake, asked: Dataset) -> pacs.Answers:
    """Answers that fit, between others that name another day, another study, no UID, or text where none belongs."""
    for status, good in pacs.honest(archive, asked):
        if good is None:
            break
        yield status, good
        for keyword, value in (
            ("StudyDate", "20250101"),
            ("StudyDate", ""),
            ("StudyInstanceUID", "1.2.826.0.1.78"),
            ("SeriesInstanceUID", "../../etc"),
            ("SOPInstanceUID", "1..2"),
        ):
            if keyword in asked:
                bad = pacs.answer(good, asked)
                setattr(bad, keyword, value)
                if keyword == "StudyInstanceUID" and asked.QueryRetrieveLevel == "STUDY":
                    continue
                yield 0xFF00, bad
    yield 0x0000, None


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # the fake archive's own
def test_answers_that_do_not_fit_the_question_are_left_out_and_counted(site: Site) -> None:
    with pacs.fake(site, find=elsewhere):
        done = run(*site.run())
    assert done.returncode == 0, done.stderr
    assert site.inbox() == instances(1)
    assert site.receipt()["odd"] > 5


def sending_others(archive: pacs.Fake, event: evt.Event) -> Iterator[Any]:
    """An instance that nobody asked for, one of another study, and one that was asked."""
    stranger, study, good = archive.sets()
    stranger.SOPInstanceUID = f"{ROOT}.9.1.1"
    study.StudyInstanceUID = f"{ROOT}.9"
    yield 3
    yield 0xFF00, stranger
    yield 0xFF00, study
    yield 0xFF00, good


def test_what_was_not_asked_or_is_of_another_study_goes_nowhere(site: Site) -> None:
    with pacs.fake(site, [image(1, 1), image(1, 2), image(1, 3)], get=sending_others):
        done = run(*site.run())
    assert done.returncode == 1
    assert site.inbox() == instances(3)
    assert site.receipt()["missing"] == {"another": 1, "not-sent": 1}
    assert list((site.work / "journal" / "spool").glob("*/*")) == []


def sending_half(archive: pacs.Fake, event: evt.Event) -> Iterator[Any]:
    """The connection is cut after the first of each C-GET, or before the only one."""
    chosen = [found for found in archive.sets() if found.SOPInstanceUID in archive.got[-1]]
    yield len(chosen)
    if len(chosen) > 1:
        yield 0xFF00, chosen[0]
    event.assoc.dul.socket.close()
    yield 0xFF00, chosen[-1]


def test_cut_in_the_middle_only_what_lacks_is_asked_again_and_a_later_run_brings_the_rest(site: Site) -> None:
    files = [image(1, number) for number in range(1, 6)]
    with pacs.fake(site, files, get=sending_half) as archive:
        done = run(*site.run())
    assert done.returncode == 1
    assert [len(asked) for asked in archive.got] == [5, 4, 1, 1, 1]
    assert site.receipt()["missing"] == {"not-sent": 3}
    assert site.inbox() == instances(1, 2)
    with pacs.fake(site, files) as archive:
        assert run(*site.run()).returncode == 0
    assert archive.asked == []
    assert archive.got == [instances(3, 4, 5)]
    assert site.inbox() == instances(1, 2, 3, 4, 5)


def sending_the_first(archive: pacs.Fake, event: evt.Event) -> Iterator[Any]:
    yield 1
    yield 0xFF00, next(found for found in archive.sets() if found.SOPInstanceUID == archive.got[-1][0])


def test_a_pacs_that_takes_no_lists_is_asked_one_by_one_at_last(site: Site) -> None:
    with pacs.fake(site, [image(1, number) for number in range(1, 5)], get=sending_the_first) as archive:
        assert run(*site.run()).returncode == 0
    assert [len(asked) for asked in archive.got] == [4, 3, 1, 1]
    assert site.inbox() == instances(1, 2, 3, 4)


def test_a_pacs_that_does_no_c_get_is_said_to_need_c_move(site: Site) -> None:
    with pacs.fake(site, models=(pacs.FIND,)):
        done = run(*site.run())
    assert done.returncode == 1
    assert "destination of C-MOVE" in one_line(done)


def busy_once(archive: pacs.Fake, event: evt.Event) -> Iterator[Any]:
    if len(archive.got) == 1:
        yield 1
        yield 0xA701, None
        return
    yield from pacs.sending(archive, event)


def test_a_busy_pacs_is_given_a_pause(site: Site) -> None:
    with pacs.fake(site, get=busy_once) as archive:
        done = run(*site.run())
    assert done.returncode == 0
    assert "out of resources; trying again in 0.1 s" in done.stderr
    assert len(archive.got) == 2


def test_a_pacs_that_is_not_there_is_one_line_after_its_pauses(site: Site) -> None:
    site.port = free_port()
    done = run(*site.run())
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["calling PACS", "not now"]


def silent(link: socket.socket) -> None:
    """Takes the call and says nothing."""


def of_the_web(link: socket.socket) -> None:
    link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def huge(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.sendall(struct.pack(">BBI", 2, 0, 0xFFFFFFFF) + bytes(100_000))


def trickling(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.sendall(struct.pack(">BBI", 2, 0, 60_000))
        for _ in range(100):
            link.sendall(b"x")
            time.sleep(0.1)


def gone(link: socket.socket) -> None:
    link.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("say", [silent, of_the_web, huge, trickling, gone])
def test_what_is_no_pacs_is_one_line_and_soon(site: Site, say: Any) -> None:
    site.bounds = {"answer_seconds": 1, "association_seconds": 2}
    started = time.monotonic()
    with pacs.raw(site, say):
        done = run(*site.plan())
        assert time.monotonic() - started < 8
    assert done.returncode == 1
    assert one_line(done).startswith("not now: calling PACS")


def test_a_pacs_with_tls_must_be_the_one_that_is_named(site: Site) -> None:
    room = RoomSite(site.work)
    site.tls = {"certificate": "abc.crt", "key": "abc.key", "authority": "ca.crt", "name": "door.test"}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(room.work / "door.crt", room.work / "door.key")
    context.load_verify_locations(room.work / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    with pacs.fake(site, tls=context) as archive:
        site.tls["name"] = "other.test"
        assert run(*site.plan()).returncode == 1
        assert archive.asked == []
        site.tls["name"] = "door.test"
        planned = run(*site.plan(), "--json")
    assert json.loads(planned.stdout)["found"] == 1


def test_where_there_is_no_room_for_a_study_it_is_said_and_nothing_of_it_goes_on(site: Site) -> None:
    site.bounds["spool_bytes"] = 12_000
    with pacs.fake(site, [image(1, 1), image(1, 2)]):
        done = run(*site.run())
        assert done.returncode == 1
        assert "no room" in done.stderr
        assert site.inbox() == []
        site.bounds["spool_bytes"] = 1_000_000
        assert run(*site.run()).returncode == 0
    assert site.inbox() == instances(1, 2)
