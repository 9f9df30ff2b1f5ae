"""What we need of Vault, as one principal sees it: documents by path, and two errors.

No promise is made about secrets that a caller keeps: what a document holds is the caller's to forget. `SecretText`
masks itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from readingroom.domain.errors import Refused, TryAgain

Document = Mapping[str, Any]


class VaultUnavailable(TryAgain):
    """Vault is sealed, stopped or out of reach: the caller holds what it has and asks again."""

    word = "waiting-for-vault"


class VaultRefused(Refused):
    """Vault said no, or answered what is no answer: a bug or an attack, never retried."""


class SecretText:
    """A secret that shows itself only to who calls `reveal`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself. The only way out, and easy to search for."""
        return self._text

    def __repr__(self) -> str:
        return "SecretText(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretText) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


class Vault(Protocol):
    """Documents by path, under the rights of one role.

    1. Before: the principal's role exists; a path is written without `/v1/` in front and holds no value of a request.
    2. `read` gives the document's data, or None where nothing is there (a place without an engine is refused).
    3. `write` sends a document and gives the data of the answer, empty if it has none. Repeated, it has the same
       effect, unless the engine says otherwise: a kv document sent with `cas` 0 is created once and then refused.
    4. `names` lists what lies directly under a path, sorted; none is an empty list.
    5. `forget` removes a document; what is not there counts as removed.
    6. Raises `VaultUnavailable` when Vault does not answer within the budget, `VaultRefused` when it says no, warns, or
       answers with something that is no document. The next read sees every write that returned.
    """

    def read(self, path: str) -> Document | None:
        """2."""
        ...

    def write(self, path: str, document: Document) -> Document:
        """3."""
        ...

    def names(self, path: str) -> Sequence[str]:
        """4."""
        ...

    def forget(self, path: str) -> None:
        """5."""
        ...


@dataclass(frozen=True, kw_only=True)
class SealState:
    """Whether Vault holds anything yet, and whether it is closed."""

    initialised: bool
    sealed: bool


@dataclass(frozen=True, kw_only=True)
class FirstKeys:
    """What `initialise` hands out, once in a Vault's life."""

    share: SecretText
    root: SecretText


class VaultSeal(Protocol):
    """The seal of one Vault, asked without any token.

    1. `state` changes nothing; it raises `VaultUnavailable` while nothing listens.
    2. `initialise` gives the only share and the first root token, and is refused from then on.
    3. `unseal` with the right share leaves Vault unsealed; with a wrong one it raises `VaultRefused`. Repeated,
       nothing happens.
    """

    def state(self) -> SealState:
        """1."""
        ...

    def initialise(self) -> FirstKeys:
        """2."""
        ...

    def unseal(self, share: SecretText) -> None:
        """3."""
        ...
