"""Archives of a hospital: a real one, DCMTK's dcmqrscp on loopback, and one of pynetdicom that does what a test tells it."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity

from tests.dicom_factory import CT_CLASS, EXPLICIT, ct, part10
from tests.mortal import mortal
from tests.ports import free_port

FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{last}" for last in (1, 2, 3))
ROOT = "1.2.826.0.1.77"
NAME, NUMBER = "Quux^Zebediah", "9434765919"  # nobody else has them
DAY = "20260110"
SECONDS = 30.0


def image(study: int = 1, number: int = 1, *, day: str = DAY, modality: str = "CT", **more: Any) -> bytes:
    """A CT slice of a study of that day, with an accession number of its own."""
    fields = {
        "x00080018": ("UI", f"{ROOT}.{study}.1.{number}"),
        "x0020000D": ("UI", f"{ROOT}.{study}"),
        "x0020000E": ("UI", f"{ROOT}.{study}.1"),
        "x00080020": ("DA", day),
        "x00080050": ("SH", f"QUUX{study}"),
        "x00080060": ("CS", modality),
        "x00100010": ("PN", NAME),
        "x00100020": ("LO", NUMBER),
        **more,
    }
    return part10(ct(**fields))


@dataclass
class Site:
    """A hospital's side: a folder with the set-up and the journal."""

    work: Path
    port: int = 1
    tls: dict[str, str] | None = None
    listen: int = 0
    changes: dict[str, Any] = field(default_factory=dict)
    bounds: dict[str, Any] = field(default_factory=dict)
    journal: str = "journal"

    def set_up(self) -> Path:
        """Writes it anew; to an inbox, unless the changes name a door."""
        document: dict[str, Any] = {
            "ae_title": "AGENT",
            "pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": self.port, **({"tls": self.tls} if self.tls else {})},
            "collect": {"modalities": ["CT", "MR"], "from": "2026-01-01", "to": "2026-12-31", "studies": 50},
            "hours": [{"from": "00:00", "to": "00:00"}],
            "instances_per_second": 1000,
            "bounds": {"pause_seconds": 0.1, "pauses": 1, "answer_seconds": 5, **self.bounds},
            **({} if "door" in self.changes else {"inbox": "inbox"}),
            **({"listen": {"host": "127.0.0.1", "port": self.listen, "addresses": ["127.0.0.1"]}} if self.listen else {}),
            **self.changes,
        }  # fmt: skip
        path = self.work / "collect.yaml"
        path.write_text(json.dumps(document))  # JSON is YAML
        return path

    def plan(self, *more: object) -> list[object]:
        return ["collect", "plan", self.set_up(), *(more or ("--from", "2026-01-10", "--to", "2026-01-10"))]

    def run(self, *more: object) -> list[object]:
        words = ["collect", "run", self.set_up(), "--journal", self.work / self.journal]
        return [*words, *(more or ("--from", "2026-01-10", "--to", "2026-01-10"))]

    def receipt(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.work / self.journal / "receipt.json").read_text())
        return found

    def inbox(self) -> list[str]:
        """UIDs of the instances there, each as often as it is there."""
        paths = (self.work / "inbox").glob("*")
        return sorted(str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths)


@contextlib.contextmanager
def real(site: Site, files: Sequence[bytes]) -> Iterator[Site]:
    """dcmqrscp, with these files in its archive."""
    site.port = free_port()
    store = site.work / "archive"
    store.mkdir()
    paths = []
    for number, content in enumerate(files):
        paths.append(store / f"{number:04}")
        paths[-1].write_bytes(content)
    (site.work / "qr.cfg").write_text(
        f"NetworkTCPPort = {site.port}\nMaxPDUSize = 131072\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nagent = (AGENT, 127.0.0.1, {site.listen or 1})\nHostTable END\n"
        f"VendorTable BEGIN\nVendorTable END\nAETable BEGIN\nPACS {store} RW (200, 1024mb) ANY\nAETable END\n"
    )
    subprocess.run(["dcmqridx", store, *paths], check=True, capture_output=True)
    log = (site.work / "qr.log").open("wb")
    server = subprocess.Popen(mortal(["dcmqrscp", "-c", str(site.work / "qr.cfg")]), stdout=log, stderr=log)
    try:
        _wait_for_port(site.port)
        yield site
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(SECONDS)
        log.close()
        shutil.rmtree(store)


