"""What tests of faults share: the node's own command, and how long it takes to be well again."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from infra.node import launcher, supervisor

MENDED_SECONDS = 60.0


_owners: list[Path] = []


def node(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`readingroom node …` of the checkout whose node this is, or was before it went down."""
    if supervisor.owner_file().exists():
        _owners.append(Path(json.loads(supervisor.owner_file().read_text())["checkout"]))
    owner = _owners[-1]
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [owner / ".venv" / "bin" / "readingroom", "node", *words],
        capture_output=True, text=True, check=False, timeout=300, cwd=owner, env=surroundings,
    )  # fmt: skip
    assert not (check and done.returncode), f"node {' '.join(words)}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
    return done


def away() -> list[str]:
    """Every part of the node that is not well, with the reason."""
    return [f"{state.name}: {state.detail}" for state in launcher.status() if not state.well]


def mended(seconds: float = MENDED_SECONDS) -> float:
    """Seconds until every part is well."""
    since = time.monotonic()
    while missing := away():
        assert time.monotonic() - since < seconds, f"still away after {seconds:.0f} s: {missing}"
        time.sleep(0.3)
    return time.monotonic() - since
