"""The text for `nft -f -`: one table, looked up for every packet, replaced whole in one transaction.

* A drop is final and an accept ends only this table, so it composes with kube-proxy's.
* Packets of both directions are looked up, replies mirrored; conntrack only tells which end opened. There is no
  "established: accept": a policy that tightens ends the open connection with its next packet.
* In the pod range and not live: dropped. Live is a lease; without an enforcer that renews it nothing flows but the
  node's own connections to its pods (probes), which leave through `output` and come back as replies.
* A pod's refused opening packet is answered, so that a notebook fails at once; the rest drops in silence.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final

from infra.node.netpol.compile import Half, Permit, Verdicts, verdicts
from infra.node.netpol.model import Network, View
from readingroom.contract import POD_RANGE
from readingroom.domain.errors import TryAgain, WrongSetUp

TABLE: Final = "inet readingroom_policy"
LEASE_SECONDS: Final = 30
LINKS: Final = "veth*"  # how the `ptp` plugin names the node's end of a pod's link
COUNTERS: Final = ("refused", "dropped", "unclassified", "invalid", "other_family")
POD_RANGES: Final[tuple[Network, ...]] = (ip_network(POD_RANGE),)
NFT_SECONDS: Final = 20

# Neither end a pod: not ours. `goto` to a chain that ends returns to the base chain's policy, accept.
_FAMILY: Final = """
  chain forward{v} {{
    {ip} saddr != @pods{v} {ip} daddr != @pods{v} return
    ct state invalid,untracked counter name invalid drop
    {ip} saddr @pods{v} {ip} saddr != @live{v} counter name unclassified drop
    {ip} daddr @pods{v} {ip} daddr != @live{v} counter name unclassified drop
    {ip} saddr . {ip} daddr @self{v} return
    ct direction original goto opening{v}
    ct direction reply goto answering{v}
    counter name invalid drop
  }}
  chain input{v} {{
    {ip} saddr != @pods{v} return{neighbours}
    ct state invalid,untracked counter name invalid drop
    ct direction reply return
    {ip} saddr != @live{v} counter name unclassified drop
    {ip} saddr @egress_isolated{v} goto egress_opening{v}
  }}
  chain opening{v} {{
    {ip} saddr @egress_isolated{v} jump egress_opening{v}
    {ip} daddr @ingress_isolated{v} goto ingress_opening{v}
  }}
  chain answering{v} {{
    {ip} daddr @egress_isolated{v} jump egress_answering{v}
    {ip} saddr @ingress_isolated{v} goto ingress_answering{v}
  }}
  chain egress_opening{v} {{
    {ip} saddr . {ip} daddr @egress{v} return
    meta l4proto {{ 6, 17, 132 }} {ip} saddr . {ip} daddr . meta l4proto . th dport @egress_ports{v} return
    goto refuse{v}
  }}
  chain ingress_opening{v} {{
    {ip} daddr . {ip} saddr @ingress{v} return
    meta l4proto {{ 6, 17, 132 }} {ip} daddr . {ip} saddr . meta l4proto . th dport @ingress_ports{v} return
    goto refuse{v}
  }}
  chain egress_answering{v} {{
    {ip} daddr . {ip} saddr @egress{v} return
    meta l4proto {{ 6, 17, 132 }} {ip} daddr . {ip} saddr . meta l4proto . th sport @egress_ports{v} return
    counter name dropped drop
  }}
  chain ingress_answering{v} {{
    {ip} saddr . {ip} daddr @ingress{v} return
    meta l4proto {{ 6, 17, 132 }} {ip} saddr . {ip} daddr . meta l4proto . th sport @ingress_ports{v} return
    counter name dropped drop
  }}
  chain refuse{v} {{
    ct state != new counter name dropped drop
    {ip} saddr != @pods{v} counter name dropped drop
    counter name refused
    meta l4proto tcp reject with tcp reset
    reject with icmpx admin-prohibited
  }}
"""
# Pods have no addresses of this family here: what crosses a pod's link is no traffic of theirs that anybody allowed.
_CLOSED: Final = """
  chain forward{v} {{
    iifname "{links}" counter name other_family drop
    oifname "{links}" counter name other_family drop
  }}
  chain input{v} {{
    iifname "{links}" ct direction original counter name other_family drop
    iifname "{links}" ct state invalid,untracked counter name other_family drop
  }}
"""
_HOOKS: Final = """
  chain forward {
    type filter hook forward priority filter; policy accept;
    meta nfproto ipv4 goto forward4
    meta nfproto ipv6 goto forward6
  }
  chain input {
    type filter hook input priority filter; policy accept;
    meta nfproto ipv4 goto input4
    meta nfproto ipv6 goto input6
  }
