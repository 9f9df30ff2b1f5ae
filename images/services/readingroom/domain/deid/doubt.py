"""Which pixels nobody vouches for. A file whose pixels are doubtful is held for a person (`data.md` 7).

Until there is a reader of text, the rule is: an image class that is always read is always held; a CT or MR image is
released when nothing gives a reason to look and both measures of strokes are silent. The header's own flag is a hint in one
direction only: YES holds, NO proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from readingroom.domain.deid.elements import Elements, all_of, find, text, texts
from readingroom.domain.deid.outcome import FileHeld, Reason
from readingroom.domain.deid.profile import Profile, TextGate, normal

IMAGE_TYPE: Final = 0x00080008
CONVERSION_TYPE: Final = 0x00080064
BURNED_IN: Final = 0x00280301
PHOTOMETRIC: Final = 0x00280004
SAMPLES: Final = 0x00280002
BODY_PART: Final = 0x00180015
DESCRIPTIONS: Final = (0x00081030, 0x0008103E, 0x00181030)  # study, series, protocol
MEANING: Final = 0x00080104
REGIONS: Final = frozenset({0x00081032, 0x00082218, 0x00321064, 0x00400008})  # anatomic region and procedure codes

SLOPE: Final = 0x00281053
INTERCEPT: Final = 0x00281052
BODY_PARTS: Final = "body-parts"  # the vocabulary of what a header may name
LEAST_BONE: Final = 0.12  # † of what is denser than air: 0.19 in a real head, 0.02 to 0.08 in trunks
MOST_STROKES: Final = {False: 20, True: 8}  # † that still count as silence; fewer where there is a reason to look


def check_header(elements: Elements, profile: Profile) -> None:
    """What can be said before any pixel is read.

    Raises `FileHeld`: text cannot be ruled out, or a face may be in view.
    """
    marks: Mapping[str, bool] = {
        "always": profile.text_gate is TextGate.ALWAYS,
        "flag": text(find(elements, BURNED_IN)).upper() == "YES",
        "colour": text(find(elements, PHOTOMETRIC)) not in {"MONOCHROME1", "MONOCHROME2"},
        "samples": (element := find(elements, SAMPLES)) is None or element.value != b"\1\0",
    }
    if any(marks.values()):
        raise FileHeld(Reason.PIXELS_DOUBTFUL)
    if shows_face(elements, profile.faces):
        raise FileHeld(Reason.FACES_POSSIBLE)


def shows_face(elements: Elements, faces: frozenset[str]) -> bool:
    """Whether body part, region code or a description names a part that shows a face."""
    return not _words(elements).isdisjoint(faces)


def names_no_part(elements: Elements, profile: Profile) -> bool:
    """Whether nothing in the header says what part of the body this is: then its pixels are asked whether it is a head."""
    parts = profile.vocabularies[BODY_PARTS].terms if BODY_PARTS in profile.vocabularies else {}
    return _words(elements).isdisjoint(parts)


def _words(elements: Elements) -> set[str]:
    """All that body part, descriptions and region codes say, in normalised words."""
    words = set(normal(text(find(elements, BODY_PART))).split())
    for tag in DESCRIPTIONS:
        words.update(normal(" ".join(texts(find(elements, tag)))).split())
    for sequence in all_of(elements):
        for item in sequence.items or [] if sequence.tag in REGIONS else []:
            words.update(normal(text(find(item, MEANING))).split())
    return words


def is_suspect(elements: Elements) -> bool:
    """Whether an image gives a reason to look closer: it is not as the scanner made it."""
    converted = find(elements, CONVERSION_TYPE) is not None
    return converted or [value.upper() for value in texts(find(elements, IMAGE_TYPE))[:2]] != ["ORIGINAL", "PRIMARY"]


def hounsfield(elements: Elements) -> tuple[float, float] | None:
    """Slope and intercept that turn a stored sample into Hounsfield units, or None: PS3.3 C.8.2.1."""
    try:
        slope, intercept = (float(text(find(elements, tag))) for tag in (SLOPE, INTERCEPT))
    except ValueError:
        return None
    return (slope, intercept) if slope > 0 else None


def check_bone(share: float) -> None:
    """Raises `FileHeld` when so much of a CT slice that names no part of the body is bone as in a head, limbs included."""
    if share >= LEAST_BONE:
        raise FileHeld(Reason.FACES_POSSIBLE)


def check_strokes(strokes: int, *, letters: bool, suspect: bool) -> None:
    """Raises `FileHeld` when the pixels hold what could be letters: that many edges in rows, or rows of strokes."""
    if letters or strokes > MOST_STROKES[suspect]:
        raise FileHeld(Reason.PIXELS_DOUBTFUL)