def _wait_for_port(port: int) -> None:
    until = time.monotonic() + SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert time.monotonic() < until
        time.sleep(0.05)


Answers = Iterator[tuple[int, Dataset | None]]


@dataclass
class Fake:
    """Answers as told. By default: one study with one series of `files`, each of which it sends."""

    files: list[bytes]
    find: Callable[[Fake, Dataset], Answers] | None = None
    get: Callable[[Fake, evt.Event], Iterator[Any]] | None = None
    asked: list[Dataset] = field(default_factory=list)  # by C-FIND
    got: list[list[str]] = field(default_factory=list)  # instances of each C-GET
    models: tuple[str, ...] = (FIND, GET)

    def on_find(self, event: evt.Event) -> Answers:
        self.asked.append(event.identifier)
        yield from (self.find or honest)(self, event.identifier)

    def on_get(self, event: evt.Event) -> Iterator[Any]:
        wanted = event.identifier.SOPInstanceUID
        self.got.append([wanted] if isinstance(wanted, str) else list(wanted))
        yield from (self.get or sending)(self, event)

    def sets(self) -> list[Dataset]:
        return [pydicom.dcmread(BytesIO(content)) for content in self.files]


def answer(found: Dataset, asked: Dataset) -> Dataset:
    """What an archive says of an instance at the level that is asked."""
    said = Dataset()
    for element in asked:
        value = found.get(element.keyword, "")
        setattr(said, element.keyword, getattr(value, "value", value))
    said.QueryRetrieveLevel = asked.QueryRetrieveLevel
    return said


def honest(fake: Fake, asked: Dataset) -> Answers:
    unique = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
    keys = [key for key in ("StudyDate", "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID") if asked.get(key)]
    met = set()
    for found in fake.sets():
        uid = found[unique[asked.QueryRetrieveLevel]].value
        if uid not in met and all(found.get(key) == asked.get(key) for key in keys):
            met.add(uid)
            yield 0xFF00, answer(found, asked)
    yield 0x0000, None


def sending(fake: Fake, event: evt.Event) -> Iterator[Any]:
    wanted = fake.got[-1]
    chosen = [found for found in fake.sets() if found.SOPInstanceUID in wanted]
    yield len(chosen)
    for found in chosen:
        yield 0xFF00, found


@contextlib.contextmanager
def fake(site: Site, files: Sequence[bytes] = (), *, tls: ssl.SSLContext | None = None, **told: Any) -> Iterator[Fake]:
    """An archive in this process."""
    one = Fake(list(files) or [image()], **told)
    entity = ApplicationEntity(ae_title="PACS")
    entity.network_timeout = entity.acse_timeout = entity.dimse_timeout = 20
    for uid in one.models:
        entity.add_supported_context(uid)
    entity.add_supported_context(CT_CLASS, [EXPLICIT], scu_role=True, scp_role=True)
    site.port = free_port()
    handlers = [(evt.EVT_C_FIND, one.on_find), (evt.EVT_C_GET, one.on_get)]
    server = entity.start_server(
        ("127.0.0.1", site.port),
        block=False,
        evt_handlers=handlers,  # type: ignore[arg-type]
        ssl_context=tls,
    )
    try:
        yield one
    finally:
        assert server
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def raw(site: Site, say: Callable[[socket.socket], None]) -> Iterator[None]:
    """Something that listens where the archive should, and says what a test tells it to whoever calls."""
    links: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                links.append(server.accept()[0])
                say(links[-1])

    with socket.create_server(("127.0.0.1", 0)) as server:
        site.port = server.getsockname()[1]
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for link in links:
                link.close()
            thread.join(SECONDS)