"""
# A pod must find its gateway; routers' messages between nodes are no business of a pod.
_NEIGHBOURS: Final = "\n    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } return"


def table(families: Mapping[int, Verdicts], ranges: Sequence[Network] = POD_RANGES) -> str:
    """The whole table, with a fresh lease for what is live: declare, delete, define, in one transaction."""
    lines = [f"table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]
    lines += [f"  counter {name} {{ }}" for name in COUNTERS]
    for version in (4, 6):
        own = [network for network in ranges if network.version == version]
        names = {"v": version, "ip": "ip" if version == 4 else "ip6", "links": LINKS}
        if own:
            lines += _sets(version, families[version], own)
            lines.append(_FAMILY.format(neighbours=_NEIGHBOURS if version == 6 else "", **names))
        else:
            lines.append(_CLOSED.format(**names))
    return "\n".join([*lines, _HOOKS, "}", ""])


def empty_table(ranges: Sequence[Network] = POD_RANGES) -> str:
    """The table of a node that knows no pod yet: nothing flows to or from the pod ranges but the node's probes."""
    return table(verdicts(View({}, (), ())), ranges)


def lease(families: Mapping[int, Verdicts], ranges: Sequence[Network] = POD_RANGES) -> str:
    """Flush and refill of the live sets, in one transaction. Fails if the table is gone."""
    lines = []
    for version in sorted({network.version for network in ranges}):
        live = _plain(version, sorted(families[version].live))
        lines.append(f"flush set {TABLE} live{version}")
        if live:
            lines.append(f"add element {TABLE} live{version} {{ {', '.join(live)} }}")
    return "\n".join([*lines, ""])


def load(text: str) -> None:
    """Hand a transaction to the kernel.

    Raises `TryAgain` if the kernel did not take it, `WrongSetUp` if there is no `nft`.
    """
    _nft(["-f", "-"], text)


def take_counters() -> dict[str, int]:
    """Packets counted since the last call or the last table; empty if there is no table."""
    try:
        listing = json.loads(_nft(["-j", "reset", "counters", "table", *TABLE.split()], ""))
    except TryAgain:
        return {}
    found = [entry["counter"] for entry in listing["nftables"] if "counter" in entry]
    return {counter["name"]: counter["packets"] for counter in found}


def _nft(arguments: list[str], text: str) -> str:
    try:
        done = subprocess.run(
            ["nft", *arguments], input=text, capture_output=True, text=True, timeout=NFT_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise WrongSetUp(what="nft", why="the program is not installed", next_step="install nftables") from error
    except subprocess.TimeoutExpired as error:
        raise TryAgain(
            what="nft", why=f"no answer in {NFT_SECONDS} s", next_step="look at the machine's load"
        ) from error
    if done.returncode:
        said = " ".join(done.stderr.split())[:200]
        raise TryAgain(what="nft", why=f"the kernel took nothing: {said}", next_step="the enforcer tries again")
    return done.stdout


def _sets(version: int, family: Verdicts, ranges: Iterable[Network]) -> list[str]:
    kind = "ipv4_addr" if version == 4 else "ipv6_addr"
    live = _plain(version, sorted(family.live))
    own = [f"{network.network_address}-{network.broadcast_address}" for network in ranges]
    lines = [
        _set(f"pods{version}", kind, "flags interval;", own),
        _set(f"live{version}", kind, f"flags timeout; timeout {LEASE_SECONDS}s;", live),
        _set(f"self{version}", f"{kind} . {kind}", "", [f"{address} . {address}" for address in live]),
    ]
    for name, half in (("egress", family.egress), ("ingress", family.ingress)):
        anything, ports = _elements(version, half)
        lines += [
            _set(f"{name}_isolated{version}", kind, "", _plain(version, sorted(half.isolated))),
            _set(f"{name}{version}", f"{kind} . {kind}", "flags interval;", anything),
            _set(f"{name}_ports{version}", f"{kind} . {kind} . inet_proto . inet_service", "flags interval;", ports),
        ]
    return lines


def _elements(version: int, half: Half) -> tuple[list[str], list[str]]:
    anything: list[str] = []
    ports: list[str] = []
    for pod, permit in half.allowed:
        pair = f"{_address(version, pod)} . {_span(version, permit)}"
        if permit.protocol:
            ports.append(f"{pair} . {permit.protocol} . {permit.ports[0]}-{permit.ports[1]}")
        else:
            anything.append(pair)
    return anything, ports


def _set(name: str, kind: str, flags: str, elements: Sequence[str]) -> str:
    filled = f" elements = {{ {', '.join(elements)} }}" if elements else ""
    return f"  set {name} {{ type {kind}; {flags}{filled} }}"


def _span(version: int, permit: Permit) -> str:
    first, last = permit.peers
    return _address(version, first) if first == last else f"{_address(version, first)}-{_address(version, last)}"


def _plain(version: int, addresses: Iterable[int]) -> list[str]:
    return [_address(version, address) for address in addresses]


def _address(version: int, number: int) -> str:
    return str(IPv4Address(number) if version == 4 else IPv6Address(number))
