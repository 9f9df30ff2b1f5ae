"""The table of the node's edge in a real kernel, without any enforcer: each refusal beside what the same tool may do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.node import edge_table
from readingroom.contract import NODE_ADDRESS
from tests.unit.netpol.streets import SERVE, Street, street

pytestmark = pytest.mark.root
OUTSIDE, METADATA = "203.0.113.7", "169.254.169.254"
NOBODYS = ("10.244.0.77", "10.96.0.77")  # a pod's and a service's that there are not
API = f"{NODE_ADDRESS}:{edge_table.API_PORT}"


@pytest.fixture(scope="module")
def node() -> Iterator[Street]:
    """Pods a, b, c; the node's own address; a metadata service and the Internet behind it."""
    with street() as made:
        made.inside("node", "ip", "addr", "add", f"{NODE_ADDRESS}/32", "dev", "lo")
        made.inside("node", "sh", "-c", "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit")  # each refusal is told, not some
        made.inside("outside", "ip", "addr", "add", f"{METADATA}/32", "dev", "eth0")
        made.inside("node", "ip", "route", "add", f"{METADATA}/32", "dev", "wan0")
        served = made.start("node", SERVE.replace("(80, 81)", f"({edge_table.API_PORT},)")).stdout
        assert served
        assert served.readline() == "ready\n"
        yield made


@pytest.fixture
def closed(node: Street) -> Iterator[Street]:
    node.load(edge_table.RULES)
    yield node
    node.inside("node", "nft", "delete", "table", *edge_table.TABLE.split())


REFUSED = [  # from, to, port
    ("a", OUTSIDE, 80), ("a", METADATA, 80), ("a", NODE_ADDRESS, 80), ("a", "10.244.0.1", 80),
    ("outside", "a", 80), ("outside", NODE_ADDRESS, 80), ("outside", NODE_ADDRESS, edge_table.API_PORT),
]  # fmt: skip
OPEN = [("a", "b", 80), ("a", NODE_ADDRESS, edge_table.API_PORT), ("node", "a", 80), ("node", OUTSIDE, 80),
        ("node", METADATA, 80)]  # fmt: skip
# A server with two addresses answers a datagram from the other one: these have one.
DATAGRAMS = [("a", "outside", 80), ("outside", "a", 80)]
OPEN_DATAGRAMS = [("a", "b", 80), ("node", "a", 80)]


def asked(node: Street, kind: str, rows: list[tuple[str, str, int]]) -> set[str]:
    return {node.ask(source, target, port, kind) for source, target, port in rows}


def test_without_the_table_every_one_of_these_is_open(node: Street) -> None:
    assert asked(node, "tcp", [*REFUSED, *OPEN]) == {"open"}
    assert asked(node, "udp", [*DATAGRAMS, *OPEN_DATAGRAMS]) == {"open"}


def test_with_it_pods_reach_pods_and_the_api_and_nothing_else_and_nobody_comes_in(closed: Street) -> None:
    assert asked(closed, "tcp", OPEN) == {"open"}
    assert asked(closed, "udp", OPEN_DATAGRAMS) == {"open"}
    assert asked(closed, "tcp", REFUSED) <= {"unreachable", "silent"}
    assert asked(closed, "udp", DATAGRAMS) <= {"unreachable", "silent"}


def test_a_pod_is_told_at_once_and_an_outsider_is_told_nothing(closed: Street) -> None:
    assert {closed.ask("a", address) for address in (OUTSIDE, NODE_ADDRESS, "10.244.0.1")} == {"unreachable"}
    assert closed.ask("outside", "a") == "silent"


def test_an_address_of_ours_that_nobody_has_leads_nowhere_although_somebody_outside_may_have_it(node: Street) -> None:
    for address in NOBODYS:
        node.inside("outside", "ip", "addr", "add", f"{address}/32", "dev", "eth0")
        node.inside("node", "ip", "route", "add", f"{address}/32", "dev", "wan0")
    assert {node.ask("a", address) for address in NOBODYS} == {"open"}
    node.load(edge_table.RULES)
    try:
        assert {node.ask("a", address) for address in NOBODYS} == {"unreachable"}
    finally:
        node.inside("node", "nft", "delete", "table", *edge_table.TABLE.split())


def test_an_address_gets_in_by_the_set_alone_with_its_port(closed: Street) -> None:
    closed.inside("node", "nft", "add", "element", *edge_table.TABLE.split(), "edge_allow", f"{{ {OUTSIDE} . 80 }}")
    assert closed.ask("a", OUTSIDE, 80) == "open"
    assert closed.ask("a", OUTSIDE, 81) == "unreachable"
    assert closed.ask("a", OUTSIDE, 80, "udp") == "unreachable"


def test_nothing_lets_a_pod_reach_the_metadata_service(closed: Street) -> None:
    closed.inside("node", "nft", "add", "element", *edge_table.TABLE.split(), "edge_allow", f"{{ {METADATA} . 80 }}")
    assert closed.ask("a", METADATA) == "silent"
    assert closed.ask("node", METADATA) == "open"


def test_loading_it_again_opens_nothing_and_empties_the_set(closed: Street) -> None:
    closed.inside("node", "nft", "add", "element", *edge_table.TABLE.split(), "edge_allow", f"{{ {OUTSIDE} . 80 }}")
    closed.load(edge_table.RULES)
    assert closed.ask("a", OUTSIDE, 80) == "unreachable"


def test_whoever_pretends_to_be_a_pod_comes_no_further(closed: Street) -> None:
    """The host's reverse path filter is strict before the first pod's link is made."""
    for file in ("all", "default", "wan0"):
        closed.inside("node", "sysctl", "-qw", f"net.ipv4.conf.{file}.rp_filter=1")
    closed.inside("outside", "ip", "addr", "add", "10.244.0.99/32", "dev", "lo")
    code = "import socket,sys; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('10.244.0.99',0)); " \
           "s.sendto(b'hello',('10.244.0.2',80))"  # fmt: skip
    before = closed.inside("a", "cat", "/proc/net/snmp")
    closed.inside("outside", "python3", "-c", code)
    datagrams = [[int(line.split()[1]) for line in text.splitlines() if line.startswith("Udp: ") and "In" not in line]
                 for text in (before, closed.inside("a", "cat", "/proc/net/snmp"))]  # fmt: skip
    assert datagrams[0] == datagrams[1]
