"""What goes from one role of a link to the next, as JSON lines: a head, then one line a person. And the partner's CSV.

Nothing in them identifies anybody who lacks the keys, and no message about them shows what they hold.
"""

from __future__ import annotations

import base64
import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from readingroom.adapters.durable import write_new
from readingroom.application.ports_link import Joined, Kept, Spine, Tokens
from readingroom.contract import PROJECT_ID
from readingroom.domain.access import POLICY
from readingroom.domain.deid.profile import normal
from readingroom.domain.document import HEX, Table, unique_keys
from readingroom.domain.errors import ReadingRoomError, Refused, WrongSetUp
from readingroom.domain.linkage.table import JOINED, LinkedPolicy, check_fields
from readingroom.domain.linkage.tokens import LINK, TOKEN, Record, Side

TOKENS: Final = "readingroom/link-tokens/v1"
SPINE: Final = "readingroom/link-spine/v1"
KEPT: Final = "readingroom/link-kept/v1"
LONGEST: Final = 1 << 16  # bytes of a line
LARGEST_KEPT: Final = 1 << 30
LONGEST_CELL: Final = 4096
_PATIENT: Final = re.compile(r"[A-Z2-7]{20}")
_SEALED: Final = re.compile(r"[A-Za-z0-9+/]{1,65000}={0,2}")
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{86}==")


def tokens_content(side: Side, tokens: Tokens) -> bytes:
    """One side's file for the matcher."""
    head = {"schema": TOKENS, "link": tokens.link, "side": side, **_policy(tokens)}
    lines = (
        {"reference": each.reference, "number": each.number, "demographics": each.demographics}
        | ({"row": each.row} if side is Side.PARTNER else {})
        for each in tokens.records
    )
    return _content([head, *lines])


def read_tokens(path: Path, side: Side) -> Tokens:
    """Raises `WrongSetUp` for what is no such file, `Refused` for the other side's."""
    lines = _lines(path)
    head = next(lines, Table({}, "tokens"))
    head.text("schema", re.compile(re.escape(TOKENS)))
    given = head.text("side", re.compile("|".join(Side)))
    if given != side:
        raise Refused(
            what="tokens",
            which=path.name,
            why=f"they are the {given}'s, and the {side}'s were expected",
            next_step="give PROJECT_TOKENS first, PARTNER_TOKENS second",
        )
    found = Tokens(records=tuple(_record(line, side) for line in lines), **_told(head))
    if side is Side.PROJECT and len({record.reference for record in found.records}) != len(found.records):
        raise _off(path.name, "it names a patient twice")
    return found


def spine_content(spine: Spine) -> bytes:
    """The matcher's file for the project's side."""
    head = {"schema": SPINE, "link": spine.link, **_policy(spine)}
    return _content([head, *(vars(line) for line in spine.lines)])


def read_spine(path: Path) -> Spine:
    """Raises `WrongSetUp` for what is no spine."""
    lines = _lines(path)
    head = next(lines, Table({}, "spine"))
    head.text("schema", re.compile(re.escape(SPINE)))
    return Spine(lines=tuple(map(_joined, lines)), **_told(head))


def kept_content(kept: Kept) -> bytes:
    """What the project's side keeps."""
    return _content(
        [
            {
                "schema": KEPT,
                "link": kept.link,
                "project": kept.project,
                "policy_sha256": kept.policy_sha256,
                "sealing": base64.b64encode(kept.sealing).decode("ascii"),
            },
            *({"patient": patient, "days": days} for patient, days in sorted(kept.days.items())),
        ]
    )


def read_kept(path: Path) -> Kept:
    """Raises `WrongSetUp` for what is no such file."""
    lines = _lines(path)
    head = next(lines, Table({}, "kept"))
    head.text("schema", re.compile(re.escape(KEPT)))
    link, project = head.text("link", LINK), head.text("project", PROJECT_ID)
    policy, sealing = head.text("policy_sha256", HEX), base64.b64decode(head.text("sealing", _KEY))
    head.done()
    days = {}
    for line in lines:
        days[line.text("patient", _PATIENT)] = line.whole("days", 1, 1 << 20)
        line.done()
    return Kept(link=link, project=project, policy_sha256=policy, sealing=sealing, days=days)


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """A file that was not there. The same again changes nothing; raises `WrongSetUp` where the name has other bytes."""
    try:
        write_new(path, content, mode)
    except FileExistsError:
        if path.read_bytes() != content:
            raise _off(
                path.name, "a file of that name is there, and holds something else", "give another name"
            ) from None
    except OSError as error:
        raise _off(path.name, f"it cannot be written ({type(error).__name__})", "see to its folder") from error


def partner_rows(path: Path, policy: LinkedPolicy) -> Iterator[dict[str, str]]:
    """The rows of the partner's table by header, which has each field of the policy once. Raises `WrongSetUp` and `Refused`."""
    with _read(path), path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        header = [normal(field) for field in next(rows, [])]
        check_fields(header, policy)
        for number, row in enumerate(rows, 2):
            if len(row) != len(header) or any(len(cell) > LONGEST_CELL for cell in row):
                raise _off(path.name, f"row {number} is not as wide as the header, or has a cell that is too long")
            yield dict(zip(header, row, strict=True))


def _record(line: Table, side: Side) -> Record:
    pattern = _PATIENT if side is Side.PROJECT else TOKEN
    record = Record(
        reference=line.text("reference", pattern),
        number=line.text_or_none("number", TOKEN),
        demographics=line.text_or_none("demographics", TOKEN),
        row=line.text("row", re.compile(rf"(?:{_SEALED.pattern})?")) if side is Side.PARTNER else "",
    )
    line.done()
    return record


def _joined(line: Table) -> Joined:
    found = Joined(
        patient=line.text("patient", _PATIENT),
        partner=line.text("partner", TOKEN),
        by=line.text("by", re.compile("|".join(JOINED))),
        row=line.text("row", _SEALED),
    )
    line.done()
    return found


def _told(head: Table) -> dict[str, str]:
    found = {
        "link": head.text("link", LINK),
        "policy": head.text("policy", POLICY),
        "policy_sha256": head.text("policy_sha256", HEX),
    }
    head.done()
    return found


def _policy(of: Tokens | Spine) -> dict[str, str]:
    return {"policy": of.policy, "policy_sha256": of.policy_sha256}


def _content(lines: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode("ascii")


def _lines(path: Path) -> Iterator[Table]:
    with _read(path), path.open("rb") as file:
        for number, text in enumerate(iter(lambda: file.readline(LONGEST), b""), 1):
            yield Table(json.loads(text, object_pairs_hook=unique_keys), f"line {number} of {path.name}")


@contextmanager
def _read(path: Path) -> Iterator[None]:
    try:
        yield
    except ReadingRoomError:
        raise
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise _off(path.name, f"it cannot be read ({type(error).__name__})") from error


def _off(which: str, why: str, next_step: str = "get it again from who made it") -> WrongSetUp:
    return WrongSetUp(what="linkage", which=which, why=why, next_step=next_step)
