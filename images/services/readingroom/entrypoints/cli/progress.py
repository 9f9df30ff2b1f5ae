"""Progress of long work: a line that changes on a terminal; elsewhere a plain line now and then."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

import click

PLAIN_EVERY: Final = 10.0  # seconds between lines where there is no terminal
Show = Callable[[str, int, int], None]


@contextlib.contextmanager
def progress(things: str) -> Iterator[Show]:
    """A function that shows how many of how many things are done."""
    terminal, last = sys.stderr.isatty(), time.monotonic()

    def show(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if terminal and (now - last >= 0.1 or done == total):
            click.echo(f"\r{stage} {done} of {total} {things}\x1b[K", err=True, nl=False)
            last = now
        elif not terminal and now - last >= PLAIN_EVERY:
            click.echo(f"{stage} {done} of {total} {things}", err=True)
            last = now

    try:
        yield show
    finally:
        if terminal:
            click.echo("\r\x1b[K", err=True, nl=False)
