"""Calls in child processes that may cost only so much: memory, time, no network, no environment, no new program.

The parent parses nothing: it hands over open descriptors and a small JSON document and takes a small JSON document back.
A child is a fresh interpreter, not a fork, so it inherits neither secrets nor threads. It is ended after any fault, and
another takes its place; the call that it was busy with is answered with the fault. What goes wrong inside comes out as
one of three words and nothing else, because a message could hold a value of the file.

A factory is named `package.module:function`. In the child it is called once with the set-up document and gives the
function that answers calls: `(document, descriptors) -> document`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import resource
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from typing import Any, Final, Generic, TypeVar

from readingroom.adapters.confined import confine
from readingroom.domain.errors import WrongSetUp

Document = Mapping[str, Any]
Function = Callable[[Document, Sequence[int]], Document]
K = TypeVar("K")

LARGEST_FRAME: Final = 64 << 20
MOST_DESCRIPTORS: Final = 8
START_SECONDS: Final = 60.0
LARGEST_KEPT: Final = 16 << 20  # bytes of a block
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_LENGTH: Final = struct.Struct(">I")


class Fault(StrEnum):
    """Why a call has no answer; each word is a reason code of a receipt."""

    TIME_OUT = "time-out"
    OVER_LIMIT = "over-limit"
    CRASH = "crash"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one call may cost."""

    memory: int = 512 << 20  # bytes of address space
    seconds: float = 10.0  # of processor and of wall clock
    written: int = 4 << 30  # bytes of any one file


@dataclass(frozen=True, kw_only=True)
class Call(Generic[K]):
    """One call. The pool closes the descriptors, whatever happens."""

    key: K
    document: Document
    descriptors: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer(Generic[K]):
    """What became of a call: a document, or a fault."""

    key: K
    document: Document = field(default_factory=dict)
    fault: Fault | None = None


