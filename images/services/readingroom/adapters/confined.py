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
_FILTER, _ALLOW, _REFUSE, _UNKNOWN = 2, 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38  # EPERM, ENOSYS
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# Audit architecture, and the numbers of socket, execve, execveat, io_uring_setup (a ring opens sockets, too), ptrace.
_SYSTEM_CALLS: Final = {
    "x86_64": (0xC000003E, (41, 59, 322, 425, 101)),
    "aarch64": (0xC00000B7, (198, 221, 281, 425, 117)),
}
# What code of a stranger needs not: chroot, mount, umount2, pivot_root, unshare, setns, shmget, msgget, memfd_create, bpf,
# perf_event_open, userfaultfd, add_key, request_key, keyctl, process_vm_readv; and, numbered alike: open_tree, move_mount,
# fsopen, fsconfig, fsmount, pidfd_getfd, mount_setattr, memfd_secret.
_STRANGERS: Final = {
    "x86_64": (161, 165, 166, 155, 272, 308, 29, 68, 319, 321, 298, 323, 248, 249, 250, 310),
    "aarch64": (51, 40, 39, 41, 97, 268, 194, 186, 279, 280, 241, 282, 217, 218, 219, 270),
}
_ALIKE: Final = (428, 429, 430, 431, 432, 438, 442, 447)
_CLONE: Final = {"x86_64": 56, "aarch64": 220}
_CLONE3: Final = 435  # its flags lie in memory, where a filter does not look: libraries fall back to clone
_NAMESPACES: Final = 0x7E020000
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
    if not filtered(libc) and not alone:
        raise SystemExit(1)


def filtered(libc: ctypes.CDLL, *, stranger: bool = False) -> bool:
    """Whether system calls are refused from now on, for good; of a stranger's code more of them, new namespaces included."""
    machine = platform.machine()
    if machine not in _SYSTEM_CALLS or libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    architecture, refused = _SYSTEM_CALLS[machine]
    refuse = (_RETURN, 0, 0, _REFUSE)
    program = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        refuse,
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, _X32),
        refuse,
    ]
    for number in (*refused, *((*_STRANGERS[machine], *_ALIKE) if stranger else ())):
        program += [(_EQUAL, 0, 1, number), refuse]
    if stranger:
        program += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _UNKNOWN)]
        program += [(_EQUAL, 0, 3, _CLONE[machine]), (_LOAD, 0, 0, 16), (_ANY_BIT, 0, 1, _NAMESPACES), refuse]
    program.append((_RETURN, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    head = struct.pack("=HxxxxxxQ", len(program), ctypes.addressof(code))
    return bool(libc.prctl(_SET_SECCOMP, _FILTER, ctypes.create_string_buffer(head), 0, 0) == 0)
