"""What every arm has: places in the cluster that are made for the bench, and a watch of pods by the bench's own clock."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from infra import places
from infra.node import build

CPU, MEMORY = "1", "2Gi"  # as size `small` of policies/access/terms.yaml, which is what our people get unasked
RESOURCES = {"limits": {"cpu": CPU, "memory": MEMORY}, "requests": {"cpu": "100m", "memory": MEMORY}}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
PATIENCE = 150.0  # seconds for one start; longer than any arm's own limit
POLL = 0.02


class Arm(Protocol):
    """One way to start a server, for people numbered from 0."""

    name: str

    def start(self, number: int) -> Mapping[str, float]:
        """Seconds from the request to each stage, `usable` among them. Raises when it fails."""

    def end(self, number: int) -> None:
        """Ends it and returns when the next start may follow."""


def kubectl(*words: str, text: str = "", check: bool = True) -> str:
    """As the operator."""
    command = [str(build.binary("kube")), "kubectl", "--kubeconfig", str(places.state(places.OPERATOR_KUBECONFIG))]
    done = subprocess.run([*command, *words], input=text, capture_output=True, text=True, timeout=120, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def apply(*objects: dict[str, Any]) -> None:
    """Make these, in order."""
    kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


@contextmanager
def namespace(name: str, labels: Mapping[str, str]) -> Iterator[None]:
    """A namespace of the bench's own; one that an interrupted run left is removed first. Gone afterwards."""
    kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=true", "--timeout=100s")
    try:
        apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}})
        yield
    finally:
        kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=true", "--timeout=100s", check=False)


class Pods:
    """When each pod of a namespace was first seen, ran and was ready; and what its address is."""

    def __init__(self, space: str) -> None:
        self.space = space
        self.seen: dict[str, dict[str, float]] = {}
        self.address: dict[str, str] = {}
        self._changed = threading.Condition()

    @contextmanager
    def watching(self) -> Iterator[Pods]:
        """While this lasts, the API server tells of every change."""
        command = [str(build.binary("kube")), "kubectl", "--kubeconfig", str(places.state(places.OPERATOR_KUBECONFIG)),
                   "get", "pods", "-n", self.space, "--watch", "--output-watch-events", "-o", "json"]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self._read, args=(process,), daemon=True).start()
        try:
            yield self
        finally:
            process.kill()
            process.wait()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:  # one event in each
            event = json.loads(line)
            self._note(event["type"], event["object"], time.monotonic())

    def _note(self, kind: str, pod: dict[str, Any], now: float) -> None:
        name, status = pod["metadata"]["name"], pod.get("status", {})
        with self._changed:
            if kind == "DELETED":
                self.seen.pop(name, None)
                self.address.pop(name, None)
            else:
                stages = self.seen.setdefault(name, {"pod seen": now})
                if status.get("podIP"):
                    self.address[name] = status["podIP"]
                if any("running" in each.get("state", {}) for each in status.get("containerStatuses") or ()):
                    stages.setdefault("running", now)
                if any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ()):
                    stages.setdefault("ready", now)
            self._changed.notify_all()

    def stages(self, name: str, since: float) -> dict[str, float]:
        """Seconds after `since`."""
        with self._changed:
            return {stage: at - since for stage, at in self.seen.get(name, {}).items()}

    def wait_for_address(self, name: str, seconds: float = PATIENCE) -> str:
        """The pod's address, as soon as it has one. Raises `TimeoutError`."""
        self._wait(lambda: name in self.address, f"{name} has no address", seconds)
        return self.address[name]

    def wait_until_gone(self, name: str, seconds: float = PATIENCE) -> None:
        """Raises `TimeoutError`."""
        self._wait(lambda: name not in self.seen, f"{name} is still there", seconds)

    def _wait(self, whether: Any, otherwise: str, seconds: float) -> None:
        with self._changed:
            if not self._changed.wait_for(whether, seconds):
                raise TimeoutError(f"{otherwise} after {seconds:.0f} s")
