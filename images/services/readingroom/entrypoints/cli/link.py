"""`readingroom link`: whom of a project a partner's table knows, found by tokens, each step by somebody else."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from readingroom.adapters import link_files
from readingroom.adapters.cuts import WarehouseFolder
from readingroom.adapters.link_key import KeyFile
from readingroom.adapters.link_key import begin as begin_link
from readingroom.adapters.link_worker import LandedImages
from readingroom.adapters.linked_policy import linked_policy
from readingroom.adapters.linked_tables import LinkedFolder
from readingroom.adapters.sealed_rows import SealedRows
from readingroom.adapters.tree import Tree
from readingroom.application import link as linking
from readingroom.domain.deid.keys import Pseudonyms
from readingroom.domain.ids import project_id
from readingroom.domain.linkage.match import Fate, Matched, shown
from readingroom.domain.linkage.table import LinkedPolicy
from readingroom.domain.linkage.tokens import Side
from readingroom.entrypoints import settings
from readingroom.entrypoints.cli.deid import keys_given, keys_options
from readingroom.entrypoints.cli.opt_outs import opt_outs_in, opt_outs_option
from readingroom.entrypoints.cli.project import json_option

FEWER: Final = "fewer than 10"

_file = click.Path(dir_okay=False, path_type=Path)
_folder = click.Path(file_okay=False, path_type=Path)
policy_option = click.option(
    "--policy",
    "policy_name",
    required=True,
    metavar="NAME",
    help="A file of policies/deid/linked, alike on both sides.",
)
key_option = click.option("--key", type=_file, required=True, help="This side's key file; destroyed when used.")
confirm_option = click.option("--confirm", is_flag=True, help="Make the tokens. Without it, only count.")


@click.group()
def link() -> None:
    """Join a partner's table to a project's patients, so that neither side sees whom the other has.

    Four people, in this order: a key holder begins; the project asks and the partner offers, each under its copy of the key;
    a matcher, who has none, compares tokens; the project joins what matched. A key works once.
    """


@link.command()
@click.argument("out", metavar="OUT_DIR", type=_folder)
@json_option
def begin(out: Path, as_json: bool) -> None:
    """Key holder: make the one-time key, as project.key and partner.key.

    Move each file to its side on a way of its own, and keep neither. Whoever has a key and the other side's tokens can try
    who is in them, so the matcher gets none.
    """
    name = begin_link(out)
    _say(
        as_json, {"link": name}, [f"began {name}; next: move project.key and partner.key to their sides, keep neither"]
    )


@link.command()
@click.option("--project", "project_name", required=True, metavar="ID", help="Whose patients.")
@click.option("--landing", type=_folder, required=True, help="Landing of ingest: identified.")
@click.option(
    "--warehouse", type=_folder, required=True, help="OUT_DIR of deid: its patients and nobody else are asked."
)
@keys_options
@policy_option
@opt_outs_option
@key_option
@click.option("--tokens", type=_file, required=True, help="File to write for the matcher.")
@click.option("--kept", type=_file, required=True, help="File to write and keep for `join`; for nobody else.")
@confirm_option
@json_option
def ask(project_name: str, policy_name: str, key: Path, confirm: bool, as_json: bool, **given: Any) -> None:
    """Project's side: make tokens of the project's patients, from what landing knows of them.

    Without --confirm nothing is written and the key is not used.
    """
    _check_apart({f"--{name}": given[name] for name in ("tokens", "kept")}, given["landing"], given["warehouse"])
    project, policy = project_id(project_name), _policy(policy_name)
    away, once = opt_outs_in(given["opt_outs"]), _key(key, Side.PROJECT)
    under = linking.Link(key=once.key(), policy=policy, project=project)
    patients = _patients(given["warehouse"], project)
    keys = keys_given(project, given)
    with Tree(given["landing"]) as tree:
        landed = LandedImages(tree, keys, under, jobs=len(os.sched_getaffinity(0)))
        tokens_of = Pseudonyms(keys, project).name
        asked = linking.ask(under, landed, patients, away.known_as(tokens_of), lambda line: click.echo(line, err=True))
    if confirm:
        content = link_files.tokens_content(Side.PROJECT, asked.tokens)
        kept = link_files.kept_content(asked.kept)

        def show() -> None:
            link_files.write(given["kept"], kept)
            link_files.write(given["tokens"], content)

        once.spend(content + kept, show)
    lines = [f"{name.replace('_', ' '):20}{count:>10}" for name, count in asked.counts.items()]
    _say(as_json, {"confirmed": confirm, **asked.counts}, [*lines, _next(confirm, given["tokens"])])


@link.command()
@click.argument("table", metavar="TABLE_CSV", type=_file)
@policy_option
@key_option
@click.option("--tokens", type=_file, required=True, help="File to write for the matcher.")
@confirm_option
@json_option
def offer(table: Path, policy_name: str, key: Path, tokens: Path, confirm: bool, as_json: bool) -> None:
    """Partner's side: make tokens of a table's rows, each with its cleaned cells, sealed.

    TABLE_CSV has one row a person and the fields that the policy names; whatever else it has goes nowhere. Without --confirm
    nothing is written and the key is not used.
    """
    policy, once = _policy(policy_name), _key(key, Side.PARTNER)
    under = linking.Link(key=once.key(), policy=policy)
    made = linking.offer(under, link_files.partner_rows(table, policy), SealedRows(under.key.reveal_sealing()))
    if confirm:
        content = link_files.tokens_content(Side.PARTNER, made)
        once.spend(content, lambda: link_files.write(tokens, content))
    counts = {
        "rows": len(made.records),
        "with_number": sum(record.number is not None for record in made.records),
        "with_demographics": sum(record.demographics is not None for record in made.records),
    }
    lines = [f"{name.replace('_', ' '):20}{count:>10}" for name, count in counts.items()]
    _say(as_json, {"confirmed": confirm, **counts}, [*lines, _next(confirm, tokens)])


@link.command()
@click.argument("project_tokens", metavar="PROJECT_TOKENS", type=_file)
@click.argument("partner_tokens", metavar="PARTNER_TOKENS", type=_file)
@click.option("--spine", type=_file, required=True, help="File to write for the project's side.")
@json_option
def match(project_tokens: Path, partner_tokens: Path, spine: Path, as_json: bool) -> None:
    """Matcher: compare the tokens of both sides, without a key.

    An equal NHS number joins; where one of the two has none, equal family name, birth date and sex do, if the policy says so.
    One record on each side, or nobody. The report tells no count under ten and rounds all others.
    """
    found, matched = linking.match_sides(
        link_files.read_tokens(project_tokens, Side.PROJECT), link_files.read_tokens(partner_tokens, Side.PARTNER)
    )
    link_files.write(spine, link_files.spine_content(found))
    report = _report(matched)
    head = f"{'records':26}" + "".join(f"{side:>16}" for side in report)
    lines = [f"{fate:26}" + "".join(f"{_shown(sides[fate]):>16}" for sides in report.values()) for fate in Fate]
    _say(as_json, {"link": found.link, **report}, [head, *lines, f"next: give {spine} to the project's side"])


@link.command()
@click.argument("spine", metavar="SPINE", type=_file)
@click.option("--kept", type=_file, required=True, help="What `ask` kept.")
@click.option("--warehouse", type=_folder, required=True, help="OUT_DIR of deid: who left it since gets no row.")
@policy_option
@click.option("--out", type=_folder, required=True, help="Where the joined table lies; de-identified.")
@json_option
def join(spine: Path, kept: Path, warehouse: Path, policy_name: str, out: Path, as_json: bool) -> None:
    """Project's side: open the rows that matched, check each cell, move dates as the patient's images, and write the table."""
    _check_apart({"--out": out}, warehouse)
    ours = link_files.read_kept(kept)
    opening = linking.Opening(kept=ours, policy=_policy(policy_name), patients=_patients(warehouse, ours.project))
    rows, changed = linking.join(link_files.read_spine(spine), opening, SealedRows(ours.sealing), LinkedFolder(out))
    note = "" if changed else "; it was there already, nothing changed"
    _say(as_json, {"rows": rows, "changed": changed}, [f"joined {rows} rows of {ours.project}{note}"])


def _check_apart(written: Mapping[str, Path], *folders: Path) -> None:
    """What is written lies neither among the identified files nor where a project's files are."""
    for option, path in written.items():
        if any(path.resolve().is_relative_to(folder.resolve()) for folder in folders):
            raise click.UsageError(f"{option} must lie outside --landing and --warehouse")


def _policy(name: str) -> LinkedPolicy:
    return linked_policy(settings.policies_folder(), name)


def _key(path: Path, side: Side) -> KeyFile:
    return KeyFile(path, side, settings.state_folder() / "links")


def _patients(warehouse: Path, project: str) -> frozenset[str]:
    """The patients of whom the warehouse holds images."""
    lines = WarehouseFolder(warehouse).released()
    return frozenset(line.patient for line in lines if not line.is_table and line.project == project)


def _next(confirm: bool, tokens: Path) -> str:
    if confirm:
        return f"the key is destroyed; next: give {tokens} to the matcher"
    return "nothing is written and the key is not used; next: the same command with --confirm"


def _report(matched: Matched) -> dict[str, dict[str, int | None]]:
    return {side.value: {fate.value: shown(fates[fate]) for fate in Fate} for side, fates in matched.fates.items()}


def _shown(count: int | None) -> str:
    return FEWER if count is None else str(count)


def _say(as_json: bool, document: Mapping[str, Any], lines: list[str]) -> None:
    click.echo(json.dumps(document) if as_json else "\n".join(lines))
