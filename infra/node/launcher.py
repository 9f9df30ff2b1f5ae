"""`up`, `down` and `status` of the embedded node: quick, repeatable, one node per machine.

What runs is the supervisor's business; here it is decided whether it may, what must be there first (programs, keys, the
pause image), and when people may go on.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images import build as image_builder
from infra import places
from infra.node import build, cluster, configs, edge_table, host, images, pki, preflight, processes, supervisor
from infra.node.processes import Process
from readingroom import contract
from readingroom.domain.errors import TryAgain, WrongSetUp

UP_SECONDS: Final = 240
STOP_ORDER: Final = ("front-door", "vault-keeper", "kubelet", "kube-proxy", "netpol", "kube-scheduler",
                     "kube-controller-manager", "kube-apiserver", "containerd", "etcd")  # fmt: skip
_MACHINE_LOCK: Final = Path("/run/readingroom-node.lock")
Say = Callable[[str], None]


@dataclass(frozen=True)
class State:
    """One line of `node status`."""

    name: str
    well: bool
    detail: str


def up(say: Say) -> None:
    """A Ready node, started or mended as needed. Raises `WrongSetUp` or `TryAgain` with the reason."""
    _refuse_others()
    preflight.check()
    with _alone():
        _claim()
        for family in build.FAMILIES:
            if not build.built(family):
                say(f"building {family} (once; kept in the cache)")
            build.folder(family)
        places.state().mkdir(mode=0o700, parents=True, exist_ok=True)
        places.state().chmod(0o700)
        pki.ensure()
        pause = image_builder.build("pause")
        etc = places.state("etc")
        etc.mkdir(mode=0o700, exist_ok=True)
        pki.write_private(etc / "pause-image", contract.image_reference("pause", pause.digest).encode())
        _supervise(say)
        _wait(say)
        images.import_image(pause.tar, "pause", pause.digest)


def down(say: Say, *, remove_data: bool = False) -> None:
    """End everything of ours, in order, and take back what the host was given. Data stays unless it is to go."""
    with _alone():
        _refuse_others()
        processes.stop(supervisor.NAME)
        if processes.running("kubelet") or processes.running("containerd"):
            say("stopping the node")
        for name in STOP_ORDER:
            if name == "containerd":
                host.sweep()  # while the runtime still records what it had
            processes.stop(name)
        host.withdraw()
        supervisor.owner_file().unlink(missing_ok=True)
        if remove_data:
            shutil.rmtree(places.state(), ignore_errors=False) if places.state().exists() else None
            say("removed all data, keys and accounts of the node")
    say("the node is down")


def status() -> list[State]:
    """Every part, in the order of its need."""
    owner = _owner()
    if not owner:
        return [State("node", False, "not running; start it with `readingroom node up`")]
    found = [State("owner", owner["state"] == str(places.state()), owner["checkout"])]
    for name in (supervisor.NAME, *reversed(STOP_ORDER)):
        known = processes.running(name)
        found.append(State(name, known is not None, f"pid {known.pid}" if known else "not running"))
    found.append(State("api", cluster.api_ready(), f"https://{contract.NODE_ADDRESS}:{edge_table.API_PORT}"))
    found.append(State("ready", cluster.node_ready(), contract.NODE_NAME))
    found.append(State("way in", _door_answers(), f"127.0.0.1:{contract.FRONT_DOOR_PORT}"))
    found.append(State("edge table", edge_table.loaded(), "pods reach pods and services, nothing else"))
    found.append(State("policies", *_lease()))
    found.append(State("memory", *_memory()))
    found.append(State("gpus", True, f"{cluster.GPUS} advertised; no device is behind them"))
    return found


def _door_answers() -> bool:
    """The front door takes connections: its process is there a second earlier."""
    try:
        socket.create_connection(("127.0.0.1", contract.FRONT_DOOR_PORT), timeout=2).close()
    except OSError:
        return False
    return True


def _lease() -> tuple[bool, str]:
    try:
        seen = json.loads(places.state("run", supervisor.LEASE).read_text())
        age = time.time() - float(seen["leased_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return False, "no lease: pods are closed"
    return age < 30, f"applied {age:.0f} s ago"


def _memory() -> tuple[bool, str]:
    """What all of the node holds, pods included; pages that several share are counted once."""
    used = host.memory([known.pid for name in (supervisor.NAME, *STOP_ORDER) if (known := processes.running(name))])
    return True, f"{used / 2**30:.1f} GiB held by the node and its pods"


def _supervise(say: Say) -> None:
    """A supervisor of this checkout: another one's is ended first; what it started is adopted or started anew."""
    script = [sys.executable, "-m", "infra.node.supervisor"]
    process = Process(supervisor.NAME, script, folder=places.CHECKOUT, files=configs.own_code())
    known = processes.running(supervisor.NAME)
    if known and known.fingerprint == process.fingerprint:
        return
    processes.stop(supervisor.NAME)
    if not any(processes.running(name) for name in STOP_ORDER):
        host.sweep()
    say("starting the node" if not known else "the node's supervisor is of another state of the code: changing it")
    places.state("run").mkdir(parents=True, exist_ok=True)
    processes.start(process)


