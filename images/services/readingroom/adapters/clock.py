"""The time of this machine: the only place that asks for it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """The machine's clock, in UTC. Nothing is done about a wrong one: the node's time is the operator's to keep."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)


class SiteClock:
    """See the port `Clock` of a collection: the time zone is the machine's."""

    def local(self) -> datetime:
        """See the port."""
        return datetime.now(UTC).astimezone()

    def seconds(self) -> float:
        """See the port."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """See the port."""
        time.sleep(seconds)
