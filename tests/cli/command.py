"""`readingroom` as a user meets it: in this process at its real edge, or as a process of its own.

Both give what was written and the exit status. Most rows of wrong input are judged in this process, which pays for no
interpreter; each noun is also started as users start it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from readingroom.entrypoints.cli import main

SECONDS = 120
PROGRESS = re.compile(
    r"^(?:.+: )?(?:looked at|read|sent|cleaned|de-identified|made|asked for|\d+ instances .*,)"
    r" \d+ of \d+ (?:files|patients|studies)\n",
    re.MULTILINE,
)
Done = subprocess.CompletedProcess[str]


def status_of(arguments: list[str]) -> int:
    """The exit status of the command in this process, which would have ended with it."""
    try:
        main(arguments)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    return 0


def run(*arguments: object, state: Path | None = None, folder: Path | None = None) -> Done:
    """The command in this process; with a state folder of its own, or started in a folder."""
    words = [str(word) for word in arguments]
    with _written() as (out, error), pytest.MonkeyPatch.context() as surroundings:
        if state:
            surroundings.setenv("XDG_STATE_HOME", str(state))
        if folder:
            surroundings.chdir(folder)
        status = status_of(words)
    return _quiet(Done(["readingroom", *words], status, _text(out), _text(error)))


def start(*arguments: object, state: Path | None = None, folder: Path | None = None) -> Done:
    """The same as a process of its own."""
    done = subprocess.run(
        ["readingroom", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=folder,
        env={**os.environ, **({"XDG_STATE_HOME": str(state)} if state else {})},
    )
    return _quiet(done)


def one_line(done: Done) -> str:
    """The only line on stderr."""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, done.stderr
    return lines[0]


def _quiet(done: Done) -> Done:
    """The same without the lines of progress, of which a slow machine has more than a quick one."""
    done.stderr = PROGRESS.sub("", done.stderr)
    return done


@contextlib.contextmanager
def _written() -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """What goes to stdout and stderr meanwhile; bytes as in a pipe, so that no text is lost that a pipe would take."""
    out, error = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        yield out, error


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
