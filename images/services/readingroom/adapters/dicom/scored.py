"""What a tool wrote, as the scorer sees it: every byte and name, values of elements, and samples, read by pydicom.

For synthetic trees alone: it reads in its own process, and what it reads may identify nobody. No value is ever shown.
"""

from __future__ import annotations

import functools
import hashlib
import re
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import DeflatedExplicitVRLittleEndian

from readingroom.domain.synth.score import Share

SIX: Final = 6  # bytes by which texts are looked for first
PIECE: Final = 8 << 20
TAG: Final = re.compile("[0-9A-F]{8}")
LONGEST: Final = 1 << 12  # of a text
INSTANCE: Final = 0x00080018
MODALITY: Final = 0x00080060
PIXEL_DATA: Final = 0x7FE00010


class Haystack:
    """Bytes in which many texts are looked for: first by six bytes of each, then whole."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        padded = np.frombuffer(data + bytes(SIX), dtype=np.uint8).astype(np.int64)
        self._beginnings = np.sort(sum(padded[step : len(data) + step] << 8 * step for step in range(SIX)))

    def __contains__(self, text: bytes) -> bool:
        beginning = int.from_bytes(text[:SIX], "little")
        place = int(np.searchsorted(self._beginnings, beginning))
        there = place < len(self._beginnings) and self._beginnings[place] == beginning
        return (there or len(text) < SIX) and text in self._data


def content(path: Path) -> bytes:
    """A file's bytes, inflated where they are deflated."""
    data = path.read_bytes()
    if data[128:132] != b"DICM" or DeflatedExplicitVRLittleEndian.encode() not in data[:1000]:
        return data
    engine = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    at = 144 + int.from_bytes(data[140:144], "little")
    try:
        return data[:at] + engine.decompress(data[at:]) + engine.unused_data
    except zlib.error:
        return data


def images_in(folder: Path) -> list[Path]:
    """The DICOM files below a folder."""
    return [path for path in _files(folder) if _head(path)[128:] == b"DICM"]


class Written:
    """The port `Outputs`. `receipt`: input → outputs that its lines name, as many as there are."""

    def __init__(self, out: Path, source: Path, receipt: Mapping[str, list[str]] | None) -> None:
        self._out, self._source, self._receipt = out, source, receipt
        self._read = functools.lru_cache(maxsize=64)(_read)  # of one look: another may find another file there
        self._samples = functools.cache(samples_of)
        images = images_in(out)
        given = [path.relative_to(source).as_posix() for path in _files(source)]
        self.inputs, self.outputs = len(given), len(images)
        self._by_samples: defaultdict[str, list[Path]] = defaultdict(list)
        for path in images:
            self._by_samples[self._samples(path)].append(path)
        instances = {path: _text(self._read(path), INSTANCE) for path in images}
        often = Counter(instance for instance in instances.values() if instance)
        self._doubled = {path for path, instance in instances.items() if often[instance] > 1}
        self.accounted = None
        if receipt is not None:
            self.accounted = Share(len(given), sum(len(receipt.get(each, ())) == 1 for each in given))

    def left(self, texts: frozenset[bytes]) -> frozenset[bytes]:
        """See the port."""
        found: set[bytes] = set()
        for piece in self._pieces():
            hay = Haystack(piece)
            found |= {text for text in texts - found if text in hay}
        return frozenset(found)

    def modality(self, file: str) -> str:
        """See the port."""
        return _text(self._read(self._source / file), MODALITY)

    def values(self, file: str, where: str) -> frozenset[str]:
        """See the port."""
        found = self._outputs(file) if TAG.fullmatch(where) else ()
        return frozenset(_text(self._read(output), int(where, 16)) for output in found)

    def released(self, file: str) -> bool:
        """See the port."""
        return bool(self._outputs(file))

    def has_samples(self, file: str) -> bool:
        """See the port."""
        return bool(self._samples(self._source / file))

    def same_samples(self, file: str) -> bool:
        """See the port."""
        samples = self._samples(self._source / file)
        return bool(samples) and samples in self._by_samples

    def is_doubled(self, file: str) -> bool:
        """See the port."""
        return any(output in self._doubled for output in self._outputs(file))

    def _outputs(self, file: str) -> list[Path]:
        if self._receipt is not None:
            return [path for place in self._receipt.get(file, ()) if place and (path := self._out / place).is_file()]
        samples = self._samples(self._source / file)
        return self._by_samples.get(samples, []) if samples else []

    def _pieces(self) -> Iterator[bytes]:
        """Names and bytes of all files, in small letters, a few megabytes at once; no text is cut in two."""
        waiting = b""
        for path in _files(self._out):
            waiting += path.relative_to(self._out).as_posix().encode() + b"\n" + content(path).lower() + b"\n"
            while len(waiting) > PIECE:
                yield waiting[:PIECE]
                waiting = waiting[PIECE - LONGEST :]
        yield waiting


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(132)


def _read(path: Path) -> Dataset | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pydicom.dcmread(path)
        except Exception:  # noqa: BLE001 (the edge to what others wrote: unreadable has no values)
            return None


def _text(image: Dataset | None, tag: int) -> str:
    """An element's values as text, one after another; nothing for none."""
    if image is None or tag not in image:
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = image[tag].value
        except Exception:  # noqa: BLE001 (the edge to values that are none)
            value = getattr(image.get_item(tag), "value", b"")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip(" \0")
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value if value is not None else "")


def samples_of(path: Path) -> str:
    """What tells an image by its samples alone, whatever its encoding and its spare bits; nothing for none."""
    image = _read(path)
    data = image.get_item(PIXEL_DATA) if image is not None else None
    if image is None or data is None or not data.value:
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            array = image.pixel_array
            stored = array.astype(np.int64) & ((1 << int(image.BitsStored)) - 1)
            return hashlib.sha256(repr(stored.shape).encode() + stored.tobytes()).hexdigest()
        except Exception:  # noqa: BLE001 (the edge to foreign decoders)
            return hashlib.sha256(bytes(data.value)).hexdigest() if isinstance(data.value, bytes) else ""
