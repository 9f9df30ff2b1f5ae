"""The layers of a recipe, from the ground up, each with a key of all that decides its content.

A layer is made in a scratch folder and forgotten there; what stays is the store's business. Nothing of this machine
enters a layer: owners, modes and times are set here, bytecode is compiled for the place the file will have.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from images import debian, recipe, tree, wheels
from images.recipe import CHECKOUT, PREFIX, SITE, Recipe, file_hash, source_files
from infra.node import build as node_build
from readingroom import oci
from readingroom.oci import Entry, Kind

PYTHON = "/usr/bin/python3.11"  # Debian's, on this machine and in the images alike
_GO = Path(sys.executable).with_name("go")  # of the root lock


@dataclass(frozen=True, slots=True)
class Made:
    """What a maker hands to the store: entries, and for a Debian layer what stands in the whole root so far."""

    entries: list[Entry]
    listing: Mapping[str, str] | None = None
    pins: tuple[debian.Pin, ...] = ()


@dataclass(frozen=True, slots=True)
class Below:
    """The Debian layers under a new one: their packages and their paths."""

    pins: tuple[debian.Pin, ...] = ()
    listing: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One layer to be: its key, and how to make it in a scratch folder."""

    what: str
    key: str
    make: Callable[[Path, Below], Made]


def plans(name: str, recipes: Mapping[str, Recipe], archive: debian.Archive) -> list[Plan]:
    """Every layer of an image, lowest first. A key holds the keys below it, so a change there changes all above."""
    found: list[Plan] = []
    for one in reversed(list(recipe.chain(recipes[name], recipes))):
        for what, inputs, make in _own(one, recipes, archive):
            below = [plan.key for plan in found] if what == "debian" else []
            found.append(Plan(f"{one.name}/{what}", short_hash([what, inputs, below]), make))
    return found


def short_hash(inputs: object) -> str:
    """A key of plain values."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:24]


_Own = tuple[str, object, Callable[[Path, Below], Made]]


def _own(one: Recipe, recipes: Mapping[str, Recipe], archive: debian.Archive) -> Iterable[_Own]:
    """The layers a recipe adds: (what, inputs, maker)."""
    inputs: object
    if one.packages:
        pins = debian.read_lock(one.home / "packages.lock")
        inputs = [[pin.name, pin.version, pin.sha256] for pin in pins], one.packages, one.leave_out, _code(debian)
        yield "debian", inputs, lambda work, below: _debian(one, recipes, archive, work, below)
    if one.wheels:
        text = wheels.requirements(one)
        yield "wheels", [text, one.wheels.leave_out, _code(wheels)], lambda work, _: _wheels(one, text, work)
    if one.node:
        locks = [file_hash(one.home / name) for name in ("package.json", "package-lock.json")]
        node = wheels.node_binary()
        yield "node", [locks, file_hash(node), _code(wheels)], lambda work, _: Made(wheels.node(one, work))
    if one.binary:
        program = node_build.binary(one.binary)
        inputs = f"bin/{one.binary}", file_hash(program)
        yield "binary", inputs, lambda _work, _below: Made(_at(f"bin/{one.binary}", program))
    if one.go:
        source = one.home / "main.go"
        inputs = file_hash(source), debian.run([str(_GO), "version"], "Go"), _code()
        yield "go", inputs, lambda work, _: Made(_at(f"bin/{one.name}", _go(source, work)))
    if one.copy or one.folders or one.entry_points:
        yield "own", [_own_inputs(one), _code()], lambda work, _: Made(_files(one, work))


def _code(*modules: object) -> list[str]:
    """The builder's own sources that shape a layer: an input like any other."""
    return [file_hash(Path(str(one.__file__))) for one in (oci, tree, sys.modules[__name__], *modules)]  # type: ignore[attr-defined]


def _own_inputs(one: Recipe) -> object:
    files = {
        f"{target} {path.relative_to(CHECKOUT)}": [file_hash(path), path.stat().st_mode & 0o100]
        for target, source in one.copy.items()
        for path in source_files(CHECKOUT / source)
    }
    points = _entry_points() if one.entry_points else ""
    return files, points, [[folder.path, folder.mode, folder.owner] for folder in one.folders]


