"""A real PostgreSQL 15 for tests: Debian's, on loopback, opened by client certificates as in the cluster.

One server for a whole test run; it is ours, unprivileged, in a temporary folder, and ends with the run.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from readingroom.entrypoints.settings import DatabaseSettings
from tests.certificates import Authority
from tests.mortal import mortal
from tests.ports import free_port

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
NOBODY = 65534


class Postgres:
    """The server, and databases with a role of the same name that a certificate of that name opens."""

    def __init__(self) -> None:
        self.authority = Authority()
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="rr-postgres-"))
        self._as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        self.ca = self.authority.write(self.folder)
        self.authority.leaf(self.folder, "server", "localhost")
        data = self.folder / "data"
        self._own()
        self._run("initdb", "-D", str(data), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--auth=trust", "-N")
        (data / "pg_hba.conf").write_text("local all postgres trust\nhostssl sameuser all 127.0.0.1/32 cert\n")
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "ssl": "on",
            "ssl_cert_file": str(self.folder / "server.crt"),
            "ssl_key_file": str(self.folder / "server.key"),
            "ssl_ca_file": str(self.ca),
            "fsync": "off",
            "max_connections": "50",
        }
        command = [str(PROGRAMS / "postgres"), "-D", str(data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(mortal(command, "INT"), stdout=log, stderr=log, cwd="/", **self._as_nobody)  # type: ignore[call-overload]  # the dictionary is empty for who is not root
        atexit.register(self.stop)
        self._wait()

    def database(self, name: str) -> DatabaseSettings:
        """A new, empty database, and how its role gets in."""
        self.sql("postgres", f"CREATE ROLE {name} LOGIN")
        self.sql("postgres", f"CREATE DATABASE {name} OWNER {name}")
        keys = Path(tempfile.mkdtemp(prefix="keys-", dir=self.folder))
        certificate, key = self.authority.leaf(keys, "database", name, client=True)
        return DatabaseSettings(
            host="localhost", port=self.port, name=name, certificate=certificate, key=key, authority=self.ca
        )

    def sql(self, database: str, statement: str, **values: str) -> str:
        """What an operator would see; the answer's rows, one a line. A value is written :'name' in the statement."""
        words = ["-h", str(self.folder), "-p", str(self.port), "-U", "postgres", "-d", database, "-X", "-q", "-t", "-A"]
        for name, value in {"ON_ERROR_STOP": "1", **values}.items():
            words += ["-v", f"{name}={value}"]
        return self._run("psql", *words, text=statement)

    def stop(self) -> None:
        """Ends the server and removes its folder."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # fast: does not wait for clients
            self._process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str, text: str = "") -> str:
        done = subprocess.run(  # type: ignore[call-overload]  # as above
            [str(PROGRAMS / program), *arguments],
            check=False,
            capture_output=True,
            text=True,
            input=text,
            cwd="/",
            **self._as_nobody,
        )
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def _own(self) -> None:
        if self._as_nobody:
            for path in [self.folder, *self.folder.iterdir()]:
                os.chown(path, NOBODY, NOBODY)
        self.folder.chmod(0o755)

    def _wait(self) -> None:
        for _ in range(600):
            with socket.socket() as found:
                if found.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError((self.folder / "log").read_text())


@functools.cache
def shared() -> Postgres:
    """The server of this test run."""
    return Postgres()
