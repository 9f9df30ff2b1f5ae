"""A process that is killed just before its n-th change of the disk: creating, renaming, linking, removing, syncing.

The work runs in a fork, so that what it does to itself stays there. `SIGKILL` leaves it no time for a `finally`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

_CHANGES = {"os.rename", "os.link", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
MOST = 500


def stops(work: Callable[[], object]) -> Iterator[int]:
    """Runs the work again and again, killed one change later each time; yields after each kill, ends when one run ends."""
    for change in range(1, MOST):
        status = _run(work, change)
        if status == 0:
            return
        assert status == -signal.SIGKILL, f"the work failed by itself before change {change}: {status}"
        yield change
    raise AssertionError("the work never ends")


def _run(work: Callable[[], object], change: int) -> int:
    child = os.fork()
    if not child:
        status = 1
        try:
            _arm(change)
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _arm(left: int) -> None:
    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and arguments[2] & _WRITING):
            count()

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            count()
            return real(*arguments)

        return call

    for name in ("fsync", "sendfile", "write"):  # these tell no audit hook
        setattr(os, name, counted(getattr(os, name)))
    sys.addaudithook(hook)
