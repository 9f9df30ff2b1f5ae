"""De-identification in shards: how much sooner two workers are done than one, each a process as an Indexed Job has it.

The same files, patients and shards for both; what comes out must be the same bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.data import Run, best, make
from tests.bench.figures import table

PATIENTS = 8
SHARDS = 2
STEPS = ("plan", "work", "finish")


def measure(instances: int, rounds: int) -> list[Run]:
    """Each step with one worker and with two, again and again. Raises `AssertionError` when the bytes differ."""
    found = []
    with tempfile.TemporaryDirectory(prefix="rr-bench-") as work:
        here = Path(work)
        (here / "in").mkdir()
        make(here / "in", instances, PATIENTS)
        (here / "key").write_bytes(os.urandom(32))
        manifests = set()
        for number in range(rounds):
            for workers in (1, 2):
                out = here / f"out-{number}-{workers}"
                found += _steps(here, out, instances, workers)
                manifests.add((out / "manifest.jsonl").read_bytes())
        assert len(manifests) == 1, "the bytes depend on the number of workers"
        assert len(manifests.pop().splitlines()) == instances, "not every slice was released"
    return found


def _steps(here: Path, out: Path, instances: int, workers: int) -> list[Run]:
    command = [
        str(Path(sys.executable).with_name("readingroom")), "deid", str(here / "in"), str(out), "--project", "bench",
        "--key-file", str(here / "key"), "--staging", str(out.with_suffix(".staging")), "--step",
    ]  # fmt: skip
    began = time.monotonic()
    _run(*command, "plan", "--shards", str(SHARDS), "--jobs", str(workers))
    planned = time.monotonic()
    chosen = ("--plan", json.loads((out.with_suffix(".staging") / "plan.json").read_text())["plan"])
    with ThreadPoolExecutor(workers) as pool:
        list(
            pool.map(lambda shard: _run(*command, "work", *chosen, "--jobs", "1", "--shard", str(shard)), range(SHARDS))
        )
    worked = time.monotonic()
    _run(*command, "finish", *chosen)
    took = (planned - began, worked - planned, time.monotonic() - worked)
    return [Run(step, workers, instances, seconds) for step, seconds in zip(STEPS, took, strict=True)]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr[-500:]}"


def report(runs: list[Run]) -> str:
    """The quickest pass of each step, one worker beside two, and all of them together."""
    rows = []
    for step in STEPS:
        one, two = (best(runs, step, workers).seconds for workers in (1, 2))
        rows.append((step, one, two))
    rows.append(("together", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    told = [[step, f"{one:.2f}", f"{two:.2f}", f"{one / two:.2f}"] for step, one, two in rows]
    return table(["step", "1 worker, s", "2 workers, s", "times as fast"], told)
