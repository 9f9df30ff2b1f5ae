"""README.md and CONTRIBUTING.md are true: what they show can be typed, what they name is there, what they link to opens."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from readingroom.entrypoints.cli import readingroom

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md")
ELSEWHERE = re.compile(r"/(?:data|outbox|etc|run|home|dev)\b")  # paths inside a workspace or a pod
PATH = re.compile(r"(?:[\w.@-]+/)+[\w.@-]*|[\w-]+\.(?:md|toml|lock|yaml|py)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ENTRANCES = (
    "entrypoints",
    "application",
    "adapters",
    "domain",
)  # CONTRIBUTING names folders of the package by their own name


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def commands(page: str) -> list[str]:
    """What stands in shell blocks and between backticks and begins like a command of ours."""
    text = text_of(page)
    blocks = [
        line.partition("#")[0] for kind, body in FENCE.findall(text) if kind == "sh" for line in body.splitlines()
    ]
    spans = re.findall(r"`([^`]+)`", FENCE.sub("", text))
    return [one.strip() for one in (*blocks, *spans) if one.strip().startswith(("make ", "readingroom "))]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))


def check_command(words: list[str]) -> None:
    """The noun, its verb and each option exist. Raises `AssertionError`."""
    command: click.Command = readingroom
    context = click.Context(command, info_name="readingroom")
    for word in words:
        if not isinstance(command, click.Group) or word.startswith("-"):
            break
        found = command.get_command(context, word)
        assert found is not None, f"{command.name} has no {word}"
        command, context = found, click.Context(found, info_name=word, parent=context)
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert [word for word in words if word.startswith("-") and word not in known] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_shown_exists(page: str) -> None:
    shown = commands(page)
    assert shown
    for command in shown:
        first, *words = command.split()
        if first == "make":
            assert set(words) <= targets(), command
        else:
            check_command(words)


def test_the_two_commands_stand_at_the_top() -> None:
    kind, body = FENCE.findall(text_of("README.md"))[0]
    assert kind == "sh"
    assert [line.partition("#")[0].strip() for line in body.splitlines()] == ["make demo", "make test"]
    assert text_of("README.md").index("```sh") < text_of("README.md").index("\n## ")


def test_every_noun_of_the_command_line_is_named() -> None:
    nouns = readingroom.list_commands(click.Context(readingroom))
    assert [noun for noun in nouns if f"`{noun}`" not in text_of("README.md")] == []


def test_every_target_of_make_has_its_line_of_help() -> None:
    described = set(re.findall(r"^([a-z-]+):.*## \S", text_of("Makefile"), re.MULTILINE))
    assert targets() == described
    assert targets() <= set(re.findall(r"[a-z-]+", text_of("Makefile").partition(".PHONY:")[2].partition("\n")[0]))


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_folder_that_is_named_is_there(page: str) -> None:
    spans = [span for span in re.findall(r"`([^`\n]+)`", FENCE.sub("", text_of(page))) if not ELSEWHERE.match(span)]
    named = [span for span in spans if PATH.fullmatch(span)]
    assert named
    homes = (ROOT, ROOT / "images" / "services" / "readingroom")
    assert [name for name in named if not any((home / name).exists() for home in homes)] == []
    package = ROOT / "images" / "services" / "readingroom"
    assert [name for name in spans if name in ENTRANCES and not (package / name).is_dir()] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        name, _, fragment = target.partition("#")
        assert not name.startswith(("http:", "https:")), "a page that may change or go is no promise of ours"
        file = ROOT / name if name else ROOT / page
        assert file.is_file(), target
        headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE) if fragment else []
        assert not fragment or fragment in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("wrong", [["deid", "--gone"], ["project", "burn"], ["nothing"]])
def test_a_command_that_is_not_there_would_be_noticed(wrong: list[str]) -> None:
    with pytest.raises(AssertionError):
        check_command(wrong)
