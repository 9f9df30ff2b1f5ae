"""A submission's run in a pod, where no process may make namespaces: the walls are those of a container beside ours.

That container has another user, no credential and no network. It mounts cases and images read-only, and one scratch folder in
memory; its image is read-only. Ours mounts that folder read-only, too. What the other one says there is a stranger's word.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

from readingroom.adapters.sealed_run import SCRATCH, SET_DUMPABLE, limit, plain_file, run_submission
from readingroom.domain.evaluation.plan import Costs
from readingroom.domain.evaluation.predictions import Reason, Unusable

CASES: Final = Path("/cases")
GO: Final = "go.json"  # in the cases: ours says that they are complete, and what a run may cost
BEGUN, ENDED = ".begun", ".ended"  # in the scratch folder
_PAUSE: Final = 0.2


def run_beside(folder: Path, _: Path, costs: Costs, largest: int, scratch: Path = Path(SCRATCH)) -> bytes:
    """As `run_sealed`; `folder/cases` and the images are what the other container mounts."""
    go = folder / "cases" / GO
    draft = go.with_name(f".{GO}")
    draft.write_text(json.dumps(asdict(costs)), encoding="ascii")
    draft.chmod(0o444)
    draft.replace(go)
    deadline = time.monotonic() + costs.seconds
    while (status := plain_file(scratch, 1, ENDED)) is None:
        if time.monotonic() > deadline:
            raise Unusable(Reason.TIME_OUT)
        time.sleep(_PAUSE)
    content = plain_file(scratch, largest)
    if status != b"0":
        raise Unusable(Reason.FAILED)
    if content is None:
        raise Unusable(Reason.NO_PREDICTIONS)
    return content


def serve(cases: Path = CASES, scratch: Path = Path(SCRATCH)) -> None:
    """The first process of the other container: it waits, runs the submission once, and waits to be ended with the pod."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):  # what it prints would lie in a log of the node
        os.dup2(nowhere, stream)
    while not (cases / GO).exists():
        time.sleep(_PAUSE)
    try:
        (scratch / BEGUN).touch(exist_ok=False)
    except FileExistsError:
        _wait()  # this container was killed at work, for its memory: there is no second run
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(SET_DUMPABLE, 0, 0, 0, 0)
    limit(json.loads((cases / GO).read_bytes()))
    status = run_submission(libc)
    draft = scratch / f"{ENDED}-draft"
    draft.write_bytes(b"0" if status == 0 else b"1")
    draft.replace(scratch / ENDED)
    _wait()


def _wait() -> None:
    while True:
        signal.pause()
