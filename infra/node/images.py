"""Images of ours into containerd: from the builder's folder, by digest, never from a registry."""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from pathlib import Path

from infra.node import build, configs
from readingroom import contract
from readingroom.domain.errors import WrongSetUp


def import_image(tar: Path, name: str, digest: str) -> str:
    """Import an OCI layout under `rr.local/<name>@<digest>` and return that; one that is there is left alone.

    Raises `WrongSetUp` when the archive holds another digest than the one that was promised.
    """
    reference = contract.image_reference(name, digest)
    if reference in present():
        return reference
    _ctr("images", "import", "--digests", "--base-name", f"{contract.IMAGE_REPOSITORY}/{name}", str(tar))
    if reference not in present():
        raise WrongSetUp(
            what="importing an image",
            which=name,
            why=f"the archive does not hold {digest}",
            next_step=f"remove {tar.parent.name} from the cache and build it again",
        )
    return reference


def forget(digests: Collection[str]) -> None:
    """Nothing of these images is kept: every name that leads to one goes, and with the last name its bytes."""
    lines = [line.split() for line in _ctr("images", "list").splitlines()[1:]] if digests else []
    if gone := [reference for reference, _type, digest, *_ in lines if digest in digests]:
        _ctr("images", "rm", "--sync", *gone)


def present() -> set[str]:
    """Every reference containerd knows."""
    return set(_ctr("images", "list", "-q").split())


def _ctr(*words: str) -> str:
    done = subprocess.run(
        [str(build.binary("ctr")), "--address", str(configs.SOCKET), "-n", "k8s.io", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise WrongSetUp(
            what="containerd",
            which=words[1],
            why=" ".join(done.stderr.split())[:400],
            next_step="see readingroom node status",
        )
    return done.stdout
