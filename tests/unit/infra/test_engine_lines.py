"""The engine's events as lines for people."""

from __future__ import annotations

from typing import Any

from pulumi.automation.events import (
    DiagnosticEvent,
    EngineEvent,
    OpType,
    ResOutputsEvent,
    StepEventMetadata,
    SummaryEvent,
)

from infra.engine_lines import Lines, title

URN = "urn:pulumi:local::readingroom::readingroom:x:Y$kubernetes:apps/v1:Deployment::rr-system/portal"


def heard(*events: dict[str, Any], planned: bool = False) -> tuple[list[str], Lines]:
    said: list[str] = []
    lines = Lines(said.append, planned=planned)
    for event in events:
        lines.hear(EngineEvent(sequence=1, timestamp=1, **event))
    return said, lines


def step(operation: OpType, **more: Any) -> dict[str, Any]:
    metadata = StepEventMetadata(op=operation, urn=URN, type="kubernetes:apps/v1:Deployment", provider="", **more)
    return {"res_outputs_event": ResOutputsEvent(metadata=metadata)}


def diagnostic(severity: str, message: str, *, ephemeral: bool = False) -> dict[str, Any]:
    event = DiagnosticEvent(message=message, color="never", severity=severity, urn=URN, ephemeral=ephemeral)
    return {"diagnostic_event": event}


def test_a_change_names_the_object_and_the_paths_but_no_value() -> None:
    said, _ = heard(step(OpType.UPDATE, detailed_diff={"spec.replicas": None}), step(OpType.SAME))
    assert said == ["~ changed Deployment rr-system/portal: spec.replicas"]


def test_a_plan_is_told_as_a_plan() -> None:
    assert heard(step(OpType.CREATE), planned=True)[0] == ["+ to create Deployment rr-system/portal"]


def test_a_reason_to_wait_is_said_once() -> None:
    waiting = diagnostic("info", "0 of 1 replicas", ephemeral=True)
    assert heard(waiting, waiting)[0] == ["  … Deployment rr-system/portal: 0 of 1 replicas"]


def test_errors_are_kept_with_their_object_and_the_engines_chatter_is_not() -> None:
    _, lines = heard(
        diagnostic("error", "<{%fg 1%}>error: 1 error occurred:\n\t* no such image<{%reset%}>\n"),
        diagnostic("error", "update failed"),
    )
    assert lines.errors == ["Deployment rr-system/portal: no such image"]


def test_the_summary_counts_by_operation() -> None:
    summary = SummaryEvent(
        maybe_corrupt=False, duration_seconds=1, resource_changes={OpType.SAME: 3, OpType.CREATE: 1}, policy_packs={}
    )
    assert heard({"summary_event": summary})[1].changes == {"same": 3, "create": 1}


def test_a_title_is_kind_and_name() -> None:
    assert title(URN) == "Deployment rr-system/portal"
