"""The engine's events as lines for people: one per object that changes, one per new reason to wait, errors kept.

Nothing of an object's content is shown but the paths that change, so no value can slip into a log.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from pulumi.automation.events import DiagnosticEvent, EngineEvent, StepEventMetadata

_WORDS: Final = {  # operation → (done, planned)
    "create": ("+ created", "+ to create"),
    "update": ("~ changed", "~ to change"),
    "delete": ("- deleted", "- to delete"),
    "replace": ("± replaced", "± to replace"),
    "create-replacement": ("± made anew", "± to make anew"),
    "delete-replaced": ("± old one deleted", "± old one to delete"),
    "discard": ("- forgotten", "- to forget"),
}
_COLOURS: Final = re.compile(r"<\{%[a-z0-9+ ]*%\}>|\x1b\[[0-9;]*m")
_CHATTER: Final = re.compile(
    r"^(update|preview|destroy|refresh) failed$|^resource registration failed|^update canceled"
)
_WRAPPING: Final = re.compile(r"^(error: )?(\d+ errors? occurred: \* )?")
_PATHS: Final = 6


def title(urn: str) -> str:
    """`Deployment rr-system/portal` for an object of the cluster, its URN's last two parts for anything else."""
    kind, _, name = urn.rpartition("::")
    return f"{re.split('[:$]', kind)[-1]} {name}"


class Lines:
    """Hears events, says lines, remembers changes and errors."""

    def __init__(self, on_line: Callable[[str], None], *, planned: bool) -> None:
        self._on_line = on_line
        self._planned = planned
        self._said: dict[str, str] = {}
        self.changes: dict[str, int] = {}
        self.errors: list[str] = []

    def hear(self, event: EngineEvent) -> None:
        """One event of the engine."""
        if event.diagnostic_event:
            self._diagnostic(event.diagnostic_event)
        elif event.summary_event:
            changes: dict[Any, int] = dict(event.summary_event.resource_changes or {})
            self.changes = {str(getattr(operation, "value", operation)): count for operation, count in changes.items()}
        elif event.res_outputs_event:
            self._step(event.res_outputs_event.metadata)

    def _step(self, step: StepEventMetadata) -> None:
        operation = str(getattr(step.op, "value", step.op))
        if operation not in _WORDS or not step.type.startswith("kubernetes:"):
            return
        paths = sorted(step.detailed_diff or {}) if operation != "create" else []
        more = f" and {len(paths) - _PATHS} more" if len(paths) > _PATHS else ""
        about = f": {', '.join(paths[:_PATHS])}{more}" if paths else ""
        self._on_line(f"{_WORDS[operation][self._planned]} {title(step.urn)}{about}")

    def _diagnostic(self, event: DiagnosticEvent) -> None:
        text = _WRAPPING.sub("", " ".join(_COLOURS.sub("", event.message).split()))
        if not text or event.severity not in {"error", "info", "info#err", "warning"}:
            return
        which = title(event.urn) if event.urn and "pulumi:pulumi:Stack" not in event.urn else ""
        if event.severity == "error":
            if not _CHATTER.search(text):
                self.errors.append(f"{which}: {text}" if which and which not in text else text)
        elif event.ephemeral and which and self._said.get(which) != text:
            self._said[which] = text
            self._on_line(f"  … {which}: {text}")
