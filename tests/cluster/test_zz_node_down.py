"""Last of all: every process of the node killed at once, and mended; then the node ended, nothing of it left, and back."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra import places
from infra.node import configs, edge_table, host, launcher, processes, supervisor
from tests.cluster.faults import mended, node
from tests.cluster.probes import listed
from tests.cluster.site import PORTAL, Room, until_it_answers

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def our_pids() -> set[int]:
    """Every process of the node: what it started, the shims, and what runs in pods."""
    names = (supervisor.NAME, *launcher.STOP_ORDER)
    started = {known.pid for name in names if (known := processes.running(name))}
    pods = {int(pid) for file in host._pod_groups("cgroup.procs") for pid in host._read(file).split()}
    return started | pods | set(host.shims())


def ours_in_mounts() -> list[str]:
    roots = (configs.RUNTIME, places.state(), Path("/run/netns"))
    return [point for point in host._mount_points() if any(Path(point).is_relative_to(root) for root in roots)]


def pod_links() -> set[str]:
    return {path.name for path in Path("/sys/class/net").glob("veth*") if host._POD_LINK.fullmatch(path.name)}


def pod_namespaces() -> set[str]:
    return {path.name for path in Path("/run/netns").glob("cni-*")}


def tables() -> set[str]:
    done = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[:-1])


def running_pods() -> list[dict[str, object]]:
    pods = [pod for pod in listed("pods", "-A")["items"] if pod["status"]["phase"] in ("Running", "Pending")]
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def all_ready(seconds: float) -> None:
    """Every pod that a Deployment wants is there and Ready."""
    end = time.monotonic() + seconds
    while True:
        wanted = [one for one in listed("deployments", "-A")["items"] if one["spec"]["replicas"]]
        missing = [
            f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in wanted
            if one["status"].get("readyReplicas", 0) < one["spec"]["replicas"]
        ]  # fmt: skip
        if wanted and not missing:
            return
        assert time.monotonic() < end, f"not ready after {seconds:.0f} s: {missing}"
        time.sleep(0.5)


def nothing_twice() -> list[str]:
    """What a running node has no reason to have."""
    found = [f"mounted {count} times: {point}" for point, count in Counter(ours_in_mounts()).items() if count > 1]
    end = time.monotonic() + 30
    while True:  # what has ended is taken away a little later
        pods = running_pods()
        counts = {"links": len(pod_links()), "namespaces": len(pod_namespaces()), "shims": len(list(host.shims()))}
        odd = {name: count for name, count in counts.items() if count != len(pods)}
        if not odd:
            break
        if time.monotonic() > end:
            return [*found, f"{odd} for {len(pods)} pods"]
        time.sleep(0.5)
    uids = {str(pod["metadata"]["uid"]) for pod in listed("pods", "-A")["items"]}
    volumes = [point for point in ours_in_mounts() if "/kubelet/pods/" in point]
    found += [f"of no pod: {point}" for point in volumes if not any(uid in point for uid in uids)]
    records = {file.stem for file in places.state("run").glob("*.json") if "pid" in json.loads(file.read_text())}
    return found + sorted(records - {supervisor.NAME, *launcher.STOP_ORDER, Path(supervisor.LEASE).stem})


def test_everything_killed_at_once_comes_back_with_all_its_data_and_nothing_twice(room: Room) -> None:
    word = secrets.token_hex(8)
    with room.working(room.ada) as (_, kernel):
        home = kernel.run(
            f"from pathlib import Path; Path.home().joinpath('t-note').write_text({word!r}); print('kept')"
        )
        assert home.strip().endswith("kept")
    share = places.state("vault-unseal.json").read_bytes()
    authority = places.state("readingroom-ca.pem").read_bytes()
    before = tables()
    victims = our_pids()
    assert len(victims) > 20
    for pid in sorted(victims):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    end = time.monotonic() + 10
    while any(processes.running(name) for name in (supervisor.NAME, *launcher.STOP_ORDER)):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert f"table {edge_table.TABLE}" in tables(), "closed while nothing runs"
    node("up")
    mended()
    all_ready(120)
    assert places.state("vault-unseal.json").read_bytes() == share, "Vault was initialised anew"
    assert places.state("readingroom-ca.pem").read_bytes() == authority
    assert tables() == before
    assert nothing_twice() == []
    with room.browser() as context:
        page = context.new_page()
        for where in (PORTAL, room.url):
            until_it_answers(page, where)
        # Her account, her second factor: the database and Vault's keys are what they were.
        room.ada.sign_in(page, PORTAL)
        page.locator(f"#project-{room.project}").wait_for()
    with room.working(room.ada) as (_, kernel):
        assert kernel.run("from pathlib import Path; print(Path.home().joinpath('t-note').read_text())").strip() == word
        kernel.run("Path.home().joinpath('t-note').unlink()")


def test_after_down_nothing_of_the_node_is_left_but_its_data(open_rooms: ExitStack) -> None:
    open_rooms.close()  # before the node ends: nothing need wait for a room's pods to come back
    pids = our_pids()
    assert {"rr0", *pod_links()} <= {path.name for path in Path("/sys/class/net").iterdir()}
    assert ours_in_mounts()
    data = {file.name for file in places.state("volumes").iterdir()}
    node("down")
    try:
        nothing_left(pids)
        assert {file.name for file in places.state("volumes").iterdir()} == data
        assert node("down").stdout == "the node is down\n"
    finally:
        node("up")
    mended()
    all_ready(120)


def nothing_left(pids: set[int]) -> None:
    """On the whole machine, by whatever way the node was seen before."""
    end = time.monotonic() + 5  # who was killed may still wait to be reaped
    while left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < end, f"{len(left)} of {len(pids)} processes go on"
        time.sleep(0.1)
    assert our_pids() == set()
    assert ours_in_mounts() == []
    assert pod_links() == pod_namespaces() == set()
    assert "rr0" not in {path.name for path in Path("/sys/class/net").iterdir()}
    ours = ("readingroom", "kube-proxy")
    assert [table for table in tables() if any(word in table for word in ours)] == []
    assert not configs.RUNTIME.exists()
    assert not supervisor.owner_file().exists()
    assert list(host._kubepods()) == []
    assert [name for name in (supervisor.NAME, *launcher.STOP_ORDER) if processes.record(name).exists()] == []
    assert [state.name for state in launcher.status()] == ["node"]
