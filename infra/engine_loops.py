"""Ends what the Pulumi SDK leaves open when the engine stops before the program does: event loops and their tasks.

The engine goes away as soon as a resource fails; the SDK then trips over its own closing words, logs a traceback and
keeps the loop. People get one clear line instead, from `infra.engine`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

_PATIENCE: Final = 5.0


class Loops:
    """The loops that programs ran in, to be ended after the engine has."""

    def __init__(self) -> None:
        self._known: list[asyncio.AbstractEventLoop] = []

    def within(self, program: Callable[[], None]) -> Callable[[], None]:
        """The same program, its loop noted."""

        def noted() -> None:
            self._known.append(asyncio.get_running_loop())
            program()

        return noted

    def end(self) -> None:
        """Wait until each loop has stopped, then cancel what is left in it and close it."""
        for loop in self._known:
            deadline = time.monotonic() + _PATIENCE
            while loop.is_running() and time.monotonic() < deadline:
                time.sleep(0.01)
            if loop.is_running() or loop.is_closed():
                continue
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.close()


def hush() -> None:
    """The SDK's server logs a traceback for an engine that has gone; the engine's own errors reach us as events."""
    logging.getLogger("grpc._server").setLevel(logging.CRITICAL)
