"""Resumable uploads over HTTPS, for hospitals that send folders. Nobody says a word of HTTP before TLS has proved a known peer.

    GET  /uploads/<key>                    {"state": …, "whole": [<sha256>, …], "parts": {<sha256>: bytes}, "receipt": […]}
    PUT  /uploads/<key>/<sha256>           a chunk: Upload-Offset, Upload-Length, Content-Digest (RFC 9530) → {"offset": bytes}
    POST /uploads/<key>                    {"files": N}: all came

It opens no file that it is sent. Bodies have a length and a largest size, a connection a time for each read, and there are
only so many at once. A refusal is told at most once a second, and says nothing that a peer wrote.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from readingroom.adapters.door_files import receipt_lines
from readingroom.adapters.upload_store import UploadStore
from readingroom.domain.errors import ReadingRoomError, Refused, WrongSetUp
from readingroom.domain.peers import Limits, Peers
from readingroom.domain.upload import CONTENT, KEY, LARGEST_CHUNK, Answer, Chunk, State

HANDSHAKE_SECONDS: Final = 10.0
LARGEST_REQUEST: Final = 1024  # bytes of a body that is JSON
_PATH: Final = re.compile(rf"/uploads/({KEY.pattern})(?:/({CONTENT.pattern}))?")
_DIGEST: Final = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,14}")
_STATUS: Final = {
    Answer.TAKEN: HTTPStatus.OK,
    Answer.CLOSED: HTTPStatus.OK,
    Answer.ELSEWHERE: HTTPStatus.CONFLICT,
    Answer.DAMAGED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Answer.OVER_LIMIT: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Answer.OUT_OF_SPACE: HTTPStatus.INSUFFICIENT_STORAGE,
}


class UploadListener:
    """Listens from `start` to `stop`. `peers` is asked for each connection, `context` too."""

    def __init__(
        self,
        store: UploadStore,
        receipts: Path,
        peers: Callable[[], Peers],
        context: Callable[[], ssl.SSLContext],
        refused: Callable[[str], None],
    ) -> None:
        self.store, self.receipts, self.peers, self.context, self.refused = store, receipts, peers, context, refused
        self.limits: Limits = peers().limits
        self._server: _Server | None = None

    def start(self, address: str, port: int) -> int:
        """Begins, and says on which port. Raises `WrongSetUp` when the address is off."""
        try:
            self._server = _Server(self, (address, port))
        except OSError as error:
            raise WrongSetUp(
                what="the listener of uploads",
                which=f"{address}:{port}",
                why=f"it cannot listen there ({error.strerror or type(error).__name__})",
                next_step="give another address or port",
            ) from error
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Takes no more. A chunk under way may still be kept: it was not answered, and is asked for again."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Accepts; a thread of each connection does the rest, TLS included: a peer that is slow holds up nobody else."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: UploadListener, address: tuple[str, int]) -> None:
        self.listener = listener
        self._lock, self._of_a_centre = threading.Lock(), Counter[str]()
        self._free = threading.BoundedSemaphore(2 * listener.limits.associations)
        super().__init__(address, BaseHTTPRequestHandler)  # never made by itself: see `_serve`

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for a connection at all."""
        if free := self._free.acquire(blocking=False):
            return free
        self.listener.refused("a connection, too many are open")
        return False

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """TLS and who it is, then requests until it ends: the place is free again whatever happens."""
        try:
            request.settimeout(HANDSHAKE_SECONDS)
            if request.recv(1, socket.MSG_PEEK):  # else it hung up without a word: somebody asked whether we listen
                request = self.listener.context().wrap_socket(request, server_side=True)
                request.settimeout(self.listener.limits.idle_seconds)
                self._serve(request, client_address)
        except (OSError, ValueError, ReadingRoomError) as error:
            why = error.why if isinstance(error, Refused) else type(error).__name__
            self.listener.refused(f"a connection for an upload, {why}")
        finally:
            self.shutdown_request(request)
            self._free.release()

    def _serve(self, request: ssl.SSLSocket, client_address: Any) -> None:
        certificate = request.getpeercert(binary_form=True) or b""
        address = str(client_address[0]).removeprefix("::ffff:")
        try:
            centre = self.listener.peers().centre_of(hashlib.sha256(certificate).hexdigest(), address)
        except Refused:
            request.recv(LARGEST_REQUEST)  # unread, it would be answered with a reset
            request.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            raise
        with self._lock:
            if self._of_a_centre[centre] >= self.listener.limits.associations_of_a_peer:
                raise Refused(what="a connection", why="the centre has too many", next_step="end one")
            self._of_a_centre[centre] += 1
        try:
            _Request(request, client_address, self, centre)
        finally:
            with self._lock:
                self._of_a_centre[centre] -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Without the traceback of the library's own."""
        self.listener.refused("a connection for an upload, it failed at once")