def _wait(say: Say) -> None:
    end, told = time.monotonic() + UP_SECONDS, ""
    while time.monotonic() < end:
        if processes.running(supervisor.NAME) is None:
            raise WrongSetUp(
                what="the node",
                which=supervisor.NAME,
                why=processes.last_lines(supervisor.NAME, 2),
                next_step=f"mend that, then `readingroom node up`; the log is {processes.log_file(supervisor.NAME)}",
            )
        waiting = [name for name in reversed(STOP_ORDER) if name in _expected() and not processes.running(name)]
        if not waiting and cluster.api_ready() and cluster.node_ready():
            return
        text = waiting[0] if waiting else "the node to be Ready"
        if text != told:
            told = text
            say(f"  waiting for {text}")
        time.sleep(0.3)
    raise TryAgain(
        what="the node",
        which=told,
        why=f"not well after {UP_SECONDS} s: {processes.last_lines(told if told in STOP_ORDER else 'kubelet', 3)}",
        next_step="`readingroom node status`; then `readingroom node up` again",
    )


def _expected() -> set[str]:
    return {*STOP_ORDER} - {"vault-keeper", "front-door"} | {process.name for process in configs.helpers()}


def _owner() -> dict[str, str] | None:
    try:
        owner: dict[str, str] = json.loads(supervisor.owner_file().read_text())
    except (OSError, ValueError):
        return None
    return owner


def _claim() -> None:
    """One node per machine. Another state folder's is refused; another checkout's over the same state is taken over,
    unless a test run of that checkout is using it."""
    _refuse_others()
    owner = _owner()
    if owner and not _free(owner["checkout"]):
        raise TryAgain(
            what="the node",
            which=owner["checkout"],
            why="a run of that checkout is using it",
            next_step="wait for it to end, then repeat",
        )
    supervisor.owner_file().write_text(json.dumps({"state": str(places.state()), "checkout": str(places.CHECKOUT)}))


def _refuse_others() -> None:
    """Before anything else is looked at: that node's ports are taken, which would be a riddle instead of the reason."""
    owner = _owner()
    if owner and owner["state"] != str(places.state()):
        raise _other(owner)


def _other(owner: dict[str, str]) -> WrongSetUp:
    return WrongSetUp(
        what="this machine already runs a node",
        which=owner["checkout"],
        why="there is one node per machine, and its state is elsewhere",
        next_step=f"end it there with `make stop` (its state: {owner['state']})",
    )


def _free(checkout: str) -> bool:
    """Nobody but this very checkout, which takes from itself whatever it likes, is `using` the node from there."""
    if checkout == str(places.CHECKOUT):
        return True
    try:
        with _using_file(checkout).open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _using_file(checkout: str) -> Path:
    file = places.state("run", f"in-use-{hashlib.sha256(checkout.encode()).hexdigest()[:12]}.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


@contextmanager
def using(checkout: str = str(places.CHECKOUT)) -> Iterator[None]:
    """While this lasts and the node is this checkout's, no other takes it over."""
    with _using_file(checkout).open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        yield


def wait_for_others(seconds: float, say: Callable[[str], None]) -> None:
    """Until no other checkout is `using` its node, or the time is over: `up` says then who it is."""
    end, told = time.monotonic() + seconds, False
    while (owner := _owner()) and not _free(owner["checkout"]) and time.monotonic() < end:
        if not told:
            say(f"a run of {owner['checkout']} is using the node: waiting for its end")
            told = True
        time.sleep(1)


@contextmanager
def _alone() -> Iterator[None]:
    if os.geteuid() != 0:
        preflight.check()
    with _MACHINE_LOCK.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TryAgain(
                what="the node", why="another `node up` or `node down` is at work", next_step="wait for it, then repeat"
            ) from None
        yield
