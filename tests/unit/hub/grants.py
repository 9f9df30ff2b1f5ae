"""Grant documents for tests: one project, two people, one environment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

DIGEST = "sha256:" + "1" * 64
IMAGE = f"rr.local/workspace-cpu@{DIGEST}"
CUT = f"rr.local/cut-demo@{DIGEST}"
ADA, BEN, EVE = "raaaaaaa", "rbbbbbbb", "reeeeeee"  # Eve is in no grant
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def document(now: datetime = NOW, **changes: Any) -> dict[str, Any]:
    """A grant in force at `now`: Ada for 30 days, Ben until an hour from now."""
    found: dict[str, Any] = {
        "schema": "readingroom/grant/v1",
        "project": "demo",
        "version": 1,
        "title": "Lungs & ribs",
        "tier": "browser",
        "decision": {"request": "rq-1", "record_sha256": "2" * 64},
        "from": text(now - timedelta(days=1)),
        "until": text(now + timedelta(days=60)),
        "members": [
            {"handle": ADA, "until": text(now + timedelta(days=30))},
            {"handle": BEN, "until": text(now + timedelta(hours=1))},
        ],
        "data": {"cut": "c-1", "image": CUT, "claim": None, "manifest_sha256": "3" * 64},
        "images": {"imaging-cpu": {"ref": IMAGE, "label": "Python imaging, no GPU"}},
        "sizes": {
            "small": {"cpu": 1, "memory_gib": 2, "scratch_gib": 2, "gpu": None},
            "medium": {"cpu": 2, "memory_gib": 4, "scratch_gib": 4, "gpu": None},
        },
        "limits": {"running": 2, "gpus": 0, "gpu_hours": 0, "idle_minutes": 60, "max_hours": 12},
        "defaults": {"image": "imaging-cpu", "size": "small"},
        "home_gib": 1,
        "outbox_gib": 1,
        "placement": {"pool": "workspace", "runtime_class": None},
    }
    return {**found, **changes}
