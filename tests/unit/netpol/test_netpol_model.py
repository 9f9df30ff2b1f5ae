"""Reading the API strictly: what is not understood denies, and nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest

from infra.node.netpol.model import from_pod, from_policy
from readingroom.domain.errors import Rejected
from tests.unit.netpol.worlds import pod


def policy(spec: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "n", "namespace": "red"}, "spec": spec}


def rule(peer: dict[str, Any] | None = None, port: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"from": [peer]} if peer is not None else {}
    return policy({"podSelector": {}, "ingress": [{**found, **({"ports": [port]} if port is not None else {})}]})


UNCLEAR = {
    "an unknown key": policy({"podSelector": {}, "inbound": []}),
    "an unknown type": policy({"podSelector": {}, "policyTypes": ["Sideways"]}),
    "no spec": {"metadata": {"name": "n", "namespace": "red"}},
    "a selector with an unknown operator": policy(
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}}
    ),
    "In without values": policy({"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
    "Exists with values": policy(
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}}
    ),
    "an unknown key in a rule": policy({"podSelector": {}, "ingress": [{"frm": []}]}),
    "a peer that names nobody": rule({}),
    "a block beside a selector": rule({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}),
    "a block that is no range": rule({"ipBlock": {"cidr": "10.0.0.0/99"}}),
    "an exception outside its block": rule({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}}),
    "an exception of the other family": rule({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["fd00::/8"]}}),
    "an unknown protocol": rule(port={"protocol": "QUIC", "port": 1}),
    "a name with an end": rule(port={"port": "web", "endPort": 90}),
    "an end before its start": rule(port={"port": 90, "endPort": 80}),
    "an end without a start": rule(port={"endPort": 80}),
    "port 0": rule(port={"port": 0}),
    "a port beyond all": rule(port={"port": 65536}),
    "true is no port": rule(port={"port": True}),
    "a list that is none": policy({"podSelector": {}, "ingress": {}}),
}


@pytest.mark.parametrize("name", sorted(UNCLEAR))
def test_a_policy_with_it_allows_nothing_in_either_direction(name: str) -> None:
    found = from_policy(UNCLEAR[name])
    assert found.unclear
    assert found.ingress == found.egress == ()


@pytest.mark.parametrize(
    ("spec", "ingress", "egress"),
    [
        ({"podSelector": {}}, (), None),
        ({"podSelector": {}, "egress": []}, (), None),
        ({"podSelector": {}, "policyTypes": ["Egress"]}, None, ()),
        ({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, (), ()),
    ],
)
def test_policy_types_isolate_as_written_or_as_the_rules_say(spec: dict[str, Any], ingress: Any, egress: Any) -> None:
    found = from_policy(policy(spec))
    assert (found.ingress, found.egress, found.unclear) == (ingress, egress, "")


def test_an_egress_rule_without_types_isolates_both_ways() -> None:
    found = from_policy(policy({"podSelector": {}, "egress": [{}]}))
    assert found.ingress == ()
    assert found.egress is not None


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"containers": [], "hostNetwork": True}},
        {"status": {"phase": "Failed", "podIPs": [{"ip": "10.0.0.1"}]}},
    ],
)
def test_host_network_and_finished_pods_are_left_out(change: dict[str, Any]) -> None:
    assert from_pod({**pod("a", "red", ["10.244.0.2"]), **change}) is None


def test_a_terminating_pod_stays_in() -> None:
    raw = pod("a", "red", ["10.244.0.2"])
    raw["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert from_pod(raw) is not None


def test_all_addresses_count() -> None:
    found = from_pod(pod("a", "red", ["10.244.0.2", "fd00::2"]))
    assert found is not None
    assert [str(address) for address in found.addresses] == ["10.244.0.2", "fd00::2"]


def test_a_pod_whose_address_is_none_is_said_aloud() -> None:
    with pytest.raises(Rejected, match="pod red/a"):
        from_pod(pod("a", "red", ["not an address"]))


def test_the_port_of_a_native_sidecar_has_its_name() -> None:
    raw = pod("a", "red", ["10.244.0.2"])
    raw["spec"]["initContainers"] = [
        {"name": "s", "restartPolicy": "Always", "ports": [{"name": "web", "containerPort": 80}]},
        {"name": "i", "ports": [{"name": "dns", "containerPort": 53}]},
    ]
    found = from_pod(raw)
    assert found is not None
    assert {name for name, _ in found.ports} == {"web"}
