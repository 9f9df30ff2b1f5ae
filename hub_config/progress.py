"""What a person reads while the workspace starts, worked out from the pod's status alone. Pure.

The words are for screen readers too: whole sentences, and after 10 s the step that is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SLOW_SECONDS = 10


@dataclass(frozen=True)
class Step:
    """One step, and how far along it is."""

    percent: int
    text: str
    doing: str


def step(pod: Mapping[str, Any] | None, cut: str) -> Step:
    """The step that a pod is in; no pod yet means that the grant is being checked."""
    if pod is None:
        return Step(10, "Checking your grant.", "checking your grant")
    if without_place(pod):
        return Step(30, "Finding a place.", "finding a place")
    status = pod.get("status", {})
    started = [item.get("state", {}) for item in status.get("containerStatuses") or ()]
    if not any("running" in state for state in started):
        named = f" {cut}" if cut else ""
        return Step(50, f"Mounting data cut{named}.", f"mounting data cut{named}")
    if not all(item.get("ready") for item in status.get("containerStatuses") or ()):
        return Step(70, "Starting the notebook.", "starting the notebook")
    return Step(90, "Connecting.", "connecting")


def message(current: Step, waited: float) -> str:
    """The step's sentence; when it lasts, how long, in tens of seconds: nothing is announced every second."""
    tens = int(waited // SLOW_SECONDS) * SLOW_SECONDS
    return current.text if tens == 0 else f"Still {current.doing}, for {tens} seconds now."


def without_place(pod: Mapping[str, Any] | None) -> bool:
    """Whether the pod is on no node yet."""
    if pod is None:
        return False
    conditions = pod.get("status", {}).get("conditions") or ()
    placed = any(item.get("type") == "PodScheduled" and item.get("status") == "True" for item in conditions)
    return not placed and not pod.get("spec", {}).get("nodeName")
