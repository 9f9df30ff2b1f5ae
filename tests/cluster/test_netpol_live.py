"""The enforcer on the live node: each refusal beside its twin, where the same tool and port succeed and the listener hears it."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import images.build
from infra import places
from infra.node import build
from infra.node.images import import_image

pytestmark = pytest.mark.cluster
SPACE = f"t-netpol-{os.getpid()}"
SERVE = """
import socket, sys, threading
def serve(port):
    listener = socket.create_server(("0.0.0.0", port))
    while True:
        connection, _ = listener.accept()
        said = connection.recv(100)
        print(said.decode(), flush=True); connection.sendall(said); connection.close()
for port in (8000, 8001): threading.Thread(target=serve, args=(port,)).start()
"""
ASK = """
import socket, sys
try:
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2); s.sendall(sys.argv[3].encode())
    print("open" if s.recv(100) == sys.argv[3].encode() else "odd")
except TimeoutError: print("silent")
except OSError: print("refused")
"""
# From the first instruction on, as often as it can, for three seconds; then it stays, quiet.
HURRY = """
import os, socket, time
end = time.monotonic() + 3
while time.monotonic() < end:
    try:
        s = socket.create_connection((os.environ["TO"], 8000), 0.2); s.sendall(os.environ["SAY"].encode()); s.close()
    except OSError: time.sleep(0.002)
