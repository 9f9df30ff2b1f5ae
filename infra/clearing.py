"""What the engine cannot see by itself, done before it: running workspaces and data Jobs end before their stack goes, and a
volume whose claim went without it is free for the claim of that name again.

Without the first a claim in use is never deleted, without the second a claim made anew is never bound: the engine would wait
for ever.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

from infra import places
from infra.provider.api import Api
from infra.provider.errors import ApiRefusal, ProviderError
from infra.provider.kinds import Kind, by_name
from readingroom.contract import ACCOUNT_ENROL, LABEL_PROJECT, LABEL_ROLE, QUARANTINE, SYSTEM, workspace_namespace
from readingroom.domain.errors import TryAgain

SECONDS: Final = 60.0
_PROJECT: Final = "project-"


def clear(stack: str) -> int:
    """End all of it and wait; how many there were. Raises `TryAgain` if one does not go, or the cluster does not answer."""
    pods, jobs = by_name("v1", "Pod"), by_name("batch/v1", "Job")
    if stack.startswith(_PROJECT):
        return _end(stack, [(pods, workspace_namespace(stack.removeprefix(_PROJECT)), "")])
    return _end(stack, [(jobs, QUARANTINE, ""), (jobs, SYSTEM, f"{LABEL_ROLE}={ACCOUNT_ENROL}")])


def retire(projects: Iterable[str]) -> int:
    """End the data Jobs of every other project: finished or not, they hold claims that go with it. Raises as `clear` does."""
    kept = ",".join(sorted(projects))
    others = LABEL_PROJECT + (f",{LABEL_PROJECT} notin ({kept})" if kept else "")
    return _end("data jobs", [(by_name("batch/v1", "Job"), QUARANTINE, others)])


def _end(what: str, where: Sequence[tuple[Kind, str, str]]) -> int:
    seen: set[str] = set()
    end = time.monotonic() + SECONDS
    try:
        with Api.of(str(places.state(places.DEPLOYER_KUBECONFIG))) as api:
            while True:
                left = [
                    (kind, one["metadata"]) for kind, space, labels in where for one in api.objects(kind, space, labels)
                ]
                for kind, metadata in left:
                    if metadata["uid"] not in seen:
                        seen.add(metadata["uid"])
                        _delete(api, kind, metadata)
                if not left:
                    return len(seen)
                if time.monotonic() > end:
                    raise _stuck(what, f"{left[0][1]['name']} does not end")
                time.sleep(0.5)
    except ProviderError as error:
        raise _stuck(what, str(error)[:300]) from error


def rebind() -> int:
    """Free every volume of ours whose claim is gone; how many. The volume still names its claim, and no other can take it."""
    volumes = by_name("v1", "PersistentVolume")
    freed = 0
    try:
        with Api.of(str(places.state(places.DEPLOYER_KUBECONFIG))) as api:
            for one in api.objects(volumes):
                claim = one["spec"].get("claimRef") or {}
                ours = str(claim.get("namespace", "")).startswith(("rr-", "p-"))
                if one.get("status", {}).get("phase") == "Released" and ours and "uid" in claim:
                    gone = [
                        {"op": "remove", "path": f"/spec/claimRef/{key}"}
                        for key in ("uid", "resourceVersion")
                        if key in claim
                    ]
                    api.json_patch(volumes, "", one["metadata"]["name"], gone)
                    freed += 1
    except ProviderError as error:
        raise _stuck("volumes", str(error)[:300]) from error
    return freed


def _delete(api: Api, kind: Kind, metadata: dict[str, str]) -> None:
    try:
        api.delete(kind, metadata["namespace"], metadata["name"], uid=metadata["uid"], propagation="Foreground")
    except ApiRefusal as refusal:
        if refusal.status not in (404, 409):  # gone, or another of that name by now: the next look tells
            raise


def _stuck(stack: str, why: str) -> TryAgain:
    return TryAgain(what="platform", which=stack, why=why, next_step="readingroom node status, then repeat")
