"""A process gives up what it does not need: memory without end, core dumps, the network, other programs.

Two fences against the network, because neither is there everywhere: a network namespace of its own (root, or where
users may have namespaces), and a system call filter that refuses new sockets and programs (anybody, every Linux we run
on). One of them must stand, else the process ends: no confinement is no work.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from typing import Final

_NEWUSER, _NEWNET = 0x10000000, 0x40000000
_SET_PDEATHSIG, _SET_SECCOMP, _SET_NO_NEW_PRIVS = 1, 22, 38
_FILTER, _ALLOW, _REFUSE = 2, 0x7FFF0000, 0x00050000 | 1  # EPERM
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
# Audit architecture, and the numbers of socket, execve, execveat, io_uring_setup (a ring opens sockets, too), ptrace.
_SYSTEM_CALLS: Final = {
    "x86_64": (0xC000003E, (41, 59, 322, 425, 101)),
    "aarch64": (0xC00000B7, (198, 221, 281, 425, 117)),
}
_X32: Final = 0x40000000  # the second numbering of x86_64


def confine(*, memory: int, written: int, parent: int) -> None:
    """Confines this process for good. Raises `SystemExit` when it cannot be cut off, or the parent is gone already."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(1)
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")  # threads would each reserve memory
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))
    alone = libc.unshare(_NEWNET) == 0 or libc.unshare(_NEWUSER | _NEWNET) == 0
    if not _filtered(libc) and not alone:
        raise SystemExit(1)


def _filtered(libc: ctypes.CDLL) -> bool:
    machine = platform.machine()
    if machine not in _SYSTEM_CALLS or libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    architecture, refused = _SYSTEM_CALLS[machine]
    tail = len(refused) + 1  # from the comparison before the numbers to the refusal
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 0, tail + 2, architecture), (_LOAD, 0, 0, 0)]
    program += [(_AT_LEAST, tail, 0, _X32)]
    program += [(_EQUAL, tail - 1 - place, 0, number) for place, number in enumerate(refused)]
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    head = struct.pack("=HxxxxxxQ", len(program), ctypes.addressof(code))
    return bool(libc.prctl(_SET_SECCOMP, _FILTER, ctypes.create_string_buffer(head), 0, 0) == 0)
