"""Files that contradict each other. A conflict holds all parties, never "the second": order cannot matter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from readingroom.domain.deid.outcome import Reason


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What one accepted file says of itself, as stand-ins that can be compared and not read."""

    content: str
    instance: str
    study: str
    patient: str
    born: str  # empty: it says nothing


def contradictions(files: Mapping[str, Marks]) -> dict[str, Reason]:
    """Files that contradict another and why: one instance UID with different bytes; a study of two patients; a patient of
    two birth dates.

    The same bytes twice are no conflict, and an absent value contradicts nothing.
    """
    contents = _several((marks.instance, marks.content) for marks in files.values())
    shared = _several((marks.study, marks.patient) for marks in files.values())
    born = _several((marks.patient, marks.born) for marks in files.values())
    found: dict[str, Reason] = {}
    for path, marks in files.items():
        if marks.instance in contents:
            found[path] = Reason.UID_CONFLICT
        elif marks.study in shared or marks.patient in born:
            found[path] = Reason.IDENTITY_CONFLICT
    return found


def conflicts(files: Mapping[str, Marks]) -> dict[str, Reason]:
    """Held files and why: those that contradict another, and with them all that their patients have.

    Nothing is released of a patient about whom two files disagree. The door, which sees one folder, holds the first alone.
    """
    found = contradictions(files)
    doubtful = {files[path].patient for path, reason in found.items() if reason is Reason.IDENTITY_CONFLICT}
    for path, marks in files.items():
        if marks.patient in doubtful:
            found.setdefault(path, Reason.IDENTITY_CONFLICT)
    return found


def _several(pairs: Iterable[tuple[str, str]]) -> set[str]:
    """The keys that stand with more than one value; an absent value contradicts nothing."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for key, value in pairs:
        if value:
            found[key].add(value)
    return {key for key, values in found.items() if len(values) > 1}
