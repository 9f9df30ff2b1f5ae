"""A folder that appears whole: it is made beside its place, under a name with a dot, and renamed at the end.

One run at a time makes it. What a killed run left is swept by the next one for the same place. Nothing is synced: what a
power cut takes can be made again from its seed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from readingroom.adapters.durable import alone
from readingroom.application.ports_synth import IDENTIFIED, KEY, OPTED_OUT, SUMMARY
from readingroom.domain.errors import TryAgain, WrongSetUp


class TreeFolder:
    """The port `SyntheticTree`. The caller is alone in the folder `making`."""

    def __init__(self, making: Path, final: Path) -> None:
        self._making, self._final, self._shown = making, final, False
        self._folders: set[str] = set()
        self._sheets: dict[str, IO[str]] = {}

    def begin(self) -> None:
        """Sweeps and opens. Raises `WrongSetUp` when the final place is taken."""
        _check_free(self._final)
        for left in self._making.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        for name in (KEY, *OPTED_OUT.values()):
            self._sheets[name] = (self._making / name).open("x", encoding="utf-8", newline="\n")

    def write(self, place: str, data: bytes) -> None:
        """See the port."""
        folder, _, name = place.rpartition("/")
        if folder not in self._folders:
            (self._making / IDENTIFIED / folder).mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)
        with (self._making / IDENTIFIED / folder / name).open("xb", buffering=0) as file:
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]

    def line(self, sheet: str, text: str) -> None:
        """See the port."""
        self._sheets[sheet].write(text + "\n")

    def finish(self, summary: Mapping[str, Any]) -> None:
        """See the port."""
        self._close()
        (self._making / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        self._making.rename(self._final)  # takes the place of an empty folder, and of no other
        self._shown = True

    def leave(self) -> None:
        """What was not shown goes."""
        self._close()
        if not self._shown:
            shutil.rmtree(self._making, ignore_errors=True)

    def _close(self) -> None:
        for sheet in self._sheets.values():
            sheet.close()


@contextmanager
def tree_at(place: Path) -> Iterator[TreeFolder]:
    """A tree in the making for `place`. Raises `WrongSetUp` unless that is absent or empty, `TryAgain` for a second run."""
    final = place.resolve()
    making = final.parent / f".{final.name}.synth"
    busy = TryAgain(what="synth", which=final.name, why="another run is making it", next_step="wait until it ends")
    with _written(final), alone(making, busy):
        tree = TreeFolder(making, final)
        try:
            tree.begin()
            yield tree
        finally:
            tree.leave()


def _check_free(final: Path) -> None:
    if not final.name or (final.exists() and (not final.is_dir() or any(final.iterdir()))):
        raise WrongSetUp(
            what="synth",
            which=final.name or str(final),
            why="there is something already, and a synthetic tree is never mixed with anything",
            next_step="give a folder that is empty or not there",
        )


@contextmanager
def _written(final: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WrongSetUp(
            what="synth",
            which=final.name,
            why=f"it cannot be written ({error.strerror or type(error).__name__})",
            next_step="see to space and permissions, then run the same command again",
        ) from error
