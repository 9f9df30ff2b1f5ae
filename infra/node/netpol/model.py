"""What the enforcer knows: pods, namespaces and policies as frozen values, read strictly from the API's JSON.

An unknown key, operator, protocol or address form is never guessed at. A policy that cannot be read in full becomes one
that leaves the pods it selects with nothing (every pod of its namespace, if even its selector is unclear); a pod that
cannot be read is not classified, and so denied. Reads no API and no clock.
Source: Kubernetes API reference, networking.k8s.io/v1 NetworkPolicy, meta/v1 LabelSelector, core/v1 Pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, TypeAlias, TypeVar

from readingroom.domain.errors import Rejected

Json: TypeAlias = Mapping[str, Any]
Labels: TypeAlias = Mapping[str, str]
Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

FINISHED = frozenset({"Succeeded", "Failed"})


class Protocol(IntEnum):
    """A transport protocol of the API, by its number in the IP header."""

    TCP = 6
    UDP = 17
    SCTP = 132


class Operator(Enum):
    """How a label requirement compares."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    ABSENT = "DoesNotExist"


@dataclass(frozen=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def holds(self, labels: Labels) -> bool:
        """`NotIn` also holds where the key is absent."""
        match self.operator:
            case Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.ABSENT:
                return self.key not in labels


@dataclass(frozen=True)
class Selector:
    """All requirements must hold; without any, everything is selected."""

    requirements: tuple[Requirement, ...] = ()

    def selects(self, labels: Labels) -> bool:
        """Whether something with these labels is meant."""
        return all(requirement.holds(labels) for requirement in self.requirements)


@dataclass(frozen=True)
class Block:
    """An address range without its exceptions, pod addresses included."""

    network: Network
    exceptions: tuple[Network, ...] = ()


@dataclass(frozen=True)
class PodPeer:
    """Pods by label: of the policy's own namespace if `namespaces` is None, else of every namespace that it selects."""

    pods: Selector
    namespaces: Selector | None = None


@dataclass(frozen=True)
class Port:
    """A range of numbers, or a name that each destination pod resolves for itself."""

    protocol: Protocol
    first: int = 0
    last: int = 65535
    name: str = ""


@dataclass(frozen=True)
class Rule:
    """Any of `peers` on any of `ports`; no peers is anybody, no ports is every port and protocol."""

    peers: tuple[Block | PodPeer, ...] = ()
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True)
class Policy:
    """What one NetworkPolicy says. `ingress` or `egress` is None where it does not isolate in that direction."""

    namespace: str
    name: str
    pods: Selector
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None
    unclear: str = ""  # why it could not be read: the pods it selects get nothing, whatever other policies allow


@dataclass(frozen=True)
class Pod:
    """A pod with an address of its own that still runs, or is ending."""

    namespace: str
    name: str
    uid: str
    labels: Labels
    addresses: tuple[Address, ...]
    ports: Mapping[tuple[str, Protocol], int]  # named container ports


@dataclass(frozen=True)
class View:
    """The part of the API that decides, at one moment."""

    namespaces: Mapping[str, Labels]
    pods: tuple[Pod, ...]
    policies: tuple[Policy, ...]

    def classified(self, holders: Mapping[Address, str] | None = None) -> View:
        """The same view with only those pod addresses that are beyond doubt.

        Left out: a pod whose namespace has not been seen (its labels could match anything), an address that two pods
        claim, and, where the node says who holds an address (`holders`, address to pod uid), one held by another pod.
        """
        claims: dict[Address, int] = {}
        for pod in self.pods:
            for address in pod.addresses:
                claims[address] = claims.get(address, 0) + 1
        kept = []
        for pod in self.pods:
            sure = tuple(a for a in pod.addresses if claims[a] == 1 and (holders is None or holders.get(a) == pod.uid))
            if sure and pod.namespace in self.namespaces:
                kept.append(replace(pod, addresses=sure))
        return replace(self, pods=tuple(kept))


def from_namespace(raw: Json) -> tuple[str, Labels]:
    """Name and labels of a namespace."""
    metadata = raw["metadata"]
    return metadata["name"], dict(metadata.get("labels") or {})


