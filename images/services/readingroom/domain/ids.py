"""What things are called: ids are `NewType`s, so that one cannot be taken for another, and each has one way in.

Nothing here says whether a thing exists or is allowed; only that its name is well formed.
"""

from __future__ import annotations

from typing import NewType

from readingroom.contract import DIGEST, HANDLE, PROJECT_ID, RESERVED_PROJECTS
from readingroom.domain.errors import Refused

ProjectId = NewType("ProjectId", str)
Handle = NewType("Handle", str)
Digest = NewType("Digest", str)

HOLDOUT = ProjectId("holdout")  # reserved: `project_id` refuses it, so no grant, decision or cut can name it


def project_id(text: str) -> ProjectId:
    """A project id as `contract.md` section 3 writes it, and none that is reserved.

    Raises `Refused` otherwise: no grant can name the hold-out.
    """
    if not PROJECT_ID.fullmatch(text):
        raise Refused(
            what="project id",
            which=repr(text[:40]),
            why="an id is 3 to 20 lower-case letters, digits and '-', and starts with a letter",
            next_step="choose another id",
        )
    if text in RESERVED_PROJECTS:
        raise Refused(
            what="project id", which=text, why="it is reserved and no grant can name it", next_step="choose another id"
        )
    return ProjectId(text)


def handle(text: str) -> Handle:
    """A person's name inside one project: `r` and seven letters or digits, minted by the portal.

    Raises `Refused` otherwise.
    """
    if not HANDLE.fullmatch(text):
        raise Refused(
            what="handle",
            which=repr(text[:40]),
            why="a handle is 'r' and seven lower-case letters or digits, as the portal mints it",
            next_step="take the handle from the portal",
        )
    return Handle(text)


def digest(text: str) -> Digest:
    """`sha256:` and 64 hexadecimal digits. Raises `Refused` otherwise: a tag names nothing."""
    if not DIGEST.fullmatch(text):
        raise Refused(
            what="digest", which=repr(text[:80]), why="only sha256:<64 hex> names content", next_step="give a digest"
        )
    return Digest(text)
