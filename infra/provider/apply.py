"""The operations of the provider on one object: create, update, read, delete.

Everything is server-side apply under one manager per stack, never forced unless asked, with strict field validation. An
object that is already there is never adopted, and only the object we made is ever deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from infra.provider import await_ready
from infra.provider.api import Api
from infra.provider.compare import MISSING, Difference, drift, lookup, overlay
from infra.provider.errors import ApiRefusal, CannotDo, NotReady, ProviderError
from infra.provider.kinds import Kind

FORCE: Final = "pulumi.com/patchForce"
PROPAGATION: Final = "pulumi.com/deletionPropagationPolicy"
_PAUSE: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Call:
    """What one operation is about."""

    kind: Kind
    manager: str
    timeout: float = 0.0  # seconds; 0: the object's annotation, else the default
    force: bool = False
    tell: Callable[[str], None] = field(default=lambda _: None)
    stop: Callable[[], bool] = field(default=lambda: False)


def name_of(manifest: Mapping[str, Any]) -> str:
    """`namespace/name`, or `name` of what belongs to no namespace."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def split(identity: str) -> tuple[str, str]:
    """Namespace and name of an id."""
    namespace, _, name = identity.rpartition("/")
    return namespace, name


def explain(kind: Kind, manifest: Mapping[str, Any], refusal: ApiRefusal) -> str:
    """A refusal of the API server as a sentence; a conflict names the other manager."""
    which = f"{kind.name} {name_of(manifest)}"
    if refusal.status == 409 and refusal.causes:
        held = "; ".join(f"{cause.path}: {cause.message}" for cause in refusal.causes)
        return f"{which}: fields are held by another manager: {held}; repeat with force to take them back"
    return f"{which}: {refusal.message}"


def create(api: Api, manifest: dict[str, Any], call: Call) -> dict[str, Any]:
    """Make a new object and wait until it is ready.

    Raises `CannotDo` if there is one already that is not our own leftover, or the server refuses; `NotReady` if made but
    not ready.
    """
    kind, metadata = call.kind, manifest["metadata"]
    before = _after_deletion(api, api.get(kind, metadata.get("namespace", ""), metadata["name"]), call)
    try:
        if before is not None:
            _check_is_leftover(api, manifest, before, call)
        answer = api.apply(kind, manifest, manager=call.manager, dry_run=False, force=False)
    except ApiRefusal as refusal:
        raise CannotDo(explain(kind, manifest, refusal)) from refusal
    if before is None and answer.status != 201:
        raise CannotDo(f"{kind.name} {name_of(manifest)} appeared while we made it: somebody else makes it too")
    return _ready(api, answer.body, call)


def _after_deletion(api: Api, before: dict[str, Any] | None, call: Call) -> dict[str, Any] | None:
    """Nothing, if what is there is on its way out: an interrupted `down` may still be at work. Raises `CannotDo`."""
    if before is None or not before["metadata"].get("deletionTimestamp"):
        return before
    call.tell("the one before is still being deleted")
    namespace, name = split(name_of(before))
    limit = await_ready.seconds(before["metadata"].get("annotations") or {}, call.timeout)
    _wait_until_gone(api, namespace, name, str(before["metadata"]["uid"]), limit, call)
    return None


def _check_is_leftover(api: Api, manifest: dict[str, Any], live: dict[str, Any], call: Call) -> None:
    """Nothing is adopted but what an interrupted run of this very stack made and the engine had no time to note.

    That is: our manager applied it, and nobody has added anything to it since. Raises `CannotDo`.
    """
    which = f"{call.kind.name} {name_of(manifest)}"
    entries = live["metadata"].get("managedFields") or ()
    if not any(entry.get("manager") == call.manager and entry.get("operation") == "Apply" for entry in entries):
        raise CannotDo(f"{which} already exists and is not ours: import it, or delete it first")
    found = additions(api, manifest, live, call)
    if found:
        where = ", ".join(one.where for one in found)
        raise CannotDo(f"{which} was left by an earlier run and {where} was added to it since: delete it first")


