"""The loop fails closed: no view, no lease; a new address waits until the rules were read once more."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest

from infra.node.netpol.keep import FRESH_SECONDS, RENEW_SECONDS, Keeper, write_status
from infra.node.netpol.model import Policy, Selector, View, from_pod
from infra.node.netpol.sandboxes import Sandboxes
from readingroom.domain.errors import TryAgain
from tests.unit.netpol.worlds import pod

DENY = Policy("red", "deny", Selector(), (), ())


@dataclass
class Scene:
    """API, kernel and clock in memory; keeps what the kernel was handed."""

    now: float = 1000.0
    heard: float = 1000.0
    names: tuple[str, ...] = ()
    seen: tuple[Policy, ...] = ()  # what the watch has
    true: tuple[Policy, ...] = ()  # what a list would bring
    away: bool = False
    broken: bool = False
    texts: list[str] = field(default_factory=list)

    def view(self) -> View:
        found = (from_pod(pod(name, "red", [f"10.244.0.{2 + int(name[1:])}"])) for name in self.names)
        return View({"red": {}}, tuple(p for p in found if p), self.seen)

    def confirm(self) -> None:
        if self.away:
            raise TryAgain(what="API server", why="no answer", next_step="wait")
        self.seen = self.true

    def heard_at(self) -> float:
        return self.heard

    def unreadable(self) -> list[str]:
        return []

    def kernel(self, text: str) -> None:
        if self.broken:
            raise TryAgain(what="nft", why="no", next_step="wait")
        self.texts.append(text)

    def keeper(self) -> Keeper:
        return Keeper(self, lambda: None, self.kernel, dict, lambda: self.now)


def test_a_change_replaces_the_table_and_quiet_only_renews_the_lease() -> None:
    scene = Scene(names=("p0",))
    keeper = scene.keeper()
    assert keeper.turn()
    assert "delete table" in scene.texts[-1]
    assert "10.244.0.2" in scene.texts[-1]
    keeper.turn()
    assert len(scene.texts) == 1
    scene.now = scene.heard = 1000 + RENEW_SECONDS
    keeper.turn()
    assert "delete table" not in scene.texts[-1]
    assert "live4" in scene.texts[-1]


def test_an_old_view_renews_nothing() -> None:
    scene = Scene(names=("p0",))
    keeper = scene.keeper()
    keeper.turn()
    scene.now = 1000 + FRESH_SECONDS + 1
    keeper.turn()
    assert len(scene.texts) == 1


def test_a_new_pod_never_goes_live_under_rules_that_lag_behind() -> None:
    scene = Scene(names=("p0",), seen=(), true=(DENY,))
    scene.keeper().turn()
    assert "set egress_isolated4 { type ipv4_addr;  elements = { 10.244.0.2 } }" in scene.texts[-1]


def test_a_new_pod_waits_when_the_rules_cannot_be_read() -> None:
    scene = Scene(names=("p0",))
    keeper = scene.keeper()
    keeper.turn()
    scene.names, scene.away = ("p0", "p1"), True
    assert not keeper.turn()
    assert "set live4 { type ipv4_addr; flags timeout; timeout 30s; elements = { 10.244.0.2 } }" in scene.texts[-1]
    scene.away = False
    assert keeper.turn()
    assert "10.244.0.2, 10.244.0.3" in scene.texts[-1]


def test_after_a_refusal_of_the_kernel_the_whole_table_is_handed_over_again() -> None:
    scene = Scene(names=("p0",))
    keeper = scene.keeper()
    keeper.turn()
    scene.broken, scene.now, scene.heard = True, 1011, 1011
    with pytest.raises(TryAgain):
        keeper.turn()
    scene.broken = False
    keeper.turn()
    assert "delete table" in scene.texts[-1]


def test_the_status_says_how_old_everything_is(tmp_path: Path) -> None:
    scene = Scene(names=("p0",))
    keeper = scene.keeper()
    keeper.turn()
    write_status(keeper, tmp_path / "run" / "status.json")
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["live"] == 1
    assert status["leased_at"] == pytest.approx(status["written_at"], abs=1)


def record(folder: Path, name: str, uid: str, address: str) -> None:
    content = {"cniArgs": [["K8S_POD_UID", uid]], "result": {"ips": [{"address": f"{address}/24"}]}}
    (folder / name).write_text(json.dumps(content))


def test_the_node_says_who_holds_an_address(tmp_path: Path) -> None:
    record(tmp_path, "one", "uid-a", "10.244.0.2")
    record(tmp_path, "two", "uid-b", "10.244.0.3")
    record(tmp_path, "three", "uid-c", "10.244.0.3")
    (tmp_path / "four").write_text("{")
    assert Sandboxes(tmp_path).holders() == {ip_address("10.244.0.2"): "uid-a", ip_address("10.244.0.3"): ""}


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert Sandboxes(tmp_path / "absent").holders() == {}
    assert Sandboxes(tmp_path / "absent").changed_at() == 0
