"""Warehouses read and cuts written: an OCI layout per cut, named by its digest, made in a folder that nobody reads.

A warehouse is believed as far as its manifest goes and no further: each file is hashed as it lies in the archive, not
as it lay in the warehouse, so that a file changed meanwhile cannot slip in. No link is followed.
"""

from __future__ import annotations

import filecmp
import hashlib
import io
import json
import os
import re
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from readingroom.adapters.durable import alone, hand_over, show
from readingroom.adapters.linked_tables import linked_lines
from readingroom.adapters.retired import check_not_retired
from readingroom.adapters.tables import TABLES, restricted, series_files
from readingroom.contract import MANIFEST, cut_file
from readingroom.domain.access import CLINICAL, INDEX, LINKED, MODALITY, Released
from readingroom.domain.catalogue import Catalogue
from readingroom.domain.cut import CutRecord, Stored, from_document
from readingroom.domain.deid.outcome import FileRejected
from readingroom.domain.document import HEX, unique_keys
from readingroom.domain.errors import Refused, TryAgain, WrongSetUp
from readingroom.domain.ids import Digest
from readingroom.oci import Entry, Kind, Layer, digest_of, image, layer

RECORD: Final = "cut.json"
LINES: Final = "manifest.jsonl"
STAGING: Final = ".cut-"
_LONGEST: Final = 1 << 20
_PART: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_PATH: Final = re.compile(rf"images/{_PART}/{_PART}/{_PART}/{_PART}\.dcm")
_TABLE: Final = re.compile("|".join(re.escape(name) for name in sorted(TABLES)))
_MAKERS: Final = {CLINICAL: "deid", LINKED: "link join"}
_LARGEST_TABLE: Final = 512 << 20
_UID: Final = re.compile(r"[0-9][0-9.]{0,63}")
ENGINE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
_KEYS: Final = frozenset(
    {"path", "sha256", "sop_class_uid", "modality", "profile", "profile_sha256", "actions", "project"}
)