def _ready(api: Api, live: dict[str, Any], call: Call) -> dict[str, Any]:
    try:
        return await_ready.wait(api, call.kind, live, asked=call.timeout, tell=call.tell, stop=call.stop)
    except ProviderError as error:  # whatever went wrong, the object is there and must stay known
        raise NotReady(_last_seen(api, live, call), f"{call.kind.name} {name_of(live)}: {error}") from error


def _last_seen(api: Api, live: dict[str, Any], call: Call) -> dict[str, Any]:
    metadata = live["metadata"]
    try:
        return api.get(call.kind, metadata.get("namespace", ""), metadata["name"]) or live
    except ProviderError:
        return live


def preview(api: Api, manifest: dict[str, Any], call: Call, *, new: bool) -> dict[str, Any] | None:
    """The same apply as a dry run: what would be there, or `None` where it cannot be asked yet.

    It cannot be asked while the namespace or the kind does not exist. Raises `CannotDo` for any other refusal, as `up`
    would.
    """
    kind, metadata = call.kind, manifest["metadata"]
    try:
        before = api.get(kind, metadata.get("namespace", ""), metadata["name"]) if new else None
        if before is not None and before["metadata"].get("deletionTimestamp"):
            return None
        if before is not None:
            _check_is_leftover(api, manifest, before, call)
        return api.apply(kind, manifest, manager=call.manager, dry_run=True, force=_forced(manifest, call)).body
    except ApiRefusal as refusal:
        if refusal.status == 404 or (new and _only_later(refusal)):
            return None
        raise CannotDo(explain(kind, manifest, refusal)) from refusal


def _only_later(refusal: ApiRefusal) -> bool:
    """A reference to something that the same run makes first: an account, a role we do not hold yet."""
    late = ("not found", "serviceaccount", "attempting to grant RBAC permissions", "no params found")
    return refusal.status == 403 and any(word in refusal.message for word in late)


def _forced(manifest: Mapping[str, Any], call: Call) -> bool:
    return call.force or (manifest["metadata"].get("annotations") or {}).get(FORCE) == "true"


