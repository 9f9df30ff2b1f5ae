"""Stand-ins: everything that replaces a value is an HMAC under a purpose key of one project.

Hashing an NHS number without a key is worthless, since all of them can be tried; so nothing here works without one. All
inputs are length-prefixed and begin with the project's id: the same key used for two projects gives unrelated results.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from readingroom.contract import PURPOSES
from readingroom.domain.errors import WrongSetUp

KEY_BYTES: Final = 32
KEY_VERSION: Final = 1
SHORTEST_SHIFT: Final = 30  # days, so that new dates do not meet the file's own true ones
SHIFTS: Final = 3652
KEPT: Final = 1024  # answers


def purpose_input(purpose: str) -> bytes:
    """What is authenticated to make one purpose key: the only inputs that Vault's policy allows."""
    return f"rr/deid/v{KEY_VERSION}/{purpose}".encode("ascii")


class PurposeKeys:
    """The five keys of one project. They show themselves only to who calls `reveal`."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Raises `WrongSetUp` unless there is exactly one key of 32 bytes for each purpose."""
        if set(keys) != set(PURPOSES) or any(len(key) != KEY_BYTES for key in keys.values()):
            raise WrongSetUp(
                what="key material",
                why=f"it is not one key of {KEY_BYTES} bytes for each of {', '.join(PURPOSES)}",
                next_step="draw it again",
            )
        self._keys = dict(keys)

    @classmethod
    def from_secret(cls, secret: bytes) -> PurposeKeys:
        """The same keys as Vault would give if `secret` were the project's transit key."""
        if len(secret) != KEY_BYTES:
            raise WrongSetUp(
                what="key file",
                why=f"it holds {len(secret)} bytes, and a key is {KEY_BYTES} random bytes",
                next_step="make one with: head -c 32 /dev/urandom > FILE",
            )
        return cls({purpose: hmac.digest(secret, purpose_input(purpose), hashlib.sha256) for purpose in PURPOSES})

    @classmethod
    def from_document(cls, keys: Mapping[str, str]) -> PurposeKeys:
        """The keys from the set-up of a child, where each is text in base 64."""
        return cls({purpose: base64.b64decode(key) for purpose, key in keys.items()})

    def reveal(self) -> dict[str, bytes]:
        """The keys themselves. The only way out, and easy to search for."""
        return dict(self._keys)

    def __repr__(self) -> str:
        return "PurposeKeys(…)"


class Pseudonyms:
    """The stand-ins of one project. Pure: the same question has the same answer, in any process and order."""

    __slots__ = ("_kept", "_keys", "_project")

    def __init__(self, keys: PurposeKeys, project: str) -> None:
        self._keys, self._project = keys.reveal(), project
        self._kept = lru_cache(maxsize=KEPT)(self._made)

    def __repr__(self) -> str:
        return f"Pseudonyms({self._project})"

    def patient(self, identity: str) -> str:
        """Twenty characters, 100 bits."""
        return _base32(self._digest("patient", identity), 20)

    def code(self, kind: str, value: str, identity: str) -> str:
        """Sixteen characters, 80 bits: what replaces a number that a hospital gave, within one patient."""
        return _base32(self._digest("code", kind, identity, value), 16)

    def centre(self, name: str) -> str:
        """Twelve characters, 60 bits: what replaces a centre's name in one spelling."""
        return _base32(self._digest("centre", name), 12)

    def uid(self, old: str) -> str:
        """`2.25.` and a version-8 UUID: 122 keyed bits, so references between files survive without a table.

        PS3.5 B.2; RFC 9562 section 5.8.
        """
        number = int.from_bytes(self._digest("uid", old)[:16], "big")
        number = number & ~(0xF << 76) | 8 << 76
        number = number & ~(0x3 << 62) | 2 << 62
        return f"2.25.{uuid.UUID(int=number).int}"

    def days(self, identity: str) -> int:
        """By how many days every date of this patient moves back."""
        return SHORTEST_SHIFT + int.from_bytes(self._digest("date", identity)[:8], "big") % SHIFTS

    def mark(self, kind: str, value: str) -> str:
        """A value that can be compared and not read: for conflicts between files."""
        return self._digest("code", "mark", kind, value).hex()

    def name(self, name: str) -> str:
        """What stands for a name by which somebody may be found to have opted out: see `domain/opt_out`."""
        return self.mark("name", name)

    def _digest(self, purpose: str, *parts: str) -> bytes:
        """Kept for a while: the slices of a series share all but one of their values."""
        return self._kept(purpose, parts)

    def _made(self, purpose: str, parts: tuple[str, ...]) -> bytes:
        message = b"".join(
            len(data).to_bytes(4, "big") + data
            for data in (part.encode("utf-8", "surrogateescape") for part in (self._project, *parts))
        )
        return hmac.digest(self._keys[purpose], message, hashlib.sha256)


def _base32(digest: bytes, length: int) -> str:
    return base64.b32encode(digest).decode("ascii")[:length]
