"""The loop: a change in the API becomes a table; every ten seconds the lease is renewed, if the view can be trusted.

Fails closed at every turn: no view, no lease; no lease, no pod traffic. A new address goes live only after policies and
namespaces were listed once more, so no pod ever talks before a policy that was there before it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from infra.node.netpol import apply
from infra.node.netpol.compile import Verdicts, verdicts
from infra.node.netpol.model import Address, View
from readingroom.domain.errors import ReadingRoomError, TryAgain

RENEW_SECONDS: Final = 10
FRESH_SECONDS: Final = 40  # a restart of the apiserver is shorter; an older view renews nothing
SETTLE_SECONDS: Final = 0.03  # changes come in bunches
LOOK_SECONDS: Final = 0.5  # how often the sandboxes' folder is looked at

log = logging.getLogger("netpol")
Families: TypeAlias = Mapping[int, Verdicts]


class Sight(Protocol):
    """What the loop needs of the watch."""

    def view(self) -> View:
        """What is known now."""

    def confirm(self) -> None:
        """List policies and namespaces as they stand now. Raises `TryAgain`."""

    def heard_at(self) -> float:
        """When the quietest collection was last heard of."""

    def unreadable(self) -> list[str]:
        """One line for each object that could not be read."""


@dataclass
class Keeper:
    """Brings the kernel's table to what the view says, and keeps its lease while the view is fresh."""

    sight: Sight
    holders: Callable[[], Mapping[Address, str] | None]
    kernel: Callable[[str], None] = apply.load
    counters: Callable[[], Mapping[str, int]] = apply.take_counters
    clock: Callable[[], float] = time.monotonic
    loaded: Families | None = None  # what the kernel has; None when that is unknown
    leased_at: float = float("-inf")
    applied_at: float = float("-inf")
    took: float = 0.0  # seconds of the last compile and apply
    counts: Counter[str] = field(default_factory=Counter)
    stale: bool = True

    def turn(self) -> bool:
        """Apply what changed, or renew what is due. Whether all that is wanted is now in place.

        Raises `TryAgain` if the kernel did not take it; the next turn starts from an unknown table.
        """
        now = self.clock()
        if not self._fresh(now):
            return True  # nothing to hurry for: the lease runs out, and that is right
        wanted, whole = self._wanted()
        try:
            if wanted != self.loaded:
                self.count()
                self.kernel(apply.table(wanted))
                self.loaded, self.applied_at, self.took = wanted, self.clock(), self.clock() - now
                self.leased_at = now
            elif self.due():
                self.kernel(apply.lease(wanted))
                self.leased_at = now
        except TryAgain:
            self.loaded = None
            raise
        return whole

    def due(self) -> bool:
        """Whether the lease wants renewing."""
        return self.clock() - self.leased_at >= RENEW_SECONDS

    def count(self) -> None:
        """Add what the kernel has counted since the last time: a new table starts from nothing."""
        self.counts.update(self.counters())

    def _fresh(self, now: float) -> bool:
        age = now - self.sight.heard_at()
        fresh = age <= FRESH_SECONDS
        if fresh and self.stale:
            log.info("the view is fresh: the lease is renewed")
        elif not fresh and not self.stale:
            log.error("the API was last heard %.0f s ago: the lease is not renewed and pod traffic ends", age)
        self.stale = not fresh
        return fresh

    def _wanted(self) -> tuple[Families, bool]:
        """What the kernel should have, and whether that is all of it: new addresses may have to wait."""
        wanted = self._verdicts()
        if all(verdict.live <= self._live(family) for family, verdict in wanted.items()):
            return wanted, True
        sure = {family: verdict.live for family, verdict in wanted.items()}
        try:
            self.sight.confirm()
        except ReadingRoomError as error:
            log.warning("new pod addresses wait: %s", error)
            sure = {family: live & self._live(family) for family, live in sure.items()}
        later = self._verdicts()
        whole = all(verdict.live <= sure[family] for family, verdict in later.items())
        return {family: replace(verdict, live=verdict.live & sure[family]) for family, verdict in later.items()}, whole

    def _verdicts(self) -> Families:
        return verdicts(self.sight.view().classified(self.holders()))

    def _live(self, family: int) -> frozenset[int]:
        return self.loaded[family].live if self.loaded else frozenset()


def write_status(keeper: Keeper, path: Path) -> None:
    """What `node status` shows of the enforcer. Times are seconds since 1970; the reader works out the ages."""
    now, moment = keeper.clock(), time.time()
    view = keeper.sight.view()
    families = list((keeper.loaded or {}).values())
    keeper.count()
    status = {
        "pid": os.getpid(),
        "written_at": moment,
        "applied_at": _moment(keeper.applied_at, now, moment),
        "leased_at": _moment(keeper.leased_at, now, moment),
        "heard_at": _moment(keeper.sight.heard_at(), now, moment),
        "apply_seconds": round(keeper.took, 4),
        "pods": len(view.pods),
        "policies": len(view.policies),
        "live": sum(len(verdict.live) for verdict in families),
        "isolated": sum(len(verdict.ingress.isolated | verdict.egress.isolated) for verdict in families),
        "rectangles": sum(len(verdict.ingress.allowed) + len(verdict.egress.allowed) for verdict in families),
        "unreadable": keeper.sight.unreadable(),
        "counters": dict(sorted(keeper.counts.items())),
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(status, indent=1) + "\n")
    new.replace(path)


def _moment(at: float, now: float, moment: float) -> float | None:
    return None if at == float("-inf") else round(moment - (now - at), 3)
