"""The root of the command line: help everywhere, one line on a wrong word, the right exit status."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from tests.cli.command import run, start

NOUNS = sorted(entry.name for entry in entry_points(group="readingroom.commands"))


def test_help_lists_every_noun() -> None:
    result = start("--help")
    assert result.returncode == 0
    assert [noun for noun in NOUNS if f"  {noun} " not in result.stdout] == []


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_has_help(noun: str) -> None:
    result = start(noun, "--help")
    assert result.returncode == 0
    assert "Usage: readingroom" in result.stdout


@pytest.mark.parametrize("arguments", [["bogus"], ["--bogus"], *([noun, "bogus"] for noun in NOUNS)])
def test_wrong_usage_is_status_2_without_a_traceback(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.strip()


def test_a_process_ends_with_the_status_of_the_command() -> None:
    for arguments in (["bogus"], ["project", "show", "Demo"]):
        in_here, process = run(*arguments), start(*arguments)
        assert process.returncode == in_here.returncode != 0
        assert (process.stdout, process.stderr) == (in_here.stdout, in_here.stderr)
