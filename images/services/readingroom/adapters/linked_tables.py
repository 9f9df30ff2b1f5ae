"""A joined table as a folder: CSV, Parquet, data dictionary, and `linked.json`, which names the rest and is written last."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from readingroom.adapters.durable import show
from readingroom.adapters.tables import TABLES, TableFiles
from readingroom.contract import PROJECT_ID
from readingroom.domain.access import LINKED, POLICY, Released
from readingroom.domain.clinical.cells import Value
from readingroom.domain.clinical.policy import TableColumn
from readingroom.domain.document import HEX, Table, unique_keys
from readingroom.domain.errors import Refused, WrongSetUp
from readingroom.domain.linkage.tokens import LINK

RECORD: Final = "linked.json"
SCHEMA: Final = "readingroom/linked/v1"


class LinkedFolder:
    """See the port `LinkedTables`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(
        self, facts: Mapping[str, str], columns: Sequence[TableColumn], rows: Sequence[Mapping[str, Value]]
    ) -> bool:
        """See the port."""
        files = TableFiles().files(columns, rows)
        named = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
        record = json.dumps({"schema": SCHEMA, **facts, "files": named}, indent=1).encode("ascii") + b"\n"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._check(facts["project"])
            if all(self._has(name, content) for name, content in [*files.items(), (RECORD, record)]):
                return False
            for name, content in [*files.items(), (RECORD, record)]:
                draft = self._folder / f".{name}"
                draft.write_bytes(content)
                show(draft, self._folder / name)
        except OSError as error:
            raise _off(f"it cannot be read or written ({type(error).__name__})") from error
        return True

    def _check(self, project: str) -> None:
        """The folder holds nothing but a joined table of this project, whole or from a run that was killed."""
        if {path.name.removeprefix(".") for path in self._folder.iterdir()} - {*TABLES, RECORD}:
            raise _off("it holds something else")
        try:
            owner = json.loads((self._folder / RECORD).read_bytes())["project"]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _off(f"its {RECORD} cannot be read ({type(error).__name__})") from error
        if owner != project:
            raise Refused(
                what="the joined table",
                which=self._folder.name,
                why="the folder holds another project's, and projects share nothing",
                next_step="give each project a folder of its own",
            )

    def _has(self, name: str, content: bytes) -> bool:
        path = self._folder / name
        return path.is_file() and path.read_bytes() == content


def linked_lines(folder: Path) -> dict[Released, Path]:
    """The files of a joined table as a cut names them, and where each lies. Raises `WrongSetUp` for a folder that is none."""
    try:
        record = Table(json.loads((folder / RECORD).read_bytes(), object_pairs_hook=unique_keys), "linked")
    except (OSError, ValueError) as error:
        raise _off(f"its {RECORD} cannot be read ({type(error).__name__})") from error
    record.text("schema", re.compile(re.escape(SCHEMA)))
    record.text("link", LINK)
    files, policy = record.table("files"), record.text("policy", POLICY)
    told = {"project": record.text("project", PROJECT_ID), "profile_sha256": record.text("policy_sha256", HEX)}
    record.done()
    found = {
        Released(
            path=f"{LINKED}/{policy}/{name}", sha256=files.text(name, HEX), sop_class_uid=None, modality=LINKED, **told
        ): folder / name
        for name in sorted(TABLES)
    }
    files.done()
    return found


def _off(why: str) -> WrongSetUp:
    return WrongSetUp(
        what="the joined table", why=why, next_step="give an empty folder, or one that `readingroom link join` filled"
    )
