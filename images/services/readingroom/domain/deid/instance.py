"""Which instance a file is: the four UIDs that both doors ask for, that of `ingest` and that of `deid`."""

from __future__ import annotations

from typing import Final

from readingroom.domain.deid.elements import Elements, find, texts
from readingroom.domain.deid.outcome import FileRejected, Reason
from readingroom.domain.deid.values import is_uid

SOP_CLASS: Final = 0x00080016
UIDS: Final = {"class": SOP_CLASS, "instance": 0x00080018, "study": 0x0020000D, "series": 0x0020000E}


def uids_of(elements: Elements) -> dict[str, str]:
    """The UID of SOP class, instance, study and series, one well-formed value each: two values would be two instances.

    Raises `FileRejected` otherwise. PS3.5 section 9.1, PS3.3 C.12.1.
    """
    found = {name: texts(find(elements, tag)) for name, tag in UIDS.items()}
    if not all(len(values) == 1 and is_uid(values[0]) for values in found.values()):
        raise FileRejected(Reason.UID_MALFORMED)
    return {name: value for name, (value,) in found.items()}
