"""What the generator needs from the world: bytes for a planned image, and a folder that appears whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from readingroom.domain.synth.plans import Image

IDENTIFIED = "identified"  # what `ingest` and `deid` walk
KEY = "key.jsonl"
OPTED_OUT = {"before": "opt-outs.txt", "after": "opt-outs-after-release.txt"}
SUMMARY = "summary.json"


class Encoder(Protocol):
    """DICOM files of planned images."""

    def encode(self, image: Image) -> bytes:
        """The bytes of the file: the same for the same plan, on any machine."""
        ...


class SyntheticTree(Protocol):
    """A folder in the making, seen by nobody until `finish`.

    1. `write` puts a file below `identified/`, each place once; `line` adds a line to a sheet beside it.
    2. `finish` writes the summary and gives the folder its name. Without it, or killed at any point, nothing is there.
    """

    def write(self, place: str, data: bytes) -> None:
        """1."""
        ...

    def line(self, sheet: str, text: str) -> None:
        """1."""
        ...

    def finish(self, summary: Mapping[str, Any]) -> None:
        """2."""
        ...
