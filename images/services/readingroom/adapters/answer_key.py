"""The files a score is made from: an answer key, and the receipt of whoever wrote one. Only synthetic trees have a key."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from readingroom.domain.errors import WrongSetUp
from readingroom.domain.synth.key import Entry


def entries_of(path: Path) -> list[Entry]:
    """The lines of a key. Raises `WrongSetUp` naming the line that is none."""
    found = []
    for number, document in _lines(path, "answer key"):
        try:
            found.append(Entry.from_document(document))
        except (KeyError, ValueError, TypeError) as error:
            raise _wrong("answer key", path, f"line {number} is no line of a key") from error
    if not found:
        raise _wrong("answer key", path, "it is empty")
    return found


def receipt_of(path: Path) -> dict[str, list[str]]:
    """Input → the output of each of its lines; empty where a line names none. Raises `WrongSetUp` likewise."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for number, document in _lines(path, "receipt"):
        given, output = document.get("input"), document.get("output") or ""
        if not isinstance(given, str) or not isinstance(output, str):
            raise _wrong("receipt", path, f"line {number} is no line of a receipt")
        found[given].append(output)
    return dict(found)


def _lines(path: Path, what: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(what, path, f"it cannot be read ({type(error).__name__})") from error
    for number, line in enumerate(text.splitlines(), 1):
        try:
            document = json.loads(line)
        except ValueError as error:
            raise _wrong(what, path, f"line {number} is no JSON") from error
        if not isinstance(document, dict):
            raise _wrong(what, path, f"line {number} is no JSON object")
        yield number, document


def _wrong(what: str, path: Path, why: str) -> WrongSetUp:
    return WrongSetUp(what=what, which=path.name, why=why, next_step="give the one that was written beside the tree")
