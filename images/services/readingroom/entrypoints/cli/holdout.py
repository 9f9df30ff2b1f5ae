"""`readingroom holdout`: the part that is kept apart to test models unseen. Identified side: what it prints stays there."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

import click

from readingroom.adapters.clinical_policy import clinical_policy
from readingroom.adapters.cuts import RECORD, read_record
from readingroom.adapters.holdout_files import SplitFolders, centres_in, clear, released_in
from readingroom.adapters.pixel_marks import PixelMarks
from readingroom.adapters.vault.purpose_keys import draw_split
from readingroom.adapters.vault.session import VaultSession
from readingroom.adapters.vault.wire import Wire
from readingroom.application.check_holdout import check_holdout
from readingroom.application.split_holdout import Done, split_holdout
from readingroom.contract import ACCOUNT_HOLDOUT
from readingroom.domain.holdout import Rule, Side, SplitKey
from readingroom.entrypoints import deid_wiring, settings
from readingroom.entrypoints.cli.deid import from_vault
from readingroom.entrypoints.cli.project import json_option

_folder = click.Path(file_okay=False, path_type=Path)
_file = click.Path(dir_okay=False, path_type=Path)


@click.group()
def holdout() -> None:
    """The hold-out: whole centres and a share of all other patients, whom no project ever gets."""


@holdout.command("split")
@click.option("--landing", type=_folder, required=True, help="Landing of ingest, which projects read.")
@click.option("--holdout", "storage", type=_folder, required=True, help="The hold-out's own storage; identified.")
@click.option("--key-file", type=_file, help="32 random bytes: the split's key, always the same.")
@click.option("--vault", is_flag=True, help="Take the key from Vault, under the account of the hold-out.")
@click.option("--vault-wait", type=click.IntRange(0), default=600, hidden=True)
@click.option("--centre-file", type=_file, required=True, help="Centres wholly held out: one code a line, or empty.")
@click.option(
    "--share",
    type=click.IntRange(0, 100),
    default=20,
    show_default=True,
    metavar="PERCENT",
    help="Of all other new patients.",
)
@click.option(
    "--deid-receipt",
    "receipts",
    type=_file,
    multiple=True,
    help="Of a project's deid --landing: whom it released is never hold-out. Repeatable.",
)
@click.option("--nothing-released", is_flag=True, help="At the first split: no project was given anything so far.")
@click.option("--confirm", is_flag=True, help="Move them. Without it, only say what would move.")
@json_option
def split(landing: Path, storage: Path, share: int, confirm: bool, as_json: bool, **given: Any) -> None:
    """Take the originals of hold-out patients out of landing, into the hold-out's own landing.

    A patient is decided once, under every name by which landing knows them: hold-out if seen at a held-out centre, else by a
    keyed draw. Another share concerns new patients only, and a centre once held out stays so. Whom a project may have is
    never hold-out; what a held-out centre has of them goes to STORAGE/apart, for neither side.

    From the first split on, a project's `deid` refuses a landing that has changed since: split it after each ingest. Let no
    `deid` run during the first.
    Nothing moves without --confirm. Killed at any point, run it again. Then: readingroom deid STORAGE/landing
    STORAGE/warehouse --landing --project holdout.
    """
    _check_places(landing, storage, given)
    if given["receipts"] and given["nothing_released"]:
        raise click.UsageError("give either --deid-receipt or --nothing-released")
    key = SplitKey(_secret(given))
    rule = Rule(key=key, share=share, centres=centres_in(given["centre_file"]))
    told = given["receipts"] or given["nothing_released"]
    policy, jobs = clinical_policy(settings.policies_folder()), len(os.sched_getaffinity(0))
    done = split_holdout(
        rule,
        released_in(given["receipts"]) if told else None,
        SplitFolders(landing, storage, policy, key, jobs=jobs),
        lambda line: click.echo(line, err=True),
        confirm=confirm,
    )
    _report(done, confirm=confirm, as_json=as_json)


@holdout.command("check")
@click.argument("cut", metavar="CUT_DIR", type=_folder)
@click.option("--holdout", "storage", type=_folder, required=True, help="The hold-out's own storage; identified.")
@click.option("--cleared", type=_folder, help="Where it is said that nothing met: `platform up` asks there.")
@json_option
def check(cut: Path, storage: Path, cleared: Path | None, as_json: bool) -> None:
    """Compare the images of a cut with the hold-out: status 3 if any has the stored pixels of one there.

    CUT_DIR is OUT of `cohort cut`. Run it where both may be seen, before a grant names the cut; the project hears nothing.
    Originals and what was released of them are compared, by exact bytes; images of one grey only are not.
    """
    marks = PixelMarks(secrets.token_bytes(32), jobs=len(os.sched_getaffinity(0)))
    before = read_record(cut / RECORD).digest if cleared else ""
    found = check_holdout(marks.of_holdout(storage), marks.of_cut(cut))
    if cleared and before == read_record(cut / RECORD).digest:  # else somebody cut anew meanwhile
        clear(cleared, before)
    if as_json:
        click.echo(json.dumps({"holdout": found.holdout, "cut": found.cut, "met": 0}))
        return
    click.echo(f"{found.cut} different images of the cut, {found.holdout} of the hold-out: none is in both")


def _secret(given: dict[str, Any]) -> bytes:
    if bool(given["key_file"]) == given["vault"]:
        raise click.UsageError("give either --key-file FILE or --vault")
    if given["key_file"]:
        return deid_wiring.secret_in(given["key_file"])

    def drawn(wire: Wire) -> bytes:
        with VaultSession(ACCOUNT_HOLDOUT, wire=wire) as session:
            return draw_split(session)

    return from_vault(drawn, given["vault_wait"])


def _check_places(landing: Path, storage: Path, given: dict[str, Any]) -> None:
    """Each side has folders of its own, and the secrets lie in neither."""
    here, there = landing.resolve(), storage.resolve()
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise click.UsageError("--landing and --holdout must lie apart")
    for name in ("key_file", "centre_file"):
        if given[name] and given[name].resolve().is_relative_to(here):
            raise click.UsageError(f"--{name.replace('_', '-')} is a secret and must lie outside --landing")
    if any(receipt.resolve().is_relative_to(there) for receipt in given["receipts"]):
        raise click.UsageError(
            "--deid-receipt is a project's: with the hold-out's own, nobody would be hold-out any more"
        )


def _report(done: Done, *, confirm: bool, as_json: bool) -> None:
    people = {side.value: done.people[side] for side in (Side.HOLDOUT, Side.OPEN)}
    moves = {side.value: done.originals.get(side, 0) for side in (Side.HOLDOUT, Side.APART)}
    if as_json:
        click.echo(json.dumps({"moved": confirm, "new_people": people, "originals": moves}))
        return
    click.echo(f"new people: {people['holdout']} hold-out, {people['open']} open")
    word = "moved" if confirm else "would move"
    click.echo(f"originals: {moves['holdout']} {word} to the hold-out, {moves['apart']} apart, for neither side")
    if not confirm:
        click.echo("next: the same command with --confirm splits landing")
