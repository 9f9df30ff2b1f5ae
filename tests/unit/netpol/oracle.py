"""May this packet open a connection? Answered slowly, from the API's JSON alone, sharing no line with the compiler.

Written from the Kubernetes API reference, object by object and packet by packet: no ranges, no merging, no sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

Json = dict[str, Any]
NUMBER = {"TCP": 6, "UDP": 17, "SCTP": 132}


@dataclass(frozen=True)
class Opening:
    """The first packet of a connection; port None for what has no ports, as ICMP."""

    source: str
    destination: str
    protocol: int
    port: int | None


@dataclass(frozen=True)
class World:
    """Raw objects of the API."""

    namespaces: list[Json]
    pods: list[Json]
    policies: list[Json]

    def allowed(self, packet: Opening) -> bool:
        """A pod reaches itself; else the source's egress and the destination's ingress must both say yes."""
        source, destination = self.pod_at(packet.source), self.pod_at(packet.destination)
        if source is not None and source is destination and packet.source == packet.destination:
            return True
        if source is not None and not self._passes("Egress", source, packet.destination, destination, packet):
            return False
        return destination is None or self._passes("Ingress", destination, packet.source, source, packet)

    def pod_at(self, address: str) -> Json | None:
        for pod in self.pods:
            if any(ip_address(entry["ip"]) == ip_address(address) for entry in pod["status"]["podIPs"]):
                return pod
        return None

    def _passes(self, kind: str, pod: Json, peer_address: str, peer: Json | None, packet: Opening) -> bool:
        target = pod if kind == "Ingress" else peer
        isolated = False
        for policy in self.policies:
            spec = policy["spec"]
            if policy["metadata"]["namespace"] != pod["metadata"]["namespace"] or kind not in types(spec):
                continue
            if not chosen(spec.get("podSelector"), pod["metadata"].get("labels")):
                continue
            isolated = True
            for rule in spec.get(kind.lower()) or []:
                peers = rule.get("from" if kind == "Ingress" else "to")
                if peers and not any(self._is_peer(p, policy, peer_address, peer) for p in peers):
                    continue
                ports = rule.get("ports")
                if not ports or any(is_port(p, target, packet) for p in ports):
                    return True
        return not isolated

    def _is_peer(self, wanted: Json, policy: Json, address: str, pod: Json | None) -> bool:
        if block := wanted.get("ipBlock"):
            inside = ip_address(address) in ip_network(block["cidr"])
            return inside and not any(ip_address(address) in ip_network(e) for e in block.get("except") or [])
        if pod is None:
            return False
        if "namespaceSelector" in wanted:
            labels = next(
                n["metadata"].get("labels")
                for n in self.namespaces
                if n["metadata"]["name"] == pod["metadata"]["namespace"]
            )
            if not chosen(wanted["namespaceSelector"], labels):
                return False
        elif pod["metadata"]["namespace"] != policy["metadata"]["namespace"]:
            return False
        return chosen(wanted.get("podSelector"), pod["metadata"].get("labels"))


def types(spec: Json) -> list[str]:
    """Absent: Ingress always, Egress only if there is a rule for it."""
    if spec.get("policyTypes"):
        return list(spec["policyTypes"])
    return ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def chosen(selector: Json | None, labels: Json | None) -> bool:
    selector, labels = selector or {}, labels or {}
    for key, value in (selector.get("matchLabels") or {}).items():
        if key not in labels or labels[key] != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
        if operator == "In" and not (key in labels and labels[key] in values):
            return False
        if operator == "NotIn" and key in labels and labels[key] in values:
            return False
        if operator == "Exists" and key not in labels:
            return False
        if operator == "DoesNotExist" and key in labels:
            return False
    return True


def is_port(port: Json, target: Json | None, packet: Opening) -> bool:
    if packet.port is None or packet.protocol != NUMBER[port.get("protocol") or "TCP"]:
        return False
    number = port.get("port")
    if number is None:
        return True
    if isinstance(number, int):
        return number <= packet.port <= (port.get("endPort") or number)
    if target is None:
        return False
    for container in target["spec"]["containers"]:
        for declared in container.get("ports") or []:
            same = declared.get("name") == number and (declared.get("protocol") or "TCP") == (
                port.get("protocol") or "TCP"
            )
            if same and declared["containerPort"] == packet.port:
                return True
    return False
