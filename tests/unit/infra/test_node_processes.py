"""Processes of the node, with real processes: only what is ours by pid and start time is ever ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import places
from infra.node import cluster, configs, launcher, processes, supervisor
from infra.node.processes import Process

STAY = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(60)",
]


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for child in started:
        child.kill()
        child.wait()


def started(process: Process, children: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    child = processes.start(process)
    children.append(child)
    end = time.monotonic() + 10
    while "here" not in processes.last_lines(process.name) and time.monotonic() < end:
        time.sleep(0.02)
    return child


def test_a_started_process_is_known_in_a_session_of_its_own_and_ends_when_asked(
    children: list[subprocess.Popen[bytes]],
) -> None:
    child = started(Process("one", STAY), children)
    known = processes.running("one")
    assert known
    assert (known.pid, known.executable) == (child.pid, str(Path(sys.executable).resolve()))
    assert os.getsid(child.pid) == child.pid
    assert processes.stop("one", 5)
    assert child.wait(1) == -signal.SIGTERM
    assert processes.running("one") is None
    assert not processes.record("one").exists()


def test_one_that_does_not_listen_is_killed(children: list[subprocess.Popen[bytes]]) -> None:
    child = started(Process("stubborn", STUBBORN), children)
    processes.stop("stubborn", 0.3)
    assert child.wait(1) == -signal.SIGKILL


def test_a_pid_that_somebody_else_has_now_is_not_ended(children: list[subprocess.Popen[bytes]]) -> None:
    child = started(Process("one", STAY), children)
    facts = json.loads(processes.record("one").read_text())
    processes.record("one").write_text(json.dumps({**facts, "started": facts["started"] - 1}))
    assert processes.running("one") is None
    assert not processes.stop("one", 0.5)
    assert child.poll() is None


def test_a_process_that_runs_another_program_now_is_not_ended(children: list[subprocess.Popen[bytes]]) -> None:
    """Pid, start time and executable: `down` ends only what matches in all three."""
    child = started(Process("one", STAY), children)
    facts = json.loads(processes.record("one").read_text())
    processes.record("one").write_text(json.dumps({**facts, "executable": "/usr/bin/somebody-elses"}))
    assert not processes.stop("one", 0.5)
    assert child.poll() is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": 1}', "\x00"])
def test_a_record_that_is_no_record_names_nobody(text: str) -> None:
    processes.record("one").parent.mkdir(parents=True)
    processes.record("one").write_text(text)
    assert processes.running("one") is None
    assert not processes.stop("one")


def test_a_dead_child_that_nobody_has_waited_for_is_dead(children: list[subprocess.Popen[bytes]]) -> None:
    child = started(Process("one", STAY), children)
    os.kill(child.pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while processes.running("one") and time.monotonic() < end:
        time.sleep(0.02)
    assert processes.running("one") is None


def test_nothing_of_the_callers_environment_goes_along(
    children: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "a-secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    child = started(Process("one", STAY, {"MORE": "1"}), children)
    names = {pair.partition("=")[0] for pair in Path(f"/proc/{child.pid}/environ").read_text().split("\0") if pair}
    assert names <= {"PATH", "HOME", "LANG", "XDG_STATE_HOME", "XDG_CACHE_HOME", "MORE", "LC_CTYPE"}
    assert "MORE" in names


def test_another_command_environment_or_file_is_another_process(tmp_path: Path) -> None:
    file = tmp_path / "configuration"
    file.write_text("one")
    same = Process("p", ["a", "b"], {"K": "v"}, files=[file])
    prints = {same.fingerprint, Process("p", ["a", "c"], {"K": "v"}, files=[file]).fingerprint}
    prints |= {Process("p", ["a", "b"], {"K": "w"}, files=[file]).fingerprint}
    assert Process("p", ["a", "b"], {"K": "v"}, files=[file]).fingerprint in prints
    assert len(prints) == 3
    file.write_text("two")
    assert same.fingerprint not in prints


def test_a_log_that_grew_is_emptied_and_its_writer_goes_on(
    children: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 50)
    talk = [
        sys.executable,
        "-c",
        "import time\nfor n in range(600): print(f'here {n:04}', flush=True); time.sleep(.01)",
    ]
    started(Process("talker", talk), children)
    log = processes.log_file("talker")
    while log.stat().st_size <= 60:
        time.sleep(0.01)
    processes.cap_logs()
    assert log.stat().st_size < 50
    time.sleep(0.1)
    assert log.read_text().startswith("here ")


class Ended(Exception):
    """The supervisor's loop was left."""