class WarehouseFolder:
    """See the port `Warehouse`: OUT_DIR of `readingroom deid`, and joined tables of `readingroom link` beside it."""

    def __init__(self, folder: Path, linked: Iterable[Path] = ()) -> None:
        self._folder = folder
        self._linked = {line: path for each in linked for line, path in linked_lines(each).items()}
        self._folders: set[str] = set()  # seen to be no links

    def released(self) -> list[Released]:
        """See the port `Warehouse`."""
        found: dict[str, Released] = {}
        try:
            descriptor = os.open(self._folder / LINES, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            raise WrongSetUp(
                what="warehouse",
                which=self._folder.name,
                why=f"its {LINES} cannot be read ({error.strerror})",
                next_step="give the folder that `readingroom deid` wrote",
            ) from error
        with os.fdopen(descriptor, "rb") as file:
            for number, text in enumerate(iter(lambda: file.readline(_LONGEST), b""), start=1):
                line = _line(text, number)
                if line.path in found:
                    raise _off(f"line {number}", "it names a file for the second time")
                found[line.path] = line
        for line in self._linked:
            if line.path in found:
                raise _off(line.path, "it is given twice", _MAKERS[LINKED])
            found[line.path] = line
        return list(found.values())

    def size(self, line: Released) -> int:
        """See the port `Warehouse`."""
        try:
            for folder in _above(line.path):
                if folder not in self._folders:
                    if not stat.S_ISDIR((self._folder / folder).lstat().st_mode):
                        raise _off(folder, "it is a link, or no folder")
                    self._folders.add(folder)
            found = (self._folder / line.path).lstat()
        except OSError as error:
            raise _off(line.path, f"it cannot be read ({error.strerror})") from error
        if not stat.S_ISREG(found.st_mode):
            raise _off(line.path, "it is a link, or no regular file")
        return found.st_size

    def path(self, line: Released) -> Path:
        """Where the file lies. The caller has asked for its size, and so knows that no link leads there."""
        return self._folder / line.path

    def content(self, line: Released) -> bytes:
        """The bytes of a file of a table, which fits into memory; no link is followed."""
        path = self._linked.get(line, self._folder / line.path)
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                return file.read(_LARGEST_TABLE)
        except OSError as error:
            raise _off(line.path, f"it cannot be read ({error.strerror})") from error


class DraftFolder:
    """See the port `Draft`."""

    def __init__(self, folder: Path, out: Path, warehouse: WarehouseFolder) -> None:
        self._folder, self._out, self._warehouse = folder, out, warehouse
        self._archive = folder / "image.tar"
        self._layers: list[Layer] = []

    def add_layer(self, lines: Sequence[Released]) -> list[Stored]:
        """See the port `Draft`."""
        folders = {folder for line in lines for folder in _above(line.path)}
        entries = [Entry(folder, 0o555, kind=Kind.FOLDER) for folder in folders]
        entries += [Entry(line.path, 0o444, self._warehouse.path(line)) for line in lines]
        made = self._layer(entries)
        inside = _inside(made.path)
        for line in lines:
            if inside[line.path][0] != line.sha256:
                raise _off(line.path, "its bytes are not those that the manifest names")
        return [Stored(line=line, size=inside[line.path][1]) for line in lines]

    def add_table(self, lines: Sequence[Released], patients: Collection[str]) -> list[Stored]:
        """See the port `Draft`."""
        stored: list[Stored] = []
        folders = {folder for line in lines for folder in _above(line.path)}
        entries = [Entry(folder, 0o555, kind=Kind.FOLDER) for folder in folders]
        for line in lines:
            content = self._warehouse.content(line)
            if hashlib.sha256(content).hexdigest() != line.sha256:
                raise _off(line.path, "its bytes are not those that its manifest names", _MAKERS[line.modality])
            try:
                kept = restricted(PurePosixPath(line.path).name, content, patients)
            except (ValueError, KeyError) as error:
                raise _off(line.path, "it is no clinical table", _MAKERS[line.modality]) from error
            entries.append(Entry(line.path, 0o444, kept))
            stored.append(Stored(line=replace(line, sha256=hashlib.sha256(kept).hexdigest()), size=len(kept)))
        self._layer(entries)
        return stored

    def add_index(self, images: Sequence[Stored]) -> list[Stored]:
        """See the port `Draft`."""
        project = images[0].line.project
        files = series_files(self._catalogue(images).rows())
        self._layer([Entry(name, 0o444, content) for name, content in files.items()])
        return [
            Stored(
                line=Released(
                    path=name,
                    sha256=hashlib.sha256(content).hexdigest(),
                    sop_class_uid=None,
                    modality=INDEX,
                    profile_sha256="",
                    project=project,
                ),
                size=len(content),
            )
            for name, content in files.items()
        ]

    def _catalogue(self, images: Sequence[Stored]) -> Catalogue:
        """The headers as they lie in the layers, whose hashes were compared."""
        from readingroom.adapters.dicom.headers import Part, header_of  # noqa: PLC0415 (pydicom is slow to import)

        lines = {one.line.path: one.line for one in images}
        catalogue = Catalogue()
        for made in self._layers:
            with made.path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as members:
                for member in members:
                    if line := lines.get(member.name):
                        try:
                            header = header_of(Part(file.fileno(), member.offset_data, member.size))
                        except FileRejected as error:
                            raise _off(line.path, "it is no DICOM file") from error
                        catalogue.add(line, member.size, header)
        return catalogue

    def seal(self, manifest: bytes) -> Digest:
        """See the port `Draft`."""
        self._layer([Entry(MANIFEST, 0o444, manifest)])
        return Digest(image(self._layers, {}, self._archive))

    def keep(self, record: CutRecord) -> bool:
        """See the port `Draft`."""
        check_not_retired(self._out, record.digest)
        archive, told = self._out / cut_file(record.digest), self._out / RECORD
        text = json.dumps(record.to_document(), indent=1, ensure_ascii=False) + "\n"
        same_archive = archive.is_file() and filecmp.cmp(archive, self._archive, shallow=False)
        if same_archive and told.is_file() and told.read_text(encoding="utf-8") == text:
            return False
        if not same_archive:
            show(self._archive, archive)
        draft = self._folder / RECORD
        draft.write_text(text, encoding="utf-8")
        show(draft, told)
        return True

    def _layer(self, entries: Sequence[Entry]) -> Layer:
        self._layers.append(layer(entries, self._folder / f"{len(self._layers)}.layer"))
        return self._layers[-1]


class CutFolder:
    """See the port `Cuts`: `<hex>.tar` per cut and `cut.json` of the last one."""

    def __init__(self, folder: Path, warehouse: WarehouseFolder) -> None:
        self._folder, self._warehouse = folder, warehouse

    @contextmanager
    def draft(self) -> Iterator[DraftFolder]:
        """See the port `Cuts`. What a killed run left is swept."""
        busy = TryAgain(
            what="cut",
            which=self._folder.name,
            why="another cut is being made there",
            next_step="wait for it, or give another folder",
        )
        with self._written(), alone(self._folder, busy):
            for left in self._folder.glob(f"{STAGING}*"):
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=STAGING) as staging:
                hand_over(Path(staging), self._folder)
                yield DraftFolder(Path(staging), self._folder, self._warehouse)

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WrongSetUp(
                what="cut",
                which=self._folder.name,
                why=f"a file cannot be read or written ({error.strerror or error})",
                next_step="see to space and permissions, then run the same command again",
            ) from error


