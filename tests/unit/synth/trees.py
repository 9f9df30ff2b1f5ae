"""A small tree of every kind and every fault, made once; and a reader of it that shares nothing with its writer."""

from __future__ import annotations

import functools
import json
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from readingroom.adapters.dicom.scored import Haystack, content
from readingroom.adapters.dicom.synthetic import Part10
from readingroom.adapters.synthetic_tree import tree_at
from readingroom.application.synthesise import Order, synthesise
from readingroom.domain.synth.plans import Design, Rates
from readingroom.domain.synth.score import ALONE

__all__ = [
    "ALONE",
    "Haystack",
    "Line",
    "Made",
    "at",
    "broken",
    "bytes_of",
    "content",
    "forms",
    "in_json",
    "made",
    "make",
    "opened",
]

OFTEN = Rates(
    two_centres=200,
    opted_out_before=100,
    opted_out_after=100,
    two_generations=300,
    no_record=80,
    no_images=60,
    birth_date_conflict=250,
    burned_in=150,
    film_burned_in=400,
    spare_bits=200,
    truncated=120,
    uid_conflict=120,
    sent_again=120,
    clinical_dirt=600,
    compressed=300,
    heads=200,
)
TINY = Design(
    name="tiny",
    ct=64,
    film=(160, 192),
    slices=(4, 6),
    mix=(("film", 250), ("ct", 550), ("mr", 120), ("mg", 40), ("us", 40)),
    rates=OFTEN,
    hidden=5,
)
PATIENTS = 45
SEED = 7
Line = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """A tree, its summary and its key."""

    root: Path
    summary: dict[str, Any]
    key: list[Line]

    @property
    def identified(self) -> Path:
        return self.root / "identified"

    def files(self) -> list[Path]:
        return sorted(path for path in self.identified.rglob("*") if path.is_file())

    def lines(self, *must: str) -> list[Line]:
        return [line for line in self.key if line["must"] in must]


def make(root: Path, *, patients: int = PATIENTS, seed: int = SEED, design: Design = TINY) -> Made:
    with tree_at(root) as tree:
        summary = synthesise(Order(patients=patients, seed=seed, design=design), Part10(), tree)
    key = [json.loads(line) for line in (root / "key.jsonl").read_text(encoding="utf-8").splitlines()]
    return Made(root, summary, key)


_folder = tempfile.TemporaryDirectory(prefix="synth-")  # goes with the process


@functools.cache
def made() -> Made:
    """The tree that most tests look at, and none changes."""
    return make(Path(_folder.name) / "out")


def bytes_of(line: Line) -> bytes:
    """What to look for."""
    encoding = line.get("encoding", "utf-8")
    return int(line["was"]).to_bytes(4, "little") if encoding == "uint32-le" else line["was"].encode(encoding)


def forms(line: Line) -> Iterator[bytes]:
    """A text as it stood, and in the encodings that an engine might turn it into."""
    yield bytes_of(line).lower() if line.get("encoding") != "nibbles" else line["was"].lower().encode()
    yield line["was"].lower().encode()
    yield line["was"].lower().encode("utf-16-le")


@functools.lru_cache(maxsize=8)
def opened(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dirt is what we made
        return pydicom.dcmread(path)


@functools.lru_cache(maxsize=8)
def _unread(path: Path) -> Dataset:
    """A data set of `at`'s own: pydicom keeps a value's bytes until somebody asks for the value."""
    return opened.__wrapped__(path)


def at(path: Path, where: str) -> bytes:
    """The bytes at a place of the key, as pydicom or the file itself has them."""
    match where:
        case "preamble":
            return content(path)[:128]
        case "trailing":
            return content(path)[-200:]
        case "name":
            return path.name.encode()
        case _ if where == "tail" or where.startswith("7FE00010 "):
            return bytes(opened(path).PixelData)
    level: Any = _unread(path).file_meta if where.startswith("0002") else _unread(path)
    for part in where.split("."):
        tag, _, number = part.partition("[")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = level.get_item(int(tag, 16))
            if not number:
                return _raw(raw.value)
            if isinstance(raw.value, bytes):
                return raw.value  # a sequence of nobody's dictionary, in implicit encoding
            level = level[int(tag, 16)].value[int(number.rstrip("]")) - 1]
    raise AssertionError(where)


def _raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def in_json(path: Path, where: str) -> Any:
    found: Any = json.loads(path.read_text(encoding="utf-8"))
    for part in where.split("."):
        found = found[part]
    return found


def broken(tree: Made) -> set[str]:
    """Files that ended too soon: pydicom need not open them."""
    return {line["file"] for line in tree.lines("rejected") if line["where"] == "file"}


def series_of(tree: Made, file: str) -> Iterator[Path]:
    """The whole files that belong to the series of a file."""
    wanted, apart = at(tree.identified / file, "0020000E"), broken(tree)
    for path in sorted((tree.identified / file).parent.glob("*.dcm")):
        whole = str(path.relative_to(tree.identified)) not in apart and wanted in content(path)
        if whole and at(path, "0020000E") == wanted:
            yield path
