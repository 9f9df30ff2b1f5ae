"""`readingroom synth`: a synthetic NCCID with its answer key. No real person is in it, and every file says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from readingroom.adapters.synthetic_tree import tree_at
from readingroom.application.ports_synth import IDENTIFIED, KEY
from readingroom.application.synthesise import Order, synthesise
from readingroom.domain.synth.plans import COMPACT, FULL
from readingroom.domain.synth.population import MOST_PATIENTS
from readingroom.entrypoints.cli.progress import progress

LARGEST_SEED = 2**63 - 1


@click.command()
@click.argument("out_dir", metavar="OUT_DIR", type=click.Path(path_type=Path))
@click.option(
    "--patients", required=True, type=click.IntRange(1, MOST_PATIENTS), metavar="N", help="How many patients."
)
@click.option("--seed", required=True, type=click.IntRange(0, LARGEST_SEED), metavar="S", help="Same seed, same bytes.")
@click.option("--compact", is_flag=True, help="CT of 64 x 64 and films of 256 x 256 points, fewer slices.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def synth(out_dir: Path, patients: int, seed: int, compact: bool, as_json: bool) -> None:
    """Make a synthetic NCCID in OUT_DIR, which must be empty or not there.

    OUT_DIR/identified is what `ingest` and `deid` take: a folder for each uploading centre. Beside it stand the answer
    key (key.jsonl), the opted-out NHS numbers and summary.json. Every patient is invented; element (0008,001C) Synthetic
    Data is YES in every file. Without --compact a patient takes about 0.1 GB.
    """
    from readingroom.adapters.dicom.synthetic import Part10  # noqa: PLC0415 (NumPy is slow to import)

    order = Order(patients=patients, seed=seed, design=COMPACT if compact else FULL)
    with progress("patients") as show, tree_at(out_dir) as tree:
        summary = synthesise(order, Part10(), tree, lambda done, total: show("made", done, total))
    _report(summary, out_dir, as_json)


def _report(summary: dict[str, Any], out_dir: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(summary))
        return
    kinds = ", ".join(f"{kind} {number}" for kind, number in summary["studies"].items())
    size = f"{summary['bytes'] / 1e6:.1f} MB"
    click.echo(
        f"{summary['patients']} invented patients of {summary['centres']} centres, {summary['positive']} positive"
    )
    click.echo(f"studies  {kinds}")
    click.echo(f"files    {summary['images']} images and {summary['records']} records, {size}: {out_dir / IDENTIFIED}")
    click.echo(f"key      {sum(summary['key_lines'].values())} lines: {out_dir / KEY}")
    click.echo(f"tree     {summary['tree_sha256']}")
