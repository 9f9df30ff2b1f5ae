"""Documents that are written once and never changed: `<folder>/<project>/<letter><N>.json`, versions without a gap.

Grants and decisions lie like this on the operator's machine. Schema first, then the domain's own parser: both must
agree. A version appears whole or not at all, is synced before its name exists, and its name is never taken twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from readingroom.adapters.durable import write_new
from readingroom.adapters.json_schema import fault_in
from readingroom.domain.document import unique_keys
from readingroom.domain.errors import Refused, WrongSetUp

LARGEST = 1024 * 1024


class Versioned(Protocol):
    """What a document says about itself."""

    @property
    def project(self) -> str:
        """Whose it is."""

    @property
    def version(self) -> int:
        """Which one it is."""

    @property
    def id(self) -> str:
        """Both, for messages."""


Document = TypeVar("Document", bound=Versioned)


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[Document]):
    """One kind of document: its word, the verb that writes it, the letter and mode of its files, the domain's parser."""

    word: str
    verb: str
    letter: str
    mode: int
    from_document: Callable[[object], Document]

    def parse(self, text: str, schema: Mapping[str, Any], name: str) -> Document:
        """A document from the text of its file.

        Raises `WrongSetUp` naming what is wrong, `Refused` for an id that is not allowed.
        """
        if len(text) > LARGEST:
            raise self.unreadable(name, "it is larger than 1 MiB")
        try:
            document = json.loads(text, object_pairs_hook=unique_keys)
        except (ValueError, RecursionError) as error:
            raise self.unreadable(name, f"it is no JSON ({str(error)[:100]})") from error
        if fault := fault_in(document, schema):
            place = "/".join(str(part) for part in fault.absolute_path) or "the whole"
            # A message about keys names keys; any other would print the value, which may name somebody.
            about_keys = fault.validator in {"additionalProperties", "required"}
            reason = fault.message[:160] if about_keys else f"it breaks the rule {fault.validator}"
            raise self.unreadable(name, f"{place} does not follow the schema: {reason}")
        return self.from_document(document)

    def schema_from(self, path: Path) -> dict[str, Any]:
        """The schema from its file. Raises `WrongSetUp` when it is not there."""
        try:
            schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self.unreadable(path.name, "the schema cannot be read") from error
        return schema

    def text_of(self, path: Path) -> str:
        """The text of a file, up to one character too many. Raises `WrongSetUp` when it cannot be read."""
        try:
            with path.open(encoding="utf-8") as file:
                return file.read(LARGEST + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise self.unreadable(path.name, f"it cannot be read ({type(error).__name__})") from error

    def unreadable(self, name: str, why: str) -> WrongSetUp:
        """The error for a file that is no document of this kind."""
        return WrongSetUp(
            what=f"{self.word} file", which=name, why=why, next_step=f"write a new version of the {self.word}"
        )


class VersionFolder(Generic[Document]):
    """All versions of all projects of one kind. A version is written once and never changed."""

    def __init__(self, kind: Kind[Document], folder: Path, schema: Path) -> None:
        self._kind, self._folder, self._schema = kind, folder, kind.schema_from(schema)
        self._name = re.compile(rf"{kind.letter}([1-9][0-9]{{0,5}})\.json")

    def projects(self) -> list[str]:
        """Projects that have a version, sorted."""
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.iterdir() if path.is_dir() and self.versions(path.name))

    def versions(self, project: str) -> list[int]:
        """Version numbers present, ascending."""
        folder = self._folder / project
        found = (self._name.fullmatch(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
        return sorted(int(match.group(1)) for match in found if match)

    def path(self, project: str, version: int) -> Path:
        """Where that version lies, or would."""
        return self._folder / project / f"{self._kind.letter}{version}.json"

    def next_version(self, project: str) -> int:
        """The number that the next document of the project bears."""
        return (self.versions(project) or [0])[-1] + 1

    def text(self, project: str, version: int | None = None) -> str:
        """The bytes of that version, or of the highest, as text. Raises `WrongSetUp` when there is none."""
        return self._kind.text_of(self._chosen(project, version))

    def read(self, project: str, version: int | None = None) -> Document:
        """That version, or the highest. Raises `WrongSetUp` when there is none or it is no such document."""
        path = self._chosen(project, version)
        found = self._kind.parse(self._kind.text_of(path), self._schema, f"{project}/{path.name}")
        if self.path(found.project, found.version) != path:
            raise self._kind.unreadable(f"{project}/{path.name}", f"it says that it is {found.id}")
        return found

    def write(self, document: Mapping[str, Any]) -> Document:
        """A new version from its document, complete or not at all; never over an old one.

        Raises `Refused` when the version exists or is not the next one, `WrongSetUp` when it is no such document.
        """
        word = self._kind.word
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        found = self._kind.parse(text, self._schema, f"the new {word}")
        expected = self.next_version(found.project)
        if found.version != expected:
            raise Refused(
                what=word,
                which=found.id,
                why=f"a {word} is never edited and the next version is {self._kind.letter}{expected}",
                next_step=f"write {self._kind.letter}{expected}",
            )
        self._write_once(self.path(found.project, found.version), text)
        return found

    def document(self, project: str) -> dict[str, Any]:
        """The highest version as a document, to write the next one from."""
        self.read(project)
        document: dict[str, Any] = json.loads(self.text(project))
        return document

    def _chosen(self, project: str, version: int | None) -> Path:
        versions = self.versions(project)
        chosen = version if version is not None else (versions or [0])[-1]
        if chosen not in versions:
            raise WrongSetUp(
                what=self._kind.word,
                which=f"{project[:40]} {self._kind.letter}{chosen}" if chosen else project[:40],
                why=f"there is no such {self._kind.word}",
                next_step=f"see `readingroom project list`, or write one with `readingroom project {self._kind.verb}`",
            )
        return self.path(project, chosen)

    def _write_once(self, path: Path, text: str) -> None:
        try:
            write_new(path, text.encode(), self._kind.mode)
        except FileExistsError as error:
            raise Refused(
                what=self._kind.word,
                which=path.name,
                why="this version exists already",
                next_step="write the next version",
            ) from error
