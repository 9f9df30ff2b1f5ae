"""What anything that is a Vault to us must do: the same class over the fake, a session of one role, and a root token."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from readingroom.adapters.memory.vault import MemorySeal, MemoryVault
from readingroom.adapters.vault.session import TokenSession, VaultSession
from readingroom.application.keep_vault import RootSession
from readingroom.application.ports_vault import (
    SealState,
    SecretText,
    Vault,
    VaultRefused,
    VaultSeal,
    VaultUnavailable,
)
from tests.contract.vault_server import IMPATIENT, VaultServer, vault_server

POLICY = "sys/policies/acl/rr-try"
TEXT = 'path "x" {\n  capabilities = ["read"]\n}\n'
SECRET = "rr-kv/data/platform/try"


@dataclass
class Given:
    """A Vault with `rr-kv` and `rr-pki`, a path that is refused there, and its seal."""

    vault: Vault
    refused: str
    close: Callable[[], None]
    open: Callable[[], object]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    with vault_server(tmp_path_factory.mktemp("vault")) as running:
        running.keep()
        with running.root() as root:
            _mount(root)
        yield running


def _mount(vault: Vault) -> None:
    vault.write("sys/mounts/rr-kv", {"type": "kv", "options": {"version": "2"}})
    vault.write("sys/mounts/rr-pki", {"type": "pki"})


@pytest.fixture(params=["memory", "session", "root"])
def given(request: pytest.FixtureRequest) -> Iterator[Given]:
    if request.param == "memory":
        vault = MemoryVault(may=lambda _, path: not path.startswith("rr-kv/config"))
        _mount(vault)
        yield Given(
            vault,
            "rr-kv/config",
            lambda: setattr(vault, "sealed", True),
            lambda: setattr(vault, "sealed", False),
        )
        return
    server: VaultServer = request.getfixturevalue("server")
    wire = replace(server.wire, timing=IMPATIENT)

    def close() -> None:
        share = server.files.share()
        assert share
        server.seal.seal(share)
        server.files.on_purpose.touch()

    def reopen() -> None:
        server.files.on_purpose.unlink()
        server.keep()

    if request.param == "session":
        with server.session("configure-vault", "rr-system", "configure-vault", wire) as session:
            yield Given(session, "rr-kv/metadata/other/try", close, reopen)
    else:
        with server.root() as root:
            yield Given(TokenSession(root._token, wire), "sys/raw/core/keyring", close, reopen)
    with server.root() as root:
        for path in (POLICY, f"{POLICY}-2", SECRET.replace("/data/", "/metadata/")):
            root.forget(path)


class TestVault:
    def test_what_is_not_there_reads_as_none(self, given: Given) -> None:
        assert given.vault.read(POLICY) is None

    def test_what_was_written_is_what_the_next_read_sees(self, given: Given) -> None:
        given.vault.write(POLICY, {"policy": TEXT})
        given.vault.write(POLICY, {"policy": TEXT})  # repeated, the same
        found = given.vault.read(POLICY)
        assert found
        assert found["policy"] == TEXT
        given.vault.write(POLICY, {"policy": TEXT.replace("x", "y")})
        found = given.vault.read(POLICY)
        assert found
        assert found["policy"] == TEXT.replace("x", "y")

    def test_names_are_sorted_and_none_is_an_empty_list(self, given: Given) -> None:
        given.vault.write(f"{POLICY}-2", {"policy": TEXT})
        given.vault.write(POLICY, {"policy": TEXT})
        assert [each for each in given.vault.names("sys/policies/acl") if each.startswith("rr-try")] == [
            "rr-try", "rr-try-2",
        ]  # fmt: skip
        assert given.vault.names("rr-pki/roles") == []

    def test_what_is_forgotten_is_gone_and_what_is_not_there_counts_as_removed(self, given: Given) -> None:
        given.vault.write(POLICY, {"policy": TEXT})
        given.vault.forget(POLICY)
        given.vault.forget(POLICY)
        assert given.vault.read(POLICY) is None

    def test_a_secret_sent_as_new_is_made_once(self, given: Given) -> None:
        document = {"options": {"cas": 0}, "data": {"field": "first"}}
        assert given.vault.write(SECRET, document)["version"] == 1
        with pytest.raises(VaultRefused):
            given.vault.write(SECRET, {"options": {"cas": 0}, "data": {"field": "second"}})
        assert given.vault.read(SECRET.replace("/data/", "/metadata/")) is not None

    def test_engines_are_read_by_name(self, given: Given) -> None:
        mounts = given.vault.read("sys/mounts")
        assert mounts
        assert (mounts["rr-kv/"]["type"], mounts["rr-pki/"]["type"]) == ("kv", "pki")

    def test_a_path_that_is_not_ours_is_refused_each_way(self, given: Given) -> None:
        for call in _each_way(given.vault, given.refused):
            with pytest.raises(VaultRefused, match=given.refused):
                call()

    def test_a_place_without_an_engine_is_refused(self, given: Given) -> None:
        for call in _each_way(given.vault, "rr-none/x"):
            with pytest.raises(VaultRefused):
                call()

    def test_sealed_it_is_away_for_every_call_and_back_with_what_it_held(self, given: Given) -> None:
        given.vault.write(POLICY, {"policy": TEXT})
        given.close()
        try:
            for call in _each_way(given.vault, POLICY):
                with pytest.raises(VaultUnavailable, match="waiting-for-vault"):
                    call()
        finally:
            given.open()
        found = given.vault.read(POLICY)
        assert found
        assert found["policy"] == TEXT


def _each_way(vault: Vault, path: str) -> list[Callable[[], Any]]:
    return [
        lambda: vault.read(path),
        lambda: vault.write(path, {"policy": TEXT}),
        lambda: vault.names(path),
        lambda: vault.forget(path),
    ]


@dataclass
class Seals:
    """An empty Vault's seal, how to close it again, and how a root session is made."""

    seal: VaultSeal
    restart: Callable[[], None]
    break_glass: Callable[[SecretText], RootSession]


