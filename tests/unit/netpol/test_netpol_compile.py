"""The compiler against the slow oracle, and the rules that the packet filter needs of its rectangles."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.node.netpol.compile import EVERY_PORT, Half, Permit, Verdicts, disjoint, merged, verdicts, without
from infra.node.netpol.model import View, from_namespace, from_pod, from_policy
from tests.unit.netpol.oracle import Opening, World
from tests.unit.netpol.worlds import namespace, openings, pod, worlds


def view_of(world: World) -> View:
    found = [from_pod(raw) for raw in world.pods]
    return View(
        dict(from_namespace(raw) for raw in world.namespaces),
        tuple(p for p in found if p),
        tuple(from_policy(raw) for raw in world.policies),
    ).classified()


def half_allows(half: Half, own: int, peer: int, packet: Opening) -> bool:
    if own not in half.isolated:
        return True
    return any(
        permit.peers[0] <= peer <= permit.peers[1]
        and (
            permit.protocol == 0
            or (
                permit.protocol == packet.protocol
                and packet.port is not None
                and permit.ports[0] <= packet.port <= permit.ports[1]
            )
        )
        for address, permit in half.allowed
        if address == own
    )


def filter_allows(found: dict[int, Verdicts], packet: Opening) -> bool:
    """What `apply`'s table says of an opening packet, with the compiled sets."""
    source, destination = ip_address(packet.source), ip_address(packet.destination)
    family, one, other = found[source.version], int(source), int(destination)
    if one == other and one in family.live:
        return True
    return half_allows(family.egress, one, other, packet) and half_allows(family.ingress, other, one, packet)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_every_packet_is_judged_as_the_oracle_judges_it(data: st.DataObject) -> None:
    world = data.draw(worlds())
    found = verdicts(view_of(world))
    for _ in range(12):
        packet = data.draw(openings(world))
        assert filter_allows(found, packet) is world.allowed(packet), packet


def overlap(one: Permit, other: Permit) -> bool:
    peers = one.peers[0] <= other.peers[1] and other.peers[0] <= one.peers[1]
    ports = one.ports[0] <= other.ports[1] and other.ports[0] <= one.ports[1]
    return peers and ports and (one.protocol == other.protocol or 0 in {one.protocol, other.protocol})


spans = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair)))
permits = st.one_of(
    st.builds(Permit, spans), st.builds(Permit, spans, st.sampled_from([6, 17]), st.one_of(spans, st.just(EVERY_PORT)))
)


@settings(deadline=None)
@given(st.lists(permits, max_size=8))
def test_rectangles_never_overlap_and_lose_or_add_nothing(some: list[Permit]) -> None:
    found = disjoint(some)
    assert not any(overlap(one, other) for one, other in combinations(found, 2))
    for peer in range(31):
        for protocol in (6, 17):
            for port in range(0, 32, 3):
                packet = Permit((peer, peer), protocol, (port, port))
                assert any(overlap(p, packet) for p in found) is any(overlap(p, packet) for p in some)
        anything = Permit((peer, peer), 1)  # a protocol that nobody names: only "everything" covers it
        assert any(overlap(p, anything) for p in found) is any(overlap(p, anything) for p in some)


@given(spans, st.lists(spans, max_size=4))
def test_without_is_the_complement(whole: tuple[int, int], holes: list[tuple[int, int]]) -> None:
    inner = [(max(a, whole[0]), min(b, whole[1])) for a, b in holes if b >= whole[0] and a <= whole[1]]
    left = {n for first, last in without(whole, inner) for n in range(first, last + 1)}
    taken = {n for first, last in inner for n in range(first, last + 1)}
    assert left == set(range(whole[0], whole[1] + 1)) - taken


@given(st.lists(spans, max_size=6))
def test_merged_ranges_neither_touch_nor_overlap(ranges: list[tuple[int, int]]) -> None:
    found = merged(ranges)
    assert all(one[1] + 1 < other[0] for one, other in pairwise(found))
    assert {n for a, b in found for n in range(a, b + 1)} == {n for a, b in ranges for n in range(a, b + 1)}


def test_a_policy_that_cannot_be_read_leaves_its_pods_with_nothing() -> None:
    broken = {
        "metadata": {"name": "broken", "namespace": "red"},
        "spec": {"podSelector": {}, "egress": [{}], "somethingNew": True},
    }
    open_to_all = {"metadata": {"name": "open", "namespace": "red"}, "spec": {"podSelector": {}, "ingress": [{}]}}
    world = World([namespace("red")], [pod("a", "red", ["10.244.0.2"])], [broken, open_to_all])
    four = verdicts(view_of(world))[4]
    assert four.ingress.isolated == four.egress.isolated == {int(ip_address("10.244.0.2"))}
    assert four.ingress.allowed == four.egress.allowed == ()


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_a_pod_in_an_unseen_namespace_is_not_classified(direction: str) -> None:
    world = World([namespace("red")], [pod("a", "red", ["10.244.0.2"]), pod("b", "blue", ["10.244.0.3"])], [])
    assert verdicts(view_of(world))[4].live == {int(ip_address("10.244.0.2"))}


def test_an_address_that_two_pods_claim_belongs_to_neither() -> None:
    twice = [pod("a", "red", ["10.244.0.2"]), pod("b", "red", ["10.244.0.2", "fd00::3"])]
    found = verdicts(view_of(World([namespace("red")], twice, [])))
    assert found[4].live == frozenset()
    assert found[6].live == {int(ip_address("fd00::3"))}


def test_an_address_that_the_node_gave_to_another_pod_stays_closed() -> None:
    world = World([namespace("red")], [pod("a", "red", ["10.244.0.2"]), pod("b", "red", ["10.244.0.3"])], [])
    holders = {ip_address("10.244.0.2"): "uid-a", ip_address("10.244.0.3"): "another"}
    assert verdicts(view_of(world).classified(holders))[4].live == {int(ip_address("10.244.0.2"))}
