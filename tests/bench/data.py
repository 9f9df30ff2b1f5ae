"""De-identification beside the least that any program does with the same files: pydicom reads each and writes it again.

Both are whole processes, from start to end, over the same 512 x 512 CT slices.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import table
from tests.dicom_factory import ct, part10, slice_pixels

SIZE = 512
ROOT = "1.2.826.0.1.3680043.8.498"
COPY = """
import pathlib, sys, pydicom
source, target = map(pathlib.Path, sys.argv[1:])
for path in sorted(source.iterdir()):
    pydicom.dcmread(path).save_as(target / path.name)
"""


@dataclass(frozen=True)
class Run:
    """One pass over all files."""

    what: str
    jobs: int
    instances: int
    seconds: float

    @property
    def per_core(self) -> float:
        """Instances a second for each job."""
        return self.instances / self.seconds / self.jobs


def make(folder: Path, instances: int, patients: int = 1) -> None:
    """One series of clean slices for each patient, each slice with its own noise."""
    for number in range(instances):
        whose = number % patients
        theirs = {"x00100020": ("LO", f"PID447188{whose}"), "x0020000D": ("UI", f"{ROOT}.1.{whose}"),
                  "x0020000E": ("UI", f"{ROOT}.2.{whose}")} if patients > 1 else {}  # fmt: skip
        own = {"x00080018": ("UI", f"{ROOT}.9{number:07d}"), "x00200013": ("IS", str(number + 1)),
               "x00200032": ("DS", ["-125.5", "-130.25", f"{number * 1.25:.2f}"])}  # fmt: skip
        (folder / f"{number:05d}.dcm").write_bytes(part10(ct(slice_pixels(SIZE, seed=number), **own, **theirs)))


def measure(instances: int, rounds: int) -> list[Run]:
    """Copy, one job, two jobs, again and again. Raises `AssertionError` when a slice is not released: that would be no figure."""
    found = []
    with tempfile.TemporaryDirectory(prefix="rr-bench-") as work:
        source, key = Path(work, "in"), Path(work, "key")
        source.mkdir()
        make(source, instances)
        key.write_bytes(os.urandom(32))
        for number in range(rounds):
            copy = Path(work, f"copy-{number}")
            copy.mkdir()
            since = time.monotonic()
            _run(sys.executable, "-c", COPY, str(source), str(copy))
            found.append(Run("read and write", 1, instances, time.monotonic() - since))
            for jobs in (1, 2):
                out = Path(work, f"out-{number}-{jobs}")
                since = time.monotonic()
                said = _run(
                    str(Path(sys.executable).with_name("readingroom")), "deid", str(source), str(out), "--project", "bench",
                    "--key-file", str(key), "--jobs", str(jobs),
                )  # fmt: skip
                found.append(Run("deid", jobs, instances, time.monotonic() - since))
                assert f"{instances} files: {instances} released" in said, said
    return found


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr[-500:]}"
    return done.stdout


def best(runs: list[Run], what: str, jobs: int) -> Run:
    """The quickest: what disturbs a pass only ever makes it slower."""
    return min((run for run in runs if (run.what, run.jobs) == (what, jobs)), key=lambda run: run.seconds)


def report(runs: list[Run]) -> str:
    """The table, and the ratios to a bare read and write."""
    kinds = [("read and write", 1), ("deid", 1), ("deid", 2)]
    chosen = [best(runs, *kind) for kind in kinds]
    rows = [[r.what, str(r.jobs), f"{r.seconds:.2f}", f"{r.instances / r.seconds:.1f}", f"{r.per_core:.1f}",
             f"{chosen[0].per_core / r.per_core:.1f}"] for r in chosen]  # fmt: skip
    return table(["data", "jobs", "s", "instances/s", "instances/s/core", "cost of a core / bare"], rows)


def write_csv(path: Path, runs: list[Run]) -> None:
    """Every pass."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["what", "jobs", "instances", "seconds"])
        writer.writerows([run.what, run.jobs, run.instances, f"{run.seconds:.4f}"] for run in runs)
