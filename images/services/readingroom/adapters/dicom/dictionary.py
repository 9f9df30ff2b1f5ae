"""The standard's tables, as pydicom carries them: tags, VRs, multiplicities, and registered UIDs."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pydicom._dicom_dict import DicomDictionary
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import keyword_dict

from readingroom.domain.errors import WrongSetUp

REGISTERED: Final = frozenset(UID_dictionary)
_BY_KEYWORD: Final = {entry[4]: uid for uid, entry in UID_dictionary.items() if entry[4]}


@lru_cache(maxsize=4096)
def vr_of(tag: int) -> str:
    """The VR of a tag; of several the first, with pixel data as OW and what the dictionary does not know as UN."""
    entry = DicomDictionary.get(tag)
    if entry is None:
        return "UL" if tag & 0xFFFF == 0 else "UN"
    return "OW" if entry[0] == "OB or OW" else entry[0].split(" or ")[0]


def tag_of(keyword: str) -> int:
    """The tag of a keyword. Raises `WrongSetUp` for none of the standard; those of repeating groups are none."""
    tag = keyword_dict.get(keyword)
    if tag is None:
        raise _unknown(keyword)
    return tag


def vrs_of(tag: int) -> tuple[str, ...]:
    """All VRs that the dictionary allows for a known tag."""
    return tuple(DicomDictionary[tag][0].split(" or "))


def count_of(tag: int) -> tuple[int, int | None, int]:
    """How many values the dictionary allows for a known tag: least, most (None: any number), step."""
    low, _, high = DicomDictionary[tag][1].partition("-")
    if not high:
        return int(low), int(low), 1
    step = int(high[:-1] or 1) if high.endswith("n") else 1
    return int(low), None if high.endswith("n") else int(high), step


def uid_of(keyword: str) -> str:
    """The UID that goes by a keyword, for example `CTImageStorage`. Raises `WrongSetUp` for none of the standard."""
    uid = _BY_KEYWORD.get(keyword)
    if uid is None:
        raise _unknown(keyword)
    return uid


def _unknown(keyword: str) -> WrongSetUp:
    return WrongSetUp(
        what="a profile",
        which=keyword[:64],
        why="the DICOM dictionary does not know it",
        next_step="correct the profile",
    )