def update(api: Api, manifest: dict[str, Any], removed: Iterable[tuple[str | int, ...]], call: Call) -> dict[str, Any]:
    """Change the object in place and wait until it is ready.

    `removed` are paths that the new inputs no longer have. What another manager added there stays after an ordinary apply,
    so it is refused without force, and taken out first with it. Raises `CannotDo`, `NotReady`.
    """
    kind, metadata = call.kind, manifest["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    live = api.get(kind, namespace, name)
    if live is None:
        raise CannotDo(f"{kind.name} {name_of(manifest)} is gone: refresh, then repeat")
    forced = _forced(manifest, call)
    try:
        if forced:
            strip_additions(api, manifest, live, call)
        answer = api.apply(kind, manifest, manager=call.manager, dry_run=False, force=forced)
    except ApiRefusal as refusal:
        raise CannotDo(explain(kind, manifest, refusal)) from refusal
    left = [path for path in removed if lookup(answer.body, path) not in (MISSING, {}, [], None)]
    foreign = [one for one in additions(api, manifest, answer.body, call) if one.path in left] if left else []
    if foreign:
        where = ", ".join(one.where for one in foreign)
        raise NotReady(answer.body, f"{kind.name} {name_of(manifest)}: {where} was added by another manager and stays")
    return _ready(api, answer.body, call)


def additions(api: Api, manifest: dict[str, Any], live: dict[str, Any], call: Call) -> list[Difference]:
    """What the live object has that our inputs and the server's defaults would not give it."""
    expected = as_declared(api, manifest, call)
    return [one for one in drift(expected, live, manifest) if one.expected is MISSING]


def as_declared(api: Api, manifest: dict[str, Any], call: Call) -> dict[str, Any]:
    """What the server would make of `manifest` if nobody else had touched it.

    A namespace whose quota is used up takes no further object, not even in a dry run; there the same apply in place is
    the best answer to be had: it shows our own fields, not what others added. Raises `ApiRefusal`.
    """
    try:
        return api.as_new(call.kind, manifest, manager=call.manager)
    except ApiRefusal as refusal:
        if refusal.status != 403 or "exceeded quota" not in refusal.message:
            raise
    return api.apply(call.kind, manifest, manager=call.manager, dry_run=True, force=True).body


def strip_additions(api: Api, manifest: dict[str, Any], live: dict[str, Any], call: Call) -> None:
    """Take out of the live object what is neither ours nor the server's, in one transaction with its version."""
    metadata = live["metadata"]
    operations = [
        {"op": "remove", "path": "".join(f"/{_escaped(part)}" for part in one.path)}
        for one in reversed(additions(api, manifest, live, call))
    ]
    if operations:
        guard = {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}
        api.json_patch(call.kind, metadata.get("namespace", ""), metadata["name"], [guard, *operations])


def _escaped(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def immutable_paths(api: Api, manifest: dict[str, Any], call: Call) -> list[str]:
    """The paths the API server refuses to change in place, asked by a dry run; empty when it would take them."""
    try:
        api.apply(call.kind, manifest, manager=call.manager, dry_run=True, force=True)
    except ApiRefusal as refusal:
        words = ("immutable", "may not change", "may not be changed", "updates to", "forbidden: may not")
        if refusal.status == 422:
            return [cause.path for cause in refusal.causes if any(word in cause.message.lower() for word in words)]
    return []


def read(api: Api, identity: str, inputs: dict[str, Any], call: Call) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The live object and the inputs as the cluster has them; `None` if there is no such object.

    The whole object counts: what was appended, added or taken away shows in the inputs; defaults and status do not.
    Without inputs (an import) the live object's own fields are the inputs.
    """
    namespace, name = split(identity)
    live = api.get(call.kind, namespace, name)
    if live is None:
        return None
    if not inputs:
        metadata = {key: live["metadata"][key] for key in ("name", "namespace", "labels") if key in live["metadata"]}
        rest = {key: value for key, value in live.items() if key not in {"metadata", "status"}}
        return live, {**rest, "metadata": metadata}
    try:
        expected = as_declared(api, inputs, call)
    except ApiRefusal as refusal:
        raise CannotDo(f"cannot compare {explain(call.kind, inputs, refusal)}") from refusal
    return live, overlay(inputs, drift(expected, live, inputs))


def delete(api: Api, identity: str, state: Mapping[str, Any], call: Call) -> None:
    """Delete exactly the object we made and wait until it is gone; gone already is done.

    Raises `CannotDo` if another object has taken its name, or finalizers keep it (they are named).
    """
    namespace, name = split(identity)
    metadata = state.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    uid = str(metadata.get("uid", ""))
    try:
        api.delete(
            call.kind,
            namespace,
            name,
            uid=uid,
            propagation=str(annotations.get(PROPAGATION, "foreground")).capitalize(),
        )
    except ApiRefusal as refusal:
        if refusal.status == 404:
            return
        if refusal.status == 409 and "uid" in refusal.message.lower():
            raise CannotDo(
                f"{call.kind.name} {identity} is no longer the object we made, so it stays: refresh to forget ours"
            ) from refusal
        raise CannotDo(f"{call.kind.name} {identity}: {refusal.message}") from refusal
    _wait_until_gone(api, namespace, name, uid, await_ready.seconds(annotations, call.timeout), call)


def _wait_until_gone(api: Api, namespace: str, name: str, uid: str, limit: float, call: Call) -> None:
    deadline = time.monotonic() + limit
    while True:
        live = api.get(call.kind, namespace, name)
        if live is None or (uid and live["metadata"].get("uid") != uid):
            return
        if time.monotonic() > deadline or call.stop():
            finalizers = [*(live["metadata"].get("finalizers") or ()), *(live.get("spec", {}).get("finalizers") or ())]
            kept = f"; finalizers keep it: {', '.join(finalizers)}" if finalizers else ""
            raise CannotDo(f"{call.kind.name} {namespace or ''}/{name} is still there after {limit:.0f} s{kept}")
        time.sleep(_PAUSE)
