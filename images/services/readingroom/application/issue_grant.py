"""Write the next version of a grant, as a document: a new right from a decision, or the end of one.

The caller writes the file; nothing here touches an old version. What the site's terms say is copied, so that a later
change of the terms changes no grant that exists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from readingroom.domain.access import Decision
from readingroom.domain.cut import CutRecord
from readingroom.domain.document import written
from readingroom.domain.errors import Refused
from readingroom.domain.grant_document import SCHEMA
from readingroom.domain.ids import Handle, ProjectId


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What the decision says; everything else comes from the site's terms."""

    project: ProjectId
    title: str
    request: str
    until: datetime
    members: Mapping[Handle, datetime]
    cut_id: str
    cut_image: str
    manifest_sha256: str
    images: Mapping[str, str]  # environment → reference by digest
    record_sha256: str | None = None  # of the decision's file, where there is one
    cut_for: str | None = None  # of the decision that the cut was made for, where the cut's record says so


def grant_document(decided: Decided, terms: Mapping[str, Any], version: int, now: datetime) -> dict[str, Any]:
    """The document of version `version`, in force from `now`.

    Raises `Refused` when it would be over before it begins, for the grant or for a member.
    """
    late = [handle for handle, until in decided.members.items() if until <= now]
    if decided.until <= now or late:
        raise Refused(
            what="grant",
            which=f"{decided.project} v{version}" + (f", member {late[0]}" if late else ""),
            why="its end lies in the past",
            next_step="give a later end",
        )
    unlabelled = sorted(set(decided.images) - set(terms["labels"]))
    if unlabelled:
        raise Refused(
            what="grant",
            which=f"environment {unlabelled[0]}",
            why="the site's terms name no such environment",
            next_step="choose one of " + ", ".join(sorted(terms["labels"])),
        )
    members = [{"handle": handle, "until": written(until)} for handle, until in sorted(decided.members.items())]
    return {
        "schema": SCHEMA,
        "project": decided.project,
        "version": version,
        "title": decided.title,
        "tier": terms["tier"],
        "decision": {"request": decided.request, "record_sha256": decided.record_sha256 or _record(decided)},
        "from": written(now),
        "until": written(decided.until),
        "members": members,
        "data": {
            "cut": decided.cut_id,
            "image": decided.cut_image,
            "claim": None,
            "manifest_sha256": decided.manifest_sha256,
        },
        "images": {
            name: {"ref": reference, "label": terms["labels"][name]}
            for name, reference in sorted(decided.images.items())
        },
        **{key: terms[key] for key in ("sizes", "limits", "defaults", "home_gib", "outbox_gib", "placement")},
    }


def check_follows(decided: Decided, decision: Decision) -> None:
    """Every field of a grant equals the decision or is narrower. Raises `Refused` naming the field. Governance, section 5."""
    wider = ""
    if decided.project != decision.project or decided.request != decision.request:
        wider = f"it answers {decision.request} of {decision.project}, not {decided.request} of {decided.project}"
    elif max(decided.until, *decided.members.values()) > decision.until:
        wider = f"it ends on {written(decision.until)}, before the grant would"
    elif decided.cut_for not in (None, decided.record_sha256):
        wider = "the cut was made for another decision"
    if wider:
        raise Refused(
            what="grant",
            which=f"decision {decision.id}",
            why=wider,
            next_step="grant what was decided, or write a new decision with `readingroom project decide`",
        )


def revoked(document: Mapping[str, Any], handles: frozenset[Handle]) -> dict[str, Any]:
    """The next version without these members; without any when `handles` is empty. Everything else stays as it was.

    Raises `Refused` when a handle is no member, or when nobody is left to revoke.
    """
    present = {member["handle"] for member in document["members"]}
    absent = sorted(handles - present)
    if absent or not present:
        raise Refused(
            what="revocation",
            which=f"{document['project']} v{document['version']}" + (f", {absent[0]}" if absent else ""),
            why="that handle is no member" if absent else "the grant has no members any more",
            next_step="see `readingroom project show`",
        )
    ending = handles or present
    members = [member for member in document["members"] if member["handle"] not in ending]
    return {**document, "version": document["version"] + 1, "members": members}


def recut(document: Mapping[str, Any], cut: CutRecord | None) -> dict[str, Any]:
    """The next version, when its cut was taken back: the same right over another cut of the same decision.

    Without such a cut it gives nobody anything, and a new grant is for a person to write.
    """
    after = {**document, "version": document["version"] + 1}
    if cut is None or cut.ground.record_sha256 != document["decision"]["record_sha256"]:
        return {**after, "members": []}
    data = {"cut": cut.cut, "image": cut.image, "claim": None, "manifest_sha256": cut.manifest_sha256}
    return {**after, "data": data}


def _record(decided: Decided) -> str:
    # Granted without a decision's file: the record is what was decided, so that a change of it changes the hash.
    content = {
        "project": decided.project,
        "title": decided.title,
        "request": decided.request,
        "until": written(decided.until),
        "members": sorted(decided.members),
        "manifest_sha256": decided.manifest_sha256,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