def supervise(monkeypatch: pytest.MonkeyPatch, steps: list[Process], looks: int) -> None:
    """So many rounds of the supervisor over these processes."""

    def sleep(seconds: float) -> None:
        nonlocal looks
        real(min(seconds, 0.05))
        if seconds == supervisor.LOOK_SECONDS:
            looks -= 1
        if not looks:
            raise Ended

    real = time.sleep
    monkeypatch.setattr(supervisor, "steps", lambda: iter([(one, lambda: True, 5.0) for one in steps]))
    monkeypatch.setattr(cluster, "advertise_gpus", lambda: None)
    monkeypatch.setattr(time, "sleep", sleep)
    try:
        with pytest.raises(Ended):
            supervisor.run()
    finally:
        monkeypatch.undo()


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # they outlive their parent
def test_the_supervisor_starts_in_order_adopts_what_is_right_and_changes_what_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    steps = [Process("first", STAY), Process("second", STAY), Process("third", STAY)]

    def known() -> dict[str, processes.Running]:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        return {one.name: found for one in steps if (found := processes.running(one.name))}

    try:
        supervise(monkeypatch, steps, 1)
        before = known()
        assert [*before] == ["first", "second", "third"]
        assert sorted(before, key=lambda name: (before[name].started, before[name].pid)) == [*before]
        os.kill(before["second"].pid, signal.SIGKILL)
        while "second" in known():
            time.sleep(0.02)
        steps[2] = Process("third", STAY, {"ANOTHER": "1"})
        supervise(monkeypatch, steps, 1)
        after = known()
        assert after["first"] == before["first"]
        assert after["second"].pid != before["second"].pid
        assert after["third"].pid != before["third"].pid
    finally:
        for name in known():
            processes.stop(name)


def test_the_steps_are_what_the_design_says_and_every_one_is_stopped_by_name() -> None:
    order = [process.name for process, _, _ in supervisor.steps()]
    assert order == [
        "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kube-proxy", "netpol",
        "kubelet", "vault-keeper", "front-door",
    ]  # fmt: skip
    assert sorted(order) == sorted(launcher.STOP_ORDER)
    assert launcher.STOP_ORDER.index("kubelet") < launcher.STOP_ORDER.index("containerd")
    assert launcher.STOP_ORDER.index("kube-apiserver") < launcher.STOP_ORDER.index("etcd")


def test_no_enforcer_no_kubelet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kubelet comes after the enforcer has applied its rules once, whatever an earlier one has left."""
    check = next(check for process, check, _ in supervisor.steps() if process.name == "netpol")
    status = processes.record("netpol").with_name(supervisor.LEASE)
    status.parent.mkdir(parents=True)
    assert not check()
    status.write_text(json.dumps({"pid": 1}))
    assert not check()
    child = processes.start(Process("netpol", STAY))
    try:
        assert not check()
        status.write_text(json.dumps({"pid": child.pid}))
        assert check()
    finally:
        processes.stop("netpol")
        child.wait()


def test_a_configuration_holds_no_key_and_nothing_listens_beyond_the_node() -> None:
    words = [word for process in (*configs.control_plane(), configs.kubelet()) for word in process.command]
    text = "\n".join([*configs.files().values(), *words])
    assert "PRIVATE KEY" not in text
    assert "0.0.0.0:" not in text.replace("0.0.0.0/0", "")
    assert [word for word in words if word.startswith(("--bind-address", "--listen-")) and not any(
        own in word for own in ("127.0.0.1", "172.30.0.1")
    )] == []  # fmt: skip


def test_other_code_is_another_process_from_the_next_start_on_and_not_while_somebody_edits(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    file = tmp_path / "inner" / "one.py"
    file.write_text("a = 1")
    before = configs._python("p", ["m"], tmp_path).fingerprint
    file.write_text("a = 2")
    assert configs._python("p", ["m"], tmp_path).fingerprint == before
    configs._digest.cache_clear()  # as in a supervisor that was started anew
    assert configs._python("p", ["m"], tmp_path).fingerprint != before


def test_the_supervisor_is_another_one_when_any_process_of_ours_is_of_other_code() -> None:
    code = {str(file.relative_to(places.CHECKOUT)) for file in configs.own_code()}
    assert {
        "infra/node/netpol/compile.py", "infra/node/front_door.py", "infra/node/supervisor.py",
        "images/services/readingroom/entrypoints/vault_keeper.py", "images/services/readingroom/contract.py",
    } <= code  # fmt: skip


def test_no_process_is_given_the_operators_or_an_authoritys_credentials() -> None:
    words = {process.name: " ".join(process.command) for process, _, _ in supervisor.steps()}
    for credential in (places.OPERATOR_KUBECONFIG, "operator.crt", "-ca.key", places.DEPLOYER_KUBECONFIG):
        assert [name for name, command in words.items() if credential in command] == [], credential


def test_the_front_door_may_ask_for_a_service_and_nothing_else() -> None:
    assert cluster.BOOTSTRAP["readingroom:front-door"] == (
        "User", "readingroom:front-door", [{"apiGroups": [""], "resources": ["services"], "verbs": ["get"]}],
    )  # fmt: skip
    door = next(process for process, _, _ in supervisor.steps() if process.name == "front-door")
    assert str(places.state("pki", "front-door.kubeconfig")) in door.command
