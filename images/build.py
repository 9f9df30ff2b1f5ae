"""Builds the images of this checkout: `python -m images.build [NAME…]`, no registry, no daemon.

An image lies in the cache under a key of everything it was made of, and a layer likewise: unchanged parts are never made
twice, and containerd stores a shared layer once. A result appears under its name only when it is whole.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import click

from images import debian, layers
from images.layers import Below, Plan
from images.recipe import Recipe, load_all
from infra import places
from readingroom import contract, oci
from readingroom.domain.errors import ReadingRoomError, WrongSetUp

KEPT = 2  # results per image, one of them for another checkout; older ones go when a new one is published
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Built:
    """An image on disk: an OCI layout in one tar, and the digest of its manifest."""

    name: str
    digest: str
    tar: Path


def build(name: str) -> Built:
    """The image of that name, built now if the cache lacks it; one build at a time on the whole machine.

    Raises `WrongSetUp` for an unknown name or a tool that is missing, `TryAgain` if an archive does not answer.
    """
    recipe = _recipe(name)
    plan, place = _plan(recipe)
    if found := _published(name, place):
        return found
    with _lock():
        return _published(name, place) or _publish(recipe, plan, place)


def references() -> dict[str, str]:
    """Name → `rr.local/<name>@sha256:…` of the images that are built from this checkout as it is; others are absent."""
    found = {}
    for name, recipe in recipes().items():
        if not recipe.part and (built := _published(name, _plan(recipe)[1])):
            found[name] = contract.image_reference(name, built.digest)
    return found


@cache
def recipes() -> dict[str, Recipe]:
    """Every recipe of the checkout."""
    return load_all()


@cache
def _archive() -> debian.Archive:
    return debian.Archive(places.cache("images", "debian"))


def _recipe(name: str) -> Recipe:
    found = recipes().get(name)
    if found is None or found.part:
        known = ", ".join(one.name for one in recipes().values() if not one.part)
        raise WrongSetUp(what="image", which=name, why="there is no such image", next_step=f"choose of: {known}")
    return found


def _plan(recipe: Recipe) -> tuple[list[Plan], Path]:
    """The layers of an image, and where it lies once it is built."""
    plan = layers.plans(recipe.name, recipes(), _archive())
    parts = [one.key for one in plan], asdict(recipe.run), Path(__file__).read_text()
    return plan, places.cache("images", recipe.name, layers.short_hash(parts))


def _published(name: str, place: Path) -> Built | None:
    """What lies there, if it is whole. Whoever imports the image checks each blob against the digest."""
    try:
        said = json.loads((place / "image.json").read_text())
        tar = place / "image.tar"
        if tar.stat().st_size == said["size"] and oci.digest_of(tar) == said["digest"]:
            return Built(name, said["digest"], tar)
    except (OSError, ValueError, KeyError):
        return None
    return None


def _publish(recipe: Recipe, plan: Sequence[Plan], place: Path) -> Built:
    """Makes what is missing and puts the result in place at once."""
    started = time.monotonic()
    click.echo(f"image {recipe.name}: {len(plan)} layers", err=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    with _scratch() as scratch:
        out = scratch / "out"
        out.mkdir()
        try:
            digest = oci.image(_stack(plan, scratch), _configuration(recipe), out / "image.tar")
        except ValueError:  # a layer in the cache is not what it was: never trusted, made again
            for one in plan:
                shutil.rmtree(_layer_place(one), ignore_errors=True)
            digest = oci.image(_stack(plan, scratch), _configuration(recipe), out / "image.tar")
        size = (out / "image.tar").stat().st_size
        (out / "image.json").write_text(
            json.dumps({"digest": digest, "size": size, "layers": [one.key for one in plan]})
        )
        shutil.rmtree(place, ignore_errors=True)
        out.rename(place)
    _forget_old(place)
    took = time.monotonic() - started
    click.echo(f"image {recipe.name}: {digest} ({size / 1e6:.0f} MB, {took:.0f} s)", err=True)
    return Built(recipe.name, digest, place / "image.tar")


def _stack(plan: Sequence[Plan], scratch: Path) -> list[oci.Layer]:
    """Every layer of the plan, lowest first, from the store or made now."""
    below = Below()
    stack = []
    for one in plan:
        place = _layer_place(one)
        if not (place / "layer.json").exists():
            _make(one, place, below, scratch)
        said = json.loads((place / "layer.json").read_text())
        stack.append(oci.Layer(said["digest"], said["digest"], said["size"], place / "layer.tar"))
        if said["pins"]:
            listing = json.loads((place / "listing.json").read_text())
            below = Below(tuple(debian.Pin(*pin) for pin in said["pins"]), listing)
    return stack


def _make(plan: Plan, place: Path, below: Below, scratch: Path) -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as name:
        work = Path(name)
        made = plan.make(work, below)
        out = work / "published"
        out.mkdir()
        layer = oci.layer(made.entries, out / "layer.tar")
        if made.listing is not None:
            (out / "listing.json").write_text(json.dumps(made.listing))
        pins = [[pin.name, pin.version, pin.sha256] for pin in made.pins]
        (out / "layer.json").write_text(json.dumps({"digest": layer.digest, "size": layer.size, "pins": pins}))
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        out.rename(place)
    click.echo(f"  {plan.what}: {layer.size / 1e6:.0f} MB, {time.monotonic() - started:.0f} s", err=True)


def _configuration(recipe: Recipe) -> dict[str, object]:
    """How it is run, as OCI has it. No entry point: a pod's command is the whole command."""
    run = recipe.run
    environment = {"PATH": _PATH, **run.environment}
    said: dict[str, object] = {
        "User": run.user,
        "Env": [f"{key}={value}" for key, value in sorted(environment.items())],
    }
    if run.command:
        said["Cmd"] = list(run.command)
    if run.folder:
        said["WorkingDir"] = run.folder
    return said


def _layer_place(plan: Plan) -> Path:
    return places.cache("images", "layers", plan.key)


def _forget_old(place: Path) -> None:
    """Old results of this image go, and every layer that no image in the cache is made of."""
    others = sorted(place.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in others[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    used: set[str] = set()
    for said in places.cache("images").glob("*/*/image.json"):
        used |= set(json.loads(said.read_text()).get("layers", ()))
    for layer in places.cache("images", "layers").iterdir():
        if layer.name not in used:
            shutil.rmtree(layer, ignore_errors=True)


@contextmanager
def _lock() -> Iterator[None]:
    path = places.cache("images", "lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder on the cache's own disk, so that the last step is a rename; what a killed build left is removed first."""
    above = places.cache("images", "scratch")
    shutil.rmtree(above, ignore_errors=True)
    above.mkdir(parents=True)
    try:
        yield above
    finally:
        shutil.rmtree(above, ignore_errors=True)


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--update-locks", is_flag=True, help="Write today's Debian packages to images/*/packages.lock, build nothing."
)
def main(names: tuple[str, ...], update_locks: bool) -> None:
    """Builds the named images, or all of them; prints one reference a line."""
    try:
        if update_locks:
            _update_locks()
            return
        for name in names or [one.name for one in recipes().values() if not one.part]:
            click.echo(contract.image_reference(name, build(name).digest))
    except ReadingRoomError as error:
        click.echo(str(error), err=True)
        sys.exit(1)


def _update_locks() -> None:
    for name, pins in _archive().resolve({n: one for n, one in recipes().items() if one.packages}).items():
        path = recipes()[name].home / "packages.lock"
        text = debian.lock_text(pins)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            click.echo(f"wrote {os.path.relpath(path)}: {len(pins)} packages")


if __name__ == "__main__":
    main()
