"""Opt-outs as files to drop and pick up: `asked-<day>.txt`, `answered-<day>.txt`, and `opted-out.txt`, one number a line.

The day is that on which the question was asked, so no answer is thought younger than it is. A line that is off, a file of
another name, an answer to no question: the whole folder is refused, since whom a line meant would be let through.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from codecs import BOM_UTF8
from collections.abc import Iterator, Set
from datetime import date
from pathlib import Path
from typing import Any, Final

from readingroom.adapters.bounded import Call, Pool
from readingroom.adapters.durable import write_new
from readingroom.adapters.tree import Tree
from readingroom.application.ports_deid import Resolved
from readingroom.domain.clinical.record import told_by
from readingroom.domain.deid.values import is_uid
from readingroom.domain.errors import Refused, WrongSetUp
from readingroom.domain.opt_out import OLDEST, Answer, OptOuts, listed, nhs_number, opt_outs_of

LISTED: Final = "opted-out.txt"
LARGEST: Final = 16 << 20  # bytes of one file: over a million numbers
ASKER: Final = "readingroom.adapters.ask_worker:factory"
_PSEUDONYM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{1,63}")
_NAME: Final = re.compile(r"(asked|answered)-([0-9]{4}-[0-9]{2}-[0-9]{2})\.txt")


class OptOutFolder:
    """See the port `OptOutProvider`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def opt_outs(self, today: date) -> OptOuts:
        """See the port. Pairs that are too old are kept for the record and not read."""
        found = self._files()
        questions, answers = found["asked"], found["answered"]
        if lost := sorted(answers - questions):
            raise _off(f"answered-{lost[-1]}.txt", "there is no question of that day", "give both files of a pair")
        if questions and not answers:
            raise Refused(
                what="opt-outs",
                which=f"asked-{max(questions)}.txt",
                why="it is not answered",
                next_step="wait for the answer, or take the question away",
            )
        if not answers and not found["listed"]:
            raise _off(
                "the folder given", f"it holds neither answers nor {LISTED}", f"give one of them; {LISTED} may be empty"
            )
        read = [day for day in answers if today - day <= OLDEST]
        pairs = [self._pair(day) for day in read]
        # none of them is read, and the newest says how old they are
        old = [Answer(day=max(answers), asked=frozenset(), free=frozenset())] if answers and not read else []
        return opt_outs_of(
            [*pairs, *old], listed_in(self._folder / LISTED, LISTED) if found["listed"] else frozenset(), today
        )

    def ask(self, numbers: Set[str], today: date) -> bool:
        """See the port."""
        path = self._folder / f"asked-{today}.txt"
        content = "".join(f"{number}\n" for number in sorted(numbers)).encode("ascii")
        if len(content) > LARGEST:
            raise _off(path.name, f"it would be larger than {LARGEST >> 20} MiB", "ask about fewer folders at a time")
        try:
            write_new(path, content, 0o600)
        except FileExistsError:
            if _read(path, path.name) == content:
                return False
            raise _off(
                path.name,
                "today's question is there already, and asks for others",
                "ask tomorrow, or take it away if nobody has it",
            ) from None
        except OSError as error:
            raise _unreadable("the folder given", error) from error
        return True

    def _files(self) -> dict[str, set[Any]]:
        """The days of questions and answers, and whether there is a list. What begins with a dot is a draft of somebody."""
        found: dict[str, set[Any]] = {"asked": set(), "answered": set(), "listed": set()}
        try:
            names = sorted(path.name for path in self._folder.iterdir() if not path.name.startswith("."))
        except OSError as error:
            raise _unreadable("the folder given", error) from error
        for name in names:
            if name == LISTED:
                found["listed"].add(name)
                continue
            match = _NAME.fullmatch(name)
            try:
                found[match[1] if match else ""].add(date.fromisoformat(match[2] if match else ""))
            except (KeyError, ValueError):
                raise _off(
                    "the folder given",
                    "it holds a file of another name",
                    f"leave there only asked-<day>.txt, answered-<day>.txt and {LISTED}, <day> as 2026-03-01",
                ) from None
        return found

    def _pair(self, day: date) -> Answer:
        asked, free = f"asked-{day}.txt", f"answered-{day}.txt"
        answer = Answer(day=day, asked=frozenset(self._numbers(asked)), free=frozenset(self._numbers(free)))
        if strangers := len(answer.free - answer.asked):
            raise _off(
                free,
                f"it answers about {strangers} numbers that nobody asked about",
                "find the answer to this question",
            )
        return answer

    def _numbers(self, name: str) -> Iterator[str]:
        for number, line in _lines(self._folder / name, name):
            if (found := nhs_number(line)) is None:
                raise _off(name, f"line {number} is no NHS number", "correct the file, or get it again")
            yield found


