"""What may go wrong between the engine and the cluster.

ProviderError
├── NotServed      a kind that this provider does not serve; names the plugin that would
├── BadInput       an input that no cluster could take, with its path
├── ApiRefusal     the API server said no, with its causes
├── ApiAway        the API server did not answer
├── CannotDo       the operation was refused; nothing has changed
├── NotReady       the object is there, but not as wanted; the engine keeps it and marks it
├── Failed         the object will not become ready by waiting
└── TookTooLong    the object was not ready in time
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class ProviderError(Exception):
    """The family; its text is what the engine shows."""


class NotServed(ProviderError):
    """A kind that this provider does not serve."""


class BadInput(ProviderError):
    """An input that no API server could take."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path, self.reason = path, reason


@dataclass(frozen=True)
class Cause:
    """One reason of a refusal, with the field it is about."""

    path: str
    reason: str
    message: str


class ApiRefusal(ProviderError):
    """The API server said no."""

    def __init__(self, status: int, reason: str, message: str, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(message)
        self.status, self.reason, self.message, self.causes = status, reason, message, causes


class ApiAway(ProviderError):
    """The API server did not answer."""


class CannotDo(ProviderError):
    """The operation was refused; nothing has changed in the cluster."""


class NotReady(ProviderError):
    """The object is there, but not as wanted."""

    def __init__(self, live: dict[str, Any], reason: str) -> None:
        super().__init__(reason)
        self.live, self.reason = live, reason


class Failed(ProviderError):
    """The object has failed; waiting longer would not help."""


class TookTooLong(ProviderError):
    """The object was not ready in time."""
