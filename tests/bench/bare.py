"""The floor: the same image, limits and node, as a plain pod that nobody decides about."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kubernetes import client, config

from infra import places
from readingroom.contract import PORT_NOTEBOOK
from tests.bench.arms import RESOURCES, RESTRICTED, Pods, apply, kubectl, namespace
from tests.bench.web import Client

SPACE = "bench-bare"
SEALED = {"pod-security.kubernetes.io/enforce": "restricted"}
# As a sealed namespace of ours. Nothing more is opened: a node reaches its own pods, and the bench runs on the node.
DENY_ALL = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny-all", "namespace": SPACE},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}


class Bare:
    """Usable when the port answers."""

    name = "bare"

    def __init__(self, image: str, pods: Pods) -> None:
        self._image, self._pods = image, pods
        loaded = config.new_client_from_config(str(places.state(places.OPERATOR_KUBECONFIG)))
        self._api = client.CoreV1Api(loaded)  # a process for each request would be a part of the time

    def start(self, number: int) -> Mapping[str, float]:
        name = f"bare-{number}"
        container = {
            "name": "notebook",
            "image": self._image,
            "imagePullPolicy": "Never",
            "command": ["jupyter-lab", "--ip=0.0.0.0", f"--port={PORT_NOTEBOOK}", "--no-browser"],
            "ports": [{"containerPort": PORT_NOTEBOOK}],
            "resources": RESOURCES,
            "securityContext": RESTRICTED,
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": SPACE},
            "spec": {"containers": [container], "automountServiceAccountToken": False, "enableServiceLinks": False,
                     "restartPolicy": "Never"},
        }  # fmt: skip
        since = time.monotonic()
        self._api.create_namespaced_pod(SPACE, pod)
        address = self._pods.wait_for_address(name)
        Client(f"http://{address}:{PORT_NOTEBOOK}").until_usable("/api")
        return {"usable": time.monotonic() - since, **self._pods.stages(name, since)}

    def end(self, number: int) -> None:
        name = f"bare-{number}"
        kubectl("delete", "pod", "-n", SPACE, name, "--grace-period=1", "--ignore-not-found", "--wait=false")
        self._pods.wait_until_gone(name)


@contextmanager
def bare(image: str) -> Iterator[Bare]:
    """A scratch namespace, sealed, for as long as this lasts."""
    with namespace(SPACE, SEALED):
        apply(DENY_ALL)
        with Pods(SPACE).watching() as pods:
            yield Bare(image, pods)
