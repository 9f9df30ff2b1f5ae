"""The partner's rows on their way through the matcher: sealed, so that it carries them and cannot read them.

AES-SIV (RFC 5297): equal rows of one person under one key give equal bytes, whatever run made them; a changed byte, or a row put
to another reference, opens no more. All rows of a table have one length. The only importer of that part of cryptography.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from readingroom.domain.errors import Refused


class SealedRows:
    """See the port `Sealer`."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESSIV(key)

    def sealed(self, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """See the port."""
        plain = [json.dumps(row, sort_keys=True, separators=(",", ":")).encode("ascii") for _, row in rows]
        length = max(map(len, plain), default=0)
        return [
            base64.b64encode(self._cipher.encrypt(text.ljust(length), [reference.encode("ascii")])).decode("ascii")
            for (reference, _), text in zip(rows, plain, strict=True)
        ]

    def opened(self, reference: str, sealed: str) -> Any:
        """See the port."""
        try:
            plain = self._cipher.decrypt(base64.b64decode(sealed, validate=True), [reference.encode("ascii")])
            return json.loads(plain)
        except (InvalidTag, ValueError) as error:
            raise Refused(
                what="a row of the partner",
                why="it does not open: it was changed, or sealed for another link",
                next_step="match the two token files of this link again",
            ) from error
