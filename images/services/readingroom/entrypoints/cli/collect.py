"""`readingroom collect`: beside a hospital's PACS, bring what was agreed to the platform's door."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from readingroom.adapters.clock import SiteClock
from readingroom.adapters.collect_file import SetUp, set_up_in
from readingroom.adapters.collect_inbox import InboxOut
from readingroom.adapters.collect_journal import JournalFolder
from readingroom.application.collect import Pace, Site
from readingroom.application.collect import collect as bring
from readingroom.application.collect import plan as look
from readingroom.application.ports_collect import Destination
from readingroom.domain.collection import Question, Tally, check_can_ask
from readingroom.domain.errors import TryAgain, WrongSetUp
from readingroom.domain.peers import Peer, Peers
from readingroom.entrypoints import settings
from readingroom.entrypoints.cli.progress import progress

LONGEST_LIST: Final = 100_000  # accession numbers
_file: Final = click.Path(dir_okay=False, path_type=Path)
_day: Final = click.DateTime(["%Y-%m-%d"])


@click.group()
def collect() -> None:
    """Bring studies from a hospital's PACS to the door, at a pace that the hospital sets.

    Nothing is pseudonymised here: instances go on as the PACS sends them, over TLS to `readingroom door`, or into a folder
    for `readingroom ingest`. What may be asked, when and how fast stands in the site's own set-up.

    \b
    The set-up (policies/schema/collect.schema.json; names of files are relative to it):
      ae_title: RR_COLLECT
      pacs: {ae_title: PACS, host: 10.0.0.5, port: 104}
      # for C-MOVE, which the PACS must know us for; without it C-GET is used:
      # listen: {host: 10.0.0.7, port: 11112, addresses: [10.0.0.5]}
      door:
        ae_title: READINGROOM
        host: room.example
        port: 2762
        tls: {certificate: us.crt, key: us.key, authority: ca.crt, name: room.example}
      # or, instead of door:  inbox: /srv/to-the-room
      collect: {modalities: [CT, DX], from: "2020-01-01", to: "2020-12-31", studies: 2000}
      hours: [{from: "19:00", to: "06:00"}]
      instances_per_second: 5
    """


def _question(command: Callable[..., None]) -> Callable[..., None]:
    """What both verbs ask."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--accession-file", type=_file, help="Accession numbers, one a line, within the days."),
        click.option(
            "--modality", "modalities", multiple=True, metavar="CODE", help="Repeatable; default: all allowed."
        ),
        click.option(
            "--to", "last", type=_day, metavar="DAY", help="The last study date; default: the last one allowed."
        ),
        click.option(
            "--from", "first", type=_day, metavar="DAY", help="The first study date; default: the first one allowed."
        ),
        click.argument("set_up_file", metavar="SET_UP", type=_file),
    ):
        command = option(command)
    return command


@collect.command()
@_question
def plan(set_up_file: Path, as_json: bool, **asked: Any) -> None:
    """Count what there is to collect, by C-FIND alone: nothing is moved, nothing is written."""
    from readingroom.adapters.collect_pacs import CalledPacs  # noqa: PLC0415 (pynetdicom is slow to import)

    set_up = _set_up(set_up_file)
    question = _asked(set_up, **asked)
    with progress("studies") as show:
        tally = look(question, set_up.allowed.studies, CalledPacs(set_up, None), _pace(set_up, pauses=0), show)
    if as_json:
        click.echo(json.dumps({name: getattr(tally, name) for name in PLANNED}))
        return
    _print(tally, PLANNED)
    span = timedelta(seconds=round(tally.found / set_up.per_second))
    click.echo(f"at {set_up.per_second:g} instances a second within the hours: {span} or more")


@collect.command()
@_question
@click.option("--journal", type=click.Path(file_okay=False, path_type=Path), required=True,
              help="A folder of this one question; identified, stays at the site.")  # fmt: skip
