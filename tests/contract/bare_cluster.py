"""etcd, API server and controllers without a node, on ports and in a folder of their own: enough for declared objects.

No pod ever runs here: a test that waits for one plays the kubelet by writing the status. Tests of anything that runs
belong in `tests/cluster`.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from infra.node.build import binary
from tests.mortal import mortal
from tests.ports import free_port

SERVICES = "10.97.0.0/24"


@dataclass(frozen=True)
class BareCluster:
    """How to reach it."""

    server: str
    folder: Path
    kubeconfig: Path  # everything is allowed: rights are not what is tried here
    token: str
    authority: Path

    def request(self, method: str, path: str, body: object = None, kind: str = "application/json") -> dict[str, Any]:
        """One request as somebody else: the tests' independent eye and hand."""
        request = urllib.request.Request(  # noqa: S310 (our own server)
            self.server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": kind},
        )
        context = ssl.create_default_context(cafile=str(self.authority))
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:  # noqa: S310
            found: dict[str, Any] = json.loads(answer.read() or b"{}")
            return found


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[None]:
    """A process that ends with the block, by its own handle."""
    with (
        log.open("wb") as out,
        subprocess.Popen(mortal(command), stdout=out, stderr=out, start_new_session=True) as process,
    ):
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def bare_cluster(folder: Path) -> Iterator[BareCluster]:
    """Start it, wait until it answers, end it."""
    etcd_port, peer_port, api_port, controllers_port = (free_port() for _ in range(4))
    key = ec.generate_private_key(ec.SECP256R1())
    accounts = folder / "accounts.key"
    accounts.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f'{token},deployer,1,"system:masters,readingroom:deployer"\n')
    kube, etcd = str(binary("kube")), str(binary("etcd"))
    server = f"https://127.0.0.1:{api_port}"
    cluster = BareCluster(server, folder, folder / "kubeconfig", token, folder / "certs" / "apiserver.crt")
    _write_kubeconfig(cluster)
    with ExitStack() as running:
        here = f"http://127.0.0.1:{etcd_port}"
        peer = f"http://127.0.0.1:{peer_port}"
        running.enter_context(
            _process(
                [etcd, "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync", "--logger", "zap", "--log-level", "error",
                 "--listen-client-urls", here, "--advertise-client-urls", here,
                 "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", f"default={peer}"],
                folder / "etcd.log",
            )
        )  # fmt: skip
        running.enter_context(
            _process(
                [kube, "kube-apiserver", "--etcd-servers", here, "--secure-port", str(api_port),
                 "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--endpoint-reconciler-type", "none",
                 "--cert-dir", str(folder / "certs"), "--token-auth-file", str(folder / "tokens.csv"),
                 "--authorization-mode", "RBAC", "--service-cluster-ip-range", SERVICES,
                 "--service-account-issuer", "https://kubernetes.default.svc",
                 "--service-account-key-file", str(accounts), "--service-account-signing-key-file", str(accounts)],
                folder / "apiserver.log",
            )
        )  # fmt: skip
        _wait_until_ready(cluster)
        running.enter_context(
            _process(
                [kube, "kube-controller-manager", "--kubeconfig", str(cluster.kubeconfig), "--leader-elect=false",
                 "--secure-port", str(controllers_port), "--bind-address", "127.0.0.1",
                 "--cert-dir", str(folder / "controller-certs"), "--use-service-account-credentials=false",
                 "--service-account-private-key-file", str(accounts), "--controllers", "*,-node-lifecycle-controller"],
                folder / "controllers.log",
            )
        )  # fmt: skip
        yield cluster


def _write_kubeconfig(cluster: BareCluster) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "bare", "cluster": {"server": cluster.server, "certificate-authority": str(cluster.authority)}}
        ],
        "users": [{"name": "deployer", "user": {"token": cluster.token}}],
        "contexts": [{"name": "bare", "context": {"cluster": "bare", "user": "deployer"}}],
        "current-context": "bare",
    }
    descriptor = os.open(cluster.kubeconfig, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(config, file)


def _wait_until_ready(cluster: BareCluster) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            cluster.request("GET", "/api/v1/namespaces/default")
        except OSError as error:
            if time.monotonic() > deadline:
                log = (cluster.folder / "apiserver.log").read_text()[-2000:]
                raise AssertionError(f"the API server did not come up: {log}") from error
            time.sleep(0.3)
        else:
            return
