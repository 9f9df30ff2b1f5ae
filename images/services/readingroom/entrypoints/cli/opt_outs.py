"""`--opt-outs DIR`, as `ingest` and `deid` have it."""

from __future__ import annotations

from pathlib import Path

import click

from readingroom.adapters.clock import SystemClock
from readingroom.adapters.opt_out_files import OptOutFolder
from readingroom.domain.opt_out import NOBODY, OptOuts

opt_outs_option = click.option(
    "--opt-outs", type=click.Path(file_okay=False, path_type=Path), help="Who opted out: questions, answers and a list."
)


def opt_outs_in(folder: Path | None) -> OptOuts:
    """What the folder says today; without one, nobody was asked about."""
    return OptOutFolder(folder).opt_outs(SystemClock().now().date()) if folder else NOBODY
