"""`readingroom ingest`: the door of the platform, for a folder of files that a centre sent."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from readingroom.adapters.clinical_policy import clinical_policy
from readingroom.adapters.clock import SystemClock
from readingroom.adapters.landing import InboxFolder, LandingFolder, ReceiptFile
from readingroom.adapters.tree import Tree
from readingroom.application.ingest import Ingested
from readingroom.application.ingest import ingest as receive
from readingroom.domain.door import CENTRE, Answer
from readingroom.entrypoints import settings
from readingroom.entrypoints.cli.opt_outs import opt_outs_in, opt_outs_option


@click.command()
@click.argument("in_dir", metavar="IN_DIR", type=click.Path(path_type=Path))
@click.option("--centre", required=True, metavar="CODE", help="Who sent the files: 2 to 12 capital letters or digits.")
@click.option("--landing", required=True, type=click.Path(file_okay=False, path_type=Path), help="Identified storage.")
@click.option("--receipt", type=click.Path(dir_okay=False, path_type=Path), help="One line per input; identified.")
@opt_outs_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ingest(
    in_dir: Path, centre: str, landing: Path, receipt: Path | None, opt_outs: Path | None, as_json: bool
) -> None:
    """Receive a folder of DICOM files and clinical records: each is received, held or rejected, with a reason.

    Files of a patient who opted out are rejected before anything of them is stored: see `readingroom deid --help`.
    """
    if not CENTRE.fullmatch(centre):
        raise click.UsageError("--centre is no centre code: 2 to 12 capital letters or digits")
    for option, path in (("--landing", landing), ("--receipt", receipt), ("--opt-outs", opt_outs)):
        if path is not None and path.resolve().is_relative_to(in_dir.resolve()):
            raise click.UsageError(f"{option} lies inside IN_DIR: the next run would receive what this one wrote")
    away = opt_outs_in(opt_outs)
    with Tree(in_dir) as tree:
        done = receive(
            centre,
            InboxFolder(tree, jobs=len(os.sched_getaffinity(0)), clinical=clinical_policy(settings.policies_folder())),
            LandingFolder(landing, centre, SystemClock().now().date()),
            ReceiptFile(receipt) if receipt else None,
            lambda line: click.echo(line, err=True),
            away,
        )
    _report(done, as_json)


def _report(done: Ingested, as_json: bool) -> None:
    """Counts by code: nothing here says who or what."""
    counts: dict[Answer, dict[str, int]] = {answer: {} for answer in Answer}
    for (answer, reason), number in sorted(done.counts.items(), key=lambda item: (item[0][0], item[0][1] or "")):
        counts[answer][reason or "new"] = number
    if as_json:
        click.echo(json.dumps({"batch": done.batch, **counts}))
        return
    for answer, reasons in counts.items():
        told = ", ".join(f"{reason} {number}" for reason, number in reasons.items())
        click.echo(f"{answer:9}{sum(reasons.values()):>8}" + (f"  ({told})" if told else ""))
    click.echo(f"batch {done.batch}" if done.batch else "no new batch: nothing that was not there already")
