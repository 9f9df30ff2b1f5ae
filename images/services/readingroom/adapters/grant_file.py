"""Grant files: read strictly, written once, never changed.

On the operator's machine they lie as `<state>/grants/<project>/v<N>.json`, mode 0444; in the cluster a hub has one
version mounted. Schema first, then the domain's own parser: both must agree. A grant is not signed yet (decision 0701).
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema

from readingroom.domain.errors import Refused, WrongSetUp
from readingroom.domain.grant import Grant
from readingroom.domain.grant_document import from_document
from readingroom.domain.ids import ProjectId

LARGEST = 1024 * 1024
_VERSION = re.compile(r"v([1-9][0-9]{0,5})\.json")


def parse(text: str, schema: Mapping[str, Any], name: str) -> Grant:
    """A grant from the text of its file.

    Raises `WrongSetUp` naming what is wrong, `Refused` for an id that is not allowed.
    """
    if len(text) > LARGEST:
        raise _unreadable(name, "it is larger than 1 MiB")
    try:
        document = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _unreadable(name, f"it is no JSON ({str(error)[:100]})") from error
    try:
        jsonschema.Draft202012Validator(schema).validate(document)
    except jsonschema.ValidationError as error:
        place = "/".join(str(part) for part in error.absolute_path) or "the whole"
        raise _unreadable(name, f"{place} does not follow the schema: {error.message[:160]}") from error
    return from_document(document)


def schema_from(path: Path) -> dict[str, Any]:
    """The grant schema from its file. Raises `WrongSetUp` when it is not there."""
    try:
        schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path.name, "the schema cannot be read") from error
    return schema


class MountedGrant:
    """The version that a hub was started for, read once: a change is a new version and a new hub."""

    def __init__(self, path: Path, schema: Path, project: str) -> None:
        self._path, self._schema, self._project = path, schema, project
        self._grant: Grant | None = None

    def read(self) -> Grant:
        """See the port `CurrentGrant`."""
        if self._grant is None:
            grant = parse(_text(self._path), schema_from(self._schema), self._path.name)
            if grant.project != self._project:
                raise _unreadable(self._path.name, f"it is a grant of {grant.project}, not of {self._project}")
            self._grant = grant
        return self._grant


class GrantFolder:
    """All versions of all projects on the operator's machine. A version is written once and never changed."""

    def __init__(self, folder: Path, schema: Path) -> None:
        self._folder, self._schema = folder, schema_from(schema)

    def projects(self) -> list[str]:
        """Projects that have a version, sorted."""
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.iterdir() if path.is_dir() and self.versions(path.name))

    def versions(self, project: str) -> list[int]:
        """Version numbers present, ascending."""
        folder = self._folder / project
        found = (_VERSION.fullmatch(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
        return sorted(int(match.group(1)) for match in found if match)

    def path(self, project: str, version: int) -> Path:
        """Where that version lies, or would."""
        return self._folder / project / f"v{version}.json"

    def read(self, project: str, version: int | None = None) -> Grant:
        """That version, or the highest. Raises `WrongSetUp` when there is none or it is no grant."""
        versions = self.versions(project)
        chosen = version if version is not None else (versions or [0])[-1]
        if chosen not in versions:
            raise WrongSetUp(
                what="grant",
                which=f"{project[:40]} v{chosen}" if chosen else project[:40],
                why="there is no such grant",
                next_step="see `readingroom project list`, or write one with `readingroom project grant`",
            )
        path = self.path(project, chosen)
        grant = parse(_text(path), self._schema, f"{project}/{path.name}")
        if (grant.project, grant.version) != (project, chosen):
            raise _unreadable(f"{project}/{path.name}", f"it says that it is {grant.id}")
        return grant

    def write(self, document: Mapping[str, Any]) -> Grant:
        """A new version from its document, complete or not at all; never over an old one.

        Raises `Refused` when the version exists or is not the next one, `WrongSetUp` when the document is no grant.
        """
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        grant = parse(text, self._schema, "the new grant")
        expected = (self.versions(grant.project) or [0])[-1] + 1
        if grant.version != expected:
            raise Refused(
                what="grant",
                which=grant.id,
                why=f"a grant is never edited and the next version is v{expected}",
                next_step=f"write v{expected}",
            )
        _write_once(self.path(grant.project, grant.version), text)
        return grant

    def document(self, project: ProjectId) -> dict[str, Any]:
        """The highest version as a document, to write the next one from."""
        version = self.read(project).version
        document: dict[str, Any] = json.loads(_text(self.path(project, version)))
        return document


def _write_once(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".draft-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(0o444)
        path.hardlink_to(draft)  # fails if the name is taken, unlike rename
    except FileExistsError as error:
        raise Refused(
            what="grant", which=path.name, why="this version exists already", next_step="write the next version"
        ) from error
    finally:
        Path(draft).unlink(missing_ok=True)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(LARGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path.name, f"it cannot be read ({type(error).__name__})") from error


def _unreadable(name: str, why: str) -> WrongSetUp:
    return WrongSetUp(what="grant file", which=name, why=why, next_step="write a new version of the grant")
