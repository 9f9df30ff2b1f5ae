"""The hold-out as folders: `ledger`, `landing/` for its members' originals, `apart/` for what goes to neither side.

Landing itself keeps one mark, `.split.json`: the batches that are split. It names what is left for projects and nothing
else, so it tells of nobody who is hold-out; where there is a mark, `deid` reads no batch that it does not name.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final

from readingroom.adapters.door_files import receipt_lines
from readingroom.adapters.durable import alone, show, sync, write_new
from readingroom.adapters.landing import CLINICAL, INSTANCES, MAKING, RECORD, LandingFolder, batch_of
from readingroom.adapters.originals import LandingOriginals, forget
from readingroom.adapters.tree import Tree
from readingroom.application.ingest import SCHEMA as BATCH_SCHEMA
from readingroom.application.ingest import batch_id
from readingroom.application.ports_deid import Inputs, Resolved
from readingroom.contract import HOLDOUT_LEDGER, SPLIT_MARK, clearance_file
from readingroom.domain.deid.outcome import Outcome
from readingroom.domain.door import CENTRE, Answer
from readingroom.domain.errors import Refused, TryAgain, WrongSetUp
from readingroom.domain.holdout import Ledger, Side, SplitKey, ledger_from
from readingroom.domain.ids import HOLDOUT, ProjectId
from readingroom.domain.opt_out import Names

MARK: Final = SPLIT_MARK
LEDGER: Final = HOLDOUT_LEDGER
CLEARANCE: Final = "readingroom/clearance/v1"
MARK_SCHEMA: Final = "readingroom/split/v1"
LANDING: Final = "landing"
APART: Final = "apart"
_LONGEST: Final = 1 << 20  # bytes of a centre file
_LANDED: Final = re.compile(r"(?:[^/]+/){3}(?:instances/[0-9a-f]{2}|clinical)/([0-9a-f]{64})\.(?:dcm|json)")


class SplitFolders:
    """See the port `Sides`."""

    def __init__(self, landing: Path, holdout: Path, clinical: Resolved, key: SplitKey, *, jobs: int) -> None:
        self._holdout, self._key = holdout, key
        self._folders = {Side.OPEN: landing, Side.HOLDOUT: holdout / LANDING, Side.APART: holdout / APART}
        self._clinical, self._jobs = clinical, jobs
        self._left: dict[str, int] = {}  # batches of landing that were looked at, and how many originals stay in each

    def originals(self) -> Iterator[tuple[str, Names | None]]:
        """See the port."""
        self._left.clear()
        for side in (Side.OPEN, Side.HOLDOUT):
            if side is Side.OPEN or self._folders[side].is_dir():
                with self._originals(side) as originals:
                    for place, names in originals.names():
                        if side is Side.OPEN:
                            self._left[batch_of(place)] = self._left.get(batch_of(place), 0) + 1
                        yield f"{side}/{place}", names

    def ledger(self) -> Ledger | None:
        """See the port."""
        try:
            return ledger_from(json.loads((self._holdout / LEDGER).read_bytes()), self._key)
        except FileNotFoundError:
            if self._folders[Side.HOLDOUT].exists() or split_batches(self._folders[Side.OPEN]):
                raise _off("the ledger", "it is gone, and a split was made", "restore it from the backup") from None
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _off(
                "the ledger", f"it cannot be read ({type(error).__name__})", "restore it from the backup"
            ) from error

    def keep(self, ledger: Ledger) -> None:
        """See the port."""
        _write(self._holdout / LEDGER, ledger.to_document(self._key), 0o600)

    def shut(self) -> None:
        """See the port."""
        self._mark(())

    def open(self) -> None:
        """See the port."""
        self._mark(batch for batch, left in self._left.items() if left)

    def move(self, moves: Mapping[str, Side]) -> None:
        """See the port. A batch that loses all it had goes with it: an empty one would tell whose centre is held out."""
        for source in (Side.OPEN, Side.HOLDOUT):
            if self._folders[source].is_dir():
                theirs = {place.partition("/")[2]: side for place, side in moves.items() if place.startswith(source)}
                self._move(source, theirs)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See the port."""
        busy = TryAgain(
            what="hold-out", why="another split is running", next_step="wait for it, then run the same command again"
        )
        try:
            self._holdout.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _off("its folder", f"it cannot be made ({type(error).__name__})", "see to permissions") from error
        with alone(self._holdout, busy):
            yield

    @contextmanager
    def _originals(self, side: Side) -> Iterator[LandingOriginals]:
        folder = self._folders[side]
        with Tree(folder) as tree:
            yield LandingOriginals(folder, tree, self._clinical, jobs=self._jobs, key=self._key.names)

    def _move(self, source: Side, moves: Mapping[str, Side]) -> None:
        """Even if nothing moves: what a killed run left is swept."""

        def do(batch: Path, files: list[Path]) -> None:
            there = [file for file in files if file.exists()]  # somebody may have retracted one meanwhile
            for target in set(moves.values()):
                theirs = [file for file in there if moves[str(file.relative_to(self._folders[source]))] is target]
                _copy(batch, theirs, self._folders[target])
            if source is Side.OPEN:
                self._left["/".join(batch.parts[-3:])] -= len(files)
            if set(_contents(batch)) <= set(there):
                gone = batch.parent.parent / f"{MAKING}{batch.name}"  # swept by whoever locks this centre next
                batch.rename(gone)
                sync(batch.parent)
                shutil.rmtree(gone)
            elif there:
                forget(batch / RECORD, there)

        with self._originals(source) as originals:
            originals.each_batch(list(moves), do)

    def _mark(self, batches: Iterable[str]) -> None:
        _write(self._folders[Side.OPEN] / MARK, {"schema": MARK_SCHEMA, "batches": sorted(batches)}, 0o444)


