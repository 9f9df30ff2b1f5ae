"""What a program needs on the host before it: folders behind volumes with the right owner, images in the runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping

from images import build
from infra import places
from infra.node import images as node_images
from readingroom import contract


def folders(wanted: Mapping[str, int]) -> dict[str, str]:
    """Name of a volume to its path; made 0700 for that user (10001 services, 1000 researcher) where it is missing.

    One that is there is left as the kubelet has it (2770 for a workspace), unless others could enter: a mode set back here
    would make it change every file of a home at the next start.
    """
    found = {}
    for name, owner in wanted.items():
        folder = places.volume(name)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o007:
            folder.chmod(0o700)
        os.chown(folder, owner, owner)
        found[name] = str(folder)
    return found


def images() -> None:
    """Every image of the platform, built where the cache lacks it, and known to the runtime by its digest."""
    for name in contract.IMAGES:
        built = build.build(name)
        node_images.import_image(built.tar, name, built.digest)
