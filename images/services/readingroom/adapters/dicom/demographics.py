"""Family name, birth date and sex as an image says them, for linkage alone. The only reader of a name that is not thrown away."""

from __future__ import annotations

import warnings
from typing import Final

from pydicom.charset import convert_encodings, decode_bytes

from readingroom.adapters.dicom.door import LONGEST
from readingroom.adapters.dicom.prescan import Scan
from readingroom.domain.deid.elements import find, text
from readingroom.domain.deid.identity import BIRTH_DATE
from readingroom.domain.deid.values import day
from readingroom.domain.linkage.identifiers import Demographics, demographics

CHARACTER_SET: Final = 0x00080005
NAME: Final = 0x00100010
SEX: Final = 0x00100040
_DELIMITERS: Final = {0x3D, 0x5E}  # of groups and of components: PS3.5 sections 6.1.2.5.3 and 6.2.1


def demographics_given(scan: Scan) -> Demographics | None:
    """What the top level of an image says. The caller has looked at it (`looked_at`), which reads the birth date."""
    for tag in (CHARACTER_SET, NAME, SEX):
        element = find(scan.elements, tag)
        if element is not None and element.items is None and element.length <= LONGEST:
            element.value = scan.source.take(element.at, element.length)
    born = day(text(find(scan.elements, BIRTH_DATE)))
    return demographics(_family(scan), born, text(find(scan.elements, SEX)))


def _family(scan: Scan) -> str:
    """The family name of the first group. Empty where the declared character set does not give it: nothing is guessed."""
    element = find(scan.elements, NAME)
    declared = text(find(scan.elements, CHARACTER_SET)).split("\\")
    if element is None or element.items is not None or not element.value:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            name = decode_bytes(element.value, convert_encodings(declared), _DELIMITERS)
    except (LookupError, ValueError, UserWarning):
        return ""
    return name.partition("=")[0].partition("^")[0]
