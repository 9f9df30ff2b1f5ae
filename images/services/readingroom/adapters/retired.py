"""`retired.json` beside a project's cuts: the digests that are never mounted again. `CutShelf` alone writes it."""

from __future__ import annotations

from pathlib import Path

from readingroom.contract import RETIRED, retired_digests
from readingroom.domain.errors import Refused, WrongSetUp
from readingroom.domain.ids import Digest


def retired_in(folder: Path) -> frozenset[Digest]:
    """The retired digests of a folder of cuts; none where nothing ever was. Raises `WrongSetUp` if they cannot be read."""
    try:
        return frozenset(map(Digest, retired_digests((folder / RETIRED).read_bytes())))
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError) as error:
        raise WrongSetUp(
            what="cut",
            which=RETIRED,
            why=f"it cannot be read ({type(error).__name__}), so nobody knows what was taken back",
            next_step="restore it from the backup",
        ) from error


def check_not_retired(folder: Path, digest: str) -> None:
    """Raises `Refused` for a cut that holds what was taken back."""
    if digest in retired_in(folder):
        raise Refused(
            what="cut",
            which=digest[:19],
            why="it is retired: it holds data that were taken back",
            next_step="cut what is left of the warehouse, and grant that",
        )
