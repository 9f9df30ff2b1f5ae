"""From a view of the API to what the packet filter looks up: disjoint rectangles per family and direction.

A rectangle is one pod address × one range of peer addresses × (everything | one protocol × one range of ports). The
rectangles of a pod never overlap, because nftables sometimes takes and sometimes refuses overlapping concatenated
intervals; an ipBlock's `except` is its complement. Pure: no clock, no input, no output.
Source: Kubernetes API reference, networking.k8s.io/v1 NetworkPolicy.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final, TypeAlias

from infra.node.netpol.model import Block, Network, Pod, PodPeer, Policy, Port, Rule, View

Range: TypeAlias = tuple[int, int]  # first and last, both included
EVERYBODY: Final[Mapping[int, Range]] = {4: (0, 2**32 - 1), 6: (0, 2**128 - 1)}
EVERY_PORT: Final[Range] = (0, 65535)
FAMILIES: Final = (4, 6)


class Direction(Enum):
    """Which end of a connection a policy speaks of: who answers, or who opens."""

    INGRESS = "ingress"
    EGRESS = "egress"


@dataclass(frozen=True, order=True)
class Permit:
    """A range of peers on a range of ports; protocol 0 is every protocol and port, ICMP included."""

    peers: Range
    protocol: int = 0
    ports: Range = EVERY_PORT


@dataclass(frozen=True)
class Half:
    """One direction of one family: who is isolated, and what those may do; the rest may do everything."""

    isolated: frozenset[int] = frozenset()
    allowed: tuple[tuple[int, Permit], ...] = ()  # (pod address, permit), disjoint for each pod


@dataclass(frozen=True)
class Verdicts:
    """Everything the filter looks up for one address family. What is not live gets nothing."""

    live: frozenset[int] = frozenset()
    ingress: Half = Half()
    egress: Half = Half()


def verdicts(view: View) -> dict[int, Verdicts]:
    """What each family's tables hold. The caller passes a view that was `classified`."""
    return {
        family: Verdicts(
            live=frozenset(address for pod in view.pods for address in _addresses(pod, family)),
            ingress=_half(view, Direction.INGRESS, family),
            egress=_half(view, Direction.EGRESS, family),
        )
        for family in FAMILIES
    }


