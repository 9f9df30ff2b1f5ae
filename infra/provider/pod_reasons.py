"""What a pod says about why it is not ready, in one line. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

# Waiting longer does not help: nothing is ever pulled, and a name does not mend itself.
HOPELESS: Final = frozenset({"ErrImageNeverPull", "InvalidImageName"})
_LONGEST: Final = 300
_ORDINARY: Final = frozenset({"ContainerCreating", "PodInitializing", ""})


def why_not_ready(pod: Mapping[str, Any]) -> str:
    """The first reason found: a container that cannot start or fails, else scheduling; empty if there is none yet."""
    name = pod["metadata"]["name"]
    for container, reason, message in _troubles(pod):
        return f"pod {name}: container {container}: {reason}{f': {cut(message)}' if message else ''}"
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"pod {name}: {condition.get('reason', '')}: {cut(condition.get('message', ''))}"
    return ""


def is_hopeless(pod: Mapping[str, Any]) -> bool:
    """Whether a container waits for something that never comes."""
    return any(reason in HOPELESS for _, reason, _ in _troubles(pod))


def newest(pods: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Pods that are not being deleted, youngest first: the reason of the current attempt counts."""
    alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    return sorted(alive, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)


def cut(text: str) -> str:
    """Foreign text on one line and not too long."""
    flat = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return flat if len(flat) <= _LONGEST else f"{flat[:_LONGEST]}…"


def _troubles(pod: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(container, reason, message) of each container in trouble; what its last run left behind is the better message."""
    status = pod.get("status", {})
    for entry in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = entry.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        last = (entry.get("lastState") or {}).get("terminated") or {}
        if waiting.get("reason", "") not in _ORDINARY:
            yield entry["name"], waiting["reason"], _last_words(last) or waiting.get("message", "")
        elif ended.get("exitCode", 0) != 0:
            yield entry["name"], ended.get("reason", "Error"), _last_words(ended)


def _last_words(ended: Mapping[str, Any]) -> str:
    if not ended:
        return ""
    words = ended.get("message", "").strip()
    return f"exit status {ended.get('exitCode')}{f', {words}' if words else ''}"
