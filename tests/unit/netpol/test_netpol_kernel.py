"""The table in a real kernel, in network namespaces of our own: each refusal beside what the same tool may do."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from infra.node.netpol import apply
from infra.node.netpol.compile import Verdicts, verdicts
from tests.unit.netpol.oracle import World
from tests.unit.netpol.streets import TALK, Street, street
from tests.unit.netpol.test_netpol_compile import view_of
from tests.unit.netpol.worlds import namespace, pod

pytestmark = pytest.mark.root
PODS = {"a": "10.244.0.2", "b": "10.244.0.3", "c": "10.244.0.4"}


@pytest.fixture(scope="module")
def node() -> Iterator[Street]:
    with street() as made:
        yield made


def families(*specs: dict[str, Any], live: tuple[str, ...] = ("a", "b", "c")) -> dict[int, Verdicts]:
    policies = [{"metadata": {"name": f"n{i}", "namespace": "red"}, "spec": spec} for i, spec in enumerate(specs)]
    pods = [
        pod(n, "red", [PODS[n]], {"name": n}, [{"name": "web", "containerPort": 80 if n != "c" else 81}]) for n in live
    ]
    return verdicts(view_of(World([namespace("red")], pods, policies)))


def on(name: str, **rules: Any) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {"name": name}}, **rules}


def names(name: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {"name": name}}}


def test_without_a_policy_all_pods_talk(node: Street) -> None:
    node.load(apply.table(families()))
    assert [node.ask("a", "b"), node.ask("a", "b", kind="udp"), node.ask("a", "outside")] == ["open"] * 3


def test_the_empty_table_lets_only_the_node_itself_reach_a_pod(node: Street) -> None:
    node.load(apply.empty_table())
    assert node.ask("node", "a") == "open"
    assert [node.ask("a", "b"), node.ask("a", "outside"), node.ask("outside", "a"), node.ask("a", "10.244.0.1")] == [
        "silent"
    ] * 4


def test_a_pod_that_is_not_classified_gets_and_gives_nothing(node: Street) -> None:
    node.load(apply.table(families(live=("a", "b"))))
    assert node.ask("a", "b") == "open"
    assert [node.ask("c", "a"), node.ask("a", "c"), node.ask("c", "outside")] == ["silent"] * 3


def test_deny_all_is_refused_at_once_and_a_pod_still_reaches_itself(node: Street) -> None:
    node.load(apply.table(families({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})))
    assert node.ask("a", "b") == "refused"
    assert node.ask("a", "b", kind="udp") in {"refused", "unreachable"}
    assert node.ask("a", "outside") == "refused"
    assert node.ask("a", "10.244.0.1") == "refused"
    assert node.ask("outside", "a") == "silent"
    assert node.ask("a", "a") == "open"
    assert node.ask("node", "a") == "open"


def test_one_port_and_one_peer_and_nothing_beside(node: Street) -> None:
    allow = on("b", ingress=[{"from": [names("a")], "ports": [{"port": 80}]}])
    node.load(apply.table(families(allow)))
    assert node.ask("a", "b", 80) == "open"
    assert node.ask("a", "b", 81) == "refused"
    assert node.ask("a", "b", 80, "udp") != "open"
    assert node.ask("c", "b", 80) == "refused"
    assert node.ask("c", "a", 80) == "open"


def test_egress_to_a_named_port_is_the_port_of_each_destination(node: Street) -> None:
    node.load(apply.table(families(on("a", policyTypes=["Egress"], egress=[{"ports": [{"port": "web"}]}]))))
    assert [node.ask("a", "b", 80), node.ask("a", "c", 81)] == ["open", "open"]
    assert [node.ask("a", "b", 81), node.ask("a", "c", 80), node.ask("a", "outside", 80)] == ["refused"] * 3


def test_a_block_less_its_exception(node: Street) -> None:
    block = {"cidr": "0.0.0.0/0", "except": [f"{PODS['b']}/32"]}
    node.load(apply.table(families(on("a", policyTypes=["Egress"], egress=[{"to": [{"ipBlock": block}]}]))))
    assert [node.ask("a", "c"), node.ask("a", "outside"), node.ask("a", "10.244.0.1")] == ["open"] * 3
    assert node.ask("a", "b") == "refused"


def test_an_open_connection_ends_with_its_next_packet_when_the_policy_tightens(node: Street) -> None:
    node.load(apply.table(families()))
    talk = node.start("a", TALK, PODS["b"], "80")
    assert talk.stdin is not None
    assert talk.stdout is not None

    def say() -> str:
        assert talk.stdin is not None
        assert talk.stdout is not None
        talk.stdin.write("\n")
        talk.stdin.flush()
        return talk.stdout.readline().strip()

    assert say() == "open"
    node.load(apply.table(families()))
    assert say() == "open"  # a replaced table alone cuts nothing
    node.load(apply.table(families(on("b", ingress=[{"from": [names("c")]}]))))
    assert say() == "ended"


def test_a_lease_that_nobody_renews_runs_out(node: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "LEASE_SECONDS", 2)
    node.load(apply.table(families()))
    assert node.ask("a", "b") == "open"
    assert node.inside("node", "sleep", "2.3") == ""
    assert node.ask("a", "b") == "silent"
    node.load(apply.lease(families()))
    assert node.ask("a", "b") == "open"


def test_what_pods_send_in_the_other_family_is_dropped(node: Street) -> None:
    node.load(apply.table(families()))
    for name, address in (("a", "fd00::2"), ("outside", "2001:db8::7")):
        node.inside(name, "ip", "-6", "addr", "add", f"{address}/128", "dev", "eth0", "nodad")
        link = "vetha" if name == "a" else "wan0"
        gateway = node.inside("node", "sh", "-c", f"ip -6 -o addr show dev {link} scope link").split()[3].split("/")[0]
        node.inside(name, "ip", "-6", "route", "add", "default", "via", gateway, "dev", "eth0")
        node.inside("node", "ip", "-6", "route", "add", f"{address}/128", "dev", link)
    node.inside("node", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    probe = (
        "import socket,sys; s=socket.socket(socket.AF_INET6); s.settimeout(1)\n"
        "try: s.connect((sys.argv[1],80)); print('open')\n"
        "except ConnectionRefusedError: print('answered')\n"
        "except OSError: print('nothing')"
    )
    ask = (sys.executable, "-c", probe, "2001:db8::7")
    node.inside("node", "nft", "delete", "table", *apply.TABLE.split())
    until = time.monotonic() + 60
    # A link's own address is good only once it was tried for a twin.
    while node.inside("a", *ask).strip() != "answered":
        assert time.monotonic() < until
    node.load(apply.table(families()))
    assert node.inside("a", *ask).strip() == "nothing"
    node.inside("node", "nft", "delete", "table", *apply.TABLE.split())
    assert node.inside("a", *ask).strip() == "answered"


def test_the_counters_tell_what_was_refused(node: Street) -> None:
    node.load(apply.table(families({"podSelector": {}, "policyTypes": ["Egress"]})))
    node.ask("a", "b")
    listing = node.inside("node", "nft", "list", "counter", *apply.TABLE.split(), "refused")
    assert "packets 1 " in listing
