"""`python -m infra.node.supervisor`: starts what is not running, in order, and again whenever something died.

The one parent of the node's processes. Killed itself, it leaves them running; the next one adopts those whose
fingerprint is still right, and starts the others anew. Fails closed: nothing here opens a rule.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from infra import places
from infra.node import cluster, configs, host, pki, processes
from infra.node.processes import Process
from readingroom.domain.errors import ReadingRoomError, TryAgain

log = logging.getLogger("node")
NAME: Final = "supervisor"
LOOK_SECONDS: Final = 0.5
TEND_SECONDS: Final = 10
LEASE: Final = "netpol-status.json"
Check = Callable[[], bool]


def owner_file() -> Path:
    """Which checkout's node this machine runs; outside the state folder, for there is one node per machine."""
    return Path("/run/readingroom-node.json")


def steps() -> Iterator[tuple[Process, Check, float]]:
    """Each process, when it counts as well, and how long that may take."""
    etcd, apiserver, *rest = configs.control_plane()
    yield etcd, lambda: True, 30
    yield apiserver, cluster.api_ready, 60
    for process in rest:
        yield process, lambda: True, 10
    yield configs.runtime(), configs.SOCKET.exists, 30
    proxy, enforcer = configs.network()
    yield proxy, lambda: True, 10
    yield enforcer, _leased, 30
    yield configs.kubelet(), cluster.node_ready, 90
    for process in configs.helpers():
        yield process, lambda: True, 5


def _leased() -> bool:
    """The enforcer has applied the policies at least once since it was started."""
    known = processes.running("netpol")
    try:
        status = json.loads(places.state("run", LEASE).read_text())
    except (OSError, ValueError):
        return False
    return known is not None and status.get("pid") == known.pid


def run() -> None:
    """Until a signal ends it. The children stay."""
    children: dict[str, int] = {}
    tended, permitted = 0.0, 0
    while True:
        for process, healthy, limit in steps():
            if not _current(process):
                processes.stop(process.name, 5)
                log.info("starting %s", process.name)
                children[process.name] = processes.start(process).pid
                _wait(process, healthy, limit)
            if process.name == "kube-apiserver":
                permitted = _permit(permitted)
        _reap()
        if time.monotonic() - tended > TEND_SECONDS:
            tended = time.monotonic()
            processes.cap_logs()
            _quietly(cluster.advertise_gpus)
        time.sleep(LOOK_SECONDS)


def _current(process: Process) -> bool:
    known = processes.running(process.name)
    return known is not None and known.fingerprint == process.fingerprint


def _wait(process: Process, healthy: Check, limit: float) -> None:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        _reap()
        if processes.running(process.name) is None:
            log.error("%s ended: %s", process.name, processes.last_lines(process.name))
            time.sleep(1)
            return
        if healthy():
            return
        time.sleep(0.2)
    log.error("%s is not well after %.0f s: %s", process.name, limit, processes.last_lines(process.name))


def _permit(permitted: int) -> int:
    """The process id of the API server that knows our identities; one that has no answer now is asked in the next round."""
    known = processes.running("kube-apiserver")
    if known is None or known.pid == permitted:
        return permitted
    return known.pid if _quietly(cluster.bootstrap) else permitted


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _quietly(work: Callable[[], None]) -> bool:
    try:
        work()
    except TryAgain as error:
        log.warning("%s", error)
        return False
    return True


def main() -> None:
    """Prepare the host, then keep the node."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    lock = places.state("run", "supervisor.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # one supervisor; the lock goes with the process
    try:
        pki.ensure()
        configs.write_all()
        host.prepare()
        run()
    except ReadingRoomError as error:
        log.error("%s", error)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