def from_pod(raw: Json) -> Pod | None:
    """The pod, or None if it has no address of its own: host network, finished, or none given yet.

    Raises `Rejected` if it cannot be read; the caller leaves it unclassified, and says so.
    """
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    found = status.get("podIPs") or ([{"ip": status["podIP"]}] if status.get("podIP") else [])
    if spec.get("hostNetwork") or status.get("phase") in FINISHED or not found:
        return None
    where = f"pod {metadata['namespace']}/{metadata['name']}"
    try:
        addresses = tuple(ip_address(entry["ip"]) for entry in found)
        sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
        ports: dict[tuple[str, Protocol], int] = {}
        for container in [*spec["containers"], *sidecars]:
            for port in container.get("ports") or ():
                if port.get("name"):
                    ports.setdefault((port["name"], _protocol(port, where)), int(port["containerPort"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(where, f"field not understood ({type(error).__name__})") from error
    return Pod(
        metadata["namespace"], metadata["name"], metadata["uid"], dict(metadata.get("labels") or {}), addresses, ports
    )


def from_policy(raw: Json) -> Policy:
    """The policy; one that cannot be read in full selects what its selector says and allows nothing."""
    metadata = raw["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    where = f"NetworkPolicy {namespace}/{name}"
    pods = Selector()
    try:
        spec = _mapping(raw.get("spec"), where)
        pods = _selector(spec.get("podSelector"), where)
        _only(spec, {"podSelector", "policyTypes", "ingress", "egress"}, where)
        ingress = tuple(_rule(rule, "from", where) for rule in _items(spec.get("ingress"), where))
        egress = tuple(_rule(rule, "to", where) for rule in _items(spec.get("egress"), where))
        types = set(_items(spec.get("policyTypes"), where)) or ({"Ingress", "Egress"} if egress else {"Ingress"})
        if types - {"Ingress", "Egress"}:
            raise _unreadable(where, "unknown policyTypes")
    except Rejected as error:
        return Policy(namespace, name, pods, (), (), unclear=error.why)
    return Policy(namespace, name, pods, ingress if "Ingress" in types else None, egress if "Egress" in types else None)


def _rule(raw: object, direction: str, where: str) -> Rule:
    rule = _mapping(raw, where)
    _only(rule, {direction, "ports"}, where)
    return Rule(
        tuple(_peer(peer, where) for peer in _items(rule.get(direction), where)),
        tuple(_port(port, where) for port in _items(rule.get("ports"), where)),
    )


def _peer(raw: object, where: str) -> Block | PodPeer:
    peer = _present(_mapping(raw, where))
    _only(peer, {"podSelector", "namespaceSelector", "ipBlock"}, where)
    if "ipBlock" in peer:
        if len(peer) > 1:
            raise _unreadable(where, "ipBlock beside a selector")
        return _block(_mapping(peer["ipBlock"], where), where)
    if not peer:
        raise _unreadable(where, "a peer that names nobody")
    namespaces = _selector(peer["namespaceSelector"], where) if "namespaceSelector" in peer else None
    return PodPeer(_selector(peer.get("podSelector"), where), namespaces)


def _block(raw: Json, where: str) -> Block:
    _only(raw, {"cidr", "except"}, where)
    try:
        network = ip_network(raw["cidr"], strict=False)
        exceptions = tuple(ip_network(text, strict=False) for text in _items(raw.get("except"), where))
    except (KeyError, ValueError) as error:
        raise _unreadable(where, "ipBlock is no address range") from error
    for inner in exceptions:
        # One of another family or outside would take nothing away: the policy would be wider than it reads.
        if inner.version != network.version or not _within(inner, network):
            raise _unreadable(where, "except lies outside its ipBlock")
    return Block(network, exceptions)


def _within(inner: Network, outer: Network) -> bool:
    first, last = int(outer.network_address), int(outer.broadcast_address)
    return first <= int(inner.network_address) and int(inner.broadcast_address) <= last


def _port(raw: object, where: str) -> Port:
    port = _present(_mapping(raw, where))
    _only(port, {"protocol", "port", "endPort"}, where)
    protocol, number, end = _protocol(port, where), port.get("port"), port.get("endPort")
    if isinstance(number, str) and number and end is None:
        return Port(protocol, name=number)
    if number is None and end is None:
        return Port(protocol)
    last = number if end is None else end
    if not (type(number) is int and type(last) is int and 1 <= number <= last <= 65535):
        raise _unreadable(where, "port or endPort is no port range")
    return Port(protocol, number, last)


def _protocol(port: Json, where: str) -> Protocol:
    try:
        return Protocol[port.get("protocol") or "TCP"]
    except KeyError as error:
        raise _unreadable(where, "unknown protocol") from error


def _selector(raw: object, where: str) -> Selector:
    selector = _mapping(raw or {}, where)
    _only(selector, {"matchLabels", "matchExpressions"}, where)
    labels = _mapping(selector.get("matchLabels") or {}, where)
    found = [Requirement(key, Operator.IN, frozenset({value})) for key, value in sorted(labels.items())]
    for entry in _items(selector.get("matchExpressions"), where):
        expression = _present(_mapping(entry, where))
        _only(expression, {"key", "operator", "values"}, where)
        found.append(_requirement(expression, where))
    return Selector(tuple(found))


def _requirement(raw: Json, where: str) -> Requirement:
    values = frozenset(_items(raw.get("values"), where))
    try:
        operator = Operator(raw["operator"])
        requirement = Requirement(raw["key"], operator, values)
    except (KeyError, ValueError) as error:
        raise _unreadable(where, "unknown operator in a label selector") from error
    if bool(values) != (operator in {Operator.IN, Operator.NOT_IN}):
        raise _unreadable(where, f"operator {operator.value} with the wrong number of values")
    return requirement


T = TypeVar("T")


def _present(raw: Json) -> Json:
    """The API writes an absent field as null or not at all."""
    return {key: value for key, value in raw.items() if value is not None}


def _items(raw: Iterable[T] | None, where: str) -> list[T]:
    if raw is None:
        return []
    if not isinstance(raw, list):
        raise _unreadable(where, "a list was expected")
    return raw


def _mapping(raw: object, where: str) -> Json:
    if not isinstance(raw, Mapping):
        raise _unreadable(where, "an object was expected")
    return raw


def _only(raw: Json, known: set[str], where: str) -> None:
    if unknown := sorted(set(raw) - known):
        raise _unreadable(where, f"unknown field {', '.join(unknown)[:80]}")


def _unreadable(where: str, why: str) -> Rejected:
    return Rejected(
        what=where,
        why=why,
        next_step="correct it: until then the pods that it selects, or the pod itself, get no traffic",
    )
