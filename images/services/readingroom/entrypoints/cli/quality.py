"""`readingroom quality`: what each centre has sent, counted, as a page for the data manager. Identified side."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from readingroom.adapters.policy_files import checked
from readingroom.adapters.quality_landing import LandingContents, ReceiptFiles
from readingroom.adapters.quality_page import ReportFolder
from readingroom.adapters.tree import Tree
from readingroom.application.report_quality import report_quality
from readingroom.domain.deid.profile import profile_set
from readingroom.domain.door import CENTRE
from readingroom.entrypoints import deid_wiring, settings
from readingroom.entrypoints.cli.progress import progress


@click.command()
@click.argument("landing", metavar="LANDING", type=click.Path(file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Where reports are put.")
@click.option("--centre", "centres", multiple=True, metavar="CODE", help="These centres alone [default: all].")
@click.option(
    "--receipt",
    "receipts",
    multiple=True,
    metavar="CODE=FILE",
    help="A receipt of `ingest` for that centre: gives reasons.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the reports as JSON lines.")
def quality(landing: Path, out: Path, centres: tuple[str, ...], receipts: tuple[str, ...], as_json: bool) -> None:
    """Count what lies in LANDING, centre by centre: OUT/<centre>.html to look at, OUT/<centre>.json to compute with.

    Completeness of DICOM elements and clinical columns, months, modalities, makers, units and dates that could be read two
    ways; with receipts also what was held or rejected, and why. Counts only, small ones suppressed; never a value.
    """
    if out.resolve().is_relative_to(landing.resolve()):
        raise click.UsageError("--out lies inside LANDING, which is written by ingest alone")
    files = ReceiptFiles(_receipt(each) for each in receipts)
    policies = settings.policies_folder()
    rules = deid_wiring.rules_of(policies, "nccid")
    profiles = profile_set(rules.profile.document, rules.profile.sha256).profiles
    makers = sorted({term for each in profiles for term in each.vocabularies["manufacturers"].whole.values()})
    told = checked(policies / "deid" / "reasons.yaml", policies / "schema" / "deid-reasons.schema.json")["reasons"]
    with Tree(landing) as tree, progress("files") as show:
        received = LandingContents(
            tree, jobs=len(os.sched_getaffinity(0)), clinical=rules.clinical.document, makers=makers
        )
        asked = sorted(set(centres)) or received.centres()
        _check_known({*asked, *(each.partition("=")[0] for each in receipts)}, received.centres())
        documents = report_quality(asked, received, files, ReportFolder(out, told), rules.clinical.sha256, show)
    for document in documents:
        page = out / f"{document['centre']}.html"
        click.echo(json.dumps(document) if as_json else f"{document['centre']:12}  {page}")
    if not documents:
        click.echo("no centre has sent anything: no report", err=True)


def _receipt(given: str) -> tuple[str, Path]:
    centre, _, file = given.partition("=")
    if not CENTRE.fullmatch(centre) or not file:
        raise click.UsageError("--receipt wants CODE=FILE")
    return centre, Path(file)


def _check_known(asked: set[str], there: Sequence[str]) -> None:
    if strangers := asked - set(there):
        raise click.UsageError(f"{len(strangers)} of the centres given have nothing in LANDING")
