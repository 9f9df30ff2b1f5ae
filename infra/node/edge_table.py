"""Layer 0 of the egress rules: what no pod may do, whatever the NetworkPolicies say and whether anything enforces them.

* A pod reaches pods, through services or not, and of the node only the API server, answers apart. Nothing outside, not even by an
  address of our ranges that no pod or service has.
* Nothing outside reaches a pod, a service or the node's own address.
* Link-local and metadata addresses drop in both hooks. There is no masquerade.

Loaded before the first pod exists, in a table of its own, and removed last. Set `edge_allow` is empty: an address gets
in by a decision, through the deployer only.
"""

from __future__ import annotations

import subprocess
from typing import Final

from readingroom.contract import NODE_ADDRESS, POD_RANGE, SERVICE_RANGE
from readingroom.domain.errors import WrongSetUp

TABLE: Final = "inet readingroom_edge"
API_PORT: Final = 6443
RULES: Final = f"""
table {TABLE}
delete table {TABLE}
table {TABLE} {{
  set edge_allow {{ type ipv4_addr . inet_service; }}
  counter nobody {{ }}
  counter outside {{ }}
  counter inside {{ }}
  counter link_local {{ }}
  counter node {{ }}
  chain forward {{
    type filter hook forward priority -20; policy accept;
    ip daddr 169.254.0.0/16 counter name link_local drop
    ip6 daddr {{ fe80::/10, fd00:ec2::254 }} counter name link_local drop
    ip saddr {POD_RANGE} ip daddr {POD_RANGE} oifname "veth*" accept
    ip saddr {POD_RANGE} ip daddr {{ {POD_RANGE}, {SERVICE_RANGE} }} counter name nobody reject with icmpx host-unreachable
    ip saddr {POD_RANGE} ip daddr . tcp dport @edge_allow accept
    ip saddr {POD_RANGE} counter name outside reject with icmpx admin-prohibited
    ip daddr {{ {POD_RANGE}, {SERVICE_RANGE} }} ct state established,related accept
    ip daddr {{ {POD_RANGE}, {SERVICE_RANGE} }} counter name inside drop
    iifname "veth*" counter name outside drop
    oifname "veth*" counter name inside drop
  }}
  chain input {{
    type filter hook input priority -20; policy accept;
    iifname "lo" accept
    ip daddr 169.254.0.0/16 counter name link_local drop
    ip6 daddr fd00:ec2::254 counter name link_local drop
    ip saddr {POD_RANGE} ct direction reply accept
    ip saddr {POD_RANGE} ip daddr {NODE_ADDRESS} tcp dport {API_PORT} accept
    ip saddr {POD_RANGE} counter name node reject with icmpx admin-prohibited
    iifname "veth*" ip6 nexthdr icmpv6 accept
    iifname "veth*" counter name node drop
    ip daddr {{ {NODE_ADDRESS}, {SERVICE_RANGE}, {POD_RANGE} }} counter name inside drop
  }}
}}
"""


def load(rules: str = RULES) -> None:
    """Replace the table in one transaction. Raises `WrongSetUp` when the kernel refuses it."""
    done = subprocess.run(["nft", "-f", "-"], input=rules, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongSetUp(
            what="the packet filter",
            which=TABLE,
            why=" ".join(done.stderr.split())[:300],
            next_step="see that this kernel has nf_tables, and that this runs as root",
        )


def loaded() -> bool:
    """Whether the table is there."""
    return subprocess.run(["nft", "list", "table", *TABLE.split()], capture_output=True, check=False).returncode == 0


def unload() -> None:
    """Away with it; without it there is nothing to do."""
    subprocess.run(["nft", "delete", "table", *TABLE.split()], capture_output=True, check=False)
