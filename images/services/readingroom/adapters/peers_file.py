"""The file of peers, which a site keeps outside the repository: YAML under `policies/schema/door-peers.schema.json`."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from readingroom.adapters.policy_files import checked, off
from readingroom.domain.peers import Limits, Peer, Peers, twice_named


def peers_in(path: Path, schema: Path) -> Peers:
    """Who may send. Raises `WrongSetUp` naming the file and the place that is off."""
    document = checked(path, schema)
    peers = tuple(
        Peer(
            ae_title=each["ae_title"],
            centre=each["centre"],
            fingerprints=frozenset(each.get("fingerprints", ())),
            addresses=frozenset(_address(path, word) for word in each.get("addresses", ())),
        )
        for each in document["peers"]
    )
    if title := twice_named(peers):
        off(path.name, f"two peers are called {title}")
    return Peers(ae_title=document["ae_title"], peers=peers, limits=Limits(**document.get("limits", {})))


def _address(path: Path, word: str) -> str:
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        off(path.name, f"{word} is no IP address")
