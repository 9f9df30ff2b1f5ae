"""A site's set-up of its collection: YAML under `policies/schema/collect.schema.json`, kept by the site, read by people first.

Names of files in it are relative to its own folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

from readingroom.adapters.policy_files import checked, off
from readingroom.domain.collection import Allowed, Hours
from readingroom.domain.peers import Limits


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """What we show, whom we believe, and by which name the other side must be called."""

    certificate: Path
    key: Path
    authority: Path
    name: str


@dataclass(frozen=True, kw_only=True)
class Remote:
    """Another application entity."""

    ae_title: str
    host: str
    port: int
    tls: TlsFiles | None = None


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where C-MOVE sends to, and from which addresses it may."""

    host: str
    port: int
    addresses: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What the PACS may cost this machine."""

    answers: int = 20_000  # of one C-FIND, and of all for one study
    answer_seconds: int = 300  # until the next message
    association_seconds: int = 3600  # of one association, which asks a study's C-FINDs or retrieves a part of it
    pause_seconds: int = 30  # the first one, when the other side is busy
    pauses: int = 10
    spool_bytes: int = 64 << 30

    @property
    def limits(self) -> Limits:
        """Of one association with the PACS, whoever asked for it."""
        return Limits(
            association_seconds=self.association_seconds,
            association_bytes=self.spool_bytes,
            association_objects=self.answers,
            spool_bytes=self.spool_bytes,
        )


@dataclass(frozen=True, kw_only=True)
class SetUp:
    """All of it. Exactly one of `door` and `inbox` is given; `listen` is there for C-MOVE alone."""

    ae_title: str
    pacs: Remote
    listen: Listening | None
    door: Remote | None
    inbox: Path | None
    allowed: Allowed
    hours: tuple[Hours, ...]
    per_second: float
    bounds: Bounds


def set_up_in(path: Path, schema: Path) -> SetUp:
    """Raises `WrongSetUp` naming the file and the place that is off."""
    document = checked(path, schema)
    home = path.parent
    allowed = document["collect"]
    try:
        return SetUp(
            ae_title=document["ae_title"],
            pacs=_remote(document["pacs"], home),
            listen=_listening(document.get("listen")),
            door=_remote(document["door"], home) if "door" in document else None,
            inbox=home / document["inbox"] if "inbox" in document else None,
            allowed=Allowed(
                modalities=frozenset(allowed["modalities"]),
                first=date.fromisoformat(allowed["from"]),
                last=date.fromisoformat(allowed["to"]),
                accessions=allowed.get("accessions", False),
                studies=allowed["studies"],
            ),
            hours=tuple(
                Hours(start=time.fromisoformat(each["from"]), end=time.fromisoformat(each["to"]))
                for each in document["hours"]
            ),
            per_second=document["instances_per_second"],
            bounds=Bounds(**document.get("bounds", {})),
        )
    except ValueError:
        off(path.name, "a day or a time of day is none")


def _remote(document: dict[str, Any], home: Path) -> Remote:
    tls = document.get("tls")
    files = (
        TlsFiles(
            certificate=home / tls["certificate"],
            key=home / tls["key"],
            authority=home / tls["authority"],
            name=tls["name"],
        )
        if tls
        else None
    )
    return Remote(ae_title=document["ae_title"], host=document["host"], port=document["port"], tls=files)


def _listening(document: dict[str, Any] | None) -> Listening | None:
    if document is None:
        return None
    return Listening(host=document["host"], port=document["port"], addresses=frozenset(document["addresses"]))
