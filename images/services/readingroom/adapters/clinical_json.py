"""A clinical file's bytes as a document: strict JSON of bounded size and depth, and nothing that two readers read differently."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from codecs import BOM_UTF8
from typing import Any, Final

from readingroom.domain.clinical.policy import Policy
from readingroom.domain.clinical.record import Record, record_from
from readingroom.domain.deid.outcome import FileRejected, Reason
from readingroom.domain.document import unique_keys

LARGEST: Final = 1 << 20
DEEPEST: Final = 8
DICOM_AT: Final = 128
_MARKS: Final = re.compile(r'\\.|["\[\]{}]', re.DOTALL)


def is_dicom(descriptor: int) -> bool:
    """Whether a file is DICOM, whatever its name and its preamble look like. PS3.10 section 7.1."""
    return os.pread(descriptor, 4, DICOM_AT) == b"DICM"


def is_json(descriptor: int) -> bool:
    """Whether a file begins like an object of JSON."""
    return os.pread(descriptor, DICOM_AT, 0).removeprefix(BOM_UTF8).lstrip(b" \t\r\n").startswith(b"{")


def document_of(content: bytes) -> Any:
    """The document of a file's bytes. Raises `FileRejected` (clinical-malformed) for what is not strict JSON."""
    try:
        text = content.removeprefix(BOM_UTF8).decode("utf-8")
        _check_depth(text)
        return json.loads(text, object_pairs_hook=unique_keys, parse_constant=_no_number, parse_float=_finite)
    except ValueError as error:
        raise FileRejected(Reason.CLINICAL_MALFORMED) from error


def content_in(descriptor: int) -> bytes:
    """A file's bytes. Raises `FileRejected` (clinical-malformed) where they are too many."""
    pieces, length = [], 0
    while length <= LARGEST and (piece := os.pread(descriptor, LARGEST + 1 - length, length)):
        pieces.append(piece)
        length += len(piece)
    if length > LARGEST:
        raise FileRejected(Reason.CLINICAL_MALFORMED)
    return b"".join(pieces)


def _check_depth(text: str) -> None:
    """Counts brackets outside strings, so that no reader is asked to go deeper. Raises `ValueError`."""
    depth, quoted = 0, False
    for match in _MARKS.finditer(text):
        mark = match.group()
        if mark == '"':
            quoted = not quoted
        elif not quoted:
            depth += (mark in "[{") - (mark in "]}")
            if depth > DEEPEST:
                raise ValueError("too deep")


def _no_number(word: str) -> float:
    raise ValueError(word)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("no finite number")
    return number


def record_in(descriptor: int, sort: str | None, policy: Policy) -> tuple[Record, str] | None:
    """The record in a file and the SHA-256 of its bytes, or None for a file that is none.

    `sort` is what the file's name says; without it, an object of JSON is a record if it names a patient. DICOM is none,
    whatever its name. Raises `FileRejected` and `FileHeld` as `document_of` and `record_from` do.
    """
    if is_dicom(descriptor) or (sort is None and not is_json(descriptor)):
        return None
    try:
        content = content_in(descriptor)
        return record_from(document_of(content), policy), hashlib.sha256(content).hexdigest()
    except FileRejected:
        if sort is None:
            return None
        raise
