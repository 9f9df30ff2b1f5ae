"""What a hostile file might make a child do. Runs in children of `adapters.bounded`, never in a test's own process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Document = Mapping[str, Any]


def deeds(setup: Document) -> Any:
    """The function that answers calls: the document names what to do."""

    def do(document: Document, descriptors: Sequence[int]) -> Document:
        deed = document["do"]
        if deed == "echo":
            return {"setup": dict(setup), "said": document.get("say"), "pid": os.getpid()}
        if deed == "read":
            return {"text": os.pread(descriptors[0], 100, 0).decode()}
        return _harm(deed, descriptors)

    return do


def _harm(deed: str, descriptors: Sequence[int]) -> Document:
    while deed == "loop":
        pass
    while deed == "sleep":
        time.sleep(60)
    if deed == "memory":
        return {"bytes": len(bytearray(2 << 30))}
    if deed == "raise":
        raise ValueError("Smith^John")
    if deed == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if deed == "leave":
        os._exit(0)
    while deed == "fill":
        os.write(descriptors[0], bytes(1 << 20))
    return _look_around(deed)


def _look_around(deed: str) -> Document:
    if deed == "environment":
        return {"names": sorted(os.environ)}
    if deed == "limits":
        return {"status": Path("/proc/self/status").read_text(), "open": len(list(Path("/proc/self/fd").iterdir()))}
    return _reach_out(deed)


def _reach_out(deed: str) -> Document:
    try:
        if deed == "socket":
            socket.create_connection(("127.0.0.1", 9), timeout=1)
        elif deed == "program":
            subprocess.run(["/bin/true"], check=True)
    except OSError as error:
        return {"refused": type(error).__name__}
    return {"refused": ""}


def no_start(setup: Document) -> Any:
    """A factory that fails."""
    raise RuntimeError("no")
