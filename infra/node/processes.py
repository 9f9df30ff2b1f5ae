"""Processes of the node: each in a session of its own, known by pid, start time and executable, never by name.

`run/<name>.json` is written before the process counts as ours; a pid that was reused by somebody else no longer matches
and is left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infra import places

LOG_BYTES: Final = 20 * 2**20  # a log is emptied when it grows beyond


@dataclass(frozen=True)
class Process:
    """What to run: one program of the node."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path("/")
    files: Sequence[Path] = ()  # what it reads at its start: another content is another process

    @property
    def fingerprint(self) -> str:
        """Another fingerprint means: to be started anew."""
        parts = [*self.command, str(self.folder), *(f"{k}={v}" for k, v in sorted(self.environment.items()))]
        contents = [hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "" for file in self.files]
        return hashlib.sha256("\0".join(parts + contents).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Running:
    """What is known of a process that was started."""

    pid: int
    started: int  # clock ticks since boot, of /proc/<pid>/stat
    executable: str
    fingerprint: str


def record(name: str) -> Path:
    """Where the facts of a running process lie."""
    return places.state("run", f"{name}.json")


def log_file(name: str) -> Path:
    """Where it writes."""
    return places.state("log", f"{name}.log")


def start(process: Process) -> subprocess.Popen[bytes]:
    """Start it in a session of its own; its output goes to the log."""
    log = log_file(process.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    record(process.name).parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            list(process.command),
            cwd=process.folder,
            env={**_clean_environment(), **process.environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    began = _started(child.pid)
    executable = _executable(child.pid)
    known = Running(child.pid, began or 0, executable, process.fingerprint)
    record(process.name).write_text(json.dumps(known.__dict__))
    return child


def running(name: str) -> Running | None:
    """The process of that name, if pid, start time and program still are those we wrote down."""
    try:
        known = Running(**json.loads(record(name).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return known if (_started(known.pid), _executable(known.pid)) == (known.started, known.executable) else None


def stop(name: str, seconds: float = 15) -> bool:
    """End it: asked first, killed after `seconds`. False if it did not run."""
    known = running(name)
    if known:
        for number, limit in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(known.pid, number)
            if _gone(name, limit):
                break
    record(name).unlink(missing_ok=True)
    return known is not None


def last_lines(name: str, count: int = 5) -> str:
    """The end of its log, in one line."""
    try:
        with log_file(name).open("rb") as stream:
            stream.seek(max(0, log_file(name).stat().st_size - 8000))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return "no log"
    return " | ".join(line.strip()[:300] for line in lines[-count:]) or "an empty log"


def cap_logs() -> None:
    """Empty each log that has grown too long; it is open for appending, so its writer goes on."""
    for log in places.state("log").glob("*.log"):
        if log.stat().st_size > LOG_BYTES:
            os.truncate(log, 0)


def _gone(name: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if running(name) is None:
            return True
        time.sleep(0.05)
    return running(name) is None


def _started(pid: int) -> int | None:
    """Start time of a process, None if there is none or it only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _executable(pid: int) -> str:
    """The program's file, which may be gone from the disk by now."""
    try:
        return str(Path(f"/proc/{pid}/exe").readlink()).removesuffix(" (deleted)")
    except OSError:
        return ""


def _clean_environment() -> dict[str, str]:
    """No proxy, no credential of the caller's shell: only what a program cannot do without."""
    kept = ("HOME", "LANG", "XDG_STATE_HOME", "XDG_CACHE_HOME")
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, **{name: os.environ[name] for name in kept if name in os.environ}}
