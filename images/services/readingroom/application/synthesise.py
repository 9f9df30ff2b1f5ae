"""Make a synthetic NCCID: patients one after another, every file with its lines of the answer key.

Nothing is remembered of a patient once the next one comes, so memory does not grow with their number. The same number,
seed and design give the same bytes; `tree_sha256` of the summary says so in one line. `data.md` section 13.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from readingroom.application.ports_synth import KEY, OPTED_OUT, Encoder, SyntheticTree
from readingroom.domain.synth.clinical import MARKER
from readingroom.domain.synth.plans import SYNTHETIC, Copy, Design, File, Image, Record
from readingroom.domain.synth.population import Patient, population
from readingroom.domain.synth.uploads import Sent, sent

SCHEMA: Final = "readingroom/synth/v1"
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked for."""

    patients: int
    seed: int
    design: Design


@dataclass
class _Made:
    """What there is so far: counts and a running hash, never a file."""

    counts: Counter[str] = field(default_factory=Counter)
    studies: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    centres: set[str] = field(default_factory=set)
    tree: Any = field(default_factory=hashlib.sha256)
    last: bytes = b""


def synthesise(
    order: Order, encoder: Encoder, tree: SyntheticTree, progress: Progress = lambda _done, _all: None
) -> dict[str, Any]:
    """The summary of what was made. Raises `WrongSetUp` when the folder cannot be written."""
    made = _Made()
    for number, patient in enumerate(population(order.seed, order.patients, order.design), 1):
        _count(made, patient)
        if patient.opted_out:
            tree.line(OPTED_OUT[patient.opted_out], patient.nhs)
        for each in sent(patient, order.design, order.seed):
            _write(made, each, encoder, tree)
        progress(number, order.patients)
    summary = _summary(order, made)
    tree.finish(summary)
    return summary


def _count(made: _Made, patient: Patient) -> None:
    made.counts["positive"] += patient.positive
    made.counts["opted_out"] += bool(patient.opted_out)
    made.studies.update(study.kind for study in patient.studies)
    made.centres.update(study.centre.code for study in patient.studies)


def _write(made: _Made, each: Sent, encoder: Encoder, tree: SyntheticTree) -> None:
    data = _bytes(each.file, made.last, encoder)
    tree.write(each.file.place, data)
    made.last = data
    made.tree.update(f"{each.file.place}\0{hashlib.sha256(data).hexdigest()}\n".encode())
    made.counts["records" if isinstance(each.file, Record) else "images"] += 1
    made.counts["bytes"] += len(data)
    for entry in each.entries:
        tree.line(KEY, json.dumps(entry.to_document(), ensure_ascii=False))
        made.faults[entry.kind.value] += 1


def _bytes(file: File, last: bytes, encoder: Encoder) -> bytes:
    match file:
        case Image():
            return encoder.encode(file)
        case Record():
            return (json.dumps(file.document, ensure_ascii=False, indent=1) + "\n").encode()
        case Copy():
            return last


def _summary(order: Order, made: _Made) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "synthetic": "every patient, place and number is invented",
        "marker": {"element": f"{SYNTHETIC:08X}", "value": "YES", "clinical": MARKER},
        "patients": order.patients,
        "seed": order.seed,
        "design": order.design.name,
        "positive": made.counts["positive"],
        "opted_out": made.counts["opted_out"],
        "centres": len(made.centres),
        "studies": dict(sorted(made.studies.items())),
        "images": made.counts["images"],
        "records": made.counts["records"],
        "bytes": made.counts["bytes"],
        "key_lines": dict(sorted(made.faults.items())),
        "rates_per_thousand": asdict(order.design.rates),
        "tree_sha256": made.tree.hexdigest(),
    }