class _Wrong(Exception):
    """A request that is none of ours: ends the connection, for what follows it cannot be trusted."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "readingroom", ""

    def __init__(self, request: Any, client_address: Any, server: _Server, centre: str) -> None:
        self.listener, self.centre = server.listener, centre
        super().__init__(request, client_address, server)

    def do_GET(self) -> None:
        """What came of an upload."""
        self._answered(lambda key, _: self._told(key))

    def do_PUT(self) -> None:
        """One chunk."""
        self._answered(self._chunk)

    def do_POST(self) -> None:
        """All came."""
        self._answered(self._close)

    def _answered(self, do: Callable[[str, str], tuple[int, dict[str, Any]]]) -> None:
        path = _PATH.fullmatch(self.path)
        try:
            if not path or (path[2] is None) == (self.command == "PUT"):
                raise _Wrong
            status, told = do(path[1], path[2] or "")
        except _Wrong:
            self.close_connection = True
            status, told = HTTPStatus.BAD_REQUEST, {"error": "no such request; see `readingroom door send --help`"}
        except (OSError, ReadingRoomError) as error:
            self.close_connection = True
            self.listener.refused(f"an upload, it cannot be kept ({type(error).__name__})")
            status, told = HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "it cannot be kept now"}
        body = json.dumps(told).encode("ascii")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _told(self, key: str) -> tuple[int, dict[str, Any]]:
        state = self.listener.store.state(self.centre, key)
        if state is None:
            return HTTPStatus.NOT_FOUND, {"state": "absent"}
        told: dict[str, Any] = {"state": state}
        if state is State.OPEN:
            told["whole"], told["parts"] = self.listener.store.came(self.centre, key)
        elif state is State.DONE:
            receipt = receipt_lines(self.listener.receipts / self.centre / f"upload-{key}.jsonl")
            told["receipt"] = [{name: line[name] for name in ("input", "outcome", "reason")} for line in receipt]
        return HTTPStatus.OK, told

    def _chunk(self, key: str, content: str) -> tuple[int, dict[str, Any]]:
        offset, size = self._number("Upload-Offset"), self._number("Upload-Length")
        digest = _DIGEST.fullmatch(self.headers.get("Content-Digest", ""))
        if not digest:
            raise _Wrong
        data = self._body(LARGEST_CHUNK)
        if base64.b64encode(hashlib.sha256(data).digest()).decode() != digest[1]:
            answer, there = Answer.DAMAGED, offset
        else:
            chunk = Chunk(content=content, offset=offset, size=size, data=data)
            answer, there = self.listener.store.put(self.centre, key, chunk)
        return _STATUS[answer], {"answer": answer, "offset": there}

    def _close(self, key: str, _: str) -> tuple[int, dict[str, Any]]:
        try:
            asked = json.loads(self._body(LARGEST_REQUEST))
            files = asked["files"] if asked.keys() == {"files"} else None
        except (ValueError, AttributeError, RecursionError):
            files = None
        if type(files) is not int or files < 1:
            raise _Wrong
        if self.listener.store.close(self.centre, key, files):
            return HTTPStatus.ACCEPTED, {"state": self.listener.store.state(self.centre, key)}
        return HTTPStatus.CONFLICT, {"state": State.OPEN}

    def _number(self, name: str) -> int:
        text = self.headers.get(name, "")
        if not _NUMBER.fullmatch(text):
            raise _Wrong
        return int(text)

    def _body(self, largest: int) -> bytes:
        """As long as it says, and no longer than it may be; no other coding of transfers is known here."""
        length = self._number("Content-Length")
        if length > largest or "Transfer-Encoding" in self.headers or "Content-Encoding" in self.headers:
            raise _Wrong
        data = self.rfile.read(length)
        if len(data) != length:
            raise _Wrong
        return data

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library refuses: without its page, which repeats what the peer said."""
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 (the library's name)
        """Nothing: its lines hold what peers sent."""
