"""What an image is made of, as its `image.toml` says: read, checked, never changed.

Checked by `policies/schema/image.schema.json`: an unknown key is an error, an absent one means "nothing of this".
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from readingroom.domain.errors import WrongSetUp

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
PREFIX = "opt/readingroom"  # where Python packages and our own sources lie in an image
SITE = f"{PREFIX}/lib/python3.11/site-packages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheels:
    """Python packages: from a `requirements.lock` beside the image.toml, or an extra of the root `uv.lock`."""

    lock: str = ""
    extra: str = ""
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder with an owner, for instance where a volume is mounted."""

    path: str
    mode: int = 0o755
    owner: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How it is run, in the words of the OCI configuration."""

    user: str = "10001:10001"
    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    folder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One image, or one part that other images stand on."""

    name: str
    summary: str
    stands_on: str = ""  # the recipe whose layers come first
    part: bool = False  # only there to be stood on
    packages: tuple[str, ...] = ()  # of Debian 12; packages.lock has them all, with versions and hashes
    leave_out: tuple[str, ...] = ()  # path patterns of Debian's files that are not wanted
    wheels: Wheels | None = None
    node: bool = False  # npm packages of package-lock.json, and the node of the root lock
    binary: str = ""  # a static program built elsewhere and handed over by name; lies at /bin/<binary>
    go: bool = False  # a static program built here from main.go; lies at /bin/<name>
    copy: Mapping[str, str] = field(default_factory=dict)  # path in the image = path in the checkout
    entry_points: bool = False  # the `readingroom` command and its nouns
    folders: tuple[Folder, ...] = ()
    run: Run = field(default_factory=Run)

    @property
    def home(self) -> Path:
        """Its folder in the checkout."""
        return HERE / self.name


def load_all() -> dict[str, Recipe]:
    """Every recipe, parts before what stands on them. Raises `WrongSetUp` if one cannot be understood."""
    found = {path.parent.name: _load(path) for path in sorted(HERE.glob("*/image.toml"))}
    ordered: dict[str, Recipe] = {}
    for recipe in found.values():
        for one in reversed(list(chain(recipe, found))):
            ordered[one.name] = one
    return ordered


def chain(recipe: Recipe, recipes: Mapping[str, Recipe]) -> Iterator[Recipe]:
    """The recipe, then what it stands on, down to the ground."""
    seen = {recipe.name}
    yield recipe
    while recipe.stands_on:
        if recipe.stands_on not in recipes or recipe.stands_on in seen:
            raise _wrong(recipe.name, f"it stands on {recipe.stands_on!r}, which is unknown or stands on it")
        recipe = recipes[recipe.stands_on]
        seen.add(recipe.name)
        yield recipe


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def source_files(root: Path) -> list[Path]:
    """The files of a source tree, without what Python leaves there; a file is its own tree. Raises `WrongSetUp` if absent."""
    if not root.exists():
        raise WrongSetUp(
            what="image", which=root.name, why="a source that an image.toml copies is not in the checkout",
            next_step="put it there, or mend the image.toml",
        )  # fmt: skip
    if root.is_file():
        return [root]
    return sorted(
        path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    )


def _load(path: Path) -> Recipe:
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # its grammar takes a second, and is not asked
    import jsonschema  # noqa: PLC0415 (slow to import, and most commands read no recipe)

    name = path.parent.name
    schema = json.loads((CHECKOUT / "policies" / "schema" / "image.schema.json").read_text())
    try:
        values = tomllib.loads(path.read_text())
        jsonschema.validate(values, schema)
    except (tomllib.TOMLDecodeError, jsonschema.ValidationError) as error:
        raise _wrong(name, str(error).splitlines()[0]) from error
    wheels = values.pop("wheels", None)
    return Recipe(
        name=name,
        wheels=Wheels(**_frozen(wheels)) if wheels else None,
        folders=tuple(Folder(**_frozen(one)) for one in values.pop("folders", [])),
        run=Run(**_frozen(values.pop("run", {}))),
        **_frozen(values),
    )


def _frozen(values: Mapping[str, Any]) -> dict[str, Any]:
    """Lists become tuples; the schema has looked at everything else."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _wrong(name: str, why: str) -> WrongSetUp:
    return WrongSetUp(what="image", which=name, why=why, next_step=f"mend images/{name}/image.toml")