def listed_in(path: Path, called: str) -> frozenset[str]:
    """The names of a list of identifiers, one a line. Raises `WrongSetUp` where one is off, by the name it is called."""
    names: set[str] = set()
    for number, line in _lines(path, called):
        if (found := listed(line)) is None:
            raise _off(
                called,
                f"line {number} is no identifier",
                "correct it; for ten digits that a hospital gave write local:<number>",
            )
        names |= found
    return frozenset(names)


def studies_in(path: Path) -> frozenset[str]:
    """The Study Instance UIDs of a list, one a line. Raises `WrongSetUp` where one is off."""
    called, studies = "the study file", set[str]()
    for number, line in _lines(path, called):
        if not is_uid(line):
            raise _off(called, f"line {number} is no UID", "correct it")
        studies.add(line)
    return frozenset(studies)


def names_in_list(path: Path) -> frozenset[str]:
    """The pseudonyms of a list, one a line. Raises `WrongSetUp` where one is off."""
    called, names = "the pseudonym file", set[str]()
    for number, line in _lines(path, called):
        if not _PSEUDONYM.fullmatch(line):
            raise _off(called, f"line {number} is no pseudonym", "write a part of a path of the warehouse")
        names.add(line)
    return frozenset(names)


def identities_in(path: Path) -> frozenset[str]:
    """The identities of a list of identifiers as a key turns them into pseudonyms: those that need no issuer.

    Raises `WrongSetUp` for a hospital's own number: whose issuer, and under which other numbers, landing alone knows.
    """
    called, identities = "the patient file", set[str]()
    for number, line in _lines(path, called):
        if (found := nhs_number(line)) is None:
            raise _off(
                called,
                f"line {number} is no NHS number, and which pseudonym it led to only landing knows",
                "retract it from landing, run `deid`, then `cohort retract --warehouse` with --gone",
            )
        identities.add(f"nhs:{found}")
    return frozenset(identities)


def _lines(path: Path, called: str) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers."""
    try:
        text = _read(path, called).removeprefix(BOM_UTF8).decode("ascii")
    except UnicodeDecodeError as error:
        raise _off(called, "it holds more than plain characters", "save it as plain text") from error
    for number, line in enumerate(text.split("\n"), 1):
        if stripped := line.strip(" \t\r"):
            yield number, stripped


def _read(path: Path, called: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("no regular file")
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise _unreadable(called, error) from error
    if len(content) > LARGEST:
        raise _off(called, f"it is larger than {LARGEST >> 20} MiB", "ask about fewer numbers at a time")
    return content


class NamedFolder:
    """See the port `Named`: whatever files lie below a folder, an inbox as well as a landing."""

    def __init__(self, tree: Tree, clinical: Resolved, *, jobs: int) -> None:
        self._tree, self._clinical, self._jobs = tree, clinical, jobs

    def numbers(self) -> Iterator[frozenset[str]]:
        """See the port."""
        unread: list[str] = []
        with Pool(ASKER, {"clinical": self._clinical.document}, jobs=self._jobs) as pool:
            for answer in pool.run(self._calls(unread)):
                yield frozenset(answer.document.get("numbers", ()))
        yield from itertools.repeat(frozenset(), len(unread))

    def _calls(self, unread: list[str]) -> Iterator[Call[None]]:
        for name in self._tree.files():
            try:
                descriptor = self._tree.open(name)
            except OSError:
                unread.append(name)
                continue
            yield Call(key=None, document={"sort": told_by(name).sort}, descriptors=(descriptor,))


def _off(which: str, why: str, next_step: str) -> WrongSetUp:
    return WrongSetUp(what="opt-outs", which=which, why=why, next_step=next_step)


def _unreadable(which: str, error: OSError) -> WrongSetUp:
    return _off(
        which, f"it cannot be read or written ({type(error).__name__})", "see to the folder and its permissions"
    )
