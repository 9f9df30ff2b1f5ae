"""The keeper's looks, over the fakes and real files: initialised once, safe to repeat at any point, closed in doubt."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from readingroom.adapters.memory.vault import MemorySeal, MemoryVault
from readingroom.application.keep_vault import Seen, keep_vault
from readingroom.application.ports_vault import SecretText, VaultRefused
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.vault_documents import Setting
from readingroom.domain.vault_plan import bootstrap
from readingroom.entrypoints.vault_keeper import HostFiles
from tests.unit.vault.definitions import ISSUER, changed, shipped
from tests.unit.vault.mortal import keep_for

FIRST = list(bootstrap(shipped(), ISSUER, {"file": "/a", "second": "/b"}))


@dataclass
class Machine:
    """A state folder and a Vault."""

    files: HostFiles
    vault: MemoryVault
    seal: MemorySeal
    state: Path

    def keep(self, settings: list[Setting] | None = None) -> Seen:
        return keep_vault(self.seal, self.files, settings or FIRST, self.seal.break_glass)

    def restart(self) -> None:
        self.vault.sealed = True

    def new_volume(self) -> None:
        self.vault = MemoryVault()
        self.seal = MemorySeal(self.vault, share="YW5vdGhlcg==")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return _machine(tmp_path)


def _machine(state: Path) -> Machine:
    state.mkdir(exist_ok=True)
    vault = MemoryVault()
    return Machine(HostFiles(state), vault, MemorySeal(vault), state)


def test_the_first_look_initialises_unseals_and_configures_and_leaves_no_root_token(machine: Machine) -> None:
    assert machine.keep() is Seen.UNSEALED
    for setting in FIRST:
        place = machine.vault.read(setting.place)
        assert place is not None
        assert (place[setting.inside] if setting.inside else place) == setting.document
    assert machine.seal.roots == set()
    assert stat.S_IMODE((machine.state / "vault-unseal.json").stat().st_mode) == 0o600
    assert machine.files.share() == SecretText("c2hhcmU=")


def test_further_looks_ask_for_no_root_token(machine: Machine) -> None:
    machine.keep()

    def never(share: SecretText) -> None:
        raise AssertionError("a root token was asked for")

    assert keep_vault(machine.seal, machine.files, FIRST, never) is Seen.UNSEALED  # type: ignore[arg-type]
    machine.restart()
    assert keep_vault(machine.seal, machine.files, FIRST, never) is Seen.UNSEALED  # type: ignore[arg-type]


def test_changed_files_are_written_by_the_next_look(machine: Machine) -> None:
    machine.keep()
    longer = bootstrap(changed(roles={"configure-vault": {"seconds": 300}}), ISSUER, {"file": "/a", "second": "/b"})
    machine.keep(list(longer))
    role = machine.vault.read("auth/rr-cluster/role/configure-vault")
    assert role
    assert role["token_ttl"] == 300
    assert machine.seal.roots == set()


def test_killed_after_any_call_and_started_again_it_comes_to_the_same_end(tmp_path: Path, machine: Machine) -> None:
    machine.keep()
    lost, calls = [], 0
    while True:
        each = _machine(tmp_path / f"killed-after-{calls}")
        seen, last = keep_for(calls, each.seal, each.files, FIRST, each.seal.break_glass)
        if seen is not None:
            break
        each.restart()
        if last == "initialise":  # the share died with the process, before it was used: nothing was in that Vault
            lost.append(calls)
            with pytest.raises(WrongSetUp, match="Vault stays sealed"):
                each.keep()
        else:
            assert each.keep() is Seen.UNSEALED
            assert each.vault._documents == machine.vault._documents
            assert each.files.configured() == machine.files.configured()
            assert each.seal.roots == set(), last
        calls += 1
    assert len(lost) == 1
    assert calls > 30


def test_without_the_share_it_stays_sealed_and_nothing_is_initialised_anew(machine: Machine) -> None:
    machine.keep()
    machine.restart()
    share = machine.state / "vault-unseal.json"
    kept = share.read_bytes()
    share.unlink()
    for _ in range(2):
        with pytest.raises(
            WrongSetUp, match=r"^wrong set-up: Vault stays sealed: vault-unseal\.json; .*restore the file"
        ):
            machine.keep()
    assert machine.vault.sealed
    assert not share.exists()
    share.write_bytes(kept)
    assert machine.keep() is Seen.UNSEALED


def test_a_share_without_its_vault_is_not_written_over(machine: Machine) -> None:
    machine.keep()
    machine.new_volume()
    with pytest.raises(WrongSetUp, match="Vault is empty, yet its unseal share is here"):
        machine.keep()
    assert not machine.seal.state().initialised
    assert machine.files.share() == SecretText("c2hhcmU=")


@pytest.mark.parametrize("calls", [5, 6, 7, 8])
def test_the_mark_of_an_earlier_vault_does_not_pass_for_this_one(machine: Machine, calls: int) -> None:
    machine.keep()
    (machine.state / "vault-unseal.json").unlink()  # share and volume are gone, the mark was left behind
    machine.new_volume()
    keep_for(calls, machine.seal, machine.files, FIRST, machine.seal.break_glass)
    assert machine.files.share(), "killed once the share was saved, and before the end"
    assert machine.keep() is Seen.UNSEALED
    assert machine.vault.read("auth/rr-cluster/role/configure-vault")


def test_a_wrong_share_is_refused_and_sealed_it_stays(machine: Machine) -> None:
    machine.keep()
    machine.restart()
    (machine.state / "vault-unseal.json").write_text(json.dumps({"share": "d3Jvbmc="}))
    with pytest.raises(VaultRefused):
        machine.keep()
    assert machine.vault.sealed


def test_sealed_on_purpose_it_stays_sealed_until_a_person_says_otherwise(machine: Machine) -> None:
    machine.keep()
    machine.restart()
    machine.files.on_purpose.touch()
    assert machine.keep() is Seen.SEALED_ON_PURPOSE
    assert machine.vault.sealed
    machine.files.on_purpose.unlink()
    assert machine.keep() is Seen.UNSEALED


class TestFiles:
    def test_a_share_is_never_written_over(self, tmp_path: Path) -> None:
        HostFiles(tmp_path).save_share(SecretText("one"))
        with pytest.raises(FileExistsError):
            HostFiles(tmp_path).save_share(SecretText("two"))
        assert HostFiles(tmp_path).share() == SecretText("one")

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"share": 5}', '{"share": null}', "é"])
    def test_a_file_that_holds_no_share_is_named_and_its_text_is_not(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "vault-unseal.json").write_text(text)
        with pytest.raises(WrongSetUp, match=r"the unseal share: vault-unseal\.json; the file holds none"):
            HostFiles(tmp_path).share()

    def test_a_folder_in_place_of_the_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "vault-unseal.json").mkdir()
        with pytest.raises(WrongSetUp, match="the file holds none"):
            HostFiles(tmp_path).share()

    def test_marks_and_purpose(self, tmp_path: Path) -> None:
        files = HostFiles(tmp_path)
        assert files.configured() == ""
        assert not files.sealed_on_purpose()
        files.record_configured("abc")
        files.on_purpose.touch()
        assert files.configured() == "abc"
        assert files.sealed_on_purpose()
