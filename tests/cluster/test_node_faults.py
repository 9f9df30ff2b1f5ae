"""Each part of the node is killed: the node mends itself, who works goes on working, and nothing opens meanwhile."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from infra.node import launcher, processes, supervisor
from readingroom.contract import (
    NODE_ADDRESS,
    POD_RANGE,
    PORT_PORTAL,
    PORT_VAULT,
    PORTAL_SERVICE_ADDRESS,
    VAULT_SERVICE_ADDRESS,
    hub_namespace,
)
from tests.cluster.faults import MENDED_SECONDS, away, mended, node
from tests.cluster.internet import THERE, internet
from tests.cluster.kernel import Kernel
from tests.cluster.probes import Listener, from_node, kubectl, listed
from tests.cluster.site import Room

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
OUTSIDE = (THERE, 443)
PODS = ip_network(POD_RANGE)
FORBIDDEN = {  # from a workspace; each is open to the node itself
    "outside": OUTSIDE,
    "vault": (VAULT_SERVICE_ADDRESS, PORT_VAULT),
    "portal": (PORTAL_SERVICE_ADDRESS, PORT_PORTAL),
    "api": (NODE_ADDRESS, 6443),
}
# As often as it can, for as long as the kernel lives: what opened, and how often it was tried.
PROBER = """
import json, socket, threading, time
tried, opened, mark = {{}}, [], {mark!r}
def probe(name, address):
    tried[name] = 0
    while True:
        try:
            with socket.create_connection(tuple(address), 0.3) as stream:
                opened.append([name, time.time()]); stream.sendall(b"workspace")
        except OSError: pass
        tried[name] += 1; time.sleep(0.05)
def shout(address):
    tried["datagrams"] = 0
    while True:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram: datagram.sendto(b"workspace", tuple(address))
        except OSError: pass
        tried["datagrams"] += 1; time.sleep(0.05)
for each in {forbidden!r}.items(): threading.Thread(target=probe, args=each, daemon=True).start()
threading.Thread(target=shout, args=({outside!r},), daemon=True).start()
"""


@dataclass
class Work:
    """A researcher at work, whose kernel also tries every door."""

    kernel: Kernel
    outside: Listener
    mark: str

    def look(self) -> dict[str, int]:
        """The kernel still has its variables; nothing opened. How often each door was tried."""
        seen = self.kernel.ask("print(json.dumps({'mark': mark, 'opened': opened, 'tried': tried}))", 30)
        assert seen["mark"] == self.mark
        assert seen["opened"] == []
        words, senders = self.outside.report()
        assert "workspace" not in words
        assert [sender for sender in senders if ip_address(sender) in PODS] == []
        tried: dict[str, int] = seen["tried"]
        return tried

    def still_tries(self, before: dict[str, int]) -> None:
        """Every door was tried again since."""
        end = time.monotonic() + 5
        while any(count <= before[door] for door, count in self.look().items()):
            assert time.monotonic() < end, "the prober stands still: its silence proves nothing"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def work(room: Room) -> Iterator[Work]:
    mark = secrets.token_hex(8)
    with internet() as listener, room.working(room.ada) as (_page, kernel):
        kernel.run(PROBER.format(mark=mark, forbidden=FORBIDDEN, outside=OUTSIDE))
        yield Work(kernel, listener, mark)


def twin(work: Work, word: str) -> None:
    """The node's own way to the same addresses and ports."""
    asked = [("tcp", *OUTSIDE, word), ("udp", *OUTSIDE, word)]
    asked += [("tcp", *address, "") for name, address in FORBIDDEN.items() if name != "outside"]
    assert from_node(asked) == ["open"] * len(asked)
    assert work.outside.report()[0].count(word) == 2


def only_door(work: Work, room: Room) -> None:
    """By the prober's own means: what a workspace may reach, it reaches."""
    gate = listed("service", "-n", hub_namespace(room.project), "gate")["spec"]
    address = (gate["clusterIP"], gate["ports"][0]["port"])
    assert work.kernel.run(f"socket.create_connection({address!r}, 3).close(); print('open')").strip() == "open"


def test_the_node_itself_reaches_what_a_workspace_is_to_be_kept_from(work: Work, room: Room) -> None:
    twin(work, "before")
    only_door(work, room)
    work.still_tries(dict.fromkeys([*FORBIDDEN, "datagrams"], 0))


KILLED = [
    "kube-apiserver", "etcd", "kubelet", "netpol", "containerd", "kube-proxy", "kube-controller-manager",
    "kube-scheduler", "vault-keeper", "front-door",
]  # fmt: skip


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_part_is_started_again_and_whoever_works_goes_on(work: Work, name: str) -> None:
    before, tried = processes.running(name), work.look()
    assert before
    os.kill(before.pid, signal.SIGKILL)
    if name != "front-door":  # the door itself is the way to the kernel
        work.look()
    mended()
    after = processes.running(name)
    assert after
    assert after.pid != before.pid
    work.still_tries(tried)


def test_a_part_that_dies_while_another_is_being_started_does_not_wait_for_it(work: Work) -> None:
    first, tried = processes.running("kube-apiserver"), work.look()
    assert first
    os.kill(first.pid, signal.SIGKILL)
    while (again := processes.running("kube-apiserver")) is None or again.pid == first.pid:
        time.sleep(0.05)
    etcd = processes.running("etcd")
    assert etcd
    os.kill(etcd.pid, signal.SIGKILL)
    assert mended() < MENDED_SECONDS / 2
    work.still_tries(tried)


def test_a_killed_supervisor_leaves_the_node_running_and_the_next_one_takes_it_over(work: Work) -> None:
    before = {name: processes.running(name) for name in launcher.STOP_ORDER}
    known = processes.running(supervisor.NAME)
    assert known
    os.kill(known.pid, signal.SIGKILL)
    work.look()
    assert [line.partition(":")[0] for line in away()] == [supervisor.NAME]
    node("up")
    mended()
    assert {name: processes.running(name) for name in launcher.STOP_ORDER} == before
    work.look()


def hub_pid(project: str) -> int:
    """The hub's own process, as the host sees it."""
    query = (
        "get",
        "pod",
        "-n",
        hub_namespace(project),
        "-l",
        "readingroom/role=hub",
        "-o",
        "jsonpath={.items[0].metadata.uid}",
    )
    status, uid = kubectl(*query)
    assert status == 0, uid
    assert uid, "no hub is there"
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = uid in (folder / "cgroup").read_text() and b"/jupyterhub\0" in (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if ours:
            return int(folder.name)
    raise AssertionError("no hub runs")


def test_a_killed_hub_is_started_again_and_whoever_works_goes_on(work: Work, room: Room) -> None:
    before = hub_pid(room.project)
    os.kill(before, signal.SIGKILL)
    work.look()
    ready = ("wait", "-n", hub_namespace(room.project), "pod", "-l", "readingroom/role=hub", "--for=condition=Ready")
    since = time.monotonic()
    while True:
        try:
            if hub_pid(room.project) != before:
                break
        except AssertionError:
            assert time.monotonic() - since < MENDED_SECONDS, "the hub was not started again"
        time.sleep(0.3)
    status, said = kubectl(*ready, f"--timeout={MENDED_SECONDS:.0f}s")
    assert status == 0, said
    work.look()
    page = work.kernel.page.context.new_page()
    page.goto(f"{room.url}/hub/home")
    page.wait_for_url("**/hub/home")
    page.close()


def test_after_all_of_it_nothing_came_through_and_the_twin_still_does(work: Work, room: Room) -> None:
    assert min(work.look().values()) > 20
    twin(work, "after")
    only_door(work, room)