time.sleep(600)
"""


def kubectl(*words: str, text: str = "", check: bool = True) -> str:
    command = [str(build.binary("kube")), "kubectl", "--kubeconfig", str(places.state(places.OPERATOR_KUBECONFIG))]
    done = subprocess.run([*command, *words], input=text, capture_output=True, text=True, timeout=120, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(words)}: {done.stderr}")
    return done.stdout


def apply(*objects: dict[str, Any]) -> None:
    kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


@functools.cache
def python_image() -> str:
    """Any image of ours with Python in it, on the node."""
    built = images.build.build("services")
    return import_image(built.tar, "services", built.digest)


def pod(name: str, program: str, **environment: str) -> dict[str, Any]:
    restricted = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": SPACE, "labels": {"name": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": restricted,
            "containers": [
                {
                    "name": "main",
                    "image": python_image(),
                    "imagePullPolicy": "Never",
                    "command": ["python", "-u", "-c", program],
                    "env": [{"name": key, "value": value} for key, value in environment.items()],
                    "ports": [{"name": "web", "containerPort": 8000}],
                    "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "5m"}},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


def policy(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": SPACE}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


@dataclass
class Scene:
    server: str

    def ask(self, port: int = 8000, say: str = "hello") -> str:
        return kubectl("exec", "-n", SPACE, "client", "--", "python", "-c", ASK, self.server, str(port), say).strip()

    def heard(self, word: str) -> int:
        return kubectl("logs", "-n", SPACE, "server").split().count(word)

    def until(self, answer: str, seconds: float, port: int = 8000) -> float:
        """Seconds until the client gets that answer."""
        since = time.monotonic()
        while (found := self.ask(port)) != answer:
            waited = time.monotonic() - since
            assert waited < seconds, f"still {found} after {waited:.1f} s"
        return time.monotonic() - since


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    try:
        apply(pod("server", SERVE), pod("client", "import time; time.sleep(3600)"))
        kubectl("wait", "-n", SPACE, "--for=condition=Ready", "pod/server", "pod/client", "--timeout=60s")
        made = Scene(kubectl("get", "pod", "-n", SPACE, "server", "-o", "jsonpath={.status.podIP}"))
        made.until("open", 10)
        yield made
    finally:
        kubectl("delete", "namespace", SPACE, "--wait=false", check=False)


@pytest.fixture(autouse=True)
def no_policies(scene: Scene) -> Iterator[None]:
    yield
    kubectl("delete", "networkpolicy", "-n", SPACE, "--all")
    kubectl("delete", "pod", "-n", SPACE, "--ignore-not-found", "hurried", "permitted")
    scene.until("open", 40)


DENY = policy("deny-all", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
TO_SERVER = policy(
    "allow",
    {
        "podSelector": {"matchLabels": {"name": "server"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"name": "client"}}}], "ports": [{"port": "web"}]}],
    },
)


def test_a_policy_acts_within_two_seconds_and_its_end_too(scene: Scene) -> None:
    assert scene.ask(say="twin-before") == "open"
    apply(DENY)
    assert scene.until("refused", 3) < 2
    assert scene.ask(say="never-heard") == "refused"
    kubectl("delete", "networkpolicy", "-n", SPACE, "deny-all")
    assert scene.until("open", 3) < 2
    assert (scene.heard("twin-before"), scene.heard("never-heard")) == (1, 0)


def test_one_named_port_is_open_and_the_port_beside_it_is_not(scene: Scene) -> None:
    assert scene.ask(8001, "twin-8001") == "open"
    apply(TO_SERVER)
    scene.until("refused", 3, port=8001)
    assert scene.ask(8000, "named") == "open"
    assert scene.ask(8001, "beside") == "refused"
    assert (scene.heard("twin-8001"), scene.heard("named"), scene.heard("beside")) == (1, 1, 0)


def test_a_new_pod_sends_nothing_before_its_policy_from_its_first_instruction_on(scene: Scene) -> None:
    others = {"matchExpressions": [{"key": "name", "operator": "In", "values": ["hurried"]}]}
    apply(policy("deny-hurried", {"podSelector": others, "policyTypes": ["Egress"]}))
    apply(
        pod("hurried", HURRY, TO=scene.server, SAY="hurried"), pod("permitted", HURRY, TO=scene.server, SAY="permitted")
    )
    kubectl("wait", "-n", SPACE, "--for=condition=Ready", "pod/hurried", "pod/permitted", "--timeout=60s")
    time.sleep(5)
    assert "permitted" in kubectl("logs", "-n", SPACE, "server")
    assert "hurried" not in kubectl("logs", "-n", SPACE, "server")


def status() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(places.state("run", "netpol-status.json")).read_text())
    return found


def test_a_killed_enforcer_opens_nothing_and_comes_back(scene: Scene) -> None:
    apply(TO_SERVER)
    scene.until("refused", 3, port=8001)
    before = status()["pid"]
    os.kill(before, signal.SIGKILL)
    answers = {(scene.ask(8000), scene.ask(8001)) for _ in range(8)}
    assert answers <= {("open", "refused"), ("silent", "silent")}
    deadline = time.monotonic() + 30
    while status()["pid"] == before:
        assert time.monotonic() < deadline, "it was not started again"
        time.sleep(0.2)
    scene.until("open", 30)
    assert scene.ask(8001) == "refused"


def test_a_stopped_enforcer_lets_everything_run_out_and_nothing_in(scene: Scene) -> None:
    apply(TO_SERVER)
    scene.until("refused", 3, port=8001)
    enforcer = status()["pid"]
    os.kill(enforcer, signal.SIGSTOP)
    try:
        assert scene.ask(8000) == "open"
        apply(pod("hurried", HURRY, TO=scene.server, SAY="late-comer"))
        time.sleep(32)
        assert scene.ask(8000) == "silent"
        assert scene.heard("late-comer") == 0
    finally:
        os.kill(enforcer, signal.SIGCONT)
    scene.until("open", 20)


def test_who_speaks_to_a_pod_that_is_not_there_hears_so_at_once(scene: Scene) -> None:
    """And does not send it out of the machine, by its default route."""
    for address in ("10.244.0.254", "10.96.255.254"):
        asked = kubectl("exec", "-n", SPACE, "client", "--", "python", "-c", ASK, address, "8000", "x").strip()
        assert asked == "refused"


def test_a_pod_reaches_neither_the_nodes_kubelet_nor_its_etcd(scene: Scene) -> None:
    """The enforcer leaves an unselected pod alone; the table of the node's edge does not. The twin is the node's own."""
    for port in (10250, 2379):
        asked = kubectl("exec", "-n", SPACE, "client", "--", "python", "-c", ASK, "172.30.0.1", str(port), "x").strip()
        assert asked in {"silent", "refused"}
    twin = subprocess.run(
        ["python3", "-c", ASK, scene.server, "8000", "node"], capture_output=True, text=True, check=True
    )
    assert twin.stdout.strip() == "open"
