"""`readingroom cohort`: the approved subset, cut out of a project's warehouse into one archive known by its digest."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import click

from readingroom.adapters.clinical_policy import clinical_policy
from readingroom.adapters.clock import SystemClock
from readingroom.adapters.cuts import RECORD, CutFolder, WarehouseFolder, check_kept, read_record
from readingroom.adapters.decision_file import decision_in
from readingroom.adapters.opt_out_files import NamedFolder, OptOutFolder
from readingroom.adapters.tree import Tree
from readingroom.application.ask_opt_outs import ask_opt_outs
from readingroom.application.cut_cohort import cut_cohort
from readingroom.contract import cut_file
from readingroom.domain.cut import CutRecord
from readingroom.domain.errors import Refused
from readingroom.domain.ids import project_id
from readingroom.entrypoints import settings
from readingroom.entrypoints.cli.project import decisions_in, json_option
from readingroom.entrypoints.cli.retract import retract


@click.group()
def cohort() -> None:
    """Cuts: which released files a project mounts; and who is to be asked about before."""


@cohort.command()
@click.option("--project", "project_name", required=True, metavar="ID", help="Whose decision and warehouse.")
@click.option("--warehouse", type=click.Path(file_okay=False, path_type=Path), required=True, help="OUT_DIR of deid.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where cuts lie.")
@click.option(
    "--linked",
    multiple=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="OUT of link join, for its patients in the cut; may be repeated.",
)
@click.option("--decision", type=click.Path(dir_okay=False, path_type=Path), help="The decision's file.")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="State folder whose highest decision counts [default: the user's XDG state folder].",
)
@json_option
def cut(
    project_name: str, warehouse: Path, linked: tuple[Path, ...], out: Path, as_json: bool, **given: Path | None
) -> None:
    """Cut what the decision covers. Same decision and warehouse: same digest."""
    decision, state = given["decision"], given["state"]
    if decision is not None and state is not None:
        raise click.UsageError("give --decision or --state, not both")
    name = project_id(project_name)
    if decision is None:
        folder = decisions_in(state or settings.state_folder())
        found, record_sha256 = folder.read(name), folder.record_sha256(name)
    else:
        schema = settings.policies_folder() / "schema" / "decision.schema.json"
        found, record_sha256 = decision_in(decision, schema)
    if found.project != name:
        raise Refused(
            what="cut",
            which=f"project {name}",
            why=f"the decision is of {found.project}",
            next_step="give this project's decision",
        )
    files = WarehouseFolder(warehouse, linked)
    record, changed = cut_cohort(
        found, record_sha256, files, CutFolder(out, files), SystemClock().now(), lambda line: click.echo(line, err=True)
    )
    note = "" if changed else "; it was there already, nothing changed"
    _report(record, out, as_json, f"{note}\nnext: readingroom project grant {name} --cut-file {out / RECORD} …")


@cohort.command()
@click.argument("out", metavar="OUT_DIR", type=click.Path(file_okay=False, path_type=Path))
@json_option
def show(out: Path, as_json: bool) -> None:
    """Show the last cut of a folder, and check that its archive is the one it names."""
    record = read_record(out / RECORD)
    check_kept(out, record)
    _report(record, out, as_json, "")


@cohort.command("ask-opt-outs")
@click.argument("in_dirs", metavar="IN_DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--opt-outs", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where the question goes."
)
@json_option
def ask(in_dirs: tuple[Path, ...], opt_outs: Path, as_json: bool) -> None:
    """Write the NHS numbers of all folders to asked-<today>.txt, one a line: what the national service is to answer.

    Give every folder that `ingest` or `deid` will read, inbox and landing: a number that is not asked about is held. The
    answer goes beside the question, as answered-<today>.txt.
    """
    if any(opt_outs.resolve().is_relative_to(folder.resolve()) for folder in in_dirs):
        raise click.UsageError("--opt-outs lies inside IN_DIR: it would be read as an input")
    policy, jobs = clinical_policy(settings.policies_folder()), len(os.sched_getaffinity(0))
    with contextlib.ExitStack() as open_things:
        trees = [open_things.enter_context(Tree(folder)) for folder in in_dirs]
        today = SystemClock().now().date()
        folders = [NamedFolder(tree, policy, jobs=jobs) for tree in trees]
        asked = ask_opt_outs(folders, OptOutFolder(opt_outs), today, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps({"day": today.isoformat(), **asdict(asked)}))
        return
    note = "" if asked.new else "; it was there already, nothing changed"
    click.echo(f"asked about {asked.numbers} NHS numbers of {asked.files} files{note}")
    click.echo(f"question {opt_outs / f'asked-{today}.txt'}")
    click.echo(f"next: put the answer beside it as answered-{today}.txt")


cohort.add_command(retract)


def _report(record: CutRecord, out: Path, as_json: bool, note: str) -> None:
    if as_json:
        click.echo(json.dumps(record.to_document()))
        return
    first, _, last = note.partition("\n")
    widest = max(len(step.step) for step in record.attrition)
    click.echo(f"cut {record.cut} of {record.project}, for decision {record.ground.decision}{first}")
    click.echo(f"image  {record.image}")
    click.echo(f"file   {out / cut_file(record.digest)}")
    click.echo(f"{'distinct':{widest}}" + "".join(f"{name:>11}" for name in asdict(record.counts)))
    for step in record.attrition:
        click.echo(f"{step.step:{widest}}" + "".join(f"{number:>11}" for number in asdict(step.left).values()))
    if last:
        click.echo(last)
