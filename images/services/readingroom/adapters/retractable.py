"""A warehouse that loses files after they were released: by the same lock, rename and sweep as `deid` writes it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Set
from pathlib import Path
from typing import Any

from readingroom.adapters.cuts import LINES, WarehouseFolder
from readingroom.adapters.tables import CSV, PATIENT, TABLES, without
from readingroom.adapters.warehouse import FolderWarehouse
from readingroom.domain.access import Released
from readingroom.domain.errors import Refused
from readingroom.domain.ids import ProjectId


class RetractableWarehouse:
    """See the port `Retractable`."""

    def __init__(self, folder: Path, project: ProjectId) -> None:
        self._folder, self._project = folder, project

    def released(self) -> list[Released]:
        """See the port."""
        lines = WarehouseFolder(self._folder).released()
        if any(line.project != self._project for line in lines):
            raise Refused(
                what="retract",
                which=f"project {self._project}",
                why="the warehouse holds a file of another project",
                next_step=f"give the warehouse that was de-identified for {self._project}",
            )
        return lines

    def rows(self, patients: Set[str]) -> int:
        """See the port."""
        try:
            content = (self._folder / CSV).read_bytes()
        except FileNotFoundError:
            return 0
        return _rows(content) - _rows(without(CSV, content, patients))

    def retract(self, gone: Set[str], patients: Set[str]) -> None:
        """See the port."""
        self.released()
        warehouse = FolderWarehouse(self._folder, self._project)
        try:
            text = (self._folder / LINES).read_text(encoding="ascii")
            lines = [line for line in map(json.loads, text.splitlines()) if line["path"] not in gone]
            tables = self._narrowed(lines, patients)
            empty = CSV in tables and not _rows(tables[CSV])
            left = [line for line in lines if not (empty and line["path"] in TABLES)]
            warehouse.finish(left, {} if empty else tables)
        finally:
            warehouse.close()

    def _narrowed(self, lines: list[dict[str, Any]], patients: Set[str]) -> dict[str, bytes]:
        """The tables without these patients; their lines then say so. After a kill, the lines say so already."""
        found: dict[str, bytes] = {}
        for line in lines:
            if (name := line["path"]) in TABLES:
                content = (self._folder / name).read_bytes()
                found[name] = without(name, content, patients)
                named, now = (hashlib.sha256(each).hexdigest() for each in (content, found[name]))
                if line["sha256"] not in (named, now):
                    raise Refused(
                        what="warehouse",
                        which=name,
                        why="its bytes are not those that the manifest names",
                        next_step="run `readingroom deid` again",
                    )
                line["sha256"] = now
        if CSV in found:
            for line in lines:
                if line["path"] in found:
                    line["actions"] = {"clean": _rows(found[CSV])}
        return found


def _rows(content: bytes) -> int:
    return sum(1 for row in csv.DictReader(io.StringIO(content.decode("ascii"), newline="")) if row[PATIENT])
