"""Delivery from a real Vault into files: what is there, who may read it, that it is renewed, and that nothing is lost
while Vault is away. `openssl` judges the certificates."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from readingroom.adapters.memory.vault import MemoryVault
from readingroom.application.ports_vault import VaultRefused
from readingroom.domain.errors import WrongSetUp
from readingroom.entrypoints import deliver
from tests.contract.test_vault_wire import LOGIN, _puppet
from tests.contract.vault_server import VaultServer, vault_server
from tests.mortal import mortal
from tests.unit.vault.definitions import OPEN_HEART

HOST = "heart.workspace.localhost"
HUB = [
    "--role",
    "hub-heart",
    "--kv",
    "projects/heart/hub#cookie_secret=cookie",
    "--kv",
    "projects/heart/oidc#client_secret=client",
]
EDGE = ["--role", "edge-heart", "--certificate", f"edge-heart:tls:{HOST}"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    with vault_server(tmp_path_factory.mktemp("vault")) as running:
        running.keep()
        running.configure(OPEN_HEART)
        yield running


@contextmanager
def process(
    server: VaultServer, account: str, out: Path, *arguments: str, elsewhere: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """The container, as the pod runs it."""
    out.mkdir(exist_ok=True)
    (server.folder / "token").write_text(server.jwt("p-heart-hub", account))
    command = [sys.executable, "-m", "readingroom.entrypoints.deliver", "--out", str(out), *arguments]
    with subprocess.Popen(
        mortal(command),
        env={**server.environment, **(elsewhere or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as running:  # fmt: skip
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(10)


def once(server: VaultServer, account: str, out: Path, *arguments: str) -> tuple[int, str]:
    with process(server, account, out, *arguments) as running:
        told, _ = running.communicate(timeout=30)
        return running.returncode, told


def until(ready: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)


def openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=True).stdout


def secrets_of(server: VaultServer, path: str) -> dict[str, str]:
    with server.root() as root:
        found = root.read(f"rr-kv/data/projects/heart/{path}")
        assert found
        data: dict[str, str] = found["data"]
        return data


class TestFiles:
    def test_secrets_are_delivered_whole_and_to_their_reader_alone(self, server: VaultServer, tmp_path: Path) -> None:
        code, told = once(server, "hub", tmp_path / "out", *HUB)
        assert code == 0, told
        out = {file.name: file for file in (tmp_path / "out").iterdir()}
        assert set(out) == {"ca.crt", "client", "cookie", ".complete"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in out.values()} == {0o400}
        assert out["cookie"].read_text() == secrets_of(server, "hub")["cookie_secret"]
        assert out["client"].read_text() == secrets_of(server, "oidc")["client_secret"]
        assert "delivered 2 secrets and 0 certificates" in told
        for secret in (*secrets_of(server, "hub").values(), *secrets_of(server, "oidc").values()):
            assert secret not in told

    def test_a_certificate_is_delivered_with_its_chain_and_a_key_made_here(
        self, server: VaultServer, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        code, told = once(server, "edge", out, *EDGE)
        assert code == 0, told
        assert {stat.S_IMODE(file.stat().st_mode) for file in out.iterdir()} == {0o400}
        chain = str(out / "tls.crt")
        openssl("verify", "-CAfile", str(out / "ca.crt"), "-untrusted", chain, "-verify_hostname", HOST, chain)
        assert openssl("x509", "-in", chain, "-noout", "-pubkey") == openssl(
            "pkey", "-in", str(out / "tls.key"), "-pubout"
        )
        first = (out / "tls.key").read_text()
        assert once(server, "edge", out, *EDGE)[0] == 0, "a second delivery over files that are there"
        assert (out / "tls.key").read_text() != first
        assert first.splitlines()[1] not in told

    def test_what_vault_refuses_or_lacks_is_said_in_one_line_and_what_is_there_stays(
        self, server: VaultServer, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        once(server, "hub", out, *HUB)
        before = (out / "cookie").read_bytes()
        code, told = once(
            server, "hub", out, "--role", "hub-heart", "--kv", "projects/lung-ct/hub#cookie_secret=cookie"
        )
        assert code == 3
        assert "status 403" in told
        assert len(told.splitlines()) == 1
        code, told = once(server, "hub", out, "--role", "hub-heart", "--kv", "projects/heart/hub#absent=cookie")
        assert code == 1
        assert "projects/heart/hub#absent; Vault does not hold it" in told
        code, told = once(
            server, "edge", out, "--role", "edge-heart", "--certificate", "edge-heart:tls:other.localhost"
        )
        assert code == 3
        assert "status 400" in told
        assert (out / "cookie").read_bytes() == before
        assert not (out / "tls.key").exists()

    @pytest.mark.parametrize("kv", ["", "a", "a#b", "a=b", "#b=c", "a#=c", "a#b=", "a#b=c/d", "a#b=../d"])
    def test_a_secret_that_cannot_be_read_from_the_command_line_is_refused(self, kv: str) -> None:
        with pytest.raises(WrongSetUp, match=r"write PATH#FIELD=FILE"):
            deliver._kv(kv)

    @pytest.mark.parametrize("certificate", ["", "a", "a:b", "a::c", ":b:c", "a:b:", "a:../b:c"])
    def test_a_certificate_that_cannot_be_read_from_the_command_line_is_refused(self, certificate: str) -> None:
        with pytest.raises(WrongSetUp, match="write ROLE:STEM:NAME,NAME"):
            deliver._certificate(certificate)

    def test_a_file_is_there_whole_or_not_at_all(self, tmp_path: Path) -> None:
        (tmp_path / ".cookie.new").write_text("of an earlier life")
        deliver._write(tmp_path / "cookie", "one")
        opened = (tmp_path / "cookie").open()
        deliver._write(tmp_path / "cookie", "two")
        with opened:
            assert opened.read() == "one", "a reader that began before sees the old file to its end"
        assert (tmp_path / "cookie").read_text() == "two"
        assert [file.name for file in tmp_path.iterdir()] == ["cookie"]

    def test_complete_comes_last(self, tmp_path: Path) -> None:
        vault = MemoryVault()
        for name, kind in (("rr-kv", "kv"), ("rr-pki-root", "pki")):
            vault.write(f"sys/mounts/{name}", {"type": kind})
        with pytest.raises(WrongSetUp, match="run configure-vault"):
            deliver.deliver(vault, tmp_path, [("projects/x/hub", "a", "a")], [])
        assert not (tmp_path / ".complete").exists()
        vault.write("rr-kv/data/projects/x/hub", {"options": {"cas": 0}, "data": {"a": "b"}})
        assert deliver.deliver(vault, tmp_path, [("projects/x/hub", "a", "a")], []) == 86_400 * 2 / 3
        assert (tmp_path / ".complete").exists()
        with pytest.raises(VaultRefused):
            deliver.deliver(vault, tmp_path, [], [deliver.Wanted("edge-x", "tls", (HOST,))])


class TestStaying:
    def test_a_certificate_is_renewed_in_time_and_kept_while_vault_is_away(
        self, server: VaultServer, tmp_path: Path
    ) -> None:
        """The signing role's day is made ten seconds, so that two thirds of it pass in a test."""
        out = tmp_path / "out"
        path = "rr-pki/roles/edge-heart"
        with server.root_token() as token:
            _, role = server.ask("GET", path, token=token)
            server.ask("POST", path, {**role["data"], "ttl": 10, "max_ttl": 10}, token)
        with process(server, "edge", out, *EDGE, "--keep") as running:
            until((out / ".complete").exists)
            first = (out / "tls.crt").read_text()
            until(lambda: (out / "tls.crt").read_text() != first, 15)
            second = (out / "tls.crt").read_text()
            left = x509.load_pem_x509_certificate(first.encode()).not_valid_after_utc.timestamp() - time.time()
            assert left > 0, "renewed only after its end"
            server.stop()
            time.sleep(8)  # past the time of the next renewal
            assert running.poll() is None
            assert (out / "tls.crt").read_text() == second
            server.start()
            server.keep()
            until(lambda: (out / "tls.crt").read_text() != second, 15)
            assert running.poll() is None
            running.send_signal(signal.SIGTERM)
            told, _ = running.communicate(timeout=10)
        assert "Traceback" not in told
        with server.root_token() as token:
            server.ask("POST", path, role["data"], token)

    def test_what_an_earlier_life_of_the_container_left_is_no_delivery(
        self, server: VaultServer, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        out.mkdir()
        (out / ".complete").touch()
        with _puppet(tmp_path / "puppet") as puppet:
            puppet.says((500, {"errors": ["away"]}))
            elsewhere = {"RR_VAULT_ADDRESS": puppet.address, "RR_VAULT_CA": puppet.wire.ca_file}
            with process(server, "hub", out, "--role", "hub-heart", elsewhere=elsewhere) as running:
                until(lambda: len(puppet.asked) > 1)
                assert running.poll() is None
                puppet.says(LOGIN, {"data": {"certificate": "of the root"}}, 204)
                told, _ = running.communicate(timeout=30)
        assert running.returncode == 0, told
        assert "status 500" in told
        assert (out / "ca.crt").read_text() == "of the root\n"

    def test_who_waits_for_delivery_waits_until_vault_is_there(self, server: VaultServer, tmp_path: Path) -> None:
        out = tmp_path / "out"
        server.stop()
        try:
            with process(server, "hub", out, *HUB) as running:
                with pytest.raises(subprocess.TimeoutExpired):
                    running.wait(2.5)
                server.start()
                server.keep()
                told, _ = running.communicate(timeout=30)
                assert running.returncode == 0, told
        finally:
            if server.process is None:
                server.start()
                server.keep()
        assert (out / "cookie").read_text() == secrets_of(server, "hub")["cookie_secret"]
