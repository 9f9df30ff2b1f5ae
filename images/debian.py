"""Debian 12 packages: locked, fetched, unpacked to a root file system.

A lock (`images/<name>/packages.lock`) names every package with version and SHA-256, without those of the part it stands
on. The archive is the one this machine is set up with, and only what its signature covers is believed. A version that is
no longer served is replaced by the current signed one, in one clear line (decision 0302): a security update must not
stop a stranger's first build. mmdebstrap then sees a folder with exactly the locked packages, and no network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from images.recipe import Recipe, chain
from readingroom.domain.errors import TryAgain, WrongSetUp
from readingroom.oci import EPOCH

SUITE = "bookworm"
USERS = (("service", 10001), ("researcher", 1000))  # known by name in every image; a pod says which one it is
_ALWAYS = ("?and(?essential,?not(?name(^apt$)))", "usr-is-merged")
# First match wins: Debian's own archive, and of whatever else this machine asks, nothing.
_PREFERENCES = (
    "".join(
        f"Package: *\nPin: release o=Debian,n={suite}\nPin-Priority: 500\n\n"
        for suite in (SUITE, f"{SUITE}-updates", f"{SUITE}-security")
    )
    + "Package: *\nPin: release n=*\nPin-Priority: -1\n"
)
_PROGRAM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, order=True)
class Pin:
    """One package, exactly."""

    name: str
    version: str
    sha256: str


class NotServed(Exception):
    """Locked versions that the archive does not have any more."""

    def __init__(self, pins: Sequence[Pin]) -> None:
        super().__init__([pin.name for pin in pins])
        self.pins = pins


def read_lock(path: Path) -> tuple[Pin, ...]:
    """The lock beside a recipe; none there is an empty one. Raises `WrongSetUp` for a line it cannot read."""
    pins = []
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("#"):
            continue
        try:
            package, digest = line.split(" sha256:")
            name, version = package.split("=")
        except ValueError as error:
            raise WrongSetUp(
                what="packages.lock", which=str(path.parent.name), why=f"cannot read {line!r}",
                next_step="python -m images.build --update-locks",
            ) from error  # fmt: skip
        pins.append(Pin(name, version, digest))
    return tuple(sorted(pins))


def lock_text(pins: Iterable[Pin]) -> str:
    """What `read_lock` reads."""
    head = (
        "# Written by `python -m images.build --update-locks`: Debian 12 packages of this image, without its base's.\n"
    )
    return head + "".join(f"{pin.name}={pin.version} sha256:{pin.sha256}\n" for pin in sorted(pins))


class Archive:
    """The Debian archive of this machine, seen through a private apt folder, so that nothing here is installed there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._debs = folder / "debs"
        self._refreshed = False

    def fetch(self, pins: Iterable[Pin]) -> dict[Pin, Path]:
        """The .deb of each pin, its hash checked. Raises `NotServed` if the archive lacks some, `TryAgain` if it is away."""
        paths = {pin: self._debs / f"{pin.name}_{pin.sha256}.deb" for pin in pins}
        missing = [pin for pin, path in paths.items() if not path.exists()]
        if not missing:
            return paths
        self._refresh()
        served = self._served([pin.name for pin in missing])
        if gone := [pin for pin in missing if served.get((pin.name, pin.version)) != pin.sha256]:
            raise NotServed(gone)
        fresh = self._folder / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        self._apt("apt-get", "download", *[f"{pin.name}={pin.version}" for pin in missing], cwd=fresh)
        by_hash = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in fresh.glob("*.deb")}
        self._debs.mkdir(exist_ok=True)
        for pin in missing:
            by_hash[pin.sha256].rename(paths[pin])
        return paths

    def resolve(self, recipes: Mapping[str, Recipe]) -> dict[str, tuple[Pin, ...]]:
        """Today's lock of every recipe with Debian packages: what apt would install, without the part it stands on."""
        self._refresh()
        whole = {name: self._install_list(packages_of(recipe, recipes)) for name, recipe in recipes.items()}
        locks = {}
        for name, recipe in recipes.items():
            below = whole[recipe.stands_on] if recipe.stands_on else {}
            new = {package: version for package, version in whole[name].items() if package not in below}
            served = self._served(new)
            locks[name] = tuple(sorted(Pin(p, version, served[p, version]) for p, version in new.items()))
        return locks

    def _install_list(self, packages: Sequence[str]) -> dict[str, str]:
        if not packages:
            return {}
        said = self._apt("apt-get", "--simulate", "--no-install-recommends", "install", *_ALWAYS, *packages)
        words = [line.split() for line in said.splitlines() if line.startswith("Inst ")]
        return {word[1]: next(w for w in word[2:] if w.startswith("(")).removeprefix("(") for word in words}

    def current(self, names: Iterable[str]) -> dict[str, Pin]:
        """What apt would take of each name now. Raises `TryAgain` if the archive has none."""
        names = list(names)
        found = {}
        for line in self._apt("apt-cache", "policy", *names).split("\n"):
            if not line.startswith(" "):
                name = line.rstrip(":")
            elif line.strip().startswith("Candidate:"):
                found[name] = line.split()[1]
        served = self._served(names)
        if gone := [name for name in names if (name, found.get(name, "")) not in served]:
            raise TryAgain(
                what="Debian packages", which=", ".join(gone), why="the archive does not serve them any more",
                next_step="python -m images.build --update-locks",
            )  # fmt: skip
        return {name: Pin(name, found[name], served[name, found[name]]) for name in names}

    def _served(self, names: Iterable[str]) -> dict[tuple[str, str], str]:
        """(name, version) → SHA-256, as the signed lists have it."""
        names = list(names)
        if not names:
            return {}
        served = {}
        said = self._apt("apt-cache", "show", *names, may_fail=True)
        for block in said.split("\n\n"):
            fields = dict(
                line.split(": ", 1) for line in block.splitlines() if not line.startswith(" ") and ": " in line
            )
            if "SHA256" in fields:
                served[fields["Package"], fields["Version"]] = fields["SHA256"]
        return served

    def _refresh(self) -> None:
        """Asks for the package lists once per run. Raises `TryAgain` if the archive does not answer."""
        if self._refreshed:
            return
        for name in ("state/lists/partial", "cache/archives/partial", "debs"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        (self._folder / "status").touch()
        (self._folder / "preferences").write_text(_PREFERENCES)
        self._apt("apt-get", "update")
        self._refreshed = True

    def _apt(self, *command: str, cwd: Path | None = None, may_fail: bool = False) -> str:
        options = {
            "Dir::State": self._folder / "state", "Dir::State::status": self._folder / "status",
            "Dir::Cache": self._folder / "cache", "Dir::Etc::preferences": self._folder / "preferences",
            "Dir::Etc::preferencesparts": "/dev/null", "APT::Sandbox::User": "root", "APT::Architecture": "amd64",
            "APT::Architectures": "amd64", "Acquire::Languages": "none", "Acquire::Retries": "3",
        }  # fmt: skip
        flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        done = subprocess.run(
            [command[0], "-q", *flags, *command[1:]], cwd=cwd, capture_output=True, text=True, check=False,
            env=os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
        if done.returncode and not may_fail:
            raise TryAgain(
                what="Debian packages", which=" ".join(command[:2]), why=done.stderr.strip()[-400:] or "apt failed",
                next_step="look at this machine's apt sources: Debian 12 with its security updates is needed",
            )  # fmt: skip
        return done.stdout


def packages_of(recipe: Recipe, recipes: Mapping[str, Recipe]) -> list[str]:
    """The packages asked for by a recipe and everything it stands on; none at all for an image from nothing."""
    return [package for one in reversed(list(chain(recipe, recipes))) for package in one.packages]


def build_root(root: Path, packages: Sequence[str], debs: Mapping[Pin, Path], work: Path) -> None:
    """A root file system with exactly these packages, set up by their own scripts in a chroot without network."""
    repository = work / "repository"
    _write_repository(repository, debs)
    hooks = "/usr/share/mmdebstrap/hooks/merged-usr"
    # postgresql-common would make a database, with a key, at build time.
    no_cluster = (
        'mkdir -p "$1/etc/postgresql-common" && '
        'echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"'
    )
    command = [
        "unshare", "--net", "--", "mmdebstrap", "--quiet", "--mode=root", "--variant=essential", f"--hook-dir={hooks}",
        f"--essential-hook={no_cluster}", "--dpkgopt=force-confold", "--dpkgopt=force-unsafe-io",
        f"--include={','.join(('usr-is-merged', *packages))}", SUITE, str(root), f"deb [trusted=yes] copy:{repository} ./",
    ]  # fmt: skip
    run(
        command,
        "mmdebstrap",
        {"SOURCE_DATE_EPOCH": str(EPOCH), "PATH": _PROGRAM_PATH, "LC_ALL": "C", "TMPDIR": str(work)},
    )
    for file, line in (("passwd", "{0}:x:{1}:{1}::/home/{0}:/bin/sh\n"), ("group", "{0}:x:{1}:\n")):
        with (root / "etc" / file).open("a") as out:
            out.writelines(line.format(name, number) for name, number in USERS)


def _write_repository(folder: Path, debs: Mapping[Pin, Path]) -> None:
    """A folder that apt takes for a Debian archive. Its hashes were checked against the lock: hence `trusted`."""
    folder.mkdir()
    stanzas = []
    for pin, path in sorted(debs.items()):
        name = f"{pin.name}.deb"
        (folder / name).symlink_to(path)
        control = run(["dpkg-deb", "--field", str(path)], "dpkg-deb").rstrip()
        stanzas.append(f"{control}\nFilename: ./{name}\nSize: {path.stat().st_size}\nSHA256: {pin.sha256}\n")
    index = "\n".join(stanzas).encode()
    (folder / "Packages").write_bytes(index)
    (folder / "Release").write_text(
        f"Origin: Debian\nSuite: {SUITE}\nCodename: {SUITE}\nArchitectures: amd64\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"
        f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    )


def fetch_or_replace(archive: Archive, pins: Sequence[Pin], image: str) -> dict[Pin, Path]:
    """The .deb of each pin; what is no longer served is replaced by the current signed version, said in one line."""
    try:
        return archive.fetch(pins)
    except NotServed as error:
        now = archive.current(pin.name for pin in error.pins)
        said = ", ".join(f"{pin.name} {pin.version} → {now[pin.name].version}" for pin in error.pins)
        click.echo(f"  {image}: no longer served, current signed version taken: {said}", err=True)
        return archive.fetch([now[pin.name] if pin in error.pins else pin for pin in pins])


def run(
    command: Sequence[str],
    what: str,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    ok: Sequence[int] = (0,),
) -> str:
    """One tool, heard to its end. Raises `WrongSetUp` with its last words unless its status is `ok`."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            umask=0o022,  # what a tool makes is for all to read, whoever builds
        )
    except FileNotFoundError as error:
        raise WrongSetUp(
            what="image build", which=what, why=f"{command[0]} is not installed", next_step="make setup"
        ) from error
    if done.returncode not in ok:
        last = (done.stderr.strip() or done.stdout.strip())[-600:]
        raise WrongSetUp(what="image build", which=what, why=last, next_step="mend that and run it again")
    return done.stdout