def _contents(batch: Path) -> list[Path]:
    return [*batch.glob(f"{INSTANCES}/*/*"), *batch.glob(f"{CLINICAL}/*")]


def _copy(batch: Path, files: Sequence[Path], target: Path) -> None:
    """What is not there yet becomes a batch of its own, of the same centre and day."""
    centre, day = batch.parent.parent.name, date.fromisoformat(batch.parent.name)
    landing = LandingFolder(target, centre, day)
    there = landing.stored()
    new = [file for file in files if file.stem not in there]
    if not new:
        return
    record: dict[str, Any] = json.loads((batch / RECORD).read_bytes())
    told = {entry["sha256"]: entry for kind in (INSTANCES, CLINICAL) for entry in record.get(kind, ())}
    entries: dict[str, list[Any]] = {INSTANCES: [], CLINICAL: []}
    with landing.batch() as making:
        for file in sorted(new, key=lambda file: file.stem):
            clinical = file.parent.name == CLINICAL
            with file.open("rb") as opened:
                if not making.store(iter(lambda: opened.read(1 << 20), b""), file.stem, clinical=clinical):
                    raise ValueError("an original is not what its name says")
            if file.stem in told:
                entries[CLINICAL if clinical else INSTANCES].append(told[file.stem])
        name = batch_id(centre, [file.stem for file in new])
        counts = dict.fromkeys(Answer, 0) | {Answer.RECEIVED: len(new)}
        making.commit(name, {"schema": BATCH_SCHEMA, "centre": centre, "batch": name, **entries, "counts": counts})


