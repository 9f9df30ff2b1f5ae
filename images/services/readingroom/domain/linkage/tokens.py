"""The one-time key and the tokens that it makes. Without the key a token says nothing: trying all NHS numbers finds none."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from readingroom.domain.errors import WrongSetUp
from readingroom.domain.linkage.identifiers import Demographics

KEY_BYTES: Final = 32
LINK: Final = re.compile(r"l-[0-9a-f]{16}")
TOKEN: Final = re.compile(r"[0-9a-f]{40}")


class Side(StrEnum):
    """Who makes tokens."""

    PROJECT = "project"
    PARTNER = "partner"


class LinkKey:
    """The key of one link. It shows itself to nobody, and gives the sealing key to who seals or opens rows."""

    __slots__ = ("_secret", "link")

    def __init__(self, secret: bytes, link: str) -> None:
        """Raises `WrongSetUp` for what is no key."""
        if len(secret) != KEY_BYTES or not LINK.fullmatch(link):
            raise WrongSetUp(what="link key", why="it is none", next_step="get it again from who began the link")
        self._secret, self.link = secret, link

    def __repr__(self) -> str:
        return f"LinkKey({self.link})"

    def number(self, number: str) -> str:
        """The token of a verified NHS number of ten digits."""
        return self._token("number", number)

    def demographics(self, said: Demographics) -> str:
        """The token of a name, a birth date and a sex."""
        return self._token("demographics", said.family, said.born.isoformat(), said.sex)

    def partner(self, best: str) -> str:
        """What names a row of the partner's table: made of its best token, and equal to neither kind."""
        return self._token("partner", best)

    def reveal_sealing(self) -> bytes:
        """The key that seals the partner's rows. The only way out, and easy to search for."""
        return self._digest("sealing")

    def reveal(self) -> bytes:
        """The key itself, for its file and for a child. The only way out, and easy to search for."""
        return self._secret

    def _token(self, *parts: str) -> str:
        return self._digest(*parts)[:20].hex()

    def _digest(self, *parts: str) -> bytes:
        encoded = (part.encode("utf-8", "surrogateescape") for part in ("rr/link/v1", self.link, *parts))
        message = b"".join(len(data).to_bytes(4, "big") + data for data in encoded)
        return hmac.digest(self._secret, message, hashlib.sha512)


@dataclass(frozen=True, kw_only=True, order=True)
class Record:
    """One person of one side as the matcher sees them; `reference` is a stand-in on both sides, `row` what the partner sealed."""

    reference: str
    number: str | None = None
    demographics: str | None = None
    row: str = ""