def run(set_up_file: Path, as_json: bool, journal: Path, **asked: Any) -> None:
    """Bring what the question names, each instance once. Stopped at any moment, the same command goes on from there.

    It waits outside the hours of the set-up, pauses when the PACS is busy, and ends with a receipt: found, moved,
    acknowledged, and missing by reason. Status 1 says that something may still come: run the same command again.

    \b
    JOURNAL/receipt.json holds counts alone. Everything else in JOURNAL names patients' studies; it is for its owner alone.
    Missing:  not-sent          the PACS lists it and did not send it
              another           what it sent under that name is another instance, or of another study
              door-refused      the door did not take it
              and the reasons of `readingroom ingest`, which would not receive it either.
    """
    from readingroom.adapters.collect_door import CalledDoor  # noqa: PLC0415 (as above)
    from readingroom.adapters.collect_pacs import CalledPacs  # noqa: PLC0415 (as above)

    set_up = _set_up(set_up_file)
    question = _asked(set_up, **asked)
    with _for_the_owner_alone():
        kept = JournalFolder(journal, question, set_up.bounds.limits)
        with kept.opened(), _listening(set_up, kept), progress("studies") as show:
            destination: Destination
            if set_up.door:
                destination = CalledDoor(set_up.ae_title, set_up.door, set_up.bounds)
            else:
                destination = InboxOut(set_up.inbox or Path())
            site = Site(pacs=CalledPacs(set_up, kept.spool), journal=kept, destination=destination)
            tally = bring(question, set_up.allowed.studies, site, _pace(set_up, set_up.bounds.pauses), show)
            kept.close(tally)
    if as_json:
        click.echo(json.dumps(tally.to_document(), sort_keys=True))
    else:
        _print(tally, (*PLANNED, "moved", "acknowledged", "complete"))
        why = ", ".join(f"{reason} {number}" for reason, number in sorted(tally.missing.items()))
        click.echo(f"{'missing':14}{tally.missing.total():>9}" + (f"  ({why})" if why else ""))
    if tally.to_come:
        raise TryAgain(
            what="the collection",
            which=f"{tally.to_come} of what the PACS lists",
            why="the PACS did not send it or did not say what it is",
            next_step="run the same command again; if it stays so, the journal says which",
        )


PLANNED: Final = ("studies", "unlisted", "series", "differing", "odd", "found")
_WORDS: Final = {
    "studies": "studies",
    "unlisted": "of which the PACS does not say what is in them",
    "series": "series",
    "differing": "of which the PACS counts more or fewer instances than it lists",
    "odd": "answers of the PACS that do not fit the question, left out",
    "found": "instances",
    "moved": "of which came from the PACS",
    "acknowledged": "of which the other side has",
    "complete": "studies that are there whole",
}


def _print(tally: Tally, names: tuple[str, ...]) -> None:
    for name in names:
        click.echo(f"{name:14}{getattr(tally, name):>9}  {_WORDS[name]}")


def _set_up(path: Path) -> SetUp:
    return set_up_in(path, settings.policies_folder() / "schema" / "collect.schema.json")


def _asked(
    set_up: SetUp,
    first: datetime | None,
    last: datetime | None,
    modalities: tuple[str, ...],
    accession_file: Path | None,
) -> Question:
    """The question, which the set-up allows."""
    if first is None and last is None and accession_file is None:
        raise click.UsageError("say what to collect: --from and --to, or --accession-file")
    question = Question(
        first=first.date() if first else set_up.allowed.first,
        last=last.date() if last else set_up.allowed.last,
        modalities=tuple(sorted(set(modalities) or set_up.allowed.modalities)),
        accessions=_accessions(accession_file) if accession_file else (),
    )
    if question.first > question.last:
        raise click.UsageError("--from is later than --to")
    check_can_ask(question, set_up.allowed)
    return question


def _accessions(path: Path) -> tuple[str, ...]:
    """VR SH, without what DICOM matches many by. Raises `WrongSetUp` for a list that is none: no line of it is said."""
    try:
        lines = {line.strip() for line in path.read_text(encoding="ascii").splitlines()} - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise _no_list(path, f"it cannot be read ({type(error).__name__})") from error
    if not lines or len(lines) > LONGEST_LIST:
        raise _no_list(path, f"it holds {len(lines)} accession numbers")
    if any(len(line) > 16 or not line.isprintable() or set(line) & set("*?\\") for line in lines):
        raise _no_list(path, "a line of it is no accession number")
    return tuple(sorted(lines))


def _no_list(path: Path, why: str) -> WrongSetUp:
    return WrongSetUp(
        what="the list of accession numbers",
        which=path.name,
        why=why,
        next_step=f"give one a line, 1 to {LONGEST_LIST}, each of at most 16 characters without * ? and backslash",
    )


def _pace(set_up: SetUp, pauses: int) -> Pace:
    return Pace(
        clock=SiteClock(),
        hours=set_up.hours,
        per_second=set_up.per_second,
        pause=set_up.bounds.pause_seconds,
        pauses=pauses,
        say=_say,
    )


@contextmanager
def _listening(set_up: SetUp, kept: JournalFolder) -> Iterator[None]:
    """Where C-MOVE sends to, for as long as a run lasts."""
    if set_up.listen is None:
        yield
        return
    from readingroom.adapters.dicom_listener import Listener  # noqa: PLC0415 (as above)

    pacs = Peer(ae_title=set_up.pacs.ae_title, centre="PACS", addresses=set_up.listen.addresses)
    peers = Peers(ae_title=set_up.ae_title, peers=(pacs,), limits=kept.spool.limits)
    listener = Listener(
        kept.spool, lambda: peers, None, lambda line: _say(line) if line.startswith("refused") else None
    )
    listener.start(set_up.listen.host, set_up.listen.port)
    try:
        yield
    finally:
        listener.stop()


@contextmanager
def _for_the_owner_alone() -> Iterator[None]:
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _say(line: str) -> None:
    click.echo(line, err=True)