class Pool:
    """Up to `jobs` children at work. The set-up document may hold keys: it goes through a socket, nowhere else."""

    def __init__(self, factory: str, setup: Document, *, jobs: int = 1, limits: Limits | None = None) -> None:
        self._factory, self._setup, self._jobs, self._limits = factory, setup, jobs, limits or Limits()
        self._idle: list[_Child] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the children."""
        while self._idle:
            self._idle.pop().end()

    def run(self, calls: Iterable[Call[K]]) -> Iterator[Answer[K]]:
        """Answers in the order in which they come; every call gets one. `calls` is read only as children get free.

        Raises `WrongSetUp` when a child does not start.
        """
        waiting = iter(calls)
        busy: dict[_Child, Call[K]] = {}
        with selectors.DefaultSelector() as selector:
            try:
                more = True
                while more or busy:
                    while more and len(busy) < self._jobs:
                        call = next(waiting, None)
                        more = call is not None
                        if call is not None:
                            child = self._begin(call)
                            busy[child] = call
                            selector.register(child.socket, selectors.EVENT_READ, child)
                    for child in self._finished(selector, busy):
                        selector.unregister(child.socket)
                        yield self._answer(child, busy.pop(child))
            finally:
                for child in busy:
                    child.end()

    def call(self, document: Document, descriptors: tuple[int, ...] = ()) -> Answer[None]:
        """One call, waited for."""
        return next(self.run([Call(key=None, document=document, descriptors=descriptors)]))

    def _begin(self, call: Call[K]) -> _Child:
        try:
            child = self._idle.pop() if self._idle else _Child(self._factory, self._setup, self._limits)
            child.send(call.document, call.descriptors)
        finally:
            for descriptor in call.descriptors:
                os.close(descriptor)
        return child

    def _finished(self, selector: selectors.BaseSelector, busy: Mapping[_Child, object]) -> list[_Child]:
        if not busy:
            return []
        nearest = min(child.deadline for child in busy)
        ready = [key.data for key, _ in selector.select(max(0.0, nearest - time.monotonic()))]
        for child in ready:
            child.take()
        now = time.monotonic()
        return [child for child in busy if child.done or now >= child.deadline]

    def _answer(self, child: _Child, call: Call[K]) -> Answer[K]:
        document = child.document() if child.done else None
        if document is not None and "answer" in document:
            self._idle.append(child)
            return Answer(key=call.key, document=document["answer"])
        fault = child.end() if document is None else Fault(document.get("fault", Fault.CRASH))
        child.end()
        return Answer(key=call.key, fault=fault)


class _Child:
    """One interpreter behind a socket."""

    def __init__(self, factory: str, setup: Document, limits: Limits) -> None:
        self._limits = limits
        self._received = bytearray()
        self.done = False
        self.socket, theirs = socket.socketpair()
        bounds = f"{limits.memory},{limits.written},{os.getpid()}"
        code = f"from readingroom.adapters.bounded import serve; serve({theirs.fileno()}, {factory!r}, {bounds})"
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-c", code],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={},
                    cwd="/",
                    pass_fds=[theirs.fileno()],
                )
        except OSError as error:
            self.socket.close()
            raise _not_started(type(error).__name__) from error
        self.send(setup)
        self.deadline = time.monotonic() + START_SECONDS
        while not self.done and time.monotonic() < self.deadline:
            self.socket.settimeout(max(0.01, self.deadline - time.monotonic()))
            with contextlib.suppress(TimeoutError):
                self.take()
        if (self.document() if self.done else None) != {"ready": True}:
            late = not self.done
            self.end()
            raise _not_started(
                f"no word in {START_SECONDS:.0f} s" if late else f"exit status {self._process.returncode}"
            )

    def send(self, document: Document, descriptors: Sequence[int] = ()) -> None:
        """Hands over one document. A child that is dead already shows it when it is read from."""
        body = json.dumps({"document": document, "seconds": self._limits.seconds}).encode("ascii")
        self._received.clear()
        self.done = False
        self.deadline = time.monotonic() + self._limits.seconds
        self.socket.settimeout(self._limits.seconds)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            socket.send_fds(self.socket, [_LENGTH.pack(len(body))], list(descriptors))
            self.socket.sendall(body)

    def take(self) -> None:
        """Reads what is there; `done` once a whole frame, or the end, has come."""
        try:
            piece = self.socket.recv(1 << 20)
        except ConnectionResetError:
            piece = b""
        self._received += piece
        too_long = len(self._received) >= 4 and self._expected() > LARGEST_FRAME
        self.done = not piece or too_long or (len(self._received) >= 4 and len(self._received) >= 4 + self._expected())

    def document(self) -> dict[str, Any] | None:
        """The frame as a document, or None if the child said nothing that is one."""
        if len(self._received) < 4 or len(self._received) != 4 + self._expected():
            return None
        try:
            document = json.loads(self._received[4:])
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None

    def end(self) -> Fault:
        """Kills and reaps it; safe to repeat. Says why it had no answer."""
        late = time.monotonic() >= self.deadline
        self.socket.close()
        if late or not self.done:
            self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
        self._process.kill()
        status = self._process.wait()
        return Fault.TIME_OUT if late or status == -signal.SIGXCPU else Fault.CRASH

    def _expected(self) -> int:
        return int(_LENGTH.unpack_from(self._received)[0])


def _not_started(why: str) -> WrongSetUp:
    return WrongSetUp(
        what="a bounded child process",
        why=f"it does not start ({why})",
        next_step="run the command where processes may be started and confined",
    )


def serve(connection: int, factory: str, memory: int, written: int, parent: int) -> None:
    """The child's life: confine itself, build the function, answer calls until the parent is gone."""
    confine(memory=memory, written=written, parent=parent)
    _keep_what_is_freed()
    with socket.socket(fileno=connection) as link:
        setup, _ = _received(link)
        module, _, name = factory.partition(":")
        function: Function = getattr(import_module(module), name)(setup["document"])
        _send(link, {"ready": True})
        while True:
            try:
                message, descriptors = _received(link)
            except EOFError:
                return
            _limit_processor(message["seconds"])
            try:
                _send(link, {"answer": function(message["document"], descriptors)})
            except MemoryError:
                _send(link, {"fault": Fault.OVER_LIMIT})
            except Exception:  # noqa: BLE001 (the process edge: whatever a file did to us is one word to the parent)
                _send(link, {"fault": Fault.CRASH})
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)


def _keep_what_is_freed() -> None:
    """Large blocks are used again for the next file. By default glibc returns each one, and its pages come back one by one."""
    with contextlib.suppress(AttributeError):  # another C library has no such call
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, LARGEST_KEPT)
        libc.mallopt(_TRIM_THRESHOLD, 4 * LARGEST_KEPT)


def _limit_processor(seconds: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(
        resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime + seconds) + 1, resource.RLIM_INFINITY)
    )


def _received(link: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, descriptors, _, _ = socket.recv_fds(link, _LENGTH.size, MOST_DESCRIPTORS)
    body = bytearray()
    while len(head) < _LENGTH.size or len(body) < _LENGTH.unpack(head)[0]:
        if len(head) < _LENGTH.size:
            piece = link.recv(_LENGTH.size - len(head)) if head else b""
            head += piece
        else:
            piece = link.recv(min(1 << 20, _LENGTH.unpack(head)[0] - len(body)))
            body += piece
        if not piece:
            raise EOFError
    document: dict[str, Any] = json.loads(body)
    return document, descriptors


def _send(link: socket.socket, document: Document) -> None:
    body = json.dumps(document).encode("ascii")
    link.sendall(_LENGTH.pack(len(body)) + body)
