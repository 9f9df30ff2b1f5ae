"""The network door: instances a second over one, two and four associations, durable and acknowledged; senders beside it.

Senders are processes of pynetdicom's own client on the same cores, so a figure is of both together.
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


@dataclass(frozen=True)
class Run:
    """One pass: seconds until all was acknowledged, and until all was in landing with its receipts."""

    associations: int
    instances: int
    acknowledged: float
    ingested: float


def measure(instances: int) -> list[Run]:
    """A pass for each level, each into a landing of its own."""
    return [_pass(level, instances) for level in LEVELS]


def _pass(level: int, instances: int) -> Run:
    with tempfile.TemporaryDirectory(prefix="rr-bench-") as work:
        site = Site(Path(work))
        (site.work / "in").mkdir()
        make(site.work / "in", instances)
        with door(site) as opened:
            arguments = [[work, str(opened.port), str(number), str(level)] for number in range(level)]
            since = time.monotonic()
            senders = [subprocess.Popen([sys.executable, "-c", SENDER, *each]) for each in arguments]
            assert [sender.wait(300) for sender in senders] == [0] * level
            acknowledged = time.monotonic() - since
            wait_for(lambda: len(site.receipts()) == level and not site.spooled(), 300)
            ingested = time.monotonic() - since
        assert len(site.landed()) == instances
    return Run(level, instances, acknowledged, ingested)


def report(runs: list[Run]) -> str:
    """The table."""
    rows = [[str(run.associations), f"{run.acknowledged:.2f}", f"{run.instances / run.acknowledged:.1f}",
             f"{run.ingested:.2f}", f"{run.instances / run.ingested:.1f}"] for run in runs]  # fmt: skip
    return table(["associations", "s to the last success", "instances/s", "s to the last receipt", "instances/s"], rows)


def write_csv(path: Path, runs: list[Run]) -> None:
    """Every pass."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["associations", "instances", "acknowledged", "ingested"])
        writer.writerows(
            [run.associations, run.instances, f"{run.acknowledged:.4f}", f"{run.ingested:.4f}"] for run in runs
        )
