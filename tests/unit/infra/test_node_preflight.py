"""Whether this machine may run a node, and whose it is: every reason in one line."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import multiprocessing.synchronize
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from infra import places
from infra.node import build, launcher, preflight, processes, supervisor
from readingroom.contract import FRONT_DOOR_PORT
from readingroom.domain.errors import TryAgain, WrongSetUp


class Usage(NamedTuple):
    """Of a disk."""

    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder, an owner and a lock of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(supervisor, "owner_file", lambda: tmp_path / "owner.json")
    monkeypatch.setattr(launcher, "_MACHINE_LOCK", tmp_path / "lock")
    places.state("run").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has everything, whatever runs on this one."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(preflight, "PORTS", {})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 100 * 10**9))


def said() -> str:
    with pytest.raises(WrongSetUp) as found:
        preflight.check()
    assert "\n" not in str(found.value)
    return str(found.value)


@pytest.mark.usefixtures("fit")
def test_a_machine_with_everything_passes() -> None:
    preflight.check()


@pytest.mark.usefixtures("fit")
def test_somebody_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "this is not root" in said()


@pytest.mark.usefixtures("fit")
def test_a_missing_program_is_named_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program, path: None if program == "nft" else f"/sbin/{program}")
    assert "Debian packages are missing: nftables; " in f"{said().partition('. Next')[0]}; "
    monkeypatch.setattr(preflight, "PLUGINS", ("ptp", "no-such-plugin"))
    assert "Debian packages are missing: containernetworking-plugins nftables" in said()


@pytest.mark.usefixtures("fit")
def test_too_little_disk_or_memory_is_named_with_both_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "built", lambda _: False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 5 * 10**9))
    assert "5 GB of disk free, 18 needed" in said()
    monkeypatch.setattr(build, "built", lambda _: True)
    preflight.check()
    monkeypatch.setattr(preflight, "MEMORY", 2**50)
    assert "GiB of memory, 1048576 needed" in said()


@pytest.mark.usefixtures("fit")
def test_a_port_that_somebody_else_has_is_named_and_our_own_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setattr(preflight, "PORTS", {port: "etcd"})
        assert f"another program listens on 127.0.0.1 port {port}" in said()
        child = processes.start(processes.Process("etcd", [sys.executable, "-c", "import time; time.sleep(60)"]))
        try:
            preflight.check()
        finally:
            processes.stop("etcd")
            child.wait()


@pytest.mark.usefixtures("fit")
def test_all_that_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(preflight, "MEMORY", 2**50)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 0))
    line = said()
    assert all(part in line for part in ("root", "disk", "memory", "Next: mend it and repeat"))


def test_the_ports_are_those_that_the_node_listens_on() -> None:
    assert set(preflight.PORTS.values()) <= set(launcher.STOP_ORDER)
    assert preflight.PORTS[FRONT_DOOR_PORT] == "front-door"


ELSEWHERE = "/somewhere/else"


def owned(state: Path, checkout: str = ELSEWHERE) -> None:
    supervisor.owner_file().write_text(json.dumps({"state": str(state), "checkout": checkout}))


@pytest.mark.parametrize("verb", [launcher.up, launcher.down])
def test_another_states_node_is_named_before_its_ports_are_in_the_way(
    verb: object, own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "MEMORY", 2**50)  # would be the next reason
    owned(own_state / "another")
    before = supervisor.owner_file().read_text()
    with pytest.raises(WrongSetUp, match=r"this machine already runs a node: /somewhere/else; .*one node per machine"):
        verb(print)  # type: ignore[operator]
    assert supervisor.owner_file().read_text() == before


def _use(ready: multiprocessing.synchronize.Event, done: multiprocessing.synchronize.Event) -> None:
    with launcher.using(ELSEWHERE):
        ready.set()
        done.wait(30)


def test_a_checkout_whose_tests_run_keeps_the_node_until_their_end(own_state: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_use, args=(ready, done))
    other.start()
    try:
        assert ready.wait(10)
        owned(places.state())
        with pytest.raises(TryAgain, match="a run of that checkout is using it"):
            launcher._claim()
        told: list[str] = []
        launcher.wait_for_others(0.1, told.append)
        assert told == [f"a run of {ELSEWHERE} is using the node: waiting for its end"]
    finally:
        done.set()
    launcher.wait_for_others(10, print)
    other.join(10)
    owned(places.state())
    launcher._claim()
    assert json.loads(supervisor.owner_file().read_text())["checkout"] == str(places.CHECKOUT)


def test_a_checkout_that_is_using_a_node_takes_over_what_nobody_else_is_using(own_state: Path) -> None:
    for owner in (ELSEWHERE, str(places.CHECKOUT)):
        owned(places.state(), owner)
        with launcher.using():
            launcher.wait_for_others(0, pytest.fail)
            launcher._claim()
        assert json.loads(supervisor.owner_file().read_text())["checkout"] == str(places.CHECKOUT)


def test_a_run_that_was_killed_holds_nothing(own_state: Path) -> None:
    code = (
        f"from infra.node import launcher\nwith launcher.using({ELSEWHERE!r}): print('in', flush=True)"
        "; import time; time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=places.CHECKOUT)
    assert child.stdout
    assert child.stdout.readline() == b"in\n"
    assert not launcher._free(ELSEWHERE)
    child.kill()
    child.communicate()
    assert launcher._free(ELSEWHERE)


def test_two_commands_at_once_are_one_and_a_refusal(own_state: Path) -> None:
    with launcher._MACHINE_LOCK.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TryAgain, match="another `node up` or `node down` is at work"):
            launcher.down(print)


def test_status_without_a_node_says_how_to_start_one() -> None:
    assert launcher.status() == [launcher.State("node", False, "not running; start it with `readingroom node up`")]


def test_a_torn_owner_file_is_nobodys(own_state: Path) -> None:
    supervisor.owner_file().write_text('{"state": ')
    assert launcher._owner() is None


@pytest.mark.parametrize(("age", "well"), [(0, True), (29, True), (31, False), (None, False)])
def test_the_policies_are_well_only_while_the_lease_lasts(age: int | None, well: bool) -> None:
    file = places.state("run", supervisor.LEASE)
    if age is not None:
        file.write_text(json.dumps({"leased_at": time.time() - age}))
    assert launcher._lease()[0] is well


def test_the_programs_asked_for_are_those_of_the_list_that_setup_installs() -> None:
    listed = (places.CHECKOUT / "infra" / "debian-packages.txt").read_text().split()
    assert {*preflight.PROGRAMS.values(), "containernetworking-plugins"} <= set(listed)
    assert shutil.which("nft", path="/usr/sbin:/usr/bin:/sbin")
