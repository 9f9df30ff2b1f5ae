"""`python -m readingroom.entrypoints.enrol`: the Job that makes accounts and roles what a roster says.

It reads the roster from RR_ROSTER and writes the handles to RR_RESULT; names stand in these two files and nowhere else.
`… enrol hash` needs no database: a password per line comes in, a hash per line goes out.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import django
from django.conf import settings as django_settings

from readingroom.adapters.clock import SystemClock
from readingroom.adapters.db.hashers import check_password_hash, password_hash
from readingroom.application.enrol_people import Handles, enrol_people
from readingroom.domain.errors import ReadingRoomError, WrongSetUp
from readingroom.domain.people import Account, Membership, Role, Roster
from readingroom.entrypoints import settings
from readingroom.entrypoints.web.settings import tables

log = logging.getLogger("enrol")
TERMINATION_BYTES: Final = 4096  # what the kubelet keeps of a termination message


def read_roster(text: str) -> Roster:
    """The roster of a JSON text. Raises `WrongSetUp`, without a name in it, for an unknown key or a value of another kind."""
    try:
        document = _only(json.loads(text), {"accounts", "memberships"})
        accounts = [_only(entry, {"username", "display", "password_hash"}) for entry in document["accounts"]]
        memberships = [_only(entry, {"username", "project", "role"}) for entry in document["memberships"]]
        roster = Roster(
            accounts=tuple(Account(**entry) for entry in accounts),
            memberships=tuple(
                (entry["username"], Membership(entry["project"], Role(entry["role"]))) for entry in memberships
            ),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise WrongSetUp(
            what="the roster of accounts",
            why=f"it is not of the expected form ({type(error).__name__})",
            next_step="write accounts with username, display, password_hash and memberships with username, project, role",
        ) from error
    for account in roster.accounts:
        check_password_hash(account.password_hash)
    return roster


def write_result(handles: Handles, result: Path) -> None:
    """Project → user name → handle. Raises `WrongSetUp` when the file cannot be written or would be cut short."""
    text = json.dumps(handles, sort_keys=True)
    if result == Path("/dev/termination-log") and len(text) > TERMINATION_BYTES:
        raise _no_result(f"a termination message holds {TERMINATION_BYTES} bytes")
    try:
        result.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _no_result(f"it cannot be written ({error.strerror})") from error


def run() -> None:
    """The Job."""
    found = settings.enrol()
    try:
        text = found.roster.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongSetUp(
            what="the roster of accounts", why="the file cannot be read", next_step="mount it, and set RR_ROSTER"
        ) from error
    roster = read_roster(text)
    django_settings.configure(**tables(found.database))
    django.setup()
    from readingroom.adapters.db.people import DjangoPeople  # noqa: PLC0415 (models exist once Django is set up)

    handles = enrol_people(DjangoPeople(), roster, SystemClock().now())
    write_result(handles, found.result)
    log.info("%d accounts and %d memberships are as the roster says", len(roster.accounts), len(roster.memberships))


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Make accounts and roles what the roster says."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if context.invoked_subcommand is None:
        _or_exit(run)


@main.command(name="hash")
def hash_passwords() -> None:
    """Hash passwords: one a line in, one a line out."""

    def work() -> None:
        for line in click.get_text_stream("stdin"):
            click.echo(password_hash(line.rstrip("\r\n")))

    _or_exit(work)


def _or_exit(work: Callable[[], Any]) -> None:
    try:
        work()
    except ReadingRoomError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_status)


def _only(entry: Any, keys: set[str]) -> dict[str, Any]:
    """A table with exactly these keys; the values of the innermost are texts."""
    if not isinstance(entry, dict) or entry.keys() != keys:
        raise ValueError("unknown or missing key")
    if "username" in keys and not all(isinstance(value, str) for value in entry.values()):
        raise TypeError("not a text")
    return entry


def _no_result(why: str) -> WrongSetUp:
    return WrongSetUp(
        what="the list of handles", why=why, next_step="set RR_RESULT to a file on a volume, and run it again"
    )


if __name__ == "__main__":
    main()
