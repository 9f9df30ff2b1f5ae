"""The network door: instances a second over one, two and four associations, durable and acknowledged; senders beside it.

Beside pynetdicom's own server over the same TLS, which keeps nothing. Senders are processes of its client on the same cores,
so a figure is of both together, from the start of the senders.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.data import make
from tests.bench.figures import table
from tests.mortal import mortal
from tests.network_door import Site, door, wait_for

LEVELS = (1, 2, 4)
SENDER = """
import pathlib, sys
from pynetdicom import _config
_config.LOG_HANDLER_LEVEL, _config.STORE_SEND_CHUNKED_DATASET = "none", True
import ssl
from pynetdicom import AE
work, port, number, of = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:])
context = ssl.create_default_context(cafile=str(work / "ca.crt"))
context.check_hostname = False
context.load_cert_chain(work / "abc.crt", work / "abc.key")
entity = AE("PACS_ABC")
entity.maximum_pdu_size, entity.dimse_timeout = 0, 120
entity.add_requested_context("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
association = entity.associate("127.0.0.1", port, ae_title="ROOM", tls_args=(context, "door.test"))
for path in sorted((work / "in").iterdir())[number::of]:
    status = association.send_c_store(path)
    assert status and status.Status == 0, status
association.release()
"""


BARE = """
import ssl, sys, threading
from pynetdicom import AE, _config, evt
_config.LOG_HANDLER_LEVEL = "none"
work = sys.argv[1]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(work + "/door.crt", work + "/door.key")
context.load_verify_locations(work + "/ca.crt")
context.verify_mode = ssl.CERT_REQUIRED
entity = AE("ROOM")
entity.maximum_pdu_size = 262144
entity.add_supported_context("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
server = entity.start_server(("127.0.0.1", 0), block=False, ssl_context=context, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0)])
print(server.server_address[1], flush=True)
threading.Event().wait()
"""


@dataclass(frozen=True)
class Run:
    """One pass: seconds until all was acknowledged, and until all was in landing with its receipts."""

    what: str
    associations: int
    instances: int
    acknowledged: float
    ingested: float | None = None


def measure(instances: int) -> list[Run]:
    """For each level a pass of the bare server and one of the door, each into a landing of its own."""
    return [run(level, instances) for level in LEVELS for run in (_bare, _door)]


def _door(level: int, instances: int) -> Run:
    with tempfile.TemporaryDirectory(prefix="rr-bench-") as work:
        site = _site(Path(work), instances)
        with door(site) as opened:
            since = time.monotonic()
            _send(site, opened.port, level)
            acknowledged = time.monotonic() - since
            wait_for(lambda: len(site.receipts()) == level and not site.spooled(), 300)
            ingested = time.monotonic() - since
        assert len(site.landed()) == instances
    return Run("door", level, instances, acknowledged, ingested)


def _bare(level: int, instances: int) -> Run:
    with tempfile.TemporaryDirectory(prefix="rr-bench-") as work:
        site = _site(Path(work), instances)
        command = mortal([sys.executable, "-c", BARE, work])
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            port, since = int(server.stdout.readline()), time.monotonic()
            _send(site, port, level)
            acknowledged = time.monotonic() - since
            server.kill()
    return Run("bare pynetdicom", level, instances, acknowledged)


def _site(work: Path, instances: int) -> Site:
    site = Site(work)
    (work / "in").mkdir()
    make(work / "in", instances)
    return site


def _send(site: Site, port: int, level: int) -> None:
    arguments = [[str(site.work), str(port), str(number), str(level)] for number in range(level)]
    senders = [subprocess.Popen([sys.executable, "-c", SENDER, *each]) for each in arguments]
    assert [sender.wait(300) for sender in senders] == [0] * level


def report(runs: list[Run]) -> str:
    """The table."""
    rows = [
        [run.what, str(run.associations), *_rate(run.instances, run.acknowledged), *_rate(run.instances, run.ingested)]
        for run in runs
    ]
    return table(["server", "associations", "acknowledged, s", "instances/s", "received, s", "instances/s"], rows)


def _rate(instances: int, seconds: float | None) -> list[str]:
    return [f"{seconds:.2f}", f"{instances / seconds:.1f}"] if seconds else ["-", "-"]


def write_csv(path: Path, runs: list[Run]) -> None:
    """Every pass."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["server", "associations", "instances", "acknowledged", "ingested"])
        writer.writerows([run.what, run.associations, run.instances, run.acknowledged, run.ingested] for run in runs)
