"""Whole objects compared: what the server would make of our inputs against what is there. Pure.

Pulumi's refresh cuts the live object to the shape of the inputs, so whatever was appended stays unseen. Here every field
of both sides counts and lists are exact; the only things left out are named below, kind by kind, each with its writer.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

Path = tuple[str | int, ...]
MISSING: Final = object()

# Written by the API server or a controller, whatever was asked for.
_SERVER: Final[tuple[Path, ...]] = (
    ("status",),
    ("metadata", "uid"),
    ("metadata", "resourceVersion"),
    ("metadata", "generation"),
    ("metadata", "creationTimestamp"),
    ("metadata", "deletionTimestamp"),
    ("metadata", "deletionGracePeriodSeconds"),
    ("metadata", "managedFields"),
    ("metadata", "selfLink"),
    ("metadata", "name"),  # the dry run that gives the expected object has a name of its own
    ("metadata", "namespace"),
)
_CONTROLLERS: Final[dict[str, tuple[Path, ...]]] = {
    "Namespace": (("metadata", "labels", "kubernetes.io/metadata.name"), ("spec", "finalizers")),
    "Deployment": (("metadata", "annotations", "deployment.kubernetes.io/revision"),),
    "DaemonSet": (("metadata", "annotations", "deprecated.daemonset.template.generation"),),
    "Service": (("spec", "clusterIP"), ("spec", "clusterIPs")),  # compared apart when we set them
    "PersistentVolume": (
        ("metadata", "finalizers"),
        ("metadata", "annotations", "pv.kubernetes.io/bound-by-controller"),
        ("spec", "claimRef", "uid"),
        ("spec", "claimRef", "resourceVersion"),
        ("spec", "claimRef", "apiVersion"),
        ("spec", "claimRef", "kind"),
    ),
    "PersistentVolumeClaim": (
        ("metadata", "finalizers"),
        ("metadata", "annotations", "pv.kubernetes.io/bind-completed"),
        ("metadata", "annotations", "pv.kubernetes.io/bound-by-controller"),
        ("metadata", "annotations", "volume.kubernetes.io/selected-node"),
        ("metadata", "annotations", "volume.kubernetes.io/storage-provisioner"),
        ("metadata", "annotations", "volume.beta.kubernetes.io/storage-provisioner"),
    ),
    "Job": (
        ("metadata", "labels"),  # both come from the template, with the controller's uid in them
        ("spec", "selector"),
        ("spec", "template", "metadata", "labels", "controller-uid"),
        ("spec", "template", "metadata", "labels", "batch.kubernetes.io/controller-uid"),
        ("spec", "template", "metadata", "labels", "job-name"),
        ("spec", "template", "metadata", "labels", "batch.kubernetes.io/job-name"),
        ("metadata", "finalizers"),
    ),
    "Pod": (("spec", "nodeName"), ("spec", "volumes"), ("metadata", "finalizers")),
}


@dataclass(frozen=True)
class Difference:
    """One field that is not as declared. `MISSING` stands for absent."""

    path: Path
    expected: Any
    live: Any

    @property
    def where(self) -> str:
        """The path as people write it: `spec.egress[1]`."""
        return dotted(self.path)


def dotted(path: Path) -> str:
    """`spec.egress[0].ports`; a key that holds a dot, quote or bracket is written `["a.b"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif any(mark in part for mark in '."[]'):
            text += '["' + part.replace('"', '\\"') + '"]'
        else:
            text += f".{part}" if text else part
    return text


def differences(expected: Any, live: Any) -> list[Difference]:
    """Every path at which the two disagree; lists are exact, a whole new map or item is one entry."""
    return list(_walk((), expected, live))


def _walk(path: Path, expected: Any, live: Any) -> Iterator[Difference]:
    if isinstance(expected, dict) and isinstance(live, dict):
        for key in sorted(expected.keys() | live.keys()):
            yield from _walk((*path, key), expected.get(key, MISSING), live.get(key, MISSING))
    elif isinstance(expected, list) and isinstance(live, list):
        for index in range(max(len(expected), len(live))):
            yield from _walk(
                (*path, index),
                expected[index] if index < len(expected) else MISSING,
                live[index] if index < len(live) else MISSING,
            )
    elif not _same(expected, live):
        yield Difference(path, expected, live)


def _same(expected: Any, live: Any) -> bool:
    empty = (MISSING, None)
    nothing: tuple[Any, ...] = ({}, [])
    if expected is MISSING or live is MISSING:  # an empty map or list that one side leaves out is no difference
        other = live if expected is MISSING else expected
        return other in nothing or any(other is one for one in empty)
    return type(expected) is type(live) and bool(expected == live)


def without_server_fields(manifest: dict[str, Any]) -> dict[str, Any]:
    """A copy without what the API server and its controllers write by themselves."""
    result = copy.deepcopy(manifest)
    for path in (*_SERVER, *_CONTROLLERS.get(manifest.get("kind", ""), ())):
        remove(result, path)
    return result


def remove(value: Any, path: Path) -> None:
    """Take one path out of a value, if it is there."""
    for part in path[:-1]:
        value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            return
    if isinstance(value, dict):
        value.pop(path[-1], None)


def drift(expected: dict[str, Any], live: dict[str, Any], inputs: dict[str, Any]) -> list[Difference]:
    """Where the live object is not what the server would make of `inputs`.

    `expected` is that object, from a dry run under another name. Fields that a controller fills in are compared with
    the inputs where the inputs set them.
    """
    found = differences(without_server_fields(expected), without_server_fields(live))
    for path in _CONTROLLERS.get(inputs.get("kind", ""), ()):
        wanted = lookup(inputs, path)
        if wanted is not MISSING and wanted != lookup(live, path):
            found += differences_at(path, wanted, lookup(live, path))
    return found


def differences_at(path: Path, expected: Any, live: Any) -> list[Difference]:
    """`differences` below a path that both sides share."""
    return list(_walk(path, expected, live))


def lookup(value: Any, path: Path) -> Any:
    """The value at a path, or `MISSING`."""
    for part in path:
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) and part < len(value) else MISSING
        else:
            value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
        if value is MISSING:
            return MISSING
    return value


def overlay(inputs: dict[str, Any], found: list[Difference]) -> dict[str, Any]:
    """The inputs as the live object has them: each drifted path set, appended or taken away; the rest as it was."""
    result = copy.deepcopy(inputs)
    gone = [difference for difference in found if difference.live is MISSING]
    there = [difference for difference in found if difference.live is not MISSING]
    for difference in sorted(gone, key=lambda one: _order(one.path), reverse=True):  # from the end, so indexes hold
        _set(result, difference.path, MISSING)
    for difference in sorted(there, key=lambda one: _order(one.path)):  # from the front, so appending keeps the order
        _set(result, difference.path, difference.live)
    return result


def _order(path: Path) -> tuple[tuple[int, str], ...]:
    return tuple((part, "") if isinstance(part, int) else (0, part) for part in path)


def _set(value: Any, path: Path, live: Any) -> None:
    """Set or remove one path in place; maps and lists on the way are made when something is to be set."""
    head, rest = path[0], path[1:]
    if rest:
        child = _child(value, head, rest[0], make=live is not MISSING)
        if child is not None:
            _set(child, rest, live)
    elif live is not MISSING and isinstance(value, list) and isinstance(head, int) and head >= len(value):
        value.append(live)
    elif live is not MISSING:
        value[head] = live
    elif isinstance(value, list) and isinstance(head, int):
        del value[head : head + 1]
    else:
        value.pop(head, None)


def _child(value: Any, head: str | int, below: str | int, *, make: bool) -> Any:
    found = lookup(value, (head,))
    if found is MISSING and make:
        found = [] if isinstance(below, int) else {}
        _set(value, (head,), found)
    return None if found is MISSING else found


def whole_numbers(value: Any) -> Any:
    """The engine's numbers are floating point; the API server wants the whole ones whole."""
    match value:
        case dict():
            return {key: whole_numbers(item) for key, item in value.items()}
        case list():
            return [whole_numbers(item) for item in value]
        case float() if value.is_integer():
            return int(value)
    return value
