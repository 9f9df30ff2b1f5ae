"""What the generator needs from the world: bytes for a planned image, and a folder that appears whole; and what the scorer
sees of a folder that a tool filled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from readingroom.domain.synth.plans import Image
from readingroom.domain.synth.score import Share

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


class Outputs(Protocol):
    """What a tool wrote of a tree, and the tree. Files are named as the key names them.

    An output belongs to an input if the tool's receipt says so, else if it shows the same samples: then there may be several.
    """

    inputs: int
    outputs: int  # images that were written
    accounted: Share | None  # by the receipt, if there is one

    def left(self, texts: frozenset[bytes]) -> frozenset[bytes]:
        """Which of these stand in any byte or name of what was written, in letters of any size."""
        ...

    def modality(self, file: str) -> str:
        """The modality of an input."""
        ...

    def values(self, file: str, where: str) -> frozenset[str]:
        """The values of an element of that input's outputs."""
        ...

    def released(self, file: str) -> bool:
        """Whether there is an output of that input."""
        ...

    def has_samples(self, file: str) -> bool:
        """Whether an input is an image that can be decoded."""
        ...

    def same_samples(self, file: str) -> bool:
        """Whether an output shows the samples of that input."""
        ...

    def is_doubled(self, file: str) -> bool:
        """Whether two outputs of that input are one instance."""
        ...
