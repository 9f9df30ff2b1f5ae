"""Evaluations as files, on the hold-out's side: the plan, the hold-out's warehouse, what was asked and what was answered.

`STORAGE/evaluations/<project>/` remembers each question by its digest: `.spent.json`, `.attempt-<n>.json`, `.report.json`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from datetime import UTC
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from readingroom.adapters.cuts import WarehouseFolder
from readingroom.adapters.durable import alone, write_new
from readingroom.adapters.json_schema import fault_in
from readingroom.adapters.policy_files import checked, resolved_of
from readingroom.adapters.tables import CSV, PATIENT
from readingroom.adapters.tree import Tree
from readingroom.adapters.warehouse import IMAGES, MANIFEST
from readingroom.application.ports_evaluate import Images
from readingroom.domain.access import Released
from readingroom.domain.document import HEX, Table, unique_keys, written
from readingroom.domain.errors import Refused, TryAgain, WrongSetUp
from readingroom.domain.evaluation.budget import Spent
from readingroom.domain.evaluation.plan import Plan, plan_from
from readingroom.domain.ids import HOLDOUT

PLANS: Final = "evaluation"
EVALUATIONS: Final = "evaluations"
WAREHOUSE: Final = "warehouse"
NAME: Final = re.compile(r"[a-z][a-z0-9-]{1,30}")


def plan_named(policies: Path, name: str) -> Plan:
    """The plan of a name. Raises `WrongSetUp` for none, or one that cannot be obeyed."""
    if not NAME.fullmatch(name):
        raise _off("the plan", "its name is small letters, digits and '-'", "name a file of policies/evaluation")
    document = checked(policies / PLANS / f"{name}.yaml", policies / "schema" / "evaluation-plan.schema.json")
    resolved = resolved_of(document)
    try:
        if document["plan"] != name:
            raise ValueError("it names itself otherwise than its file does")
        return plan_from(document, resolved.sha256)
    except ValueError as error:
        raise _off(f"{name}.yaml", str(error), "correct the file") from error


def check_report(policies: Path, report: Mapping[str, Any]) -> None:
    """Raises `WrongSetUp` for what is no report: nothing else is written for anybody to read."""
    schema = json.loads((policies / "schema" / "evaluation-report.schema.json").read_text(encoding="ascii"))
    if fault := fault_in(json.loads(json.dumps(report)), schema):
        raise _off("the report", f"{fault.json_path} is off its schema", "tell who looks after Reading Room")


class HoldOutFolder:
    """See the port `HoldOut`: STORAGE/warehouse, as `readingroom deid --project holdout` made it."""

    def __init__(self, storage: Path) -> None:
        """Raises `WrongSetUp` where there is none, `Refused` for the warehouse of a project."""
        self.folder = storage / WAREHOUSE
        self._lines: list[Released] = WarehouseFolder(self.folder).released()
        if any(line.project != HOLDOUT for line in self._lines):
            raise Refused(
                what="hold-out",
                which=f"{storage.name}/{WAREHOUSE}",
                why="it is a project's warehouse",
                next_step="give the storage of `readingroom holdout split`",
            )

    @cached_property
    def sha256(self) -> str:
        """See the port."""
        return hashlib.sha256((self.folder / MANIFEST).read_bytes()).hexdigest()

    def images(self) -> Images:
        """See the port."""
        found: dict[str, list[str]] = {}
        for line in self._lines:
            if line.path.startswith(f"{IMAGES}/"):
                found.setdefault(line.path.split("/")[1], []).append(line.path)
        return found

    def rows(self) -> Mapping[str, Mapping[str, str]]:
        """See the port. Raises `WrongSetUp` where the table is not the one that the manifest names."""
        named = next((line.sha256 for line in self._lines if line.path == CSV), None)
        try:
            content = (self.folder / CSV).read_bytes()
        except OSError as error:
            raise _changed(CSV) from error
        if hashlib.sha256(content).hexdigest() != named:
            raise _changed(CSV)
        return {row[PATIENT]: row for row in csv.DictReader(io.StringIO(content.decode("ascii"), newline=""))}

    def check(self, patients: Set[str]) -> None:
        """See the port."""
        with Tree(self.folder) as tree:
            for line in self._lines:
                if line.path.startswith(f"{IMAGES}/") and line.path.split("/")[1] in patients:
                    _check_image(tree, line)


def _check_image(tree: Tree, line: Released) -> None:
    try:
        with os.fdopen(tree.open(line.path), "rb") as file:
            if os.geteuid() == 0 and not os.fstat(file.fileno()).st_mode & 0o004:
                raise _off("an image", "a submission is nobody's user, and others may not read it", "chmod -R o+rX")
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _changed("an image") from error
    if found != line.sha256:
        raise _changed("an image")


class MemoryFolder:
    """See the port `Memory`."""

    def __init__(self, storage: Path, project: str) -> None:
        self.folder = storage / EVALUATIONS / project

    def report(self, question: str) -> Mapping[str, Any] | None:
        """See the port."""
        file = self._file(question, "report")
        return _read(file) if file.exists() else None

    def spent(self) -> Sequence[Spent]:
        """See the port."""
        return [self._spent(file) for file in sorted(self.folder.glob("*.spent.json"))]

    def spend(self, spent: Spent) -> None:
        """See the port."""
        document = {"question": spent.question, "at": written(spent.at), "bits": spent.bits}
        self._write(self._file(spent.question, "spent"), document)

    def attempt(self, question: str) -> int:
        """See the port."""
        number = 1 + len(list(self.folder.glob(f"{question}.attempt-*.json")))
        self._write(self._file(question, f"attempt-{number}"), {})
        return number

    def keep(self, question: str, report: Mapping[str, Any]) -> None:
        """See the port."""
        self._write(self._file(question, "report"), report)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See the port."""
        busy = TryAgain(
            what="evaluation", why="another one of this project is running", next_step="wait until it has ended"
        )
        with alone(self.folder, busy):
            yield

    def _file(self, question: str, kind: str) -> Path:
        return self.folder / f"{question}.{kind}.json"

    def _write(self, path: Path, document: Mapping[str, Any]) -> None:
        try:
            write_new(path, json.dumps(document, sort_keys=True, indent=1).encode("ascii") + b"\n", 0o600)
        except OSError as error:
            raise _off(EVALUATIONS, f"it cannot be written ({type(error).__name__})", "see to space") from error

    def _spent(self, file: Path) -> Spent:
        found = Table(_read(file), "question")
        question, at = found.text("question", HEX), found.time("at").astimezone(UTC)
        bits = found.number("bits", 0, 1e9)
        found.done()
        return Spent(question=question, at=at, bits=bits)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes(), object_pairs_hook=unique_keys)
    except (OSError, ValueError) as error:
        raise _off("what was asked", f"a file cannot be read ({type(error).__name__})", "restore the folder") from error


def _changed(which: str) -> WrongSetUp:
    return _off(
        f"{which} of the hold-out's warehouse",
        "it is not what the manifest names",
        "run readingroom deid --project holdout again",
    )


def _off(which: str, why: str, next_step: str) -> WrongSetUp:
    return WrongSetUp(what="evaluation", which=which, why=why, next_step=next_step)
