"""A submission: somebody's program or notebook, copied, named by the digest of the copy, run sealed, its answer parsed apart."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from readingroom.adapters.bounded import Limits, Pool
from readingroom.adapters.durable import alone
from readingroom.adapters.sealed_run import CASES, NOTEBOOK, PROGRAM, run_sealed
from readingroom.adapters.tree import Tree
from readingroom.adapters.warehouse import IMAGES
from readingroom.application.ports_evaluate import Images
from readingroom.domain.errors import Refused, TryAgain
from readingroom.domain.evaluation.plan import Costs, Plan
from readingroom.domain.evaluation.predictions import Reason, Scores, Unusable, largest

MOST_FILES: Final = 10_000
Run = Callable[[Path, Path, Costs, int], bytes]  # as `run_sealed`
RUNS: Final = ".runs"  # beside the projects' folders
_READ: Final = "readingroom.adapters.prediction_worker:factory"


@contextmanager
def run_folder(evaluations: Path) -> Iterator[Path]:
    """A folder for one run, gone afterwards; so is what a killed run left."""
    busy = TryAgain(what="evaluation", why="a run is going on", next_step="wait until it has ended")
    runs = evaluations / RUNS
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in runs.iterdir():
        with contextlib.suppress(TryAgain), alone(left, busy):
            shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(dir=runs))
    with alone(folder, busy):
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


class SubmissionRoom:
    """See the port `Room`: the submission is copied before its digest is made, so what runs is what the digest names."""

    def __init__(self, submission: Path, holdout: Path, folder: Path, plan: Plan, run: Run = run_sealed) -> None:
        """`folder` is where the copy lies, and is the hold-out's. Raises `Refused` for what is no submission."""
        self._holdout, self._plan, self._folder, self._run = holdout, plan, folder, run
        self.sha256 = _copied(submission, folder / "cases" / "submission", plan.costs.submission)

    def scores(self, cases: Images) -> Scores:
        """See the port."""
        lines = ["case,image", *(f"{case},/{place}" for case, places in cases.items() for place in places)]
        listed = self._folder / "cases" / CASES
        listed.write_text("\n".join(lines) + "\n", encoding="ascii")
        listed.chmod(0o444)
        tasks = [task.name for task in self._plan.tasks]
        most = largest(len(cases), len(tasks))
        content = self._run(self._folder, self._holdout / IMAGES, self._plan.costs, most)
        if len(content) > most:
            raise Unusable(Reason.MALFORMED)
        return _parsed(content, {"tasks": tasks, "cases": list(cases), "decimals": self._plan.decimals})


def _parsed(content: bytes, asked: Mapping[str, Any]) -> Scores:
    """What a bounded child makes of a stranger's bytes."""
    with Pool(_READ, asked, limits=Limits(memory=1 << 30, seconds=60)) as pool, tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        answer = pool.call({"bytes": len(content)}, (os.dup(file.fileno()),))
    if answer.fault is not None:
        raise Unusable(Reason.MALFORMED)
    if "reason" in answer.document:
        raise Unusable(Reason(answer.document["reason"]))
    scores: Scores = answer.document["scores"]
    return scores


def _copied(submission: Path, target: Path, most: int) -> str:
    """Copies regular files alone, one `predict.py` or `predict.ipynb` among them, and gives their digest."""
    try:
        if not target.parent.exists():
            target.parent.mkdir()
            target.parent.chmod(0o755)
        target.mkdir()
        single = not submission.is_dir()
        odd = submission.is_symlink() or (not single and _has_odd(submission))
        if odd or (single and submission.suffix not in {".py", ".ipynb"}):
            raise _no_submission("it holds something that is neither a file nor a folder, or is no program")
        with Tree(submission.parent if single else submission) as tree:
            names = [submission.name] if single else tree.files()
            if len(names) > MOST_FILES:
                raise _no_submission(f"it holds more than {MOST_FILES} files")
            digest, size = hashlib.sha256(), 0
            for name in names:
                place = target / (PROGRAM if single and submission.suffix == ".py" else NOTEBOOK if single else name)
                place.parent.mkdir(parents=True, exist_ok=True)
                with os.fdopen(tree.open(name), "rb") as source:
                    content = source.read(most - size + 1)
                size += len(content)
                if size > most:
                    raise _no_submission(f"it is larger than {most >> 20} MiB")
                place.write_bytes(content)
                place.chmod(0o444)
                line = [str(place.relative_to(target)), hashlib.sha256(content).hexdigest()]
                digest.update(json.dumps(line).encode("ascii") + b"\n")
        for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
    except OSError as error:
        raise _no_submission(f"it cannot be read ({type(error).__name__})") from error
    if (target / PROGRAM).is_file() == (target / NOTEBOOK).is_file():
        raise _no_submission(f"a folder has {PROGRAM} or {NOTEBOOK} at its top, and not both")
    return digest.hexdigest()


def _has_odd(folder: Path) -> bool:
    for above, folders, files in os.walk(folder):
        for name in (*folders, *files):
            mode = Path(above, name).lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                return True
    return False


def _no_submission(why: str) -> Refused:
    return Refused(
        what="submission",
        why=why,
        next_step=f"give {PROGRAM}, {NOTEBOOK}, or a folder of plain files with one of them",
    )
