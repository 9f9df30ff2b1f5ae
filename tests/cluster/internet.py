"""The Internet, as a workspace might look for it: a network namespace of our own with documentation addresses of both
families (RFC 5737, RFC 3849) and a stand-in for a cloud's metadata service. The node reaches it, and its own packets to these
addresses go nowhere else while it stands.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.probes import Listener, Probe

NODE, THERE = "203.0.113.65", "203.0.113.66"
NODE_6, THERE_6 = "2001:db8::65", "2001:db8::66"
METADATA = "169.254.169.254"
PORTS = {"tcp": (22, 53, 80, 443), "udp": (53, 123, 443)}
LISTENS: list[Probe] = [
    (kind, address, port) for address in (THERE, THERE_6, METADATA) for kind, ports in PORTS.items() for port in ports
]


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise AssertionError(f"ip {' '.join(words)}: {done.stderr}")


@contextmanager
def internet() -> Iterator[Listener]:
    """Somebody at `THERE`, `THERE_6` and `METADATA` who hears every word and notes the sender of every packet."""
    space, link = f"rr-internet-{os.getpid()}", f"rri{os.getpid()}"
    inside = ("-n", space)
    listener = None
    _ip("netns", "add", space)
    try:
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("addr", "add", f"{NODE}/32", "dev", link)
        _ip("addr", "add", f"{NODE_6}/128", "dev", link, "nodad")
        _ip("link", "set", link, "up")
        _ip(*inside, "link", "set", "lo", "up")
        for address in (f"{THERE}/32", f"{METADATA}/32"):
            _ip(*inside, "addr", "add", address, "dev", "eth0")
        _ip(*inside, "addr", "add", f"{THERE_6}/128", "dev", "eth0", "nodad")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "route", "add", "default", "via", NODE, "dev", "eth0", "onlink")
        _ip(*inside, "-6", "route", "add", NODE_6, "dev", "eth0")
        for address in (f"{THERE}/32", f"{METADATA}/32"):
            _ip("route", "add", address, "dev", link, "src", NODE)
        _ip("-6", "route", "add", f"{THERE_6}/128", "dev", link, "src", NODE_6)
        listener = Listener(LISTENS, interface="eth0", within=space)
        yield listener
    finally:
        if listener:
            listener.close()
        subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", link], capture_output=True, check=False)
