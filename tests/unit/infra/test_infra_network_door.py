"""The network door in the cluster: there where a site says who may send, opened to those addresses, without any token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra import settings
from infra.components.network_door import NetworkDoor, NetworkDoorArgs
from infra.facts import Senders
from readingroom.domain.errors import WrongSetUp
from tests.unit.infra.test_infra_hub_components import REFS, Objects, collect, of, pods

SENDERS = Senders(peers="peers", authority="authority", addresses=("192.0.2.7", "2001:db8::7"))
PEER = {"ae_title": "PACS", "centre": "ABC", "addresses": ["192.0.2.7"]}


def declared(senders: Senders = SENDERS, *, asks: bool = False) -> Objects:
    return collect(lambda: NetworkDoor(NetworkDoorArgs(senders=senders, asks_opt_outs=asks, images=REFS)) and None)


@pytest.fixture(scope="module")
def objects() -> Objects:
    return declared()


def main_of(objects: Objects) -> dict[str, Any]:
    found: dict[str, Any] = pods(objects)["rr-quarantine/door"]["spec"]["containers"][0]
    return found


def test_the_objects_are_exactly_these(objects: Objects) -> None:
    found = sorted(f"{kind} {inputs['metadata']['namespace']}/{inputs['metadata']['name']}" for kind, inputs in objects)
    assert found == [
        "ConfigMap rr-quarantine/door-peers", "Deployment rr-quarantine/door", "NetworkPolicy rr-quarantine/open-door",
        "Service rr-quarantine/door", "ServiceAccount rr-quarantine/door",
    ]  # fmt: skip


def test_it_is_open_to_the_addresses_of_its_peers_at_two_ports_and_to_nobody_else(objects: Objects) -> None:
    spec = of(objects, "NetworkPolicy")["rr-quarantine/open-door"]["spec"]
    assert spec == {
        "podSelector": {"matchLabels": {"readingroom/role": "door"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"ipBlock": {"cidr": "192.0.2.7/32"}}, {"ipBlock": {"cidr": "2001:db8::7/128"}}],
                "ports": [{"protocol": "TCP", "port": 2762}, {"protocol": "TCP", "port": 2763}],
            }
        ],
    }
    ways = {
        (f.source.role, f.destination.role) for f in settings.flows() if "door" in (f.source.role, f.destination.role)
    }
    assert ways == {("door", "vault")}


def test_it_writes_where_the_folder_door_writes_and_no_container_that_works_has_a_token(objects: Objects) -> None:
    spec = pods(objects)["rr-quarantine/door"]["spec"]
    claims = {one["name"]: one.get("persistentVolumeClaim", {}).get("claimName") for one in spec["volumes"]}
    mounts = {(claims[one["name"]], one.get("readOnly", False)) for one in main_of(objects)["volumeMounts"]}
    assert mounts - {(None, False), (None, True)} == {
        ("spool", False), ("landing", False), ("receipts", False), ("opt-outs", True),
    }  # fmt: skip
    assert "vault-token" not in {one["name"] for one in main_of(objects)["volumeMounts"]}
    words = spec["initContainers"][0]["command"]
    assert words[words.index("--role") + 1] == "door"
    assert words[words.index("--certificate") + 1] == ("door:tls:door.readingroom.localhost,door.rr-quarantine.svc")


def test_another_list_is_another_pod_and_opt_outs_are_read_where_the_site_keeps_them(objects: Objects) -> None:
    def stamp(found: Objects) -> dict[str, str]:
        noted: dict[str, str] = pods(found)["rr-quarantine/door"]["metadata"]["annotations"]
        return noted

    assert stamp(declared(Senders(peers="none", authority="authority", addresses=SENDERS.addresses))) != stamp(objects)
    assert "--opt-outs" not in main_of(objects)["command"]
    assert main_of(declared(asks=True))["command"][-2:] == ["--opt-outs", "/opt-outs"]


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "readingroom" / "door"


def keep(door: Path, peers: str, authority: str = "PEM") -> None:
    door.mkdir(parents=True)
    (door / "peers.yaml").write_text(peers)
    if authority:
        (door / "authority.pem").write_text(authority)


def test_without_its_folder_there_is_no_door_and_with_it_the_addresses_are_read(door: Path) -> None:
    assert settings.senders() is None
    again = {**PEER, "ae_title": "CT1", "addresses": ["192.0.2.7", "192.0.2.6"]}
    keep(door, json.dumps({"ae_title": "ROOM", "peers": [PEER, again]}))
    found = settings.senders()
    assert found is not None
    assert (found.addresses, found.authority) == (("192.0.2.6", "192.0.2.7"), "PEM")


@pytest.mark.parametrize(
    ("peers", "authority", "why"),
    [
        ('{"ae_title": "ROOM", "peers": []}', "PEM", "nobody may send"),
        (json.dumps({"ae_title": "ROOM", "peers": [PEER]}), "", "authority.pem"),
        (json.dumps({"ae_title": "ROOM", "peers": [{**PEER, "addresses": ["192.0.2.0.7"]}]}), "PEM", "ValueError"),
        (json.dumps({"ae_title": "ROOM", "peers": [{**PEER, "more": 1}]}), "PEM", "$.peers[0]"),
        (
            json.dumps({"ae_title": "R", "peers": [{"ae_title": "P", "centre": "ABC", "fingerprints": ["0" * 64]}]}),
            "PEM",
            "a peer has no address",
        ),
        ("peers: everybody", "PEM", "$"),
        ("{", "PEM", "ParserError"),
        ("[" * 5000, "PEM", "peers.yaml"),
        ("ä", "PEM", "UnicodeDecodeError"),
    ],
)
def test_a_file_that_is_off_ends_the_run_and_says_nothing_of_it(
    door: Path, peers: str, authority: str, why: str
) -> None:
    keep(door, peers, authority)
    with pytest.raises(WrongSetUp) as refused:
        settings.senders()
    assert why in str(refused.value)
    assert "everybody" not in str(refused.value)
