"""The root of the command line: help everywhere, one line on a wrong word, the right exit status."""

from __future__ import annotations

import subprocess
from importlib.metadata import entry_points

import pytest

NOUNS = sorted(entry.name for entry in entry_points(group="readingroom.commands"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["readingroom", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_help_lists_every_noun() -> None:
    result = run("--help")
    assert result.returncode == 0
    assert [noun for noun in NOUNS if f"  {noun} " not in result.stdout] == []


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_has_help(noun: str) -> None:
    result = run(noun, "--help")
    assert result.returncode == 0
    assert "Usage: readingroom" in result.stdout


@pytest.mark.parametrize("arguments", [["bogus"], ["--bogus"], *([noun, "bogus"] for noun in NOUNS)])
def test_wrong_usage_is_status_2_without_a_traceback(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.strip()
