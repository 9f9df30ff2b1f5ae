"""What is asked from inside a pod and, as its twin, from the node: the same program in both places. And what listens.

An answer is `open`, `silent`, or the name of the error that came back. A listener notes every word that reached it; an ear
notes the sender of every packet, so that half a connection is heard as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from infra import places
from infra.node import build

Probe = tuple[str, str, int]  # tcp, udp, dns or icmp; address; port

ASK = '''
import concurrent.futures, errno, json, socket
NAME = b"\\x05vault\\x09rr-system\\x03svc\\x07cluster\\x05local\\x00"
def echo(family, said):
    """A socket for ICMP, as an ordinary person may have one or else a raw one, and the request for it."""
    protocol, request = (58, 128) if family == socket.AF_INET6 else (1, 8)
    said = bytes([request, 0, 0, 0, 0, 7, 0, 1]) + said + b"\\0" * (len(said) % 2)
    total = sum(int.from_bytes(said[i:i + 2], "big") for i in range(0, len(said), 2))
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    said = said[:2] + total.to_bytes(2, "big") + said[4:]
    try: return socket.socket(family, socket.SOCK_DGRAM, protocol), said
    except PermissionError: return socket.socket(family, socket.SOCK_RAW, protocol), said
def ask(kind, address, port, word, seconds=2):
    """Whether anybody answers. `word` is said to listeners of ours, an empty one says nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    said = word.encode()
    try:
        if kind == "tcp":
            with socket.create_connection((address, port), seconds) as s:
                if said:
                    s.sendall(said); s.recv(len(said))
                return "open"
        if kind == "icmp":
            s, said = echo(family, said)
        else:
            s = socket.socket(family, socket.SOCK_DGRAM)
        if kind == "dns":
            said = b"\\x12\\x34\\x01\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00" + NAME + b"\\x00\\x01\\x00\\x01"
        with s:
            s.settimeout(seconds); s.connect((address, port)); s.send(said)
            answer = s.recv(512)
            return "open" if kind != "dns" or answer[-4:] == bytes([10, 96, 0, 20]) else "odd"
    except TimeoutError: return "silent"
    except OSError as e: return errno.errorcode.get(e.errno, type(e).__name__)
def ask_all(probes):
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        return list(pool.map(lambda probe: ask(*probe), probes))
'''

HEAR = """
import collections, json, socket, sys, threading
heard, senders = [], collections.Counter()
def talk(c):
    with c:
        c.settimeout(5)
        try: word = c.recv(200); c.sendall(word)
        except OSError: word = b""
    heard.append(word.decode("latin-1"))
def tcp(listener):
    while True: threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()
def udp(s):
    while True:
        word, sender = s.recvfrom(200); heard.append(word.decode("latin-1")); s.sendto(word, sender)
def ear(s):
    while True:
        packet, (_, protocol, direction, _, _) = s.recvfrom(100)
        if direction == socket.PACKET_OUTGOING: continue
        if protocol == 0x0800: senders[socket.inet_ntoa(packet[12:16])] += 1
        if protocol == 0x86DD: senders[socket.inet_ntop(socket.AF_INET6, packet[8:24])] += 1
def listen(binds, interface=""):
    for kind, address, port in binds:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        if kind == "tcp": serve, s = tcp, socket.create_server((address, port), family=family)
        else:
            serve, s = udp, socket.socket(family, socket.SOCK_DGRAM); s.bind((address, port))
        threading.Thread(target=serve, args=(s,), daemon=True).start()
    if interface:
        s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)); s.bind((interface, 0))
        threading.Thread(target=ear, args=(s,), daemon=True).start()
"""
_SERVE = (
    HEAR
    + """
listen(*json.loads(sys.stdin.readline()))
print("ready", flush=True)
for line in sys.stdin: print(json.dumps([heard, senders]), flush=True)
"""
)


class Listener:
    """A process that listens, here or in a network namespace, until it is closed."""

    def __init__(self, binds: list[Probe], *, interface: str = "", within: str = "") -> None:
        inside = ["ip", "netns", "exec", within] if within else []
        self._process = subprocess.Popen(
            [*inside, sys.executable, "-u", "-c", _SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._say(json.dumps([binds, interface])) != "ready":
            self.close()
            raise AssertionError(f"nobody can listen at {binds}")

    def _say(self, line: str) -> str:
        into, out = self._process.stdin, self._process.stdout
        assert into is not None
        assert out is not None
        into.write(line + "\n")
        into.flush()
        return out.readline().strip()

    def report(self) -> tuple[list[str], dict[str, int]]:
        """The words heard, and how many packets each sender sent."""
        words, senders = json.loads(self._say(""))
        return words, senders

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def from_node(probes: list[tuple[Any, ...]]) -> list[str]:
    """The node's own answers to the same questions."""
    program = ASK + "\nimport sys; print(json.dumps(ask_all(json.load(sys.stdin))))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(probes), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    found: list[str] = json.loads(done.stdout)
    return found


def kubectl(*words: str, given: str = "", as_account: str = "", deployer: bool = False) -> tuple[int, str]:
    """One call as the operator, as the deployer, or as the operator playing an account: status, and what was said."""
    config = places.DEPLOYER_KUBECONFIG if deployer else places.OPERATOR_KUBECONFIG
    player = [f"--as=system:serviceaccount:{as_account}"] if as_account else []
    done = subprocess.run(
        [build.binary("kube"), "kubectl", "--kubeconfig", places.state(config), *player, *words],
        input=given, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout if done.returncode == 0 else done.stderr


def listed(*words: str) -> Any:
    """`kubectl get … -o json` as the operator."""
    status, text = kubectl("get", *words, "-o", "json")
    assert status == 0, text
    return json.loads(text)
