"""The clinical part of `deid` in this process: one value by its column, one record, or a folder through the whole use-case."""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from readingroom.adapters.clinical_policy import clinical_policy
from readingroom.adapters.deid_worker import factory
from readingroom.adapters.tables import TableFiles
from readingroom.adapters.tree import Tree
from readingroom.adapters.warehouse import FileSheet, FolderWarehouse
from readingroom.application.clean_clinical import Clinical
from readingroom.application.deidentify import Run, Sheets, World, deidentify
from readingroom.application.ports_deid import Done, Task
from readingroom.domain.clinical.clean import Person, Row, clean
from readingroom.domain.clinical.policy import Policy, policy_from
from readingroom.domain.clinical.record import record_from, told_by
from readingroom.domain.deid.keys import Pseudonyms, PurposeKeys
from readingroom.domain.ids import project_id
from readingroom.domain.opt_out import NOBODY, OptOuts
from readingroom.entrypoints.deid_wiring import Rules, setup_document
from tests.unit.deid.engine import KEY, POLICIES, resolved

T = TypeVar("T")
DAYS = 1000
RULES = clinical_policy(POLICIES)


@functools.cache
def policy() -> Policy:
    return policy_from(RULES.document, RULES.sha256)


@functools.cache
def pseudonyms(project: str = "demo") -> Pseudonyms:
    return Pseudonyms(PurposeKeys.from_secret(KEY), project)


def row(fields: Mapping[str, Any], *, by: Policy | None = None) -> Row:
    """One record as a row; dates move by DAYS."""
    rules = by or policy()
    record = record_from({"Pseudonym": "Covid1", **fields}, rules)
    return clean(record, Person(patient="P", days=DAYS), rules, pseudonyms())


def by_chance(things: list[T], chance: int) -> list[T]:
    """The same in another order for each number."""
    return sorted(things, key=lambda thing: hashlib.sha256(f"{chance} {thing}".encode()).digest())


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a run left: receipt by input, table by patient, every file of OUT_DIR, the sheets' lines."""

    receipt: dict[str, str]
    rows: dict[str, dict[str, str]]
    files: dict[str, bytes]
    report: list[dict[str, Any]]

    @property
    def manifest(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.files["manifest.jsonl"].splitlines()]


class InProcess:
    """The port `Workers` without children; answers come in an order by chance, and some files time out when cleaned."""

    def __init__(
        self, tree: Tree, warehouse: FolderWarehouse, project: str, chance: int, slow: Collection[str]
    ) -> None:
        rules = Rules(profile=resolved(), clinical=RULES)
        self._answer = factory(setup_document(rules, project, PurposeKeys.from_secret(KEY), explain=True))
        self._tree, self._warehouse, self._chance, self._slow = tree, warehouse, chance, slow

    def run(self, tasks: Iterable[Task]) -> Iterator[Done]:
        """See the port."""
        for task in by_chance(list(tasks), self._chance):
            if task.ask["do"] == "clean" and task.path in self._slow:
                yield Done(task=task, answer={"outcome": "rejected", "reason": "time-out"})
                continue
            descriptors = [self._tree.open(task.path)]
            if task.staged is not None:
                descriptors.append(self._warehouse.open_staged(task.staged))
            try:
                # through JSON, as between processes
                yield Done(task=task, answer=json.loads(json.dumps(self._answer(task.ask, descriptors))))
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)


def deid(
    files: Mapping[str, bytes],
    *,
    project: str = "demo",
    chance: int = 0,
    slow: Collection[str] = (),
    opt_outs: OptOuts = NOBODY,
) -> Output:
    """A folder of these files, written in an order by chance, through `deidentify`."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        here = Path(folder)
        (here / "in").mkdir()
        for name in by_chance(list(files), chance):
            path = here / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[name])
        tree = opened.enter_context(Tree(here / "in"))
        warehouse = FolderWarehouse(here / "out", project)
        opened.callback(warehouse.close)
        deidentify(
            Run(project=project_id(project), profile="nccid", profile_sha256=resolved().sha256),
            World(
                inputs=tree,
                workers=InProcess(tree, warehouse, project, chance, slow),
                warehouse=warehouse,
                clinical=Clinical(
                    policy=policy(), tables=TableFiles(), told=told_by, report=FileSheet(here / "report.jsonl")
                ),
                opt_outs=opt_outs.known_as(Pseudonyms(PurposeKeys.from_secret(KEY), project).name),
            ),
            Sheets(receipt=FileSheet(here / "receipt.jsonl"), explain=FileSheet(here / "explain.jsonl")),
        )
        return _output(here)


def _output(here: Path) -> Output:
    out = here / "out"
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    receipt = [json.loads(line) for line in (here / "receipt.jsonl").read_text().splitlines()]
    table = list(csv.DictReader(files.get("clinical.csv", b"").decode().splitlines()))
    return Output(
        receipt={line["input"]: f"{line['outcome']} {line['reason'] or ''}".strip() for line in receipt},
        rows={line["patient"]: line for line in table},
        files=files,
        report=[json.loads(line) for line in (here / "report.jsonl").read_text().splitlines()],
    )


def record(pseudonym: Any = "Covid1", **fields: Any) -> bytes:
    """A clinical file; `_` in the name of a field is a space."""
    named = {name.replace("_", " "): value for name, value in fields.items()}
    return json.dumps({"Pseudonym": pseudonym, **named}).encode()
