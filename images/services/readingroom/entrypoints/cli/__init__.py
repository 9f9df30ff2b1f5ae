"""`readingroom`: one noun, one verb.

Exit status: 0 done, 1 it could not be done (one line on stderr), 2 wrong usage, 3 refused by policy (`contract.md`
section 2). Nouns are found by entry-point name (group `readingroom.commands`), so the package does not import `infra`.
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Any

import click

from readingroom.domain.errors import ReadingRoomError

GROUP = "readingroom.commands"
NOUNS = "readingroom.entrypoints.cli"


class Nouns(click.Group):
    """Loads a noun only when it is asked for: `readingroom deid` must not pay for importing Pulumi."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({entry.name for entry in entry_points(group=GROUP)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for entry in entry_points(group=GROUP, name=cmd_name):
            command = entry.load()
            if not isinstance(command, click.Command):
                raise click.UsageError(f"{cmd_name} is no command")
            return command
        return None

    def invoke(self, ctx: click.Context) -> Any:
        """Ctrl-C is answered here: further out, click would say "Aborted!" and not what to do."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("stopped by Ctrl-C; running the same command again is safe", err=True)
            ctx.exit(1)


@click.group(cls=Nouns, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="readingroom", prog_name="readingroom")
def readingroom() -> None:
    """A trusted research environment for medical imaging: a reading room, not a lending library."""


def main(arguments: list[str] | None = None) -> None:
    """The process edge: an error of ours becomes one line and its exit status, never a traceback."""
    try:
        readingroom.main(args=arguments, prog_name="readingroom")
    except ReadingRoomError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_status)