def disjoint(permits: Iterable[Permit]) -> list[Permit]:
    """The same union, without overlap: what is open on everything first, then strips for each protocol."""
    by_protocol: dict[int, list[Permit]] = defaultdict(list)
    for permit in set(permits):
        by_protocol[permit.protocol].append(permit)
    everything = merged(permit.peers for permit in by_protocol.pop(0, ()))
    found = [Permit(peers) for peers in everything]
    for protocol, some in sorted(by_protocol.items()):
        for peers, ports in _strips(some, everything):
            found += [Permit(peers, protocol, span) for span in ports]
    return found


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The union of the ranges, sorted; touching ones become one."""
    result: list[Range] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return tuple(result)


def without(whole: Range, holes: Iterable[Range]) -> tuple[Range, ...]:
    """`whole` less the holes, which lie inside it."""
    result, at = [], whole[0]
    for first, last in merged(holes):
        if first > at:
            result.append((at, first - 1))
        at = last + 1
    if at <= whole[1]:
        result.append((at, whole[1]))
    return tuple(result)


def _strips(permits: Sequence[Permit], everything: Iterable[Range]) -> list[tuple[Range, tuple[Range, ...]]]:
    """Ranges of peers with the ports that are open to them, leaving out who has everything already."""
    changes: dict[int, list[tuple[Range | None, int]]] = defaultdict(list)
    for peers, ports in [*((p.peers, p.ports) for p in permits), *((peers, None) for peers in everything)]:
        changes[peers[0]].append((ports, 1))
        changes[peers[1] + 1].append((ports, -1))
    active: Counter[Range | None] = Counter()
    strips: list[tuple[Range, tuple[Range, ...]]] = []
    for at, until in pairwise(sorted(changes)):
        for ports, step in changes[at]:
            active[ports] += step
        present = [ports for ports, count in active.items() if count]
        if not present or None in present:
            continue
        here = merged(ports for ports in present if ports is not None)
        if strips and strips[-1][0][1] + 1 == at and strips[-1][1] == here:
            strips[-1] = ((strips[-1][0][0], until - 1), here)
        else:
            strips.append(((at, until - 1), here))
    return strips


def _half(view: View, direction: Direction, family: int) -> Half:
    by_namespace: dict[str, list[Policy]] = defaultdict(list)
    for policy in view.policies:
        if _rules(policy, direction) is not None:
            by_namespace[policy.namespace].append(policy)
    isolated: list[int] = []
    allowed: list[tuple[int, Permit]] = []
    seen: dict[object, list[Permit]] = {}  # pods under the same policies share one answer
    for pod in view.pods:
        policies = [p for p in by_namespace[pod.namespace] if p.pods.selects(pod.labels)]
        if not policies:
            continue
        named = frozenset(pod.ports.items()) if direction is Direction.INGRESS else frozenset()
        key = (tuple(map(id, policies)), named)
        if key not in seen:
            seen[key] = disjoint(_permits(policies, pod, view, direction, family))
        for address in _addresses(pod, family):
            isolated.append(address)
            allowed += [(address, permit) for permit in seen[key]]
    return Half(frozenset(isolated), tuple(sorted(allowed)))


def _rules(policy: Policy, direction: Direction) -> tuple[Rule, ...] | None:
    return policy.ingress if direction is Direction.INGRESS else policy.egress


def _permits(policies: Sequence[Policy], pod: Pod, view: View, direction: Direction, family: int) -> Iterator[Permit]:
    """What these policies together allow this pod; nothing at all if one of them could not be read."""
    if any(policy.unclear for policy in policies):
        return
    for policy in policies:
        for rule in _rules(policy, direction) or ():
            peers = merged(_peers(rule, policy.namespace, view, family))
            if not rule.ports:
                yield from (Permit(some) for some in peers)
            for port in rule.ports:
                if port.name and direction is Direction.EGRESS:
                    yield from _by_name(rule, port, policy.namespace, view, family)
                elif span := _span(port, pod):
                    yield from (Permit(some, port.protocol, span) for some in peers)


def _span(port: Port, pod: Pod) -> Range | None:
    """The numbers meant at this destination pod; None if it has no port of that name and protocol."""
    if not port.name:
        return port.first, port.last
    number = pod.ports.get((port.name, port.protocol))
    return (number, number) if number else None


def _by_name(rule: Rule, port: Port, namespace: str, view: View, family: int) -> Iterator[Permit]:
    """A name is looked up on each destination pod, so it means nothing for an ipBlock."""
    anybody = not rule.peers
    for pod in view.pods:
        span = _span(port, pod)
        if span and (anybody or any(_meant(peer, namespace, pod, view) for peer in rule.peers)):
            yield from (Permit((a, a), port.protocol, span) for a in _addresses(pod, family))


def _peers(rule: Rule, namespace: str, view: View, family: int) -> Iterator[Range]:
    if not rule.peers:
        yield EVERYBODY[family]
    for peer in rule.peers:
        if isinstance(peer, Block):
            if peer.network.version == family:
                yield from without(_whole(peer.network), map(_whole, peer.exceptions))
        else:
            for pod in view.pods:
                if _meant(peer, namespace, pod, view):
                    yield from ((a, a) for a in _addresses(pod, family))


def _meant(peer: Block | PodPeer, namespace: str, pod: Pod, view: View) -> bool:
    if isinstance(peer, Block) or not peer.pods.selects(pod.labels):
        return False
    if peer.namespaces is None:
        return pod.namespace == namespace
    return peer.namespaces.selects(view.namespaces[pod.namespace])


def _whole(network: Network) -> Range:
    return int(network.network_address), int(network.broadcast_address)


def _addresses(pod: Pod, family: int) -> list[int]:
    return [int(address) for address in pod.addresses if address.version == family]
