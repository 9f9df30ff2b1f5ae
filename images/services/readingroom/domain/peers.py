"""Who may send over the network, and how much: the known application entities of hospitals, each with its centre.

A peer is known by its AE title **and** by what it cannot borrow: its certificate, its address, or both. Nothing matches
many: no pattern, no range, no default peer. Absent means no.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from readingroom.domain.errors import Refused


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """One application entity of a centre. At least one of `fingerprints` and `addresses` says something."""

    ae_title: str
    centre: str
    fingerprints: frozenset[str] = frozenset()  # SHA-256 of its certificates
    addresses: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who asks for an association. TLS has proved the certificate; the title is only what the caller says."""

    ae_title: str
    fingerprint: str
    address: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What peers may cost. Whatever is over is refused with its status, or ends the association."""

    associations: int = 16
    associations_of_a_peer: int = 4
    pdu_bytes: int = 256 << 10  # of memory, for each association
    object_bytes: int = 2 << 30  # as in a folder
    association_bytes: int = 64 << 30
    association_objects: int = 20_000
    spool_bytes: int = 256 << 30  # on the disk, of all associations together
    idle_seconds: int = 60  # within which a PDU must have come whole
    association_seconds: int = 6 * 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Peers:
    """Our own AE title, who may call it, and how much they may send."""

    ae_title: str
    peers: tuple[Peer, ...]
    limits: Limits

    def called_by(self, caller: Caller) -> Peer:
        """The known peer that a caller is. Raises `Refused`; to the caller every reason looks the same."""
        for peer in self.peers:
            if peer.ae_title == caller.ae_title:
                _check_proved(peer, caller)
                return peer
        raise _refused("no peer has this AE title")

    def centre_of(self, fingerprint: str, address: str) -> str:
        """Whose centre sends, known by its certificate alone; where addresses are said of it, by these too. Raises `Refused`.

        What one certificate may send must be one centre's.
        """
        known = [peer for peer in self.peers if fingerprint in peer.fingerprints]
        centres = {peer.centre for peer in known if not peer.addresses or address in peer.addresses}
        if len(centres) != 1:
            raise _refused("it is no peer's" if not centres else "its certificate is that of two centres")
        return centres.pop()


def _check_proved(peer: Peer, caller: Caller) -> None:
    """What a peer is said to have, the caller must have. Saying nothing of a peer matches nobody."""
    if not peer.fingerprints and not peer.addresses:
        raise _refused("nothing is said of this peer that could be proved")
    if peer.fingerprints and caller.fingerprint not in peer.fingerprints:
        raise _refused("the certificate is not this peer's")
    if peer.addresses and caller.address not in peer.addresses:
        raise _refused("the address is not this peer's")


def twice_named(peers: Iterable[Peer]) -> str | None:
    """An AE title that two peers have: nobody could say whose files they are."""
    met: set[str] = set()
    for peer in peers:
        if peer.ae_title in met:
            return peer.ae_title
        met.add(peer.ae_title)
    return None


def _refused(why: str) -> Refused:
    return Refused(what="an association", why=why, next_step="list the peer in the file of peers, if it is one")
