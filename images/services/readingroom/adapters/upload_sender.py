"""The hospital's side of a resumable upload: a folder to send, and the platform over HTTPS, each side with a certificate."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

from readingroom.adapters.tree import Tree
from readingroom.application.send_upload import Told
from readingroom.domain.errors import Refused, TryAgain, WrongSetUp
from readingroom.domain.upload import CONTENT, Answer, Chunk, State

SECONDS: Final = 120.0  # for one answer: a large file is looked at as a whole after its last chunk
LARGEST_ANSWER: Final = 16 << 20


class FolderOutbox:
    """See the port `Outbox`. Every regular file below the folder; files of the same bytes are one content."""

    def __init__(self, tree: Tree, show: Callable[[str, int, int], None]) -> None:
        """Raises `WrongSetUp` when a file cannot be read: it would be missing without a word."""
        self._tree, self.names = tree, dict[str, list[str]]()
        self._sizes: dict[str, int] = {}
        found = tree.files()
        for number, name in enumerate(found, 1):
            try:
                with os.fdopen(tree.open(name), "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                    self._sizes[content] = file.tell()
            except OSError as error:
                raise _gone(error) from error
            self.names.setdefault(content, []).append(name)
            show("read", number, len(found))

    def sizes(self) -> Mapping[str, int]:
        """See the port."""
        return self._sizes

    def read(self, content: str, offset: int, size: int) -> bytes:
        """See the port."""
        try:
            with os.fdopen(self._tree.open(self.names[content][0]), "rb") as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise _gone(error) from error


class HttpsReceiver:
    """See the port `Receiver`. One connection, made anew where it broke."""

    def __init__(self, host: str, port: int, name: str, context: ssl.SSLContext) -> None:
        """`name` is what the platform's certificate is asked for."""
        self._where, self._name, self._context = (host, port), name, context
        self._connection: http.client.HTTPConnection | None = None

    def told(self, key: str) -> Told:
        """See the port."""
        status, said = self._ask("GET", f"/uploads/{key}")
        if status == 404:
            return Told(state=None)
        try:
            receipt = said.get("receipt")
            return Told(
                state=State(said["state"]),
                whole=frozenset(filter(CONTENT.fullmatch, said.get("whole", ()))),
                parts={content: int(size) for content, size in said.get("parts", {}).items()},
                receipt=None
                if receipt is None
                else {line["input"]: (line["outcome"], line["reason"]) for line in receipt},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _odd() from error

    def put(self, key: str, chunk: Chunk) -> tuple[Answer, int]:
        """See the port."""
        digest = base64.b64encode(hashlib.sha256(chunk.data).digest()).decode()
        words = {
            "Upload-Offset": str(chunk.offset),
            "Upload-Length": str(chunk.size),
            "Content-Digest": f"sha-256=:{digest}:",
        }
        _, said = self._ask("PUT", f"/uploads/{key}/{chunk.content}", chunk.data, words)
        try:
            answer, offset = Answer(said["answer"]), said["offset"]
            if type(offset) is not int or not 0 <= offset <= chunk.size:
                raise ValueError("no offset of this file")
            return answer, offset
        except (KeyError, TypeError, ValueError) as error:
            raise _odd() from error

    def close(self, key: str, files: int) -> bool:
        """See the port."""
        status, _ = self._ask("POST", f"/uploads/{key}", json.dumps({"files": files}).encode())
        return status == 202

    def hang_up(self) -> None:
        """Ends the connection."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def _ask(
        self, verb: str, path: str, body: bytes = b"", words: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        try:
            connection = self._connection = self._connection or self._connect()
            connection.request(verb, path, body, {**(words or {}), "Content-Length": str(len(body))})
            answer = connection.getresponse()
            text = answer.read(LARGEST_ANSWER)
            said = json.loads(text)
            if answer.will_close:
                self.hang_up()
            if answer.status == 403:
                raise Refused(
                    what="the upload",
                    why="this certificate is no known sender's",
                    next_step="ask the platform to list it",
                )
            if answer.status >= 500 and answer.status != 507:
                raise _odd()
        except ssl.SSLError as error:
            self.hang_up()
            raise Refused(
                what="the upload",
                why=f"the two sides do not trust each other ({error.reason or type(error).__name__})",
                next_step="see the certificates and the list of peers",
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.hang_up()
            raise TryAgain(
                what="the upload",
                which=f"{self._where[0]}:{self._where[1]}",
                why=f"the platform does not answer ({type(error).__name__})",
                next_step="give the same command again: it goes on where it was",
            ) from error
        if not isinstance(said, dict):
            raise _odd()
        return answer.status, said

    def _connect(self) -> http.client.HTTPConnection:
        """TLS under the platform's name, whatever address it is reached at."""
        connection = _Named(*self._where, timeout=SECONDS)
        connection.secured = lambda plain: self._context.wrap_socket(plain, server_hostname=self._name)
        connection.connect()
        return connection


class _Named(http.client.HTTPConnection):
    secured: Callable[..., ssl.SSLSocket]

    def connect(self) -> None:
        """TCP, then TLS."""
        super().connect()
        self.sock = self.secured(self.sock)


def _gone(error: OSError) -> WrongSetUp:
    return WrongSetUp(
        what="the folder to send",
        why=f"a file cannot be read ({type(error).__name__})",
        next_step="leave the folder as it is while it is sent, then give the same command again",
    )


def _odd() -> TryAgain:
    return TryAgain(what="the upload", why="the platform's answer is none", next_step="give the same command again")
