"""`readingroom door`: the door of the platform for the network, C-STORE over TLS; and what a centre may know of its files."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Final

import click

from readingroom.adapters.clock import SystemClock
from readingroom.adapters.door_files import counts_by_centre, receipt_of
from readingroom.adapters.landing import LandingFolder, ReceiptFile
from readingroom.adapters.mutual_tls import client_context
from readingroom.adapters.peers_file import peers_in
from readingroom.adapters.spool import SpoolFolder
from readingroom.adapters.tree import Tree
from readingroom.adapters.upload_listener import UploadListener
from readingroom.adapters.upload_sender import FolderOutbox, HttpsReceiver
from readingroom.adapters.upload_store import UploadStore
from readingroom.application.receive_associations import Desk, receive_associations
from readingroom.application.send_upload import outcomes, send_upload
from readingroom.domain.door_counts import CentreCounts
from readingroom.domain.errors import TryAgain, WrongSetUp
from readingroom.domain.peers import Peers
from readingroom.entrypoints import settings
from readingroom.entrypoints.cli.opt_outs import opt_outs_in, opt_outs_option
from readingroom.entrypoints.cli.progress import progress

POLL_SECONDS: Final = 0.2
RETRY_SECONDS: Final = 10.0  # until what could not be ingested is tried again
_folder: Final = click.Path(file_okay=False, path_type=Path)
_file: Final = click.Path(dir_okay=False, path_type=Path)


@click.group()
def door() -> None:
    """The network door: receive C-STORE over TLS and uploads from known peers, and count what became of a centre's files.

    A folder goes through `readingroom ingest`; both doors check the same and end in the same landing.
    """


@door.command()
@click.option("--peers", "peers_file", type=_file, required=True, help="Who may send: see below.")
@click.option("--certificate", type=_file, required=True, help="Our certificate with its chain, PEM.")
@click.option("--key", type=_file, required=True, help="Its private key, PEM.")
@click.option("--authority", type=_file, required=True, help="Who signs the peers' certificates, PEM.")
@click.option("--spool", "spool_folder", type=_folder, required=True, help="Where objects wait; identified.")
@click.option("--landing", type=_folder, required=True, help="Identified storage, as of `ingest`.")
@click.option("--receipts", type=_folder, required=True, help="Gets CENTRE/ASSOCIATION.jsonl; identified.")
@click.option("--listen", default="127.0.0.1:2762", show_default=True, metavar="ADDRESS:PORT", help="Where.")
@click.option("--uploads", metavar="ADDRESS:PORT", help="Where `door send` reaches us too, over HTTPS.")
@opt_outs_option
def serve(  # noqa: PLR0913, PLR0917 (one argument for each option)
    peers_file: Path,
    certificate: Path,
    key: Path,
    authority: Path,
    spool_folder: Path,
    landing: Path,
    receipts: Path,
    listen: str,
    uploads: str | None,
    opt_outs: Path | None,
) -> None:
    """Receive objects until SIGTERM or Ctrl-C, and ingest each association once it is over.

    Success is answered only for what is on the disk. Each association becomes one batch and one receipt, as a folder does
    with `readingroom ingest`. At the end, and at the next start after a kill, what was acknowledged is ingested.

    \b
    The file of peers is the site's own (policies/schema/door-peers.schema.json):
      ae_title: READINGROOM
      peers:
        - {ae_title: PACS_A, centre: ABC, fingerprints: [<SHA-256 of its certificate>], addresses: [10.0.0.7]}
      limits: {associations: 16}
    A peer shows one of its certificates and comes from one of its addresses; of the two, one may be left out.
    Who uploads is known by its certificate, which the file must name, and becomes one batch and one receipt as well.
    The list of peers is read for each association, certificates for each connection, limits at the start.
    """
    from readingroom.adapters.dicom_listener import Credentials, Listener  # noqa: PLC0415 (pynetdicom is slow to import)

    here, there = place("--listen", listen), place("--uploads", uploads) if uploads else None
    known = _peers(peers_file)
    spool = SpoolFolder(spool_folder, known().limits, jobs=len(os.sched_getaffinity(0)))
    desk = _desk(landing, receipts, opt_outs)
    ended = _until_told()
    with spool.opened():
        credentials = Credentials(certificate=certificate, key=key, authority=authority)
        listener = Listener(spool, known, credentials, _say)
        store = UploadStore(spool, receipts)
        uploaded = UploadListener(store, receipts, known, credentials.context, listener.refused)
        try:
            if there:
                if old := store.forget_old():
                    _say(f"{old} uploads given up: nobody went on with them for a week")
                _say(f"taking uploads on {there[0]}:{uploaded.start(*there)}")
            port_taken = listener.start(*here)
            _say(f"listening on {here[0]}:{port_taken} as {known().ae_title} for {len(known().peers)} peers")
            _ingest_until(ended, spool, desk)
        finally:
            uploaded.stop()
            listener.stop()
        _say("listening no more; ingesting what was acknowledged")
        if left := receive_associations(spool, desk, _say):
            raise TryAgain(
                what="the network door",
                which=f"{left} associations",
                why="they could not be ingested",
                next_step="see the lines above, then start it again: nothing acknowledged is lost",
            )


def _ingest_until(ended: Callable[[], bool], spool: SpoolFolder, desk: Desk) -> None:
    """Ingests whenever an association is over; what waits is tried again now and then."""
    waited = 0.0
    left = receive_associations(spool, desk, _say)
    while not ended():
        waited += POLL_SECONDS
        if spool.changed.wait(POLL_SECONDS) or (left and waited >= RETRY_SECONDS):
            spool.changed.clear()
            waited, left = 0.0, receive_associations(spool, desk, _say)


def place(option: str, text: str) -> tuple[str, int]:
    """ADDRESS:PORT, an address of IPv6 in brackets."""
    address, _, port = text.rpartition(":")
    if not address or not port.isdecimal() or int(port) > 65535:
        raise click.UsageError(f"{option} is no ADDRESS:PORT")
    return address.strip("[]"), int(port)


def _peers(path: Path) -> Callable[[], Peers]:
    schema = settings.policies_folder() / "schema" / "door-peers.schema.json"
    return lambda: peers_in(path, schema)


def _desk(landing: Path, receipts: Path, opt_outs: Path | None) -> Desk:
    return Desk(
        landing=lambda centre: LandingFolder(landing, centre, SystemClock().now().date()),
        receipt=lambda association: receipt_of(receipts, association),
        opt_outs=lambda: opt_outs_in(opt_outs),
    )


def _until_told() -> Callable[[], bool]:
    """Whether SIGTERM or Ctrl-C came. The second one ends at once, which is safe, too."""
    came = False

    def end(number: int, _: FrameType | None) -> None:
        nonlocal came
        came = True
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return lambda: came


@door.command()
@click.argument("in_dir", metavar="IN_DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--to", "to", required=True, metavar="HOST:PORT", help="Where the platform takes uploads.")
@click.option("--name", metavar="NAME", help="In the platform's certificate, if it is not HOST.")
@click.option("--certificate", type=_file, required=True, help="The hospital's certificate, PEM.")
@click.option("--key", type=_file, required=True, help="Its private key, PEM.")
@click.option("--authority", type=_file, required=True, help="Who signs the platform's certificate, PEM.")
@click.option("--receipt", type=_file, help="Gets one line for each file, by its name here; identified.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def send(  # noqa: PLR0913, PLR0917 (one argument for each option)
    in_dir: Path,
    to: str,
    name: str | None,
    certificate: Path,
    key: Path,
    authority: Path,
    receipt: Path | None,
    as_json: bool,
) -> None:
    """Send a folder of DICOM files over HTTPS, for a hospital; given again after any end, it goes on where it was.

    What the other side has is not sent twice. The command ends with the receipt: what was received, held, rejected, and why.
    Leave the folder as it is meanwhile; clinical records go through `readingroom ingest` only.
    """
    host, port = place("--to", to)
    context = client_context(certificate, key, authority, "the sender's credentials")
    with Tree(in_dir) as tree, progress("files") as show:
        outbox = FolderOutbox(tree, show)
        if not outbox.sizes():
            raise WrongSetUp(what="the folder to send", why="it holds no file", next_step="name another one")
        receiver = HttpsReceiver(host, port, name or host, context)
        try:
            told = send_upload(outbox, receiver, show, lambda attempt: time.sleep(2 ** (attempt - 1)))
        finally:
            receiver.hang_up()
    if receipt:
        ReceiptFile(receipt).write(
            [
                {"input": each, "outcome": told[content][0], "reason": told[content][1]}
                for content, names in sorted(outbox.names.items(), key=lambda one: one[1])
                for each in names
            ]
        )
    counts = outcomes(told)
    if as_json:
        click.echo(json.dumps([{"outcome": outcome, "reason": reason, "files": n} for outcome, reason, n in counts]))
        return
    for outcome, reason, number in counts:
        click.echo(f"{outcome:9}{f'{reason:20}' if reason else '':20}{number:>8}")


@door.command()
@click.option("--landing", type=_folder, required=True, help="Landing of both doors.")
@click.option("--spool", type=_folder, help="Spool of `door serve`: what is pending.")
@click.option("--receipts", type=_folder, help="CENTRE/*.jsonl: what the door held and rejected.")
@click.option("--deid-receipt", "deid", type=_file, multiple=True, help="A receipt of `deid --landing`; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(landing: Path, spool: Path | None, receipts: Path | None, deid: tuple[Path, ...], as_json: bool) -> None:
    """Count each centre's files: pending, accepted, held, rejected, released. Counts and reasons, nothing that says who."""
    found = counts_by_centre(landing, spool, receipts, deid)
    if as_json:
        click.echo(json.dumps({centre: asdict(counts) for centre, counts in found.items()}, sort_keys=True))
        return
    for centre, counts in found.items():
        click.echo(f"{centre:13}{_told(counts)}")


def _told(counts: CentreCounts) -> str:
    words = [f"pending {counts.pending}", f"accepted {counts.accepted}"]
    for word, reasons in (("held", counts.held), ("rejected", counts.rejected)):
        why = ", ".join(f"{reason} {number}" for reason, number in sorted(reasons.items()))
        words.append(f"{word} {sum(reasons.values())}" + (f" ({why})" if why else ""))
    return ", ".join([*words, f"released {counts.released}"])


def _say(line: str) -> None:
    click.echo(line, err=True)
