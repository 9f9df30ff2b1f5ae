"""Whoever knows who opted out keeps one contract; as files, nothing that is off is read past."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from readingroom.adapters import opt_out_files
from readingroom.adapters.memory.opt_outs import MemoryOptOuts
from readingroom.adapters.opt_out_files import LISTED, OptOutFolder
from readingroom.application.ask_opt_outs import Asked, ask_opt_outs
from readingroom.domain.errors import ReadingRoomError, Refused, WrongSetUp
from readingroom.domain.opt_out import NOBODY, OptOuts, listed
from tests.unit.optout.people import ONE, THREE, TWO, opted_out, spaced

TODAY = date(2026, 3, 9)


class InFiles:
    """The folder, and the service beside it."""

    def __init__(self, folder: Path, local: Iterable[str]) -> None:
        self.folder = folder
        (folder / LISTED).write_text("\n".join(local))
        self.provider = OptOutFolder(folder)

    def answer(self, day: date, free: Iterable[str]) -> None:
        assert (self.folder / f"asked-{day}.txt").exists()
        (self.folder / f"answered-{day}.txt").write_text("".join(f"{number}\n" for number in free))


class InMemory:
    """The fake, and the service beside it."""

    def __init__(self, _: Path, local: Iterable[str]) -> None:
        names = [listed(each) or frozenset() for each in local]
        self.provider = MemoryOptOuts(frozenset().union(*names))
        self.answer = self.provider.answer


@pytest.fixture(params=[InFiles, InMemory])
def known(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    return lambda *local: request.param(tmp_path, local)


class TestOptOutProvider:
    """What any provider does: see the port."""

    def test_a_list_alone_says_who_is_out_and_asks_nobody(self, known: Callable[..., Any]) -> None:
        assert known(ONE, "H1").provider.opt_outs(TODAY) == opted_out(ONE, "H1")
        assert known().provider.opt_outs(TODAY) == NOBODY

    def test_of_those_asked_about_who_is_not_in_the_answer_is_out(self, known: Callable[..., Any]) -> None:
        here = known("H1")
        assert here.provider.ask({ONE, TWO}, TODAY)
        here.answer(TODAY, [TWO])
        wanted = opted_out("H1", ONE, asked=(ONE, TWO))
        assert here.provider.opt_outs(TODAY) == wanted
        assert here.provider.opt_outs(TODAY + timedelta(days=7)) == wanted
        with pytest.raises(Refused):
            here.provider.opt_outs(TODAY + timedelta(days=8))
        with pytest.raises(WrongSetUp):
            here.provider.opt_outs(TODAY - timedelta(days=1))

    def test_an_unanswered_question_is_refused_and_a_second_one_covers_nothing_yet(
        self, known: Callable[..., Any]
    ) -> None:
        here = known()
        here.provider.ask({ONE}, TODAY)
        with pytest.raises(Refused):
            here.provider.opt_outs(TODAY)
        here.answer(TODAY, [ONE])
        later = TODAY + timedelta(days=2)
        here.provider.ask({ONE, TWO}, later)
        assert here.provider.opt_outs(later) == opted_out(asked=(ONE,))
        here.answer(later, [TWO])
        assert here.provider.opt_outs(later) == opted_out(ONE, asked=(ONE, TWO))

    def test_a_question_is_left_once(self, known: Callable[..., Any]) -> None:
        provider = known().provider
        assert provider.ask({ONE, TWO}, TODAY)
        assert not provider.ask({TWO, ONE}, TODAY)
        with pytest.raises(WrongSetUp):
            provider.ask({ONE}, TODAY)
        assert provider.ask({ONE}, TODAY + timedelta(days=1))


DAY, LAST_WEEK, LONG_AGO = "2026-03-09", "2026-03-02", "2026-03-01"
PAIR = {f"asked-{DAY}.txt": f"{ONE}\n{TWO}\n", f"answered-{DAY}.txt": f"{ONE}\n"}
FINE: dict[str, tuple[dict[str, str | bytes], OptOuts]] = {
    "a pair": (PAIR, opted_out(TWO, asked=(ONE, TWO))),
    "spaces, line ends of another system, a mark of UTF-8, none at the end": (
        {
            f"asked-{DAY}.txt": b"\xef\xbb\xbf" + f"{spaced(ONE)}\r\n {TWO} \r\n\r\n".encode(),
            f"answered-{DAY}.txt": f"\n{spaced(TWO)}",
        },
        opted_out(ONE, asked=(ONE, TWO)),
    ),
    "a number twice": ({**PAIR, f"answered-{DAY}.txt": f"{ONE}\n{ONE}\n"}, opted_out(TWO, asked=(ONE, TWO))),
    "an empty answer: all of them": ({**PAIR, f"answered-{DAY}.txt": ""}, opted_out(ONE, TWO, asked=(ONE, TWO))),
    "a list alone": ({LISTED: f"{spaced(ONE)}\nH-1\n"}, opted_out(ONE, "h1")),
    "an empty list": ({LISTED: ""}, NOBODY),
    "drafts aside": ({**PAIR, ".draft-x": b"\xff", ".opted-out.txt.swp": b"\xff"}, opted_out(TWO, asked=(ONE, TWO))),
    "an old pair, whatever stands in it": (
        {**PAIR, f"asked-{LONG_AGO}.txt": "?", f"answered-{LONG_AGO}.txt": "?"},
        opted_out(TWO, asked=(ONE, TWO)),
    ),
    "a pair of last week": (
        {f"asked-{LAST_WEEK}.txt": ONE, f"answered-{LAST_WEEK}.txt": ONE, LISTED: "H1"},
        opted_out("H1", asked=(ONE,)),
    ),
}  # fmt: skip

WRONG: dict[str, tuple[dict[str, str | bytes], type[ReadingRoomError], str]] = {
    "an empty folder": ({}, WrongSetUp, "holds neither"),
    "a question alone": ({f"asked-{DAY}.txt": ONE}, Refused, "not answered"),
    "a question and a list": ({f"asked-{DAY}.txt": ONE, LISTED: ""}, Refused, "not answered"),
    "an answer alone": ({f"answered-{DAY}.txt": ONE}, WrongSetUp, "no question"),
    "an answer of another day": (
        {f"asked-{DAY}.txt": ONE, f"answered-{LAST_WEEK}.txt": ONE},
        WrongSetUp,
        "no question",
    ),
    "an answer about others": ({**PAIR, f"answered-{DAY}.txt": THREE}, WrongSetUp, "nobody asked"),
    "a check digit": ({**PAIR, f"answered-{DAY}.txt": f"{ONE}\n9991246925\n"}, WrongSetUp, "line 2"),
    "a number cut short": ({**PAIR, f"answered-{DAY}.txt": f"{ONE}\n{TWO[:6]}"}, WrongSetUp, "line 2"),
    "a comma": ({**PAIR, f"answered-{DAY}.txt": f"{ONE},\n"}, WrongSetUp, "line 1"),
    "two on a line": ({**PAIR, f"answered-{DAY}.txt": f"{ONE} {TWO}\n"}, WrongSetUp, "line 1"),
    "a heading": ({**PAIR, f"answered-{DAY}.txt": f"NHS number\n{ONE}\n"}, WrongSetUp, "line 1"),
    "a question that is off": ({**PAIR, f"asked-{DAY}.txt": f"{ONE}\nQuux\n"}, WrongSetUp, "line 2"),
    "other letters": ({**PAIR, f"answered-{DAY}.txt": "Ω".encode()}, WrongSetUp, "plain characters"),
    "wide characters": ({**PAIR, f"answered-{DAY}.txt": ONE.encode("utf-16")}, WrongSetUp, "plain characters"),
    "noughts": ({**PAIR, f"answered-{DAY}.txt": bytes(100)}, WrongSetUp, "line 1"),
    "a list with a mistyped number": ({LISTED: f"H1\n{ONE}\n999 124 6925\n"}, WrongSetUp, "line 3"),
    "a list with a remark": ({LISTED: "# ours: " + "x" * 60}, WrongSetUp, "line 1"),
    "a list beside a good pair": ({**PAIR, LISTED: "--"}, WrongSetUp, "line 1"),
    "too old": ({f"asked-{LONG_AGO}.txt": ONE, f"answered-{LONG_AGO}.txt": ONE}, Refused, "older than 7 days"),
    "a day to come": ({"asked-2026-03-10.txt": ONE, "answered-2026-03-10.txt": ONE}, WrongSetUp, "to come"),
    "no day": ({**PAIR, "asked-2026-02-30.txt": ONE}, WrongSetUp, "another name"),
    "a name in capitals": ({"Opted-Out.txt": ONE}, WrongSetUp, "another name"),
    "a copy": ({**PAIR, "opted-out.txt.bak": ONE}, WrongSetUp, "another name"),
    "a name that tells": ({**PAIR, "Quux.txt": ""}, WrongSetUp, "another name"),
}


def given(folder: Path, files: dict[str, str | bytes]) -> OptOutFolder:
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return OptOutFolder(folder)


@pytest.mark.parametrize("name", sorted(FINE))
def test_what_is_written_as_people_write_it_is_read(tmp_path: Path, name: str) -> None:
    files, wanted = FINE[name]
    assert given(tmp_path, files).opt_outs(TODAY) == wanted


@pytest.mark.parametrize("name", sorted(WRONG))
def test_one_line_that_is_off_refuses_all_and_says_which_without_a_number(tmp_path: Path, name: str) -> None:
    files, error, words = WRONG[name]
    with pytest.raises(error, match=words) as told:
        given(tmp_path, files).opt_outs(TODAY)
    assert type(told.value) is error
    line = str(told.value)
    assert "\n" not in line
    assert "Next:" in line
    assert not any(secret in line for secret in (ONE, TWO, THREE, TWO[:6], "9991246925", "Quux"))


def test_what_is_no_file_or_cannot_be_read_is_never_an_empty_answer(tmp_path: Path) -> None:
    given(tmp_path, PAIR)
    place = tmp_path / f"answered-{DAY}.txt"
    place.unlink()
    for make in (
        lambda: os.mkfifo(place),
        place.mkdir,
        lambda: place.symlink_to("/nowhere"),
        lambda: place.symlink_to("/dev/zero"),
    ):
        make()
        with pytest.raises(WrongSetUp, match="cannot be read"):
            OptOutFolder(tmp_path).opt_outs(TODAY)
        place.rmdir() if place.is_dir() and not place.is_symlink() else place.unlink()
    with pytest.raises(WrongSetUp, match="cannot be read"):
        OptOutFolder(tmp_path / "nowhere").opt_outs(TODAY)


def test_a_list_without_end_costs_no_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(tmp_path, PAIR)
    with (tmp_path / f"answered-{DAY}.txt").open("r+b") as file:
        file.truncate(1 << 40)  # no disk has it: it is a hole
    with pytest.raises(WrongSetUp, match="larger than 16 MiB"):
        OptOutFolder(tmp_path).opt_outs(TODAY)
    given(tmp_path, {**PAIR, LISTED: "x" * 5_000_000})
    with pytest.raises(WrongSetUp, match="line 1"):
        OptOutFolder(tmp_path).opt_outs(TODAY)
    monkeypatch.setattr(opt_out_files, "LARGEST", 30)
    with pytest.raises(WrongSetUp, match="fewer folders"):
        OptOutFolder(tmp_path).ask({ONE, TWO, THREE}, TODAY + timedelta(days=1))
    assert OptOutFolder(tmp_path).ask({ONE, TWO}, TODAY + timedelta(days=1))


def test_a_question_is_for_its_owner_sorted_and_never_written_over(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    assert OptOutFolder(folder).ask({TWO, ONE}, TODAY)
    [path] = folder.iterdir()
    assert (path.name, path.read_text()) == (f"asked-{DAY}.txt", f"{ONE}\n{TWO}\n")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(WrongSetUp, match="asks for others"):
        OptOutFolder(folder).ask({ONE, THREE}, TODAY)
    assert path.read_text() == f"{ONE}\n{TWO}\n"
    (tmp_path / "file").write_text("")
    with pytest.raises(WrongSetUp, match="cannot be read or written"):
        OptOutFolder(tmp_path / "file").ask({ONE}, TODAY)


class Files:
    """A folder whose files give these numbers."""

    def __init__(self, *numbers: str) -> None:
        self._numbers = numbers

    def numbers(self) -> Iterable[frozenset[str]]:
        return ({number} if number else frozenset() for number in self._numbers)  # type: ignore[misc]


def test_all_folders_make_one_question() -> None:
    provider, said = MemoryOptOuts(), list[str]()
    folders = [Files(ONE, ONE, ""), Files(*[TWO] * 500)]
    assert ask_opt_outs(folders, provider, TODAY, said.append) == Asked(files=503, numbers=2, new=True)  # type: ignore[arg-type]
    assert said == ["looked at 500 files"]
    assert ask_opt_outs([Files(TWO, ONE)], provider, TODAY) == Asked(files=2, numbers=2, new=False)  # type: ignore[list-item]
