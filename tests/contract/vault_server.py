"""A real Vault on this machine: one node, its own folder, TLS as the platform makes it; the tests play the cluster's issuer.

What the node's launcher, Pulumi and the kubelet would do is done here by hand: the serving certificate, the issuer's
public key where the keeper looks for it, and a projected token signed as Kubernetes signs it.
"""

from __future__ import annotations

import base64
import json
import secrets
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from infra import vault_tls
from infra.node.build import binary
from readingroom.adapters.vault.seal import HttpSeal
from readingroom.adapters.vault.session import TokenSession, VaultSession
from readingroom.adapters.vault.wire import Timing, Wire
from readingroom.application.configure_vault import Outcome, configure_vault
from readingroom.application.keep_vault import Seen, keep_vault
from readingroom.application.ports_vault import VaultUnavailable
from readingroom.contract import SERVICE_ACCOUNT_ISSUER
from readingroom.domain.vault_documents import Definition, Issuer, Setting
from readingroom.domain.vault_plan import Project, bootstrap, wanted
from readingroom.entrypoints.configure_vault import NewSecrets
from readingroom.entrypoints.vault_keeper import HostFiles
from tests.mortal import mortal
from tests.ports import free_port
from tests.unit.vault.definitions import shipped

HERE = "127.0.0.0/8"  # in place of the pods' range
IMPATIENT = Timing(attempt=1.0, budget=0.6)


