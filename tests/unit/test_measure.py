"""`make measure` counts what it says it counts: each figure over a sample whose count is known by hand."""

from __future__ import annotations

import pytest

from tests import measure

SAMPLE = '''
import os
from pathlib import Path


def plain(x):
    """Says what it does."""
    assert x
    return x  # noqa: E501


class Thing:
    def method(self) -> int:
        try:
            return 1
        except (ValueError, Exception):
            raise WrongSetUp(what="x", why="y")

    def _own(self) -> None:
        try:
            pass
        except OSError as error:
            raise Refused(what="x", why="y", next_step="z") from error
        with suppress(BaseException):
            pass  # noqa: S110 (a reason)
'''


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> measure.Module:
    folder = tmp_path_factory.mktemp("sample")
    monkeypatch.setattr(measure, "ROOT", folder)
    (folder / "one.py").write_text(SAMPLE)
    return measure.Module(folder / "one.py")


def test_a_sample_is_counted_as_by_hand(sample: measure.Module) -> None:
    assert sample.functions == {"plain": 4, "method": 5, "_own": 7}
    assert (sample.returns, sample.docstrings) == ([False, True, True], [True, False, False])
    assert (sample.causes, sample.next_steps) == ([False, True], [False, True])
    assert (sample.asserts, sample.broad, sample.imports) == (1, 2, {"os", "pathlib"})
    assert [bool(measure.WITH_REASON.search(line)) for line in sample.suppressions] == [False, True]
    assert sample.ugliness == {"2 suppressions": 20, "2 broad excepts, 1 asserts": 150}


def test_the_table_stands_for_the_whole_tree_and_names_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    measure.main()
    rows = {line[:40].strip(): line[40:] for line in capsys.readouterr().out.splitlines()}
    assert rows["import contracts / cycles"].split()[:3] == ["9", "/", "0"]
    assert rows["domain modules free of input and output"].startswith(" 100 %")
    assert (measure.ROOT / rows["ugliest file"].split()[0]).is_file()


def test_rounding_flatters_nobody() -> None:
    assert measure.share([True] * 999 + [False]) == "99 %"
    assert measure.share([True] * 3) == "100 %"
