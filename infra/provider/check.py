"""A program's inputs made complete: identity, namespace, name. Pure; the API server judges the rest, strictly."""

from __future__ import annotations

import copy
import hashlib
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from infra.provider.diff import AUTONAMED
from infra.provider.errors import BadInput
from infra.provider.kinds import Kind
from infra.provider.wire import UNKNOWN, Unknown

_READ_ONLY: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_RBAC_NAME: Final = re.compile(r"[^/%]+")


@dataclass(frozen=True)
class Naming:
    """What the engine proposes for an object without a name."""

    seed: bytes = b""
    proposed: str = ""
    mode: Literal["propose", "enforce", "disable"] = "propose"


def complete(
    kind: Kind, old: dict[str, Any], new: dict[str, Any], logical_name: str, naming: Naming, namespace: str
) -> dict[str, Any]:
    """The inputs with kind, namespace and name filled in, read-only metadata taken out.

    Raises `BadInput` for what is wrong whatever the cluster says.
    """
    result = copy.deepcopy(new)
    for key, value in (("apiVersion", kind.api_version), ("kind", kind.name)):
        if result.setdefault(key, value) != value:
            raise BadInput(key, f"is {result[key]!r}, but the resource is a {kind.api_version} {kind.name}")
    result.pop("status", None)
    metadata = result.setdefault("metadata", {})
    if isinstance(metadata, Unknown):
        return result
    for key in _READ_ONLY:
        metadata.pop(key, None)
    if "generateName" in metadata:
        raise BadInput("metadata.generateName", "has no place in server-side apply: give a name or leave it out")
    if kind.namespaced:
        metadata.setdefault("namespace", namespace)
    elif metadata.pop("namespace", None) is not None:
        raise BadInput("metadata.namespace", f"a {kind.name} belongs to no namespace")
    if metadata.get("name") in (None, ""):
        _autoname(metadata, old.get("metadata", {}), logical_name, naming)
    _check_name(kind, metadata["name"])
    return result


def _autoname(metadata: dict[str, Any], old: dict[str, Any], logical_name: str, naming: Naming) -> None:
    """A name of ours is kept on update and new on replacement, for which the engine sends no old inputs."""
    kept = old.get("annotations", {}).get(AUTONAMED) == "true"
    if kept and old.get("name"):
        metadata["name"] = old["name"]
    elif naming.mode == "disable":
        raise BadInput("metadata.name", "automatic naming is off: give a name")
    elif naming.proposed:
        metadata["name"] = naming.proposed
    elif naming.mode == "enforce":
        raise BadInput("metadata.name", "the engine enforces names and proposed none")
    else:
        last = logical_name.rpartition("/")[2].lower()
        metadata["name"] = f"{last}-{hashlib.sha256(naming.seed).hexdigest()[:8]}"
    metadata["annotations"] = {**metadata.get("annotations", {}), AUTONAMED: "true"}


def _check_name(kind: Kind, name: Any) -> None:
    if name is UNKNOWN:
        return
    pattern = _RBAC_NAME if kind.group == "rbac.authorization.k8s.io" else _NAME
    if not isinstance(name, str) or len(name) > 253 or not pattern.fullmatch(name):
        raise BadInput("metadata.name", f"{name!r} is no name of a {kind.name}")
