"""A keeper that dies: after so many calls to the world every further one fails, those of a `finally` included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from readingroom.application.keep_vault import KeeperFiles, RootSession, Seen, keep_vault
from readingroom.application.ports_vault import SecretText, VaultSeal
from readingroom.domain.vault_documents import Setting


class Killed(BaseException):
    """The process ended here."""


class Mortal:
    """Counts calls and names the last one that came to its end."""

    def __init__(self, calls: int) -> None:
        self._left = calls
        self.last = ""

    def touch(self, what: Any) -> Any:
        """The same thing, each of whose calls counts."""
        return _Touched(what, self)

    def call(self, name: str, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """One call, if there is life left for it."""
        if self._left <= 0:
            raise Killed
        self._left -= 1
        result = work(*arguments)
        self.last = name
        return result


class _Touched:
    def __init__(self, what: Any, life: Mortal) -> None:
        self._what, self._life = what, life

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self._life.call(name, getattr(self._what, name), arguments)


def keep_for(
    calls: int,
    seal: VaultSeal,
    files: KeeperFiles,
    settings: Sequence[Setting],
    root_session: Callable[[SecretText], RootSession],
) -> tuple[Seen | None, str]:
    """One look of a keeper that dies after so many calls: what it saw, or None and the last call that was done."""
    life = Mortal(calls)

    def session(share: SecretText) -> RootSession:
        return cast("RootSession", life.touch(life.call("root_session", root_session, (share,))))

    try:
        return keep_vault(life.touch(seal), life.touch(files), settings, session), life.last
    except Killed:
        return None, life.last
