"""Receipts of the network door, and what the doors have written, counted for each centre: landing, spool, receipts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from readingroom.adapters.clock import SystemClock
from readingroom.adapters.landing import LandingFolder, ReceiptFile
from readingroom.adapters.spool import pending_in
from readingroom.application.ports_spool import Association
from readingroom.domain.door_counts import CentreCounts, counts_of
from readingroom.domain.errors import WrongSetUp


def receipt_of(receipts: Path, association: Association) -> ReceiptFile:
    """`<receipts>/<centre>/<association>.jsonl`. Raises `WrongSetUp` when there can be no such folder."""
    folder = receipts / association.centre
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongSetUp(
            what="the receipts",
            which=folder.name,
            why=f"their folder cannot be made ({error.strerror or type(error).__name__})",
            next_step="see to space and permissions: it is tried again",
        ) from error
    return ReceiptFile(folder / f"{association.name}.jsonl")


def counts_by_centre(
    landing: Path, spool: Path | None, receipts: Path | None, deid: Sequence[Path]
) -> dict[str, CentreCounts]:
    """Each centre that has a folder in one of them. Raises `WrongSetUp` for a receipt or a folder that cannot be read."""
    homes = [folder for folder in (landing, spool, receipts) if folder is not None]
    centres = {path.name for home in homes for path in home.glob("[!.]*") if path.is_dir()}
    originals = [line for path in deid for line in receipt_lines(path)]
    today = SystemClock().now().date()
    return {
        centre: counts_of(
            pending_in(spool / centre) if spool else 0,
            len(LandingFolder(landing, centre, today).stored()),
            _receipts_of(receipts / centre) if receipts else (),
            (line for line in originals if line["input"].startswith(f"{centre}/")),
        )
        for centre in sorted(centres)
    }


def _receipts_of(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("[!.]*.jsonl")):
        yield from receipt_lines(path)


def receipt_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a receipt, of any door. Raises `WrongSetUp` where one is off."""
    try:
        with path.open("rb") as file:
            for text in file:
                line = json.loads(text)
                if not {"input", "outcome", "reason"} <= line.keys():
                    raise ValueError("no line of a receipt")
                yield line
    except (OSError, ValueError, AttributeError) as error:
        raise WrongSetUp(
            what="a receipt",
            which=path.name,
            why=f"it cannot be read ({type(error).__name__})",
            next_step="give receipts as `ingest`, `deid` and `door serve` write them",
        ) from error
