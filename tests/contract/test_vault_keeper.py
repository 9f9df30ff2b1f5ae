"""The keeper and the configuring Job against a real Vault: first start, death at any point, restart, drift."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from readingroom.application.configure_vault import configure_vault
from readingroom.application.keep_vault import Seen
from readingroom.application.ports_vault import Document, Vault, VaultRefused, VaultUnavailable
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.vault_plan import Project, wanted
from readingroom.entrypoints.configure_vault import NewSecrets
from tests.contract.vault_server import VaultServer, from_here, vault_server
from tests.mortal import mortal
from tests.unit.vault.definitions import (
    CLOSED_HEART,
    FOLDER,
    OPEN_HEART,
    OPEN_LUNG,
    SCHEMA,
    shipped,
)
from tests.unit.vault.mortal import keep_for

pytestmark = pytest.mark.slow


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[VaultServer]:
    with vault_server(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    """Kept and configured for two projects; every test leaves it so."""
    with vault_server(tmp_path_factory.mktemp("vault")) as running:
        running.keep()
        running.configure(OPEN_LUNG, OPEN_HEART)
        yield running


def roots(server: VaultServer) -> int:
    """How many root tokens live, the asking one not counted."""
    with server.root_token() as token:
        _, listed = server.ask("LIST", "auth/token/accessors", token=token)
        policies = []
        for accessor in listed["data"]["keys"]:
            _, found = server.ask("POST", "auth/token/lookup-accessor", {"accessor": accessor}, token=token)
            policies.append((found.get("data") or {}).get("policies") or [])
        return sum("root" in each for each in policies) - 1


def health(server: VaultServer) -> int:
    status, _ = server.ask("GET", "sys/health")
    return status


class TestFirstStart:
    def test_it_comes_to_the_same_end_however_often_the_keeper_dies(self, empty: VaultServer) -> None:
        """Each keeper lives one call longer than the one before. Vault is restarted in the midst of it too."""
        seen, calls, deaths = None, 5, 0  # the fifth call saves the share; death before that has a test of its own
        settings = empty.first_settings()
        while seen is None:
            try:
                seen, _ = keep_for(calls, empty.seal, empty.files, settings, empty.seal.break_glass)
            except VaultUnavailable:  # an unsealed Vault takes a moment to lead itself
                time.sleep(0.1)
                continue
            deaths += seen is None
            calls += 1
            if deaths == 6:
                empty.stop()
                empty.start()
        assert deaths > 7
        assert seen is Seen.UNSEALED
        assert stat.S_IMODE((empty.state / "vault-unseal.json").stat().st_mode) == 0o600
        assert roots(empty) == 0, "the first root token, or one that a dead keeper held, still lives"
        with empty.root_token() as token:
            _, audit = empty.ask("GET", "sys/audit", token=token)
            assert {name: each["options"]["file_path"] for name, each in audit["data"].items()} == {
                "file/": str(empty.audit_files[0]),
                "second/": str(empty.audit_files[1]),
            }
            _, role = empty.ask("GET", "auth/rr-cluster/role/configure-vault", token=token)
            assert role["data"]["bound_subject"] == "system:serviceaccount:rr-system:configure-vault"
        assert all(file.stat().st_size for file in empty.audit_files)
        for file in empty.audit_files:
            share = empty.files.share()
            assert share
            assert share.reveal() not in file.read_text()

    def test_a_share_that_died_with_the_keeper_opens_nothing_and_nothing_is_initialised_anew(
        self, empty: VaultServer
    ) -> None:
        settings = empty.first_settings()
        calls = 0
        while keep_for(calls, empty.seal, empty.files, settings, empty.seal.break_glass)[1] != "initialise":
            calls += 1
        for _ in range(2):
            with pytest.raises(WrongSetUp, match="Vault stays sealed"):
                empty.look()
        assert empty.seal.state().sealed
        assert not (empty.state / "vault-unseal.json").exists()


class TestLaterStarts:
    def test_a_restarted_vault_is_unsealed_within_seconds_and_sessions_carry_on(self, server: VaultServer) -> None:
        session = server.session("hub-lung-ct", "p-lung-ct-hub", "hub")
        before = session.read("rr-kv/data/projects/lung-ct/hub")
        server.stop()
        server.start()
        started = time.monotonic()
        assert server.keep(until_it_leads=False) is Seen.UNSEALED
        assert session.read("rr-kv/data/projects/lung-ct/hub") == before
        assert time.monotonic() - started < 10
        session.close()

    def test_without_the_share_it_stays_sealed_not_ready_with_one_clear_line(self, server: VaultServer) -> None:
        share = server.state / "vault-unseal.json"
        kept = share.rename(server.folder / "kept")
        server.stop()
        server.start()
        try:
            for _ in range(2):
                with pytest.raises(WrongSetUp) as caught:
                    server.look()
                assert "\n" not in str(caught.value)
                assert "vault-unseal.json" in str(caught.value)
            assert health(server) == 503  # what the pod's probe sees
            assert not share.exists()
        finally:
            kept.rename(share)
            server.keep()
        assert server.seal.state().sealed is False

    def test_another_share_is_refused_and_vault_stays_sealed(self, server: VaultServer) -> None:
        share = server.state / "vault-unseal.json"
        kept = share.read_bytes()
        share.write_text(json.dumps({"share": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}))
        server.stop()
        server.start()
        try:
            with pytest.raises(VaultRefused):
                server.look()
            assert server.seal.state().sealed
        finally:
            share.write_bytes(kept)
            server.keep()

    def test_a_new_issuer_key_in_the_state_folder_is_written_by_the_next_look(self, server: VaultServer) -> None:
        old = server.issuer
        token = server.jwt("rr-system", "portal")
        server.issuer = type(server)(server.folder, server.port).issuer
        try:
            server.keep()
            assert server.login("portal", token)[0] == 400, "a key that is no longer the issuer's still opens"
            assert server.login("portal", server.jwt("rr-system", "portal"))[0] == 200
        finally:
            server.issuer = old
            server.keep()
        assert server.login("portal", server.jwt("rr-system", "portal"))[0] == 200


class TestAudit:
    def test_one_unwritable_file_stops_nothing_and_both_stop_everything(self, server: VaultServer) -> None:
        """A folder in a file's place: Vault, told to open its files anew, cannot."""
        hub = server.token("hub-heart", "p-heart-hub", "hub")
        path = "rr-kv/data/projects/heart/hub"
        first, second = server.audit_files

        def block(file: Path) -> None:
            file.rename(file.with_suffix(".kept"))
            file.mkdir()
            assert server.process
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.5)

        try:
            block(first)
            size = second.stat().st_size
            assert server.ask("GET", path, token=hub)[0] == 200
            assert second.stat().st_size > size
            block(second)
            assert server.ask("GET", path, token=hub)[0] == 500
            assert server.login("hub-heart", server.jwt("p-heart-hub", "hub"))[0] >= 400
            session = server.session("hub-heart", "p-heart-hub", "hub")
            with pytest.raises(VaultUnavailable):
                session.read(path)
        finally:
            for file in (first, second):
                if file.is_dir():
                    file.rmdir()
            server.stop()
            server.start()
            server.keep()
        assert server.ask("GET", path, token=hub)[0] == 200

    def test_no_secret_stands_in_it(self, server: VaultServer) -> None:
        with server.root() as root:
            secrets = root.read("rr-kv/data/projects/heart/hub")
            assert secrets
        texts = [file.read_text() for file in server.audit_files]
        for value in secrets["data"].values():
            assert not any(value in text for text in texts)
        assert all("rr-kv/data/projects/heart/hub" in text for text in texts)  # the harmless control


