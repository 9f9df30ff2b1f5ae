"""A run that needs Vault waits for it: one plain line when its state changes and now and then, then an end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from readingroom.application.ports_vault import VaultUnavailable
from readingroom.domain.errors import TryAgain

T = TypeVar("T")
PAUSE: Final = 2.0
SAY_AGAIN: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait, whom to tell, and the clock."""

    seconds: float
    say: Callable[[str], None]
    now: Callable[[], float]
    sleep: Callable[[float], None]


def wait_for_vault(ask: Callable[[], T], patience: Patience) -> T:
    """The answer of `ask`, as soon as Vault gives one.

    Raises `TryAgain` when the time is over, and at once whatever else `ask` raises: a refusal is not waited for.
    """
    end = patience.now() + patience.seconds
    said, said_at = "", 0.0
    while True:
        try:
            return ask()
        except VaultUnavailable as error:
            now = patience.now()
            if str(error) != said or now - said_at >= SAY_AGAIN:
                said, said_at = str(error), now
                patience.say(said)
            if now + PAUSE > end:
                raise TryAgain(
                    what="de-identification",
                    why=f"Vault gave no keys within {patience.seconds:.0f} seconds, and nothing was written",
                    next_step="run the same command again once Vault is unsealed",
                ) from error
            patience.sleep(PAUSE)
