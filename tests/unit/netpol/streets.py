"""A node in a network namespace, with pods behind routed links as the `ptp` plugin makes them, and a host outside.

Nothing leaves these namespaces: they have no link to the machine's own network.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.mortal import mortal

SERVE = """
import socket, sys, threading
def tcp(port):
    s = socket.create_server(("0.0.0.0", port))
    while True:
        c, _ = s.accept()
        def talk(c=c):
            while (d := c.recv(100)):
                c.sendall(d)
        threading.Thread(target=talk, daemon=True).start()
def udp(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", port))
    while True:
        d, a = s.recvfrom(100); s.sendto(d, a)
for p in (80, 81):
    threading.Thread(target=tcp, args=(p,), daemon=True).start()
    threading.Thread(target=udp, args=(p,), daemon=True).start()
print("ready", flush=True); sys.stdin.read()
"""
ASK = """
import socket, sys
kind, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM); s.settimeout(1)
try:
    s.connect((host, port)); s.sendall(b"hello"); print("open" if s.recv(5) == b"hello" else "odd")
except ConnectionRefusedError: print("refused")
except TimeoutError: print("silent")
except OSError as e: print("unreachable")
"""
TALK = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2); s.settimeout(1)
for line in sys.stdin:
    try:
        s.sendall(b"hello"); print("open" if s.recv(5) == b"hello" else "ended", flush=True)
    except OSError: print("ended", flush=True)
"""


def run(*command: str, text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


@dataclass
class Street:
    """A node and its pods by name."""

    prefix: str
    addresses: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def inside(self, name: str, *command: str, text: str = "") -> str:
        return run("ip", "netns", "exec", f"{self.prefix}-{name}", *command, text=text)

    def load(self, text: str) -> None:
        self.inside("node", "nft", "-c", "-f", "-", text=text)
        self.inside("node", "nft", "-f", "-", text=text)

    def ask(self, source: str, target: str, port: int = 80, kind: str = "tcp") -> str:
        """`open`, or how it was refused: `refused` (a reset), `unreachable` (a message), `silent`."""
        host = self.addresses.get(target, target)
        return self.inside(source, sys.executable, "-c", ASK, kind, host, str(port)).strip()

    def start(self, name: str, program: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            mortal(["ip", "netns", "exec", f"{self.prefix}-{name}", sys.executable, "-u", "-c", program, *arguments]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def add(self, name: str, address: str, gateway: str, link: str) -> None:
        """A namespace behind a routed link to the node, with a server on 80 and 81, TCP and UDP."""
        run("ip", "netns", "add", f"{self.prefix}-{name}")
        self.addresses[name] = address
        self.inside("node", "ip", "link", "add", link, "type", "veth", "peer", "eth0", "netns", f"{self.prefix}-{name}")
        self.inside("node", "ip", "addr", "add", f"{gateway}/32", "dev", link)
        self.inside("node", "ip", "link", "set", link, "up")
        self.inside("node", "ip", "route", "add", f"{address}/32", "dev", link, "src", gateway)
        for command in (
            ("ip", "link", "set", "lo", "up"),
            ("ip", "addr", "add", f"{address}/32", "dev", "eth0"),
            ("ip", "link", "set", "eth0", "up"),
            ("ip", "route", "add", f"{gateway}/32", "dev", "eth0"),
            ("ip", "route", "add", "default", "via", gateway),
        ):
            self.inside(name, *command)
        served = self.start(name, SERVE).stdout
        assert served is not None
        assert served.readline() == "ready\n"


@contextmanager
def street() -> Iterator[Street]:
    """Pods a, b, c of the pod range, and `outside` with a documentation address."""
    made = Street(f"rr{os.getpid()}")
    try:
        run("ip", "netns", "add", f"{made.prefix}-node")
        made.inside("node", "ip", "link", "set", "lo", "up")
        made.inside("node", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for number, name in enumerate(("a", "b", "c"), start=2):
            made.add(name, f"10.244.0.{number}", "10.244.0.1", f"veth{name}")
        made.add("outside", "203.0.113.7", "203.0.113.1", "wan0")
        served = made.start("node", SERVE).stdout
        assert served is not None
        assert served.readline() == "ready\n"
        yield made
    finally:
        for process in made.processes:
            process.kill()
            process.communicate()
        for name in [*made.addresses, "node"]:
            subprocess.run(["ip", "netns", "del", f"{made.prefix}-{name}"], check=False, capture_output=True)
