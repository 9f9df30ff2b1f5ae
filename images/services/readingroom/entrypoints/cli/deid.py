"""`readingroom deid`: from a folder of identified files to a project's warehouse."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from readingroom.adapters.deid_staging import StagedPlan, write_plan
from readingroom.adapters.holdout_files import SplitInputs, check_side
from readingroom.adapters.landing import CommittedBatches
from readingroom.adapters.policy_files import shard_limits
from readingroom.adapters.tables import TableFiles
from readingroom.adapters.tree import Tree
from readingroom.adapters.vault.purpose_keys import draw, role
from readingroom.adapters.vault.session import VaultSession
from readingroom.adapters.vault.wire import Timing, Wire
from readingroom.adapters.warehouse import FileSheet, FolderWarehouse
from readingroom.application.clean_clinical import Clinical
from readingroom.application.deidentify import Run, Sheets, World, deidentify
from readingroom.application.deidentify_shards import finish_shards, plan_shards, work_shard
from readingroom.application.wait_for_vault import Patience, wait_for_vault
from readingroom.domain.clinical.policy import Policy, policy_from
from readingroom.domain.clinical.record import told_by
from readingroom.domain.deid.keys import Pseudonyms, PurposeKeys
from readingroom.domain.ids import HOLDOUT, ProjectId, project_id
from readingroom.entrypoints import deid_wiring, settings
from readingroom.entrypoints.cli.deid_shards import check_shards, shard_of, shards_options, work_all
from readingroom.entrypoints.cli.opt_outs import opt_outs_in, opt_outs_option
from readingroom.entrypoints.cli.progress import progress

VAULT_ATTEMPT = 5.0
T = TypeVar("T")
_SHEETS = ("receipt", "explain", "clinical_report")


def keys_options(command: Callable[..., None]) -> Callable[..., None]:
    """From where the project's keys come: for `keys_given`."""
    for option in (
        click.option("--vault-wait", type=click.IntRange(0), default=600, show_default=True, metavar="SECONDS",
                     help="How long to wait for a sealed or absent Vault."),
        click.option("--vault", is_flag=True, help="Take the keys from the project's transit key in Vault."),
        click.option("--key-file", type=click.Path(path_type=Path), help="32 random bytes: the key of this project."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@click.argument("in_dir", type=click.Path(path_type=Path))
@click.argument("out_dir", type=click.Path(path_type=Path))
@click.option("--project", "project_name", required=True, metavar="ID", help="The project whose warehouse this is.")
@keys_options
@click.option("--profile", "profile_name", default="nccid", show_default=True, help="A profile of policies/deid.")
@click.option("--landing", is_flag=True, help="IN_DIR is a landing of `readingroom ingest`: see below.")
@opt_outs_option
@click.option("--jobs", type=click.IntRange(1, 256), help="Files at a time [default: the processors there are].")
@click.option("--receipt", type=click.Path(path_type=Path), help="One line per input, with its names: identified.")
@click.option("--explain", type=click.Path(path_type=Path), help="One line per element, without values: identified.")
@click.option(
    "--clinical-report", type=click.Path(path_type=Path), help="How clinical cells came about, counted: identified."
)
@shards_options
def deid(in_dir: Path, out_dir: Path, project_name: str, **given: Any) -> None:
    """De-identify the images and clinical records below IN_DIR into OUT_DIR.

    Every regular file is tried, whatever its name; links are not followed. A file is released, held for a person, or
    rejected; OUT_DIR/manifest.jsonl names what was released, the receipt answers for every input.

    With --landing, the inputs are the instances and clinical records of committed batches alone (folders with a
    batch.json): not the batches' own records, and not what an ingest that was killed left behind.

    With --opt-outs, files of a patient who opted out are rejected, and what was released of them earlier goes. The folder
    holds pairs asked-<day>.txt and answered-<day>.txt of the last 7 days (one NHS number a line; the answer lists who did
    not opt out; a number in no question is held) and, or instead, opted-out.txt (one identifier a line, of any kind).

    With --shards N, the same bytes come of at least N shards of whole patients, --jobs at a time, each in a process of its
    own. What was done of them is kept in --staging, and not done again after a run that was killed.

    Where a hold-out is set up, a landing is read only as it was last split: see `readingroom holdout split --help`. The
    hold-out itself is the project `holdout`: IN_DIR is its own landing, and OUT_DIR a folder beside it.
    """
    given |= {"in_dir": in_dir, "out_dir": out_dir, "jobs": given["jobs"] or len(os.sched_getaffinity(0))}
    _check_places(in_dir, out_dir, given)
    check_shards(given)
    given["project"] = HOLDOUT if project_name == HOLDOUT else project_id(project_name)
    if given["step"] is None and given["shards"]:
        with contextlib.ExitStack() as tried:
            _sheets(given, tried)  # a receipt that cannot be written is told before all the work
        digest, images = _plan(given)
        work_all(given, digest, images)
        _finish({**given, "plan": digest})
    else:
        {"plan": _plan, "work": _work, "finish": _finish, None: _whole}[given["step"]](given)


def _whole(given: dict[str, Any]) -> None:
    with contextlib.ExitStack() as open_things:
        run, world, _ = _opened(given, open_things)
        counts = deidentify(run, world, _sheets(given, open_things))
    _report(counts)


def _plan(given: dict[str, Any]) -> tuple[str, list[int]]:
    """The first step of a run in shards: the digest of the plan, and how many images each shard has."""
    limits = shard_limits(settings.policies_folder())
    with contextlib.ExitStack() as open_things:
        run, world, setup = _opened(given, open_things)
        write = functools.partial(write_plan, given["staging"], deid_wiring.terms_of(setup))
        digest, images = plan_shards(run, world, limits, given["shards"] or 1, write)
    _say(f"plan {digest}: {len(images)} shards, {sum(images)} images to look at closely")
    return digest, images


def _work(given: dict[str, Any]) -> None:
    shard = shard_of(given)
    staged = StagedPlan(given["staging"], given["plan"])
    with contextlib.ExitStack() as open_things:
        run, world, setup = _opened(given, open_things, shard)
        done = work_shard(run, world, deid_wiring.terms_of(setup), staged, staged, shard)
    _say(f"shard {shard}: {'done' if done else 'it was done before'}")


def _finish(given: dict[str, Any]) -> None:
    staged = StagedPlan(given["staging"], given["plan"])
    terms = {"project": given["project"], "explain": given["explain"] is not None}
    with contextlib.ExitStack() as open_things:
        warehouse = FolderWarehouse(given["out_dir"], given["project"])
        open_things.callback(warehouse.close)
        counts = finish_shards(terms, staged, staged, warehouse, _sheets(given, open_things))
    if counts is None:
        _say(f"plan {given['plan']}: it was finished before")
    else:
        _report(counts)


def _opened(
    given: dict[str, Any], open_things: contextlib.ExitStack, shard: int | None = None
) -> tuple[Run, World, Mapping[str, Any]]:
    """A run, what it works with, and what a child needs to know."""
    project = given["project"]
    away = opt_outs_in(given["opt_outs"] if shard is None else None)
    split = check_side(project, given["in_dir"], given["out_dir"], landing=given["landing"])
    rules = deid_wiring.rules_of(settings.policies_folder(), _profile_name(given["profile_name"]))
    tree = open_things.enter_context(Tree(given["in_dir"]))
    keys = keys_given(project, given)
    warehouse = FolderWarehouse(given["out_dir"], project, shard)
    open_things.callback(warehouse.close)
    report = _sheet(given["clinical_report"] if shard is None else None, open_things)
    setup = deid_wiring.setup_document(rules, project, keys, explain=given["explain"] is not None)
    working = open_things.enter_context(deid_wiring.workers(setup, tree, warehouse, given["jobs"]))
    batches = CommittedBatches(tree) if given["landing"] else None
    world = World(
        inputs=(batches or tree) if project == HOLDOUT else SplitInputs(batches or tree, split),
        workers=working,
        warehouse=warehouse,
        clinical=Clinical(
            policy=_policy(rules), tables=TableFiles(), told=batches.told if batches else told_by, report=report
        ),
        opt_outs=away.known_as(Pseudonyms(keys, project).name),
        progress=open_things.enter_context(progress("files")),
    )
    run = Run(project=project, profile=rules.profile.document["profile"], profile_sha256=rules.profile.sha256)
    return run, world, setup


def _sheets(given: dict[str, Any], open_things: contextlib.ExitStack) -> Sheets:
    return Sheets(receipt=_sheet(given["receipt"], open_things), explain=_sheet(given["explain"], open_things))


def _check_places(in_dir: Path, out_dir: Path, given: dict[str, Any]) -> None:
    """Sheets hold names of inputs, so they lie outside OUT_DIR; and nothing written may be read as an input."""
    source, target = in_dir.resolve(), out_dir.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise click.UsageError("IN_DIR and OUT_DIR must lie apart")
    places = {name: given[name].resolve() for name in _SHEETS if given[name]}
    for name, place in places.items():
        if target in {place, *place.parents} or source in {place, *place.parents}:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} holds identifiers and must lie outside IN_DIR and OUT_DIR")
    for name in ("opt_outs", "staging"):
        if given[name] and {source, target} & {(place := given[name].resolve()), *place.parents}:
            raise click.UsageError(
                f"--{name.replace('_', '-')} holds identifiers and must lie outside IN_DIR and OUT_DIR"
            )
    if len(set(places.values())) < len(places):
        raise click.UsageError("--receipt, --explain and --clinical-report: no two files may be one")


def _policy(rules: deid_wiring.Rules) -> Policy:
    return policy_from(rules.clinical.document, rules.clinical.sha256)


def _profile_name(name: str) -> str:
    if not name.replace("-", "").isalnum() or not name.isascii() or not name.islower():
        raise click.UsageError(f"--profile {name[:40]!r}: a name of policies/deid/profiles, without .yaml")
    return name


def keys_given(project: ProjectId, given: dict[str, Any]) -> PurposeKeys:
    """The project's keys, from where the options of `keys_options` say."""
    if bool(given["key_file"]) == given["vault"]:
        raise click.UsageError("give either --key-file FILE or --vault")
    if given["key_file"]:
        return deid_wiring.keys_from_file(given["key_file"])
    return from_vault(lambda wire: drawn(project, wire), given["vault_wait"])


def from_vault(draw_by: Callable[[Wire], T], seconds: int) -> T:
    """What is drawn from Vault, waited for so long while it is away."""
    patience = Patience(seconds=seconds, say=_say, now=time.monotonic, sleep=time.sleep)
    wire = Wire(timing=Timing(budget=min(VAULT_ATTEMPT, seconds + 1.0)))
    return wait_for_vault(lambda: draw_by(wire), patience)


def drawn(project: ProjectId, wire: Wire, token_file: Path | None = None) -> PurposeKeys:
    """The project's keys, by one short login."""
    place = {} if token_file is None else {"token_file": token_file}
    with VaultSession(role(project), wire=wire, **place) as session:
        return draw(session, project)


def _sheet(path: Path | None, open_things: contextlib.ExitStack) -> FileSheet | None:
    if path is None:
        return None
    sheet = FileSheet(path)
    open_things.callback(sheet.abandon)
    return sheet


def _say(line: str) -> None:
    click.echo(line, err=True)


def _report(counts: Counter[tuple[str, str]]) -> None:
    by_outcome: Counter[str] = Counter()
    for (outcome, _), count in counts.items():
        by_outcome[outcome] += count
    total = sum(by_outcome.values())
    parts = ", ".join(f"{by_outcome[outcome]} {outcome}" for outcome in ("released", "held", "rejected"))
    click.echo(f"{total} files: {parts}")
    for (outcome, reason), count in sorted(counts.items()):
        if reason:
            click.echo(f"  {outcome}  {reason}  {count}")