def read_record(path: Path) -> CutRecord:
    """The record in a `cut.json`. Raises `WrongSetUp` when it is none."""
    try:
        with path.open(encoding="utf-8") as file:
            document = json.loads(file.read(_LONGEST), object_pairs_hook=unique_keys)
    except (OSError, ValueError, RecursionError) as error:
        raise WrongSetUp(
            what="cut",
            which=path.name,
            why=f"it cannot be read ({type(error).__name__})",
            next_step="make the cut with `readingroom cohort cut`",
        ) from error
    return from_document(document)


def check_kept(folder: Path, record: CutRecord) -> None:
    """The archive beside a record is there and holds the digest it names. Raises `WrongSetUp` otherwise."""
    try:
        found = digest_of(folder / cut_file(record.digest))
    except (OSError, ValueError, tarfile.TarError) as error:
        found = type(error).__name__
    if found != record.digest:
        raise WrongSetUp(
            what="cut",
            which=record.cut,
            why=f"its archive is not there or is another ({found})",
            next_step="run `readingroom cohort cut` again",
        )


def _line(text: bytes, number: int) -> Released:
    """One line of the manifest. Every key is known, every value is of its form, the path stays in the warehouse."""
    try:
        document: dict[str, Any] = json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise _off(f"line {number}", "it is no JSON of at most 1 MiB") from error
    if not isinstance(document, dict) or document.keys() not in (_KEYS, _KEYS | {"engine"}):
        raise _off(f"line {number}", "its keys are not those of a manifest")
    forms = {"path": _PATH, "sha256": HEX, "sop_class_uid": _UID, "modality": MODALITY, "profile_sha256": HEX}
    if document["modality"] == CLINICAL and document["sop_class_uid"] is None:
        forms = {"path": _TABLE, "sha256": HEX, "modality": re.compile(CLINICAL), "profile_sha256": HEX}
    if "engine" in document:
        forms["engine"] = ENGINE
    for key, form in forms.items():
        if not isinstance(document[key], str) or not form.fullmatch(document[key]):
            raise _off(f"line {number}", f"its {key} is not of the form it must have")
    kept = {key: document[key] for key in forms}
    return Released(project=str(document["project"]), **{"sop_class_uid": None, **kept})


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _inside(tar: Path) -> dict[str, tuple[str, int]]:
    """SHA-256 and size of each file in a layer, read from its bytes."""
    found = {}
    with tarfile.open(tar, "r:") as layer_tar:
        for member in layer_tar:
            source = layer_tar.extractfile(member) if member.isreg() else None
            if isinstance(source, io.BufferedReader):
                found[member.name] = (hashlib.file_digest(source, "sha256").hexdigest(), member.size)
    return found


def _off(which: str, why: str, maker: str = "deid") -> Refused:
    return Refused(
        what="warehouse", which=which, why=why, next_step=f"run `readingroom {maker}` again into an empty folder"
    )
