"""The answer key: a line for each thing that was placed, written as it is placed. Identified; never an input of the engine.

What must happen, in the words of ten checks (`data.md` section 13) and of the receipt:

    removed              the text is in no output byte           kept        the value is there, as it was
    date-shifted         another date, intervals true            uid-changed another UID, links intact
    patient-consistent   one stand-in for this patient           cleaned     the clinical cell becomes `becomes`
    pixels-hidden        nothing of the box can be read          pixels-kept the box is as it was
    held, rejected       the file is not released, for `reason`  same        released once, under one output
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

ENCODINGS: Final = frozenset({"utf-8", "utf-16-le", "uint32-le", "nibbles"})


class Must(StrEnum):
    """What must happen."""

    REMOVED = "removed"
    KEPT = "kept"
    DATE_SHIFTED = "date-shifted"
    UID_CHANGED = "uid-changed"
    PATIENT_CONSISTENT = "patient-consistent"
    PIXELS_HIDDEN = "pixels-hidden"
    PIXELS_KEPT = "pixels-kept"
    CLEANED = "cleaned"
    HELD = "held"
    REJECTED = "rejected"
    SAME = "same"


class Class(StrEnum):
    """The classes of `data.md` section 9."""

    OWN_FIELDS = "identifiers in their own fields"
    UNEXPECTED = "identifiers where nobody expects them"
    VARIANTS = "variants of one identity"
    DISORDER = "elements outside good order"
    AROUND = "around the data set"
    PIXELS = "inside the pixels"
    TIME = "time"
    KEYS = "keys and references"
    NON_IMAGE = "non-image objects"
    CONFLICTS = "conflicting or hostile files"
    CLINICAL = "clinical record"
    WITHDRAWAL = "membership and withdrawal"
    UTILITY = "utility"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line. `file` is empty until the file is planned; `where` is an element path, a box, or words."""

    kind: Class
    fault: str
    where: str | Mapping[str, Any]
    was: str
    must: Must
    file: str = ""
    patient: int = 0
    scope: str = "file"  # or series: it stands in every file of the series of `file`
    encoding: str = "utf-8"  # of `was` in the file
    becomes: str | int | float | None = None  # of a clinical cell
    reason: str = ""  # of a file that is not released

    def to_document(self) -> dict[str, Any]:
        """As a line of the key."""
        more: dict[str, Any] = {}
        if self.encoding != "utf-8":
            more["encoding"] = self.encoding
        if self.must is Must.CLEANED:
            more["becomes"] = self.becomes
        if self.reason:
            more["reason"] = self.reason
        return {
            "file": self.file,
            "patient": self.patient,
            "class": self.kind.value,
            "fault": self.fault,
            "scope": self.scope,
            "where": self.where,
            "was": self.was,
            "must": self.must.value,
            **more,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Entry:
        """A line of the key. Raises `KeyError`, `ValueError` or `TypeError` for what is none."""
        texts = {name: document[name] for name in ("file", "fault", "was")}
        if not all(isinstance(text, str) for text in texts.values()):
            raise TypeError
        more = {
            name: document[name] for name in ("patient", "scope", "encoding", "becomes", "reason") if name in document
        }
        where, kind, must = document["where"], Class(document["class"]), Must(document["must"])
        texts["was"].encode("utf-8")  # half a character is none
        if more.get("encoding", "utf-8") not in ENCODINGS:
            raise ValueError
        return cls(kind=kind, where=where, must=must, **texts, **more)
