"""A network door at work as a process of its own, and hospitals that send to it with pynetdicom's own client."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pynetdicom import _config
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association

from tests.certificates import Authority
from tests.dicom_factory import CT_CLASS, EXPLICIT
from tests.mortal import mortal

_config.STORE_SEND_CHUNKED_DATASET = True  # the file's own bytes, not what pydicom makes of them
VERIFICATION = "1.2.840.10008.1.1"
SECONDS = 60.0
Kinds = dict[str, list[str]]  # SOP class → transfer syntaxes


def wait_for(what: Callable[[], object], seconds: float = SECONDS) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


class _Kept(ssl.SSLContext):
    """Knows the connections it made: pynetdicom leaves some open whose peer has gone."""

    def __init__(self, *_: object) -> None:
        self.made: list[ssl.SSLSocket] = []

    def wrap_socket(self, *arguments: Any, **words: Any) -> ssl.SSLSocket:
        self.made.append(super().wrap_socket(*arguments, **words))
        return self.made[-1]


@dataclass
class Site:
    """Folders, an authority, certificates of a server and of two hospitals, and the file of peers."""

    work: Path
    limits: dict[str, int] = field(default_factory=dict)
    trusted: str = "ca.crt"  # by hospitals: who signs the certificate of the door

    def __post_init__(self) -> None:
        self.authority = Authority()
        self.authority.write(self.work)
        self.authority.leaf(self.work, "door", "door.test")
        for name in ("abc", "xyz"):
            self.authority.leaf(self.work, name, f"{name}.test", client=True)
        self.write_peers()

    def write_peers(self, *more: dict[str, Any]) -> None:
        """Hospital ABC is known by its certificate, XYZ by its certificate and address."""
        peers = [
            {"ae_title": "PACS_ABC", "centre": "ABC", "fingerprints": [self.fingerprint("abc")]},
            {"ae_title": "PACS_XYZ", "centre": "XYZ", "fingerprints": [self.fingerprint("xyz")], "addresses": ["127.0.0.1"]},
            *more,
        ]  # fmt: skip
        text = json.dumps({"ae_title": "ROOM", "peers": peers, "limits": self.limits})
        (self.work / "peers.yaml").write_text(text)  # JSON is YAML

    def fingerprint(self, name: str) -> str:
        return hashlib.sha256(
            ssl.PEM_cert_to_DER_cert((self.work / f"{name}.crt").read_text(encoding="ascii"))
        ).hexdigest()

    def client(self, name: str | None) -> _Kept:
        """TLS of a hospital; without a name, of somebody without a certificate."""
        context = _Kept(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = True
        context.load_verify_locations(self.work / self.trusted)
        if name:
            context.load_cert_chain(self.work / f"{name}.crt", self.work / f"{name}.key")
        return context

    def command(self, *more: str) -> list[str]:
        folders = [word for name in ("spool", "landing", "receipts") for word in (f"--{name}", f"{self.work}/{name}")]
        names = {"peers": "peers.yaml", "certificate": "door.crt", "key": "door.key", "authority": "ca.crt"}
        files = [word for option, file in names.items() for word in (f"--{option}", f"{self.work}/{file}")]
        return ["door", "serve", *files, *folders, "--listen", "127.0.0.1:0", *more]

    def receipts(self, centre: str = "ABC") -> list[list[tuple[str, str | None]]]:
        """What each receipt says, oldest first."""
        found = []
        for path in sorted((self.work / "receipts" / centre).glob("*.jsonl")):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found.append([(line["outcome"], line["reason"]) for line in lines])
        return found

    def landed(self, centre: str = "ABC") -> list[Path]:
        return sorted((self.work / "landing" / centre).glob("[0-9]*/[!.]*/instances/*/*.dcm"))

    def spooled(self) -> list[Path]:
        walk = os.walk(self.work / "spool")  # which passes over a folder that went meanwhile
        return [Path(folder, name) for folder, _, names in walk for name in names]


@dataclass(frozen=True)
class Reached:
    """Where a hospital finds a door, and the name in its certificate."""

    site: Site
    port: int
    address: str = "127.0.0.1"
    name: str = "door.test"


class Door:
    """The process. What it says is kept."""

    def __init__(self, site: Site, *more: str) -> None:
        self.site, self.said = site, list[str]()
        command = mortal(["readingroom", *site.command(*more)])
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        wait_for(lambda: self.heard("listening on") or self.process.poll() is not None)
        assert self.process.poll() is None, self.said
        self.port = self._port(r"listening on .*:(\d+) as")
        self.uploads = self._port(r"taking uploads on .*:(\d+)") if "--uploads" in more else 0

    def _port(self, line: str) -> int:
        (found,) = filter(None, (re.fullmatch(rf"{line}.*", one) for one in self.said))
        return int(found[1])

    def _read(self) -> None:
        assert self.process.stderr
        self.said.extend(line.rstrip("\n") for line in self.process.stderr)

    def heard(self, words: str) -> bool:
        return any(words in line for line in list(self.said))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends it, and says its status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(SECONDS)
        self._reader.join()
        assert self.process.stderr
        self.process.stderr.close()
        return status


@contextlib.contextmanager
def door(site: Site, *more: str) -> Iterator[Door]:
    opened = Door(site, *more)
    try:
        yield opened
    finally:
        opened.end(signal.SIGKILL)


@contextlib.contextmanager
def calling(
    opened: Door | Reached,
    title: str = "PACS_ABC",
    certificate: str | None = "abc",
    kinds: Kinds | None = None,
    called: str = "ROOM",
) -> Iterator[Association]:
    """An association, released at the end if it was accepted and still is."""
    entity = ApplicationEntity(ae_title=title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = 20
    for sop_class, syntaxes in (kinds or {VERIFICATION: [EXPLICIT], CT_CLASS: [EXPLICIT]}).items():
        entity.add_requested_context(sop_class, syntaxes)
    where = opened if isinstance(opened, Reached) else Reached(opened.site, opened.port)
    tls = where.site.client(certificate)
    association = entity.associate(where.address, where.port, ae_title=called, tls_args=(tls, where.name))
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        if association.is_alive():
            association.join(20)
        for link in tls.made:
            link.close()


def send(association: Association, path: Path) -> int | None:
    """The status of a C-STORE; None where no answer came."""
    status = association.send_c_store(path).get("Status")
    return None if status is None else int(status)