def _debian(one: Recipe, recipes: Mapping[str, Recipe], archive: debian.Archive, work: Path, below: Below) -> Made:
    pins = below.pins + debian.read_lock(one.home / "packages.lock")
    debs = debian.fetch_or_replace(archive, pins, one.name)
    root = work / "root"
    debian.build_root(root, debian.packages_of(one, recipes), debs, work)
    for stale in list(root.rglob("__pycache__")):  # the packages' own, which is valid for their file times only
        shutil.rmtree(stale)
    if (root / PYTHON.lstrip("/")).exists():
        compile_bytecode(root, root / "usr/lib/python3.11")
    unwanted = (*tree.LEFT_OUT, *(pattern for layer in recipe.chain(one, recipes) for pattern in layer.leave_out))
    entries = tree.scan(root, leave_out=unwanted, keep_owners=True)
    listing = tree.listing(entries)
    return Made(tree.only_new(entries, below.listing or {}), listing, tuple(debs))


def _wheels(one: Recipe, text: str, work: Path) -> Made:
    root = work / "root"
    wheels.install(one, text, root / PREFIX, work)
    compile_bytecode(root, root / PREFIX)
    return Made(_plain(tree.scan(root)))


def _files(one: Recipe, work: Path) -> list[Entry]:
    """Our own sources with their bytecode, then the folders with an owner of their own."""
    root = work / "root"
    root.mkdir()
    sources = [entry for target, source in one.copy.items() for entry in tree.copied(target, CHECKOUT / source)]
    for path, content in _entry_point_files() if one.entry_points else ():
        mode = 0o755 if path.startswith(f"{PREFIX}/bin/") else 0o644
        sources += [*tree.parents([path]), Entry(path, mode, content)]
    for entry in sources:
        place = root / entry.path
        if entry.kind is Kind.FOLDER:
            place.mkdir(parents=True, exist_ok=True)
        elif isinstance(entry.content, bytes):
            place.write_bytes(entry.content)
            place.chmod(entry.mode)
    if (root / SITE).exists():
        compile_bytecode(root, root / SITE)
    entries = {entry.path: entry for entry in _plain(tree.scan(root))}
    for entry in tree.parents(folder.path for folder in one.folders):
        entries.setdefault(entry.path, entry)
    return list((entries | {folder.path: tree.owned(folder) for folder in one.folders}).values())


def _plain(entries: Iterable[Entry]) -> list[Entry]:
    """Modes as for anything that root installs for all: what a umask made of them is of no interest."""
    modes = {Kind.FOLDER: 0o755, Kind.SYMLINK: 0o777}
    return [
        Entry(one.path, modes.get(one.kind, 0o755 if one.mode & 0o100 else 0o644), one.content, one.kind, one.target)
        for one in entries
    ]


def _at(path: str, program: Path) -> list[Entry]:
    return [*tree.parents([path]), Entry(path, 0o755, program)]


def _go(source: Path, work: Path) -> Path:
    """A static program from one file of Go's own library."""
    out = work / "program"
    fixed = {
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "GOFLAGS": "-buildvcs=false",
        "GOWORK": "off",
    }
    command = [str(_GO), "build", "-trimpath", "-ldflags", "-s -w -buildid=", "-o", str(out), source.name]
    debian.run(command, f"Go program {source.parent.name}", os.environ | fixed, source.parent)
    return out


def compile_bytecode(root: Path, below: Path) -> None:
    """Bytecode beside every module, valid without a look at times: in the pod nothing can write it.

    One process, no hash chance: else string references in it come out differently now and then. A file that is no Python
    of ours (a template) stays without.
    """
    environment = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "PATH": os.defpath}
    debian.run(
        [PYTHON, "-I", "-c", "import compileall, sys; compileall.main()", "-q", "-q", "--invalidation-mode",
         "unchecked-hash", "-s", str(root), "-p", "/", str(below)],
        "bytecode", environment, ok=(0, 1),
    )  # fmt: skip


def _entry_points() -> dict[str, Any]:
    """Name, version and groups of the package's entry points; those of the infrastructure, which is not in there, left out."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    groups = {"console_scripts": project["scripts"], **project["entry-points"]}
    ours = {
        group: {name: target for name, target in points.items() if target.startswith("readingroom.")}
        for group, points in groups.items()
    }
    return {"name": project["name"], "version": project["version"], "groups": ours}


def _entry_point_files() -> Iterable[tuple[str, bytes]]:
    """What an installer would write for our package: its name, its nouns, its command."""
    points = _entry_points()
    name, version, groups = points["name"], points["version"], points["groups"]
    info = f"{SITE}/{name}-{version}.dist-info"
    yield f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in sorted(d.items())) for group, d in groups.items()]
    yield f"{info}/entry_points.txt", "\n".join(lines).encode()
    for command, target in groups["console_scripts"].items():
        module, function = target.split(":")
        script = f"#!/{PREFIX}/bin/python\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"
        yield f"{PREFIX}/bin/{command}", script.encode()
