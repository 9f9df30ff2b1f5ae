"""IOD validity of what a tool wrote: dciodvfy's errors that were not in the input, output by output.

Outputs belong to inputs by their samples; objects without samples, and those whose input dciodvfy cannot read, are not judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from readingroom.adapters.dicom.scored import content, images_in, samples_of
from tests.judges.dciodvfy import judged


@dataclass(frozen=True)
class Validity:
    """Outputs that were judged, those with an error that their input had not, and such errors in all."""

    outputs: int
    worse: int
    added: int

    def __str__(self) -> str:
        return f"{self.added} in {self.worse}/{self.outputs}"


class Inputs:
    """A folder of inputs, each judged once, when an output of it is met."""

    def __init__(self, source: Path) -> None:
        self._by_samples = {samples: path for path in images_in(source) if (samples := samples_of(path))}
        self._errors: dict[Path, frozenset[str] | None] = {}

    def validity_of(self, target: Path) -> Validity:
        """What a tool that filled a folder from these has broken."""
        outputs = worse = added = 0
        for path in images_in(target):
            given = self._by_samples.get(samples_of(path))
            if given is None or (before := self._before(given)) is None:
                continue
            after = judged(content(path))
            errors = {"unreadable"} if after is None else after - before
            outputs, worse, added = outputs + 1, worse + bool(errors), added + len(errors)
        return Validity(outputs, worse, added)

    def _before(self, given: Path) -> frozenset[str] | None:
        if given not in self._errors:
            self._errors[given] = judged(content(given))
        return self._errors[given]
