"""Resumable uploads: a hospital sends a folder, is cut off wherever one can be, and nothing is lost, sent or received twice."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import random
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Done, one_line, start
from tests.dicom_factory import ct, part10
from tests.mortal import mortal
from tests.network_door import Door, Site, door, wait_for
from tests.ports import free_port

SECRETS = ("Quux", "9434765919", "1.2.826.0.1.79")


def slices(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        fields = {
            "x00080018": ("UI", f"1.2.826.0.1.79.{number + 1}"),
            "x0020000D": ("UI", "1.2.826.0.1.79"),
            "x00100010": ("PN", "Quux^Zebediah"),
            "x00100020": ("LO", "9434765919"),
        }
        (folder / f"slice-{number}").write_bytes(part10(ct(**fields)))
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@contextlib.contextmanager
def opened(site: Site, port: int = 0) -> Iterator[Door]:
    with door(site, "--uploads", f"127.0.0.1:{port}") as one:
        yield one


def sending(site: Site, folder: Path, port: int, *more: object, certificate: str = "abc") -> list[object]:
    files = {"certificate": f"{certificate}.crt", "key": f"{certificate}.key", "authority": "ca.crt"}
    options = [word for name, file in files.items() for word in (f"--{name}", site.work / file)]
    return ["door", "send", folder, "--to", f"127.0.0.1:{port}", "--name", "door.test", *options, *more]


def send(site: Site, folder: Path, port: int, *more: object, certificate: str = "abc") -> Done:
    return start(*sending(site, folder, port, *more, certificate=certificate))


def contents(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_folder_is_in_landing_byte_for_byte_and_sent_again_it_is_only_told_again(site: Site) -> None:
    folder = slices(site.work / "out", 3)
    (folder / "deep").mkdir()
    (folder / "deep" / "again").write_bytes((folder / "slice-0").read_bytes())
    (folder / "notes.txt").write_text("no image")
    (folder / "empty").write_text("")
    receipt = site.work / "mine.jsonl"
    with opened(site) as one:
        done = send(site, folder, one.uploads, "--receipt", receipt)
        assert (done.returncode, done.stderr) == (0, "")
        assert [line.split() for line in done.stdout.splitlines()] == [
            ["received", "3"],
            ["rejected", "not-dicom", "2"],
        ]
        told = {
            line["input"]: (line["outcome"], line["reason"])
            for line in map(json.loads, receipt.read_text().splitlines())
        }
        assert told == {
            **dict.fromkeys(("slice-0", "slice-1", "slice-2", "deep/again"), ("received", None)),
            **dict.fromkeys(("notes.txt", "empty"), ("rejected", "not-dicom")),
        }
        assert {path.read_bytes() for path in site.landed()} == {(folder / f"slice-{n}").read_bytes() for n in range(3)}
        again = send(site, folder, one.uploads, "--json")
        assert json.loads(again.stdout)[0] == {"outcome": "received", "reason": None, "files": 3}
        assert one.end() == 0
    assert len(site.receipts()) == 1
    assert site.spooled() == []
    assert not any(secret in text for secret in SECRETS for text in [*one.said, done.stdout, again.stdout])


def test_it_goes_on_where_it_was_when_either_side_is_killed(site: Site) -> None:
    """The door is killed and comes back while a large file is under way; then the sender is killed and given again."""
    folder = slices(site.work / "out", 2)
    large = random.Random(5).randbytes(60 << 20)  # noqa: S311 (bytes that are no image; the door says so)
    (folder / "large").write_bytes(large)
    port = free_port()
    growing = site.work / "spool" / ".uploads" / "ABC"

    def came() -> int:
        return sum(path.stat().st_size for path in growing.glob("*/*") if path.exists())

    with opened(site, port) as first:
        command = ["readingroom", *map(str, sending(site, folder, port))]
        sender = subprocess.Popen(mortal(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: came() > 16 << 20)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        had = came()
    assert had < 60 << 20
    with opened(site, port):
        wait_for(lambda: came() > had or sender.poll() is not None)
        sender.kill()
        sender.communicate()
    with opened(site, port) as last:
        done = send(site, folder, port)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["received", "2", "rejected", "not-dicom", "1"]
        assert last.end() == 0
    assert contents(site.work / "landing" / "ABC").count(large) == 0
    assert len(site.landed()) == 2
    assert [len(each) for each in site.receipts()] == [3]
    assert not list(growing.glob("*"))


def test_who_is_no_known_sender_is_refused_in_one_line(site: Site) -> None:
    folder = slices(site.work / "out", 1)
    site.write_peers({"ae_title": "NEAR", "centre": "LMN", "addresses": ["127.0.0.1"]})
    site.authority.leaf(site.work, "new", "new.test", client=True)
    (site.work / "other").mkdir()
    Site(site.work / "other")
    for end in ("crt", "key"):
        (site.work / f"odd.{end}").write_bytes((site.work / "other" / f"abc.{end}").read_bytes())
    with opened(site) as one:
        for certificate, why in (("new", "no known sender's"), ("odd", "do not trust each other")):
            done = send(site, folder, one.uploads, certificate=certificate)
            assert (certificate, done.returncode) == (certificate, 3), done.stderr
            assert why in one_line(done)
        wrong = start(*sending(site, folder, one.uploads)[:-4], "--key", site.work / "abc.key",
                      "--authority", site.work / "other" / "ca.crt")  # fmt: skip
        assert wrong.returncode == 3
        assert "do not trust" in one_line(wrong)
        assert send(site, folder, one.uploads, certificate="xyz").returncode == 0
    assert site.landed("ABC") == []
    assert len(site.landed("XYZ")) == 1


def test_wrong_use_is_one_line(site: Site) -> None:
    (site.work / "none").mkdir()
    for more, status, why in (
        (("--to", "nowhere"), 2, "no ADDRESS:PORT"),
        ((), 1, "holds no file"),
    ):
        done = send(site, site.work / "none", 9, *more)
        assert done.returncode == status
        assert why in done.stderr
    (site.work / "none" / "one").write_text("1")
    done = send(site, site.work / "none", 9, certificate="none")
    assert (done.returncode, "cannot be used" in one_line(done)) == (1, True)


# --- the other side, spoken to by hand --------------------------------------------------------------------------------
KEY, CONTENT = "0" * 32, hashlib.sha256(b"whole file").hexdigest()


class Speaker:
    """A hospital that says what it likes."""

    def __init__(self, site: Site, port: int, name: str = "abc") -> None:
        self.site, self.port, self.name = site, port, name

    def link(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), 20)
        return self.site.client(self.name).wrap_socket(plain, server_hostname="door.test")

    def raw(self, words: bytes) -> bytes:
        """The status line and all that follows; empty where the connection only ends."""
        with self.link() as link:
            link.sendall(words)
            found = b""
            with contextlib.suppress(OSError):
                while piece := link.recv(65536):
                    found += piece
                    if found.count(b"\r\n\r\n"):
                        break
            return found

    def ask(self, verb: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.sock = self.link()
        try:
            connection.request(verb, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def put(
        self, data: bytes, offset: int, size: int, *, digest: bytes | None = None, content: str = CONTENT
    ) -> tuple[int, int]:
        said = base64.b64encode(hashlib.sha256(data if digest is None else digest).digest()).decode()
        status, told = self.ask("PUT", f"/uploads/{KEY}/{content}", data, Upload_Offset=str(offset), Upload_Length=str(size),
                                Content_Digest=f"sha-256=:{said}:")  # fmt: skip
        return status, told["offset"]


def test_a_chunk_is_kept_where_it_belongs_or_not_at_all_and_no_centre_sees_another(site: Site) -> None:
    site.limits = {"object_bytes": 20, "association_objects": 2}
    site.write_peers()
    with opened(site) as one:
        abc, xyz = Speaker(site, one.uploads), Speaker(site, one.uploads, "xyz")
        assert abc.ask("GET", f"/uploads/{KEY}")[0] == 404
        assert abc.put(b"whole", 0, 10) == (200, 5)
        assert abc.put(b"whole", 0, 10) == (409, 5)
        assert abc.put(b" file", 5, 10, digest=b"other") == (422, 5)
        assert abc.put(b" file and more", 5, 10) == (413, 5)
        assert abc.put(b" file", 5, 21) == (413, 5)
        assert abc.put(b"", 5, 10) == (413, 5)
        assert xyz.ask("GET", f"/uploads/{KEY}")[0] == 404
        assert abc.ask("POST", f"/uploads/{KEY}", b'{"files": 1}')[0] == 409
        assert abc.put(b" FILE", 5, 10) == (422, 0), "the whole is not what its name says: nothing of it stays"
        assert abc.ask("GET", f"/uploads/{KEY}")[1] == {"state": "open", "whole": [], "parts": {}}
        assert abc.put(b"whole file", 0, 10) == (200, 10)
        assert abc.put(b"whole file", 0, 10) == (200, 10)
        assert abc.put(b"x", 0, 2, content="1" * 64) == (200, 1)
        assert abc.put(b"x", 0, 2, content="2" * 64) == (413, 0), "one file too many"
        assert abc.ask("POST", f"/uploads/{KEY}", b'{"files": 2}')[0] == 409
        assert abc.put(b"xx"[1:], 1, 2, content="1" * 64) == (422, 0)
        assert abc.ask("POST", f"/uploads/{KEY}", b'{"files": 1}')[0] == 202
        assert abc.ask("POST", f"/uploads/{KEY}", b'{"files": 1}')[0] == 202
        assert abc.put(b"more", 0, 4, content="3" * 64) == (200, 4), "it is closed: nothing more is kept"
        wait_for(lambda: abc.ask("GET", f"/uploads/{KEY}")[1].get("receipt"))
        assert abc.ask("GET", f"/uploads/{KEY}")[1] == {
            "state": "done", "receipt": [{"input": CONTENT, "outcome": "rejected", "reason": "not-dicom"}],
        }  # fmt: skip
        assert xyz.ask("GET", f"/uploads/{KEY}")[0] == 404
    assert site.spooled() == []


ABOUT, OF = f"/uploads/{KEY}".encode(), f"/uploads/{KEY}/{CONTENT}".encode()
NO_REQUESTS = {
    "a path out of it": b"GET /uploads/../../etc/passwd HTTP/1.1\r\n\r\n",
    "a key that is none": b"GET /uploads/%s HTTP/1.1\r\n\r\n" % (b"A" * 32),
    "a chunk of no file": b"PUT %s HTTP/1.1\r\nContent-Length: 0\r\n\r\n" % ABOUT,
    "a chunk that says nothing of itself": b"PUT %s HTTP/1.1\r\nContent-Length: 5\r\n\r\nwhole" % OF,
    "an offset below nothing": b"PUT %s HTTP/1.1\r\nUpload-Offset: -1\r\nUpload-Length: 5\r\nContent-Length: 5\r\n\r\nwhole"
    % OF,
    "two lengths": b"POST %s HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n" % ABOUT,
    "fewer than no files": b'POST %s HTTP/1.1\r\nContent-Length: 13\r\n\r\n{"files": -1}' % ABOUT,
    "a truth for a number": b'POST %s HTTP/1.1\r\nContent-Length: 15\r\n\r\n{"files": true}' % ABOUT,
    "lists in lists": b"POST %s HTTP/1.1\r\nContent-Length: 600\r\n\r\n%s" % (ABOUT, b"[" * 600),
    "a body too large": b"POST %s HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n" % ABOUT,
    "another verb": b"DELETE %s HTTP/1.1\r\n\r\n" % ABOUT,
    "a line too long": b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
    "too many headers": b"GET %s HTTP/1.1\r\n" % ABOUT + b"X: y\r\n" * 200 + b"\r\n",
    "no HTTP": b"\0" * 1000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", NO_REQUESTS)
def test_what_is_no_request_of_ours_is_refused_and_keeps_nothing(site_open: tuple[Site, Door], name: str) -> None:
    site, one = site_open
    answer = Speaker(site, one.uploads).raw(NO_REQUESTS[name])
    assert not answer or answer.split(b" ")[1][:1] in {b"4", b"5"}, answer
    assert b"passwd" not in answer
    assert site.spooled() == []
    assert Speaker(site, one.uploads).ask("GET", f"/uploads/{KEY}")[0] == 404, "it answers the next one"
    assert one.process.poll() is None


@pytest.fixture(scope="module")
def site_open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Door]]:
    site = Site(tmp_path_factory.mktemp("open"))
    with opened(site) as one:
        yield site, one


def test_who_says_nothing_after_connecting_holds_up_nobody(site_open: tuple[Site, Door]) -> None:
    site, one = site_open
    silent = [socket.create_connection(("127.0.0.1", one.uploads)) for _ in range(8)]
    silent[0].sendall(b"\x16\x03\x01")
    try:
        assert Speaker(site, one.uploads).ask("GET", f"/uploads/{KEY}")[0] == 404
    finally:
        for link in silent:
            link.close()


def test_nothing_is_written_to_a_log_of_what_a_peer_says(site_open: tuple[Site, Door]) -> None:
    site, one = site_open
    Speaker(site, one.uploads).raw(b"GET /Quux HTTP/1.1\r\nX: Quux\r\n\r\n")
    Speaker(site, one.uploads).raw(b"Quux\r\n\r\n")
    assert not any("Quux" in line for line in one.said)
