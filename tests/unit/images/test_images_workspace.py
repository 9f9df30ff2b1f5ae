"""What a researcher's workspace starts with: the first notebook, copied once, holding no result of ours."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from pathlib import Path

import pytest

from images.recipe import HERE

WORKSPACE = HERE / "workspace-cpu"
NOTEBOOK = json.loads((WORKSPACE / "00-start-here.ipynb").read_text())
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """The start script, with the welcome notebook of this folder and a server that only says it was started."""
    (tmp_path / "welcome").mkdir()
    (tmp_path / "welcome" / "00-start-here.ipynb").write_text("first")
    (tmp_path / "home").mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "jupyterhub-singleuser").write_text('#!/bin/sh\necho "started $#"\n')
    (programs / "jupyterhub-singleuser").chmod(0o755)
    script = tmp_path / "rr-workspace"
    script.write_text(
        (WORKSPACE / "rr-workspace").read_text().replace("/opt/readingroom/share/welcome", str(tmp_path / "welcome"))
    )
    script.chmod(0o755)
    return script


def run(script: Path) -> str:
    folder = script.parent
    environment = {
        "PATH": f"{folder / 'bin'}:{os.defpath}", "HOME": str(folder / "home"), "JUPYTER_RUNTIME_DIR": str(folder / "rt"),
    }  # fmt: skip
    return subprocess.run([script], env=environment, capture_output=True, text=True, check=True).stdout


def test_the_first_start_brings_the_notebook_and_starts_the_server(start: Path) -> None:
    assert run(start) == "started 0\n"
    assert (start.parent / "home" / "00-start-here.ipynb").read_text() == "first"


def test_what_the_researcher_wrote_into_it_is_never_overwritten(start: Path) -> None:
    run(start)
    (start.parent / "home" / "00-start-here.ipynb").write_text("mine")
    assert run(start) == "started 0\n"
    assert (start.parent / "home" / "00-start-here.ipynb").read_text() == "mine"


def test_a_home_that_takes_nothing_does_not_keep_its_owner_out(start: Path) -> None:
    (start.parent / "home").rmdir()
    (start.parent / "home").write_text("no folder")
    assert run(start) == "started 0\n"


def test_the_notebook_holds_no_output_of_ours() -> None:
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def test_every_cell_is_python() -> None:
    assert CODE
    for source in CODE:
        ast.parse(source)


def test_the_notebook_asks_only_addresses_that_belong_to_nobody() -> None:
    addresses = [
        node.value
        for source in CODE
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ("." in node.value or "::" in node.value)
        if node.value[0].isdigit()
    ]
    assert addresses == ["203.0.113.10", "2001:db8::10"]
