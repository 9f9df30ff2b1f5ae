"""The one-time key of a link as two files, one for each side, and the memory of which were used.

A file is overwritten and deleted once its side has made its tokens. A copy of it is of no use to the same side: the state folder
remembers, before anything is shown, that the link was used. Keep key files in memory: what a disk held may stay there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from readingroom.adapters.durable import sync, write_new
from readingroom.domain.document import Table, unique_keys
from readingroom.domain.errors import Refused, WrongSetUp
from readingroom.domain.linkage.tokens import KEY_BYTES, LINK, LinkKey, Side

SCHEMA: Final = "readingroom/link-key/v1"
LARGEST: Final = 4096
_SPENT: Final = "spent"
_SECRET: Final = re.compile(r"[A-Za-z0-9+/]{43}=")


def begin(folder: Path) -> str:
    """A new key as two files in a folder, and the link's id. Raises `WrongSetUp` where the folder holds one already."""
    link, secret = f"l-{secrets.token_hex(8)}", base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(folder.iterdir()):
            raise _off(folder.name, "the folder is not empty", "give a new folder: each link has its own key")
        for side in Side:
            document = {"schema": SCHEMA, "link": link, "side": side, "secret": secret}
            write_new(folder / f"{side}.key", json.dumps(document).encode("ascii") + b"\n", 0o600)
    except OSError as error:
        raise _off(folder.name, f"it cannot be written ({type(error).__name__})", "give a new folder") from error
    return link


class KeyFile:
    """See the port `OneTimeKey`."""

    def __init__(self, path: Path, side: Side, memory: Path) -> None:
        """`memory` is the folder that remembers which links this machine's sides have used."""
        self._path, self._memory = path, memory
        try:
            with path.open("rb") as file:
                found = Table(json.loads(file.read(LARGEST), object_pairs_hook=unique_keys), "link-key")
        except (OSError, ValueError) as error:
            raise _off(
                path.name, f"it cannot be read ({type(error).__name__})", "get it from who began the link"
            ) from error
        found.text("schema", re.compile(re.escape(SCHEMA)))
        link, given = found.text("link", LINK), found.text("side", re.compile("|".join(Side)))
        self._key = LinkKey(base64.b64decode(found.text("secret", _SECRET)), link)
        found.done()
        if given != side:
            raise Refused(
                what="link key",
                which=path.name,
                why=f"it is the {given}'s, and this is the {side}'s step",
                next_step=f"get the {side}'s file from who began the link",
            )
        self._used = memory / f"{link}-{side}"
        if self._remembered() == _SPENT:
            raise self._refused()

    def key(self) -> LinkKey:
        """See the port."""
        return self._key

    def spend(self, output: bytes, show: Callable[[], None]) -> None:
        """See the port."""
        digest = hashlib.sha256(output).hexdigest()
        try:
            write_new(self._used, digest.encode("ascii"), 0o600)
        except FileExistsError:
            if self._remembered() != digest:
                raise self._refused() from None
        except OSError as error:
            raise _off(
                "the state folder", f"it cannot be written ({type(error).__name__})", "see to its space and permissions"
            ) from error
        show()
        try:
            self._used.write_text(_SPENT, encoding="ascii")
            sync(self._used)
            self._destroy()
        except OSError as error:
            raise _off(
                self._path.name,
                f"the tokens are there and the key cannot be destroyed ({type(error).__name__})",
                "delete the file",
            ) from error

    def _remembered(self) -> str | None:
        try:
            return self._used.read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _off(
                "the state folder", f"it cannot be read ({type(error).__name__})", "see to its permissions"
            ) from error

    def _destroy(self) -> None:
        with self._path.open("r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
        self._path.unlink()
        sync(self._path.parent)

    def _refused(self) -> Refused:
        return Refused(
            what="link key",
            which=self._key.link,
            why="this side has used it, and a key of a link is used once",
            next_step="delete this copy; for another run, begin a new link",
        )


def _off(which: str, why: str, next_step: str) -> WrongSetUp:
    return WrongSetUp(what="link key", which=which, why=why, next_step=next_step)