@dataclass
class VaultServer:
    """One Vault; `start` and `stop` may be repeated, the data stays."""

    folder: Path  # as XDG_STATE_HOME
    port: int
    issuer: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65_537, 2048))
    process: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        """The state folder of the machine."""
        return self.folder / "readingroom"

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def wire(self) -> Wire:
        return Wire(address=self.address, ca_file=str(self.state / "pki-vault" / "ca.crt"))

    @property
    def seal(self) -> HttpSeal:
        return HttpSeal(self.wire)

    @property
    def files(self) -> HostFiles:
        return HostFiles(self.state)

    @property
    def audit_files(self) -> Sequence[Path]:
        return [self.state / "audit" / name for name in ("audit.log", "audit-2.log")]

    @property
    def environment(self) -> dict[str, str]:
        """What our processes read."""
        return {
            "PATH": "/usr/bin:/bin",
            "RR_VAULT_ADDRESS": self.address,
            "RR_VAULT_CA": self.wire.ca_file,
            "RR_VAULT_TOKEN_FILE": str(self.folder / "token"),
            "RR_POD_RANGE": HERE,
        }

    def start(self) -> None:
        """Starts it and waits until it answers."""
        command = [str(binary("vault")), "server", f"-config={self.folder / 'vault.json'}"]
        with (self.folder / "vault.log").open("ab") as log:
            self.process = subprocess.Popen(mortal(command), stdout=log, stderr=log, start_new_session=True, env={})
        deadline = time.monotonic() + 30
        while True:
            try:
                self.ask("GET", "sys/seal-status")
            except OSError as error:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise AssertionError((self.folder / "vault.log").read_text()[-2000:]) from error
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Ends it, by its own handle."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def ask(self, method: str, path: str, body: object = None, token: str = "") -> tuple[int, dict[str, Any]]:
        """One request as somebody else: the tests' independent eye and hand."""
        request = urllib.request.Request(  # noqa: S310 (our own server)
            f"{self.address}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": token} if token else {},
        )
        context = ssl.create_default_context(cafile=self.wire.ca_file)
        try:
            with urllib.request.urlopen(request, context=context, timeout=10) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def jwt(self, namespace: str, account: str, *, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """A projected service-account token, as the API server signs it. `changes` replace claims; None removes one."""
        now = int(time.time())
        own = {"name": account, "uid": f"uid-of-{namespace}-{account}"}
        claims = {
            "iss": SERVICE_ACCOUNT_ISSUER,
            "aud": ["rr-vault"],
            "sub": f"system:serviceaccount:{namespace}:{account}",
            "iat": now,
            "nbf": now,
            "exp": now + 600,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": own, "pod": {"name": "p", "uid": "u"}},
        }
        claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        signed = ".".join(_url64(json.dumps(each).encode()) for each in (header or {"alg": "RS256"}, claims))
        return f"{signed}.{_url64(self.issuer.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def login(self, role: str, jwt: str) -> tuple[int, dict[str, Any]]:
        """A login by hand."""
        return self.ask("POST", "auth/rr-cluster/login", {"role": role, "jwt": jwt})

    def token(self, role: str, namespace: str, account: str) -> str:
        """A token of Vault's for that principal."""
        status, answer = self.login(role, self.jwt(namespace, account))
        assert status == 200, answer
        token: str = answer["auth"]["client_token"]
        return token

    def session(self, role: str, namespace: str, account: str, wire: Wire | None = None) -> VaultSession:
        """A session as a pod of that account has it."""
        file = self.folder / f"token-{secrets.token_hex(4)}"
        file.write_text(self.jwt(namespace, account))
        return VaultSession(role, wire=wire or self.wire, token_file=file)

    @contextmanager
    def root(self) -> Iterator[TokenSession]:
        """Break-glass."""
        share = self.files.share()
        assert share
        session = self.seal.break_glass(share)
        try:
            yield session
        finally:
            session.revoke()

    @contextmanager
    def root_token(self) -> Iterator[str]:
        """The token itself, for `ask`."""
        with self.root() as session:
            yield session._token.reveal()

    def first_settings(self, definition: Definition | None = None) -> list[Setting]:
        """What the keeper writes."""
        issuer = Issuer(name=SERVICE_ACCOUNT_ISSUER, public_keys=(public_pem(self.issuer),), algorithm="RS256")
        files = dict(zip(("file", "second"), map(str, self.audit_files), strict=True))
        return list(bootstrap(from_here(definition or shipped()), issuer, files))

    def look(self) -> Seen:
        """One look of the keeper."""
        return keep_vault(self.seal, self.files, self.first_settings(), self.seal.break_glass)

    def keep(self, *, until_it_leads: bool = True) -> Seen:
        """Looks of the keeper until one comes to its end; an unsealed Vault takes a moment more to lead itself."""
        end = time.monotonic() + 60
        while True:
            try:
                seen = self.look()
                if not until_it_leads or self.ask("GET", "sys/health")[0] == 200:
                    return seen
            except VaultUnavailable:
                pass
            assert time.monotonic() < end, "no look of the keeper came to its end"
            time.sleep(0.1)

    def configure(self, *projects: Project, definition: Definition | None = None, **how: bool) -> Outcome:
        """One run of the Job, as its own account."""
        target = wanted(from_here(definition or shipped()), projects)
        with self.session("configure-vault", "rr-system", "configure-vault") as session:
            return configure_vault(session, target, NewSecrets(), **how)


def from_here(definition: Definition) -> Definition:
    """Logins are allowed from this machine in place of pods."""
    return replace(definition, pod_range=HERE)


def public_pem(key: rsa.RSAPrivateKey) -> str:
    """PEM of the public half."""
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()


@contextmanager
def vault_server(folder: Path) -> Iterator[VaultServer]:
    """An empty Vault, started; it ends with the block."""
    port = free_port()
    server = VaultServer(folder, port)
    with pytest.MonkeyPatch.context() as surroundings:
        surroundings.setenv("XDG_STATE_HOME", str(folder))
        vault_tls.ensure()
    for each in ("audit", "data", "pki"):
        (server.state / each).mkdir()
    (server.state / "pki" / "service-account.pub").write_text(public_pem(server.issuer))
    serving = server.state / "volumes" / "vault-tls"
    configuration = {
        "disable_mlock": True,
        "log_level": "warn",
        "api_addr": server.address,
        "cluster_addr": f"https://127.0.0.1:{free_port()}",
        "storage": {
            "raft": {"path": str(server.state / "data"), "node_id": "vault-0", "performance_multiplier": 1},
        },
        "listener": {
            "tcp": {
                "address": f"127.0.0.1:{port}",
                "cluster_address": "127.0.0.1:0",
                "tls_cert_file": str(serving / "tls.crt"),
                "tls_key_file": str(serving / "tls.key"),
                "tls_min_version": "tls12",
            }
        },
    }
    (folder / "vault.json").write_text(json.dumps(configuration))
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _url64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