@pytest.fixture(params=["memory", "real"])
def seals(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Seals]:
    if request.param == "memory":
        vault = MemoryVault()
        seal = MemorySeal(vault)
        yield Seals(seal, lambda: setattr(vault, "sealed", True), seal.break_glass)
        return
    with vault_server(tmp_path) as server:

        def restart() -> None:
            server.stop()
            server.start()

        yield Seals(server.seal, restart, server.seal.break_glass)


class TestSeal:
    def test_its_life(self, seals: Seals) -> None:
        """One test, for a Vault is born once: empty, initialised once, opened by the one share and by no other."""
        seal = seals.seal
        assert seal.state() == SealState(initialised=False, sealed=True)
        keys = seal.initialise()
        assert seal.state() == SealState(initialised=True, sealed=True)
        with pytest.raises(VaultRefused):
            seal.initialise()
        for wrong in ("d3Jvbmc=", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="):
            with pytest.raises(VaultRefused):
                seal.unseal(SecretText(wrong))
        assert seal.state().sealed
        for _ in range(2):  # repeated, nothing happens
            seal.unseal(keys.share)
            assert seal.state() == SealState(initialised=True, sealed=False)
        root = _patient(lambda: seals.break_glass(keys.share))
        root.write("sys/mounts/rr-kv", {"type": "kv", "options": {"version": "2"}})
        root.revoke()
        with pytest.raises(VaultRefused):
            seals.break_glass(SecretText("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="))
        seals.restart()
        assert seal.state() == SealState(initialised=True, sealed=True)


def _patient(work: Callable[[], RootSession]) -> RootSession:
    deadline = time.monotonic() + 10
    while True:
        try:
            return work()
        except VaultUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.1)


class TestSecrets:
    CANARY = "hvs.canary-5f1d"

    def test_a_secret_shows_itself_in_no_way_but_one(self, caplog: pytest.LogCaptureFixture) -> None:
        secret = SecretText(self.CANARY)
        with caplog.at_level(logging.DEBUG):
            logging.getLogger("try").info("%s %r %s", secret, secret, [secret])
        shown = [f"{secret}", f"{secret!r}", f"{secret:>40}", "%s" % secret, str({"a": secret}), caplog.text]  # noqa: UP031
        assert not any("canary" in text for text in shown)
        assert secret.reveal() == self.CANARY
        for leak in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps, vars):
            with pytest.raises(TypeError):
                leak(secret)

    def test_secrets_are_equal_by_what_they_hold(self) -> None:
        assert SecretText("a") == SecretText("a") != SecretText("b")
        assert len({SecretText("a"), SecretText("a"), SecretText("b")}) == 2
        assert SecretText("a") != "a"

    def test_a_live_session_shows_neither_its_token_nor_its_login(
        self, server: VaultServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            session = server.session("configure-vault", "rr-system", "configure-vault")
            session.read("sys/mounts")
            login = session._login
            assert login
            token, jwt = login.token.reveal(), session._token_file.read_text()
            for shown in (repr(session), str(session), repr(login), repr(vars(session)), caplog.text):
                assert token not in shown
                assert jwt not in shown
            session.close()
        assert repr(VaultSession("hub-x")) == "VaultSession('hub-x')"

    def test_closing_ends_the_token(self, server: VaultServer) -> None:
        session = server.session("configure-vault", "rr-system", "configure-vault")
        session.read("sys/mounts")
        assert session._login
        token = session._login.token.reveal()
        assert server.ask("GET", "sys/mounts", token=token)[0] == 200
        session.close()
        assert server.ask("GET", "sys/mounts", token=token)[0] == 403
