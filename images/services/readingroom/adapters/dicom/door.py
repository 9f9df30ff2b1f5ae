"""The door's look at one file, inside a bounded child: structure, completeness, and who it says it is, as tokens.

A token is a keyed hash under a key of this run: equal where the values are equal, and of no use to anybody afterwards.
No value of a file leaves the child. `data.md` section 3, points 1 to 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from readingroom.adapters.dicom.completeness import NEEDED, check_complete
from readingroom.adapters.dicom.dictionary import vr_of
from readingroom.adapters.dicom.prescan import Scan, prescan
from readingroom.adapters.dicom.source import Source
from readingroom.domain.deid.elements import all_of, find, text
from readingroom.domain.deid.identity import BIRTH_DATE, ISSUER, PATIENT_ID, identity_of
from readingroom.domain.deid.instance import UIDS, uids_of
from readingroom.domain.deid.outcome import FileRejected, Reason
from readingroom.domain.door import token
from readingroom.domain.opt_out import IDENTIFIERS, Names, names_in

STORED_CLASS: Final = 0x00020002
MEDIA_DIRECTORY: Final = "1.2.840.10008.1.3.10"
LONGEST: Final = 1024  # bytes of an element that is looked at here; what is longer is none of these
_READ: Final = (*UIDS.values(), PATIENT_ID, ISSUER, BIRTH_DATE, *NEEDED)


def door(setup: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Sequence[int]], dict[str, Any]]:
    """The function that looks at files: see `adapters/bounded`. `setup` holds the key of this run's tokens."""
    key = bytes.fromhex(setup["key"])

    def look(_: Mapping[str, Any], descriptors: Sequence[int]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        try:
            scan = looked_at(descriptors[0])
            found["names"] = names_given(scan).known_as(lambda name: token(name, key)).to_document()
            check_complete(scan)
            return {**found, "identity": _identity(scan, key)}
        except FileRejected as rejected:
            return {**found, "reason": rejected.reason.value}

    return look


def looked_at(descriptor: int) -> Scan:
    """The file's structure, of a kind that is received, with the few values that the door reads."""
    scan = prescan(Source(descriptor), vr_of)
    if text(find(scan.meta, STORED_CLASS)) == MEDIA_DIRECTORY:
        raise FileRejected(Reason.SOP_CLASS)
    top = [element for element in scan.elements if element.tag in _READ]
    named = [element for element in all_of(scan.elements) if element.tag in IDENTIFIERS]
    for element in (*top, *named):
        if element.items is None:
            if element.length > LONGEST:
                raise FileRejected(Reason.MALFORMED)
            element.value = scan.source.take(element.at, element.length)
    return scan


def names_given(scan: Scan) -> Names:
    """What the file says its patient goes by."""
    return names_in(scan.elements, text(find(scan.elements, UIDS["study"])))


def _identity(scan: Scan, key: bytes) -> dict[str, str]:
    uids = uids_of(scan.elements)
    said = {
        "instance": uids["instance"],
        "study": uids["study"],
        "patient": identity_of(scan.elements),
        "birth": text(find(scan.elements, BIRTH_DATE)),
    }
    return {name: token(value, key) for name, value in said.items()}
