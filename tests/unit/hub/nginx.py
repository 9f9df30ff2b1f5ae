"""A real nginx with one of our configurations, in front of a small upstream that notes every byte it is sent."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.mortal import mortal

POLICIES = Path(__file__).parents[3] / "policies" / "access"


@dataclass
class Upstream:
    """Answers every request with the same bytes and keeps what it was sent."""

    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    seen: list[bytes] = field(default_factory=list)
    port: int = 0

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            while True:
                request = _one_request(connection)
                if not request:
                    return
                self.seen.append(request)
                connection.sendall(self.answer)

    @contextmanager
    def running(self) -> Iterator[Upstream]:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(5)


def _one_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            more = connection.recv(65536)
        except OSError:
            return b""
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def configuration(name: str, folder: Path, replaced: dict[str, str]) -> Path:
    """The configuration as deployed, but for ports, names and the folder of temporary files."""
    text = (POLICIES / name).read_text(encoding="utf-8").replace("/tmp/", f"{folder}/")
    for old, new in replaced.items():
        assert old in text, f"{old} does not stand in {name}"
        text = text.replace(old, new)
    if os.geteuid() == 0:
        text = (
            f"user root;\n{text}"  # in the pod one unprivileged user is master and worker; here both can read the files
        )
    path = folder / name
    path.write_text(text, encoding="utf-8")
    folder.chmod(0o755)
    return path


@contextmanager
def nginx(path: Path, port: int) -> Iterator[None]:
    log = path.with_suffix(".log")
    with log.open("wb") as file:
        process = subprocess.Popen(mortal(["nginx", "-c", str(path), "-e", "stderr"], "TERM"), stdout=file, stderr=file)
    try:
        for _ in range(100):
            if process.poll() is not None:
                raise AssertionError(log.read_text(encoding="utf-8"))
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


def say(connection: socket.socket, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes and read one answer: status (0 if the connection was just closed), headers, body."""
    connection.settimeout(10)
    connection.sendall(request)
    data = b""
    try:
        while more := connection.recv(65536):
            data += more
            if _complete(data):
                break
    except (TimeoutError, ConnectionError):
        pass
    if not data:
        return 0, {}, b""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        key, _, value = line.partition(":")
        headers[key.strip().lower()] = value.strip()
    status = lines[0].split(" ")
    return (int(status[1]) if len(status) > 1 and status[1].isdigit() else 0), headers, body


def _complete(data: bytes) -> bool:
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return b"transfer-encoding: chunked" in head.lower() and body.endswith(b"0\r\n\r\n")