def split_batches(landing: Path) -> frozenset[str] | None:
    """A landing's batches that are split; None where no hold-out is set up. Raises `WrongSetUp` for a mark that is off."""
    try:
        document = json.loads((landing / MARK).read_bytes())
        if document["schema"] != MARK_SCHEMA:
            raise ValueError("another schema")
        return frozenset(map(str, document["batches"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _off(
            f"{MARK} of landing", f"it cannot be read ({type(error).__name__})", "split landing again"
        ) from error


class SplitInputs:
    """See the port `Inputs`: a project's, who gets what is split or nothing at all."""

    def __init__(self, inputs: Inputs, split: frozenset[str] | None) -> None:
        """`split` was read before anything is listed, so what comes meanwhile is not in it."""
        self._inputs, self._split = inputs, split

    def files(self) -> Sequence[str]:
        """See the port. Raises `Refused` for one file of a batch that is not split, or for a landing or hold-out below."""
        names = self._inputs.files()
        if any(name.rpartition("/")[2] in {MARK, LEDGER} for name in names):
            raise _not_split("it holds a landing with a hold-out, which is read as a landing or not at all")
        if self._split is not None and any(batch_of(name) not in self._split for name in names):
            raise _not_split("it has changed since it was split")
        return names


def check_side(project: ProjectId, source: Path, target: Path, *, landing: bool) -> frozenset[str] | None:
    """What of a landing a project's `deid` may read: these batches; None for all of a folder that knows no hold-out.

    The hold-out reads its own landing into its own storage, and nobody else reads or writes anything there. Raises
    `Refused` otherwise, and for a folder within a landing that has a mark; `SplitInputs` refuses the rest.
    """
    source, target = source.resolve(), target.resolve()
    storage = next((folder for folder in (source, *source.parents) if _has(folder, LEDGER)), None)
    if project == HOLDOUT:
        own = storage is not None and landing and source == storage / LANDING and target.parent == storage
        if not own or target.name == APART:
            raise Refused(
                what="project id",
                which=HOLDOUT,
                why="it is reserved for the hold-out, which reads its own landing into its own storage",
                next_step="give HOLDOUT/landing --landing and a folder in HOLDOUT, or another project",
            )
        return None
    if storage is not None or any(_has(folder, LEDGER) for folder in (target, *target.parents)):
        raise Refused(
            what="deid",
            which=f"project {project}",
            why="a folder given lies in the hold-out's storage",
            next_step="give the project's own folders",
        )
    if any(_has(folder, MARK) for folder in source.parents):
        raise _not_split("it is a part of a landing with a hold-out")
    return split_batches(source)


def _has(folder: Path, name: str) -> bool:
    try:
        return (folder / name).exists()
    except OSError:
        return False  # a folder that may not be searched: whoever reads or writes there says so


def released_in(receipts: Iterable[Path]) -> frozenset[str]:
    """What receipts of `deid --landing` call released, by SHA-256. Raises `WrongSetUp` for another receipt."""
    found: set[str] = set()
    for path in receipts:
        for number, line in enumerate(receipt_lines(path), 1):
            if (match := _LANDED.fullmatch(str(line["input"]))) is None:
                raise _off(path.name, f"line {number} is no original of a landing", "give receipts of deid --landing")
            if line["outcome"] == Outcome.RELEASED:
                found.add(match[1])
    return frozenset(found)


def clear(folder: Path, digest: str) -> None:
    """Says of a cut that it was compared. The same again changes nothing."""
    content = json.dumps({"schema": CLEARANCE, "digest": digest}).encode("ascii") + b"\n"
    try:
        with contextlib.suppress(FileExistsError):
            write_new(folder / clearance_file(digest), content, 0o444)
    except OSError as error:
        raise _off("the clearance", f"it cannot be written ({type(error).__name__})", "see to space") from error


def centres_in(path: Path) -> frozenset[str]:
    """The centres that a file names, one code a line. Raises `WrongSetUp` where one is off."""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise ValueError("no list of centres")
        lines = [line.strip() for line in content.decode("ascii").split("\n")]
    except (OSError, ValueError) as error:
        raise _off("the centre file", f"it cannot be read ({type(error).__name__})", "write one code a line") from error
    for number, line in enumerate(lines, 1):
        if line and not CENTRE.fullmatch(line):
            raise _off("the centre file", f"line {number} is no centre code", "write 2 to 12 capital letters or digits")
    return frozenset(filter(None, lines))


def _write(path: Path, document: Mapping[str, Any], mode: int) -> None:
    draft = path.with_name(f".draft-{path.name}")
    try:
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(document) + "\n", encoding="ascii")
        draft.chmod(mode)
        show(draft, path)
    except OSError as error:
        raise _off(
            path.name, f"it cannot be written ({type(error).__name__})", "see to space and permissions"
        ) from error


def _not_split(why: str) -> Refused:
    return Refused(
        what="deid",
        which="the folder given",
        why=why,
        next_step="run readingroom holdout split --confirm, then give the landing itself with --landing",
    )


def _off(which: str, why: str, next_step: str) -> WrongSetUp:
    return WrongSetUp(what="hold-out", which=which, why=why, next_step=next_step)
