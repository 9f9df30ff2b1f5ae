"""What linkage needs from the world: identified files, a key that works once, sealed rows, a place for the table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from readingroom.domain.clinical.cells import Value
from readingroom.domain.clinical.policy import TableColumn
from readingroom.domain.linkage.tokens import LinkKey, Record
from readingroom.domain.opt_out import Names


@dataclass(frozen=True, kw_only=True, repr=False)
class Looked:
    """One image's patient: stand-in and shift in the project, tokens under the link's key, names as tokens of the project."""

    patient: str
    days: int
    numbers: frozenset[str]
    demographics: str | None
    names: Names


class Landed(Protocol):
    """The images of landing, each looked at in a bounded place: what comes back identifies nobody who lacks the keys."""

    def looked(self) -> Iterable[Looked | None]:
        """One answer for each image; None for one that cannot be looked at."""
        ...


class OneTimeKey(Protocol):
    """One side's copy of the key of a link.

    1. `key` gives it. Raises `WrongSetUp` for a file that is none, `Refused` for the other side's.
    2. `spend` shows one output under the key and destroys the key: the digest of the output is remembered first, so a killed
       run may be repeated with the same output, and any other is `Refused`. Once spent, every use is `Refused`.
    """

    def key(self) -> LinkKey:
        """1."""
        ...

    def spend(self, output: bytes, show: Callable[[], None]) -> None:
        """2."""
        ...


class Sealer(Protocol):
    """Rows closed to whoever carries them. Equal rows and references give equal texts; all texts of a table have one length."""

    def sealed(self, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """One text for each row, bound to its reference."""
        ...

    def opened(self, reference: str, sealed: str) -> Any:
        """What was sealed to that reference. Raises `Refused` for anything else."""
        ...


class LinkedTables(Protocol):
    """Where a joined table is shown, whole. Equal columns and rows give equal bytes; what was shown before is replaced."""

    def put(
        self, facts: Mapping[str, str], columns: Sequence[TableColumn], rows: Sequence[Mapping[str, Value]]
    ) -> bool:
        """Whether anything changed. Raises `Refused` for the place of another project's table."""
        ...


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """One side's output: for the matcher."""

    link: str
    policy: str
    policy_sha256: str
    records: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Kept:
    """What the project's side keeps for the join: never for the matcher, the partner or a researcher."""

    link: str
    project: str
    policy_sha256: str
    sealing: bytes
    days: Mapping[str, int]  # stand-in → by how many days the patient's dates move back


@dataclass(frozen=True, kw_only=True)
class Joined:
    """One line of the spine: a patient of the project, a row of the partner, what they have in common, and the sealed row."""

    patient: str
    partner: str
    by: str
    row: str


@dataclass(frozen=True, kw_only=True)
class Spine:
    """What the matcher gives to the project's side."""

    link: str
    policy: str
    policy_sha256: str
    lines: tuple[Joined, ...]
