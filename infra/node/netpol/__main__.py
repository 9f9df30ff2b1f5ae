"""`python -m infra.node.netpol --kubeconfig FILE [--once]`: the enforcer's process. It may be killed: fail closed."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import click

from infra import places
from infra.node.netpol.api import Api
from infra.node.netpol.keep import LOOK_SECONDS, SETTLE_SECONDS, Keeper, write_status
from infra.node.netpol.sandboxes import Sandboxes
from infra.node.netpol.watch import Watch
from readingroom.domain.errors import ReadingRoomError

log = logging.getLogger("netpol")
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option("--kubeconfig", type=FILE, required=True, help="Which API server to watch, and as whom.")
@click.option("--status", type=FILE, help="Where to write the status; default: run/netpol-status.json of the state.")
@click.option("--sandboxes", type=FOLDER, help="The CNI library's records: who holds an address on this node.")
@click.option("--once", is_flag=True, help="Apply once, with a lease of 30 s, and end.")
def main(kubeconfig: Path, status: Path | None, sandboxes: Path | None, once: bool) -> None:
    """Turn NetworkPolicies into packet filter rules, and keep them while the view of the API is fresh."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    watch = Watch(Api(kubeconfig))
    records = Sandboxes(sandboxes) if sandboxes else None
    keeper = Keeper(watch, records.holders if records else lambda: None)
    report = status or places.state("run", "netpol-status.json")
    if once:
        try:
            watch.fill()
            keeper.turn()
        except ReadingRoomError as error:
            raise click.ClickException(str(error)) from error
        write_status(keeper, report)
        return
    watch.start()
    run(keeper, watch, records, report)


def run(keeper: Keeper, watch: Watch, records: Sandboxes | None, report: Path) -> None:
    """Turn whenever something stirred, a sandbox came or went, the lease is due, or the last turn left something."""
    unfinished, looked_at, leased_at = False, 0, keeper.leased_at
    while True:
        stirred = watch.wait(LOOK_SECONDS)
        if stirred:
            time.sleep(SETTLE_SECONDS)
        seen = records.changed_at() if records else 0
        if not (stirred or unfinished or seen != looked_at or keeper.due()):
            continue
        looked_at = seen
        try:
            unfinished = not keeper.turn()
            if keeper.leased_at != leased_at:
                leased_at = keeper.leased_at
                write_status(keeper, report)
        except (ReadingRoomError, OSError) as error:
            log.error("%s", error)
            unfinished = True


if __name__ == "__main__":
    main()
