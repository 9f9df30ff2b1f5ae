"""Bounded children: whatever a call does, it costs so much and no more, and the next call is unharmed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from readingroom.adapters.bounded import Answer, Call, Fault, Limits, Pool
from readingroom.domain.errors import WrongSetUp

DEEDS = "tests.unit.deid.hostile:deeds"
SHORT = Limits(memory=512 << 20, seconds=2.0, written=8 << 20)


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(DEEDS, {"key": "k"}, limits=SHORT) as made:
        yield made


def test_a_call_is_answered_and_the_child_is_kept(pool: Pool) -> None:
    first, second = (pool.call({"do": "echo", "say": "\udcff ü"}) for _ in range(2))
    assert first.fault is None
    assert first.document == {"setup": {"key": "k"}, "said": "\udcff ü", "pid": second.document["pid"]}


def test_a_descriptor_is_handed_over_and_closed(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("inside")
    descriptor = os.open(tmp_path / "f", os.O_RDONLY)
    assert pool.call({"do": "read"}, (descriptor,)).document == {"text": "inside"}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.parametrize(
    ("deed", "fault"),
    [
        ("loop", Fault.TIME_OUT),
        ("sleep", Fault.TIME_OUT),
        ("memory", Fault.OVER_LIMIT),
        ("raise", Fault.CRASH),
        ("die", Fault.CRASH),
        ("leave", Fault.CRASH),
    ],
)
def test_a_fault_is_one_word_and_the_next_call_is_unharmed(pool: Pool, deed: str, fault: Fault) -> None:
    before = pool.call({"do": "echo"}).document["pid"]
    began = time.monotonic()
    assert pool.call({"do": deed}) == Answer(key=None, fault=fault)
    assert time.monotonic() - began < 10
    after = pool.call({"do": "echo"})
    assert after.fault is None
    assert after.document["pid"] != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_what_it_writes_ends_at_the_limit(pool: Pool, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
    assert pool.call({"do": "fill"}, (descriptor,)).fault is Fault.CRASH
    assert (tmp_path / "f").stat().st_size <= SHORT.written


@pytest.mark.parametrize("deed", ["socket", "program"])
def test_it_opens_no_socket_and_starts_no_program(pool: Pool, deed: str) -> None:
    assert pool.call({"do": deed}).document == {"refused": "PermissionError"}


def test_it_inherits_no_environment_and_no_descriptor(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RR_SECRET", "x")
    names = pool.call({"do": "environment"}).document["names"]
    assert [name for name in names if name.startswith(("RR_", "XDG", "PATH", "HOME"))] == []
    answer = pool.call({"do": "limits"}).document
    assert answer["open"] <= 5  # three nulls, the socket, the listing itself
    assert "NoNewPrivs:\t1" in answer["status"]


def test_every_call_gets_one_answer_from_several_children() -> None:
    deeds = ["echo", "raise", "echo", "die", "echo", "memory", "echo"] * 3
    with Pool(DEEDS, {}, jobs=3, limits=SHORT) as pool:
        answers = list(pool.run(Call(key=place, document={"do": deed}) for place, deed in enumerate(deeds)))
    assert sorted(answer.key for answer in answers) == list(range(len(deeds)))
    assert {deeds[answer.key] for answer in answers if answer.fault is None} == {"echo"}
    assert len({answer.document["pid"] for answer in answers if answer.fault is None}) > 1


def test_a_child_that_does_not_start_is_a_wrong_set_up() -> None:
    with Pool("tests.unit.deid.hostile:no_start", {}) as pool, pytest.raises(WrongSetUp, match="exit status 1"):
        pool.call({})


@pytest.mark.root
def test_it_is_confined_without_root_too(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("run as root: this test gives root up in a process of its own")
    (tmp_path / "f").write_text("x")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgid(10001)
        os.setuid(10001)
        try:
            with Pool(DEEDS, {}, limits=SHORT) as pool:
                refused = [pool.call({"do": deed}).document["refused"] for deed in ("socket", "program")]
            os.write(write, ",".join(refused).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"PermissionError,PermissionError"
    os.close(read)