@contextmanager
def keeper(server: VaultServer) -> Iterator[subprocess.Popen[str]]:
    """The keeper as the launcher runs it."""
    command = [sys.executable, "-m", "readingroom.entrypoints.vault_keeper",
               "--state", str(server.state), "--audit-folder", str(server.state / "audit")]  # fmt: skip
    with subprocess.Popen(
        mortal(command), env=server.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def door(server: VaultServer, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One of our processes, to its end."""
    command = [sys.executable, "-m", f"readingroom.entrypoints.{module}", *arguments]
    return subprocess.run(command, env=server.environment, capture_output=True, text=True, timeout=60, check=False)


def until(server: VaultServer, seen: str, seconds: float = 60.0) -> str:
    """Waits until the keeper reports that it saw this; gives its reason."""
    end = time.monotonic() + seconds
    file = server.state / "run" / "vault-status.json"
    while True:
        status = json.loads(file.read_text()) if file.exists() else {"seen": "nothing"}
        if status["seen"] == seen:
            why: str = status["why"]
            return why
        assert time.monotonic() < end, status
        time.sleep(0.1)


class TestTheProcess:
    def test_it_watches_vault_through_its_life(self, empty: VaultServer) -> None:
        """One keeper process: waiting, first start, restart, a missing share, sealed on purpose and opened again."""
        empty.stop()
        status = empty.state / "run" / "vault-status.json"
        with keeper(empty) as process:
            empty.start()
            until(empty, "unsealed")
            assert process.poll() is None
            first = empty.files.share()
            assert first
            empty.stop()
            status.unlink()
            empty.start()
            restarted = time.monotonic()
            until(empty, "unsealed", 10)
            assert time.monotonic() - restarted < 10
            sealing = door(empty, "vault_keeper", "--state", str(empty.state), "--seal")
            assert (sealing.returncode, sealing.stderr) == (0, ""), sealing.stdout
            until(empty, "sealed-on-purpose")
            time.sleep(2.5)  # one look more
            assert empty.seal.state().sealed
            again = door(empty, "vault_keeper", "--state", str(empty.state), "--seal")
            assert again.returncode == 0, again.stdout
            assert door(empty, "vault_keeper", "--state", str(empty.state), "--unseal").returncode == 0
            until(empty, "unsealed")
            share = (empty.state / "vault-unseal.json").rename(empty.folder / "kept")
            empty.stop()
            empty.start()
            assert "Vault stays sealed: vault-unseal.json" in until(empty, "wrong")
            share.rename(empty.state / "vault-unseal.json")
            until(empty, "unsealed")
            process.send_signal(signal.SIGTERM)
            told, _ = process.communicate(timeout=10)
        assert empty.files.share() == first
        assert first.reveal() not in told
        assert "Traceback" not in told
        assert told.count("Vault stays sealed") == 1, "said once, not at each look"
        assert roots(empty) == 0

    def test_sealing_without_a_share_is_refused(self, server: VaultServer) -> None:
        share = (server.state / "vault-unseal.json").rename(server.folder / "kept")
        try:
            done = door(server, "vault_keeper", "--state", str(server.state), "--seal")
        finally:
            share.rename(server.state / "vault-unseal.json")
        assert done.returncode == 1
        assert "no unseal share is here" in done.stdout
        assert not server.files.sealed_on_purpose()
        assert health(server) == 200


class Recorder:
    """A Vault that remembers what was written."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self.written: list[str] = []
        self.read, self.names = vault.read, vault.names

    def write(self, path: str, document: Document) -> Document:
        self.written.append(path)
        return self._vault.write(path, document)

    def forget(self, path: str) -> None:
        self.written.append(path)
        self._vault.forget(path)


class TestConfigure:
    def test_a_second_run_plans_nothing(self, server: VaultServer) -> None:
        with server.session("configure-vault", "rr-system", "configure-vault") as session:
            watched = Recorder(session)
            target = wanted(from_here(shipped()), [OPEN_HEART, OPEN_LUNG])
            outcome = configure_vault(watched, target, NewSecrets())
        assert (outcome.changes, outcome.strangers, outcome.findings) == ([], [], [])
        assert watched.written == []

    def test_a_plan_says_what_a_run_would_do_and_writes_nothing(self, server: VaultServer) -> None:
        new = Project(id="new-one", phase="open")
        with server.session("configure-vault", "rr-system", "configure-vault") as session:
            watched = Recorder(session)
            target = wanted(from_here(shipped()), [OPEN_HEART, OPEN_LUNG, new])
            outcome = configure_vault(watched, target, NewSecrets(), apply=False)
        assert watched.written == []
        assert {change.action for change in outcome.changes if "new-one" in change.path} == {"create"}
        assert [str(each) for each in outcome.changes if "new-one" not in each.path] == [
            "update role auth/rr-cluster/role/portal (token_policies)"
        ]

    DRIFT: Mapping[str, tuple[str, dict[str, Any]]] = {
        "policy": ("sys/policies/acl/rr-hub-heart", {"policy": 'path "rr-kv/*" {\n capabilities = ["read"]\n}'}),
        "audience": ("auth/rr-cluster/role/hub-heart", {"bound_audiences": ["rr-vault", "other"]}),
        "leeway": ("auth/rr-cluster/role/hub-heart", {"expiration_leeway": 3600}),
        "policies": ("auth/rr-cluster/role/edge-heart", {"token_policies": ["rr-edge-heart", "rr-session", "root"]}),
        "life": ("auth/rr-cluster/role/cut-heart", {"token_ttl": 86_400, "token_max_ttl": 86_400}),
        "uses": ("auth/rr-cluster/role/deid-heart", {"token_num_uses": 0}),
        "wildcard": ("rr-pki/roles/edge-heart", {"allow_subdomains": True}),
        "any name": ("rr-pki/roles/database", {"allow_any_name": True}),
        "authority lease": ("sys/mounts/rr-pki/tune", {"max_lease_ttl": "7200h"}),
        "cas": ("rr-kv/config", {"cas_required": False}),
    }

    @pytest.mark.parametrize("drift", DRIFT)
    def test_drift_is_found_and_mended(self, server: VaultServer, drift: str) -> None:
        path, change = self.DRIFT[drift]
        with server.root_token() as token:
            _, found = server.ask("GET", path, token=token)
            status, answer = server.ask("POST", path, {**found["data"], **change}, token=token)
            assert status in {200, 204}, answer
        outcome = server.configure(OPEN_LUNG, OPEN_HEART)
        assert [(each.action, each.path) for each in outcome.changes] == [("update", path)]
        assert set(outcome.changes[0].fields) >= set(change) - {"token_max_ttl"}
        assert server.configure(OPEN_LUNG, OPEN_HEART).changes == []

    def test_what_was_removed_is_made_again(self, server: VaultServer) -> None:
        gone = ("auth/rr-cluster/role/hub-heart", "sys/policies/acl/rr-cut-heart", "rr-pki/roles/edge-heart")
        with server.root() as root:
            for path in gone:
                root.forget(path)
        outcome = server.configure(OPEN_LUNG, OPEN_HEART)
        assert {(each.action, each.path) for each in outcome.changes} == {("create", path) for path in gone}

    def test_a_key_of_another_kind_is_an_error_and_is_left_alone(self, server: VaultServer) -> None:
        new = Project(id="odd-key", phase="open")
        with server.root_token() as token:
            made = {"type": "aes256-gcm96", "exportable": True}
            server.ask("POST", "rr-pseudonym/keys/odd-key", made, token=token)
            with server.session("configure-vault", "rr-system", "configure-vault") as session:
                watched = Recorder(session)
                target = wanted(from_here(shipped()), [OPEN_LUNG, OPEN_HEART, new])
                with pytest.raises(
                    WrongSetUp, match="rr-pseudonym/keys/odd-key; exportable, type is not as made by us"
                ):
                    configure_vault(watched, target, NewSecrets())
            assert watched.written == []
            assert server.ask("GET", "rr-pseudonym/keys/odd-key", token=token)[1]["data"]["type"] == "aes256-gcm96"
            server.ask("POST", "rr-pseudonym/keys/odd-key/config", {"deletion_allowed": True}, token=token)
            server.ask("DELETE", "rr-pseudonym/keys/odd-key", token=token)

    def test_a_rotated_pseudonym_key_still_gives_the_same_values_and_is_reported(self, server: VaultServer) -> None:
        """So is a key that may be deleted. Nothing of it is mended."""
        spin = Project(id="spin", phase="closed")
        assert server.configure(OPEN_LUNG, OPEN_HEART, spin).findings == []
        ask = {"input": "cnIvZGVpZC92MS9wYXRpZW50", "key_version": "1"}
        with server.root_token() as token:
            _, before = server.ask("POST", "rr-pseudonym/hmac/spin/sha2-256", ask, token=token)
            server.ask("POST", "rr-pseudonym/keys/spin/rotate", {}, token=token)
            server.ask("POST", "rr-envelope/keys/spin-data/config", {"deletion_allowed": True}, token=token)
            _, after = server.ask("POST", "rr-pseudonym/hmac/spin/sha2-256", ask, token=token)
        assert before["data"]["hmac"] == after["data"]["hmac"]
        outcome = server.configure(OPEN_LUNG, OPEN_HEART, spin)
        assert outcome.changes == []
        assert list(outcome.findings) == [
            "rr-pseudonym/keys/spin was rotated; version 1 still gives the same pseudonyms",
            "rr-envelope/keys/spin-data may be deleted; nobody but closing allows that",
        ]

    def test_secrets_are_made_once_and_never_again(self, server: VaultServer) -> None:
        with server.root() as root:
            before = root.read("rr-kv/data/projects/heart/hub")
            assert before
            assert before["metadata"]["version"] == 1
            assert {len(value) for value in before["data"].values()} == {64}
            assert len(set(before["data"].values())) == 3
            portal = root.read("rr-kv/data/platform/portal")
            assert portal
            assert portal["data"]["oidc_private_key"].startswith("-----BEGIN PRIVATE KEY-----")
        server.configure(OPEN_LUNG, OPEN_HEART)
        with server.root() as root:
            assert root.read("rr-kv/data/projects/heart/hub") == before

    def test_a_closed_project_loses_its_logins_and_keeps_its_keys(self, server: VaultServer) -> None:
        hub = server.token("hub-heart", "p-heart-hub", "hub")
        outcome = server.configure(OPEN_LUNG, CLOSED_HEART)
        try:
            assert {each.action for each in outcome.changes if "heart" in each.path} == {"remove"}
            assert not any("/keys/" in each.path for each in outcome.changes)
            assert server.login("hub-heart", server.jwt("p-heart-hub", "hub"))[0] == 400
            assert server.ask("GET", "rr-kv/data/projects/heart/hub", token=hub)[0] == 403, "the old token still reads"
            with server.root() as root:
                assert "heart" in root.names("rr-pseudonym/keys")
                assert "heart-data" in root.names("rr-envelope/keys")
                assert root.read("rr-kv/data/projects/heart/hub")
            assert server.configure(OPEN_LUNG, CLOSED_HEART).changes == []
        finally:
            server.configure(OPEN_LUNG, OPEN_HEART)
        assert server.login("hub-heart", server.jwt("p-heart-hub", "hub"))[0] == 200

    def test_strangers_are_reported_and_removed_only_when_asked(self, server: VaultServer) -> None:
        strange = ["auth/rr-cluster/role/stranger", "rr-pki/roles/stranger", "sys/policies/acl/rr-stranger"]
        with server.root_token() as token:
            _, role = server.ask("GET", "auth/rr-cluster/role/portal", token=token)
            server.ask("POST", strange[0], role["data"], token=token)
            server.ask("POST", strange[1], {"allow_any_name": True}, token=token)
            server.ask("POST", strange[2], {"policy": 'path "x" {\n capabilities = ["read"]\n}'}, token=token)
            server.ask("POST", "sys/policies/acl/not-ours", {"policy": 'path "x" {\n}'}, token=token)
        outcome = server.configure(OPEN_LUNG, OPEN_HEART)
        assert (outcome.changes, outcome.strangers) == ([], strange)
        assert [each.path for each in server.configure(OPEN_LUNG, OPEN_HEART, prune=True).changes] == strange
        assert server.configure(OPEN_LUNG, OPEN_HEART).strangers == []
        with server.root() as root:
            assert root.read("sys/policies/acl/not-ours") is not None
            root.forget("sys/policies/acl/not-ours")

    def test_it_cannot_change_its_own_rights(self, server: VaultServer) -> None:
        with server.session("configure-vault", "rr-system", "configure-vault") as session:
            for path in ("sys/policies/acl/rr-configure-vault", "auth/rr-cluster/role/configure-vault"):
                with pytest.raises(VaultRefused):
                    session.read(path)
                with pytest.raises(VaultRefused):
                    session.write(path, {"policy": "", "role_type": "jwt"})
                with pytest.raises(VaultRefused):
                    session.forget(path)

    def test_what_does_not_read_back_as_written_ends_the_run(self, server: VaultServer) -> None:
        class Deaf(Recorder):
            def write(self, path: str, document: Document) -> Document:
                self.written.append(path)
                return {}

        target = wanted(from_here(shipped()), [OPEN_LUNG, OPEN_HEART, Project(id="new-one", phase="open")])
        with server.session("configure-vault", "rr-system", "configure-vault") as session:
            watched = Deaf(session)
            with pytest.raises(WrongSetUp, match="Vault did not take a setting: rr-pseudonym/keys/new-one"):
                configure_vault(watched, target, NewSecrets())
        assert len(watched.written) == 1


class TestTheJob:
    @pytest.fixture
    def folder(self, server: VaultServer, tmp_path: Path) -> Path:
        """What Pulumi mounts."""
        for file in (*FOLDER.iterdir(), SCHEMA):
            (tmp_path / file.name).write_bytes(file.read_bytes())
        self.projects(tmp_path, OPEN_LUNG, OPEN_HEART)
        (server.folder / "token").write_text(server.jwt("rr-system", "configure-vault"))
        return tmp_path

    def projects(self, folder: Path, *projects: Project) -> None:
        listed = [{"id": each.id, "phase": each.phase} for each in projects]
        (folder / "projects.json").write_text(json.dumps({"projects": listed}))

    def test_it_mends_and_says_what_it_did_and_a_second_run_changes_nothing(
        self, server: VaultServer, folder: Path
    ) -> None:
        with server.root() as root:
            root.forget("auth/rr-cluster/role/hub-heart")
        plan = door(server, "configure_vault", "--folder", str(folder), "--plan")
        assert plan.returncode == 0
        assert "would create role auth/rr-cluster/role/hub-heart" in plan.stdout
        done = door(server, "configure_vault", "--folder", str(folder))
        assert (done.returncode, done.stderr) == (0, "")
        assert "create role auth/rr-cluster/role/hub-heart" in done.stdout
        assert "0 changes" in door(server, "configure_vault", "--folder", str(folder)).stdout

    @pytest.mark.parametrize(
        ("file", "old", "new", "why"),
        [
            ("hub.hcl", "capabilities", "capabilites", "policy hub; line 3: capabilites is an unknown key"),
            ("roles.yaml", "seconds: 300", "secunds: 300", "roles.yaml; .*secunds"),
            ("roles.yaml", "roles:", "roles: {}\nroles:", "roles.yaml; .*a key stands twice"),
            ("projects.json", '"heart"', '"Heart"', "'Heart'; it is no project id of ours"),
            (
                "projects.json",
                '"phase": "open"',
                '"phase": "open", "more": 1',
                "projects.json; it is no list of projects",
            ),
        ],
    )
    def test_a_file_that_is_off_is_refused_before_the_first_write(
        self, server: VaultServer, folder: Path, file: str, old: str, new: str, why: str
    ) -> None:
        self.projects(folder, Project(id="aaa-new", phase="open"), OPEN_HEART)
        (folder / file).write_text((folder / file).read_text().replace(old, new, 1))
        before = server.audit_files[0].stat().st_size
        done = door(server, "configure_vault", "--folder", str(folder))
        assert done.returncode == 1
        assert re.search(why, done.stdout), done.stdout
        assert len(done.stdout.splitlines()) == 1
        assert done.stderr == ""
        assert server.audit_files[0].stat().st_size == before, "Vault was asked something"
