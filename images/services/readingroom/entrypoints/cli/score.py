"""`readingroom score`: what a tool left and kept of a synthetic tree, counted by its answer key."""

from __future__ import annotations

import json
from pathlib import Path

import click

from readingroom.adapters.answer_key import entries_of, receipt_of
from readingroom.application.ports_synth import IDENTIFIED
from readingroom.application.score_outputs import score_outputs
from readingroom.domain.errors import WrongSetUp


@click.command()
@click.argument("out_dir", metavar="OUT_DIR", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), help="key.jsonl of `readingroom synth`.")
@click.option(
    "--inputs", type=click.Path(path_type=Path), help="What the tool was given [default: identified, beside it]."
)
@click.option(
    "--receipt", type=click.Path(path_type=Path), help="The receipt of `deid`: which output is of which input."
)
@click.option("--json", "as_json", is_flag=True, help="Print the score as JSON.")
def score(out_dir: Path, key: Path, inputs: Path | None, receipt: Path | None, as_json: bool) -> None:
    """Count what any de-identifier left in OUT_DIR of a tree that `readingroom synth` made.

    What must go and is still there, by class; fields and samples that stayed; what should not have been released; files sent
    again; and, with a receipt, inputs that have exactly one answer. A file that was not written leaks nothing and keeps
    nothing. Counts only.
    """
    from readingroom.adapters.dicom.scored import Written  # noqa: PLC0415 (NumPy is slow to import)

    source = inputs or key.parent / IDENTIFIED
    for folder, option in ((out_dir, "OUT_DIR"), (source, "--inputs")):
        if not folder.is_dir():
            raise WrongSetUp(what="score", which=folder.name, why="it is no folder", next_step=f"correct {option}")
    entries = entries_of(key)
    if missing := sum(not (source / file).is_file() for file in {entry.file for entry in entries}):
        raise WrongSetUp(
            what="score",
            which=key.name,
            why=f"it names {missing} files that are not among the inputs",
            next_step="give --inputs, the tree that the key belongs to",
        )
    found = score_outputs(entries, Written(out_dir, source, receipt_of(receipt) if receipt else None))
    click.echo(json.dumps(found.to_document()) if as_json else "\n".join(found.lines()))
