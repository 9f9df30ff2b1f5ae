"""Ports for servers that tests start: each is handed out once on this machine, to whichever test process asks.

They lie below those that the kernel gives to outgoing connections, so nobody takes one between the asking and the start of
its server. A name in the abstract socket space stands for each port as long as the process that asked lives.
"""

from __future__ import annotations

import random
import socket
from typing import Final

FIRST, LAST = 20_000, 29_999
_held: Final[list[socket.socket]] = []


def free_port() -> int:
    """A port of 127.0.0.1 for one server of this process, or of a child of it."""
    for port in random.SystemRandom().sample(range(FIRST, LAST + 1), LAST + 1 - FIRST):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0readingroom-test-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _held.append(claim)
        return port
    raise AssertionError("no port is free")
