"""Ask who opted out: every NHS number that some folders hold, once, for the national service to answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from readingroom.application.ports_opt_out import Named, OptOutProvider

EVERY: Final = 500  # files between two lines of progress


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How many files were looked at, how many numbers they held, and whether the question is new."""

    files: int
    numbers: int
    new: bool


def ask_opt_outs(
    folders: Iterable[Named], provider: OptOutProvider, today: date, say: Callable[[str], None] = lambda _: None
) -> Asked:
    """Leaves one question for all folders together. Raises as the provider's `ask` does."""
    numbers: set[str] = set()
    files = 0
    for folder in folders:
        for found in folder.numbers():
            numbers |= found
            files += 1
            if files % EVERY == 0:
                say(f"looked at {files} files")
    return Asked(files=files, numbers=len(numbers), new=provider.ask(numbers, today))
