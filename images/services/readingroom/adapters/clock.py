"""The time of this machine: the only place that asks for it."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """The machine's clock, in UTC. Nothing is done about a wrong one: the node's time is the operator's to keep."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)
