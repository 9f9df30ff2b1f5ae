"""`readingroom platform job`: the Jobs that move data, one step each, and the one that makes accounts what a roster says.

Each may be given again: what was done over the same input is not done twice. What was refused is in the receipts, which stay on
the identified side.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from images import build
from infra import places, settings
from infra.jobs import OPT_OUTS_CLAIM, ROSTER_CLAIM, Mount, Work, decision_name, manifest
from readingroom.contract import ACCOUNT_INGEST, PROJECT_ID, cut_account, deid_account
from readingroom.domain.errors import WrongSetUp

CENTRE = re.compile(r"[A-Z0-9]{2,12}")
TABLE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
PLAN = re.compile(r"[0-9a-f]{64}")
project_option = click.option("--project", required=True, metavar="ID", help="Which project; it has a decision.")


@click.group()
def job() -> None:
    """Start one step in the cluster and watch it to its end: ingest, deid, cut; and enrol, for accounts."""


@job.command()
@click.option("--centre", required=True, metavar="CODE", help="Who sent it: the folder of that name in the inbox.")
def ingest(centre: str) -> None:
    """Receive what a centre has put into its inbox: checked, stored once, a receipt line each."""
    if not CENTRE.fullmatch(centre):
        raise click.UsageError("a centre is 2 to 12 capital letters and digits")
    inbox = places.volume("inbox") / centre
    if not inbox.is_dir():
        raise WrongSetUp(
            what="ingest", which=centre, why="it has no folder in the inbox", next_step=f"put its files into {inbox}"
        )
    _run(with_opt_outs(ingest_work(centre, _listing(inbox), _services())))


@job.command()
@project_option
def deid(project: str) -> None:
    """De-identify what has been received, under this project's own key: in shards, by as many workers as policy says."""
    _decided(project)
    landing = _listing(places.volume("landing"))
    for work in deid_steps(project, landing, _services(), settings.shard_workers()):
        _run(with_opt_outs(work) if work.step == "plan" else work)


@job.command()
@project_option
def cut(project: str) -> None:
    """Cut the project's subset out of its warehouse: what the decision covers, as one image named by its digest."""
    decision = _decided(project).read_text(encoding="utf-8")
    stamp = _hash([decision, _listing(places.volume(f"warehouse-{project}"))])
    _run(with_linked(cut_work(project, stamp, _services())))


@job.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def enrol(as_json: bool) -> None:
    """Make accounts and roles exactly what the roster says, and print everybody's handle. Absent means no."""
    from infra.components.portal import enrol_job  # noqa: PLC0415 (Pulumi is slow to import)

    folder = places.volume(ROSTER_CLAIM)
    roster = folder / "roster.json"
    if not roster.is_file():
        raise WrongSetUp(what="enrol", which=roster.name, why="there is none", next_step=f"write {roster}")
    _watch(enrol_job(roster.read_text(encoding="utf-8"), _services()))
    handles = json.loads((folder / "handles.json").read_text(encoding="utf-8"))
    if as_json:
        click.echo(json.dumps(handles))
        return
    for project, members in sorted(handles.items()):
        for username, handle in sorted(members.items()):
            click.echo(f"{project:20}  {handle}  {username}")


def ingest_work(centre: str, stamp: str, image: str) -> Work:
    """Reads the inbox, writes landing and receipts; has no key, no token and no flow."""
    command = ["readingroom", "ingest", f"/inbox/{centre}", "--centre", centre, "--landing", "/landing"]
    return Work(
        role="ingest",
        account=ACCOUNT_INGEST,
        image=image,
        command=(*command, "--receipt", f"/receipts/ingest-{centre}.jsonl"),
        mounts=(
            Mount(path="/inbox", claim="inbox"),
            Mount(path="/landing", claim="landing", writable=True),
            Mount(path="/receipts", claim="receipts", writable=True),
        ),
        stamp=f"{centre} {stamp}",
    )


def planned(project: str) -> Mapping[str, Any]:
    """What the Job that plans told: the plan's digest and the number of shards. Raises `WrongSetUp` when it cannot be read.

    It names the plan that the other Jobs do: whoever changes the plan after that is refused by them.
    """
    file = places.volume("receipts") / f"deid-{project}" / "plan.json"
    try:
        plan: dict[str, Any] = json.loads(file.read_text(encoding="ascii"))
        if (
            set(plan) == {"plan", "shards", "finished"}
            and PLAN.fullmatch(plan["plan"])
            and plan["shards"] in range(100_000)
        ):
            return plan
        why = "it is no such file"
    except (OSError, ValueError, TypeError) as error:
        why = f"it cannot be read ({type(error).__name__})"
    raise WrongSetUp(what="deid", which=f"{file.parent.name}/{file.name}", why=why, next_step="give the command again")


def deid_steps(
    project: str, stamp: str, image: str, workers: int, told: Callable[[str], Mapping[str, Any]] = planned
) -> Iterator[Work]:
    """A plan, its shards side by side, and the end of it. What the plan told is read once the first of them is done."""
    step = partial(_deid_step, project, stamp, image)
    yield step("plan", "--shards", str(workers), "--jobs", "2", memory="2Gi")
    plan = told(project)
    chosen = ("--plan", plan["plan"])
    if plan["shards"]:
        yield step("work", *chosen, "--jobs", "1", shards=plan["shards"], workers=workers)
    yield step("finish", *chosen, "--receipt", f"/receipts/deid-{project}.jsonl")


def _deid_step(project: str, stamp: str, image: str, step: str, *more: str, **given: Any) -> Work:
    """Writes this project's warehouse and the receipts; reads landing and reaches Vault, but for the last, and nothing else."""
    command = ("readingroom", "deid", "/landing", "/warehouse", "--landing", "--project", project)
    reads = step != "finish"
    return Work(
        role="deid",
        project=project,
        step=step,
        account=deid_account(project),
        image=image,
        command=(
            *command,
            *(("--vault",) if reads else ()),
            "--staging",
            f"/receipts/deid-{project}",
            "--step",
            step,
            *more,
        ),
        mounts=(
            *((Mount(path="/landing", claim="landing"),) if reads else ()),
            Mount(path="/warehouse", claim=f"warehouse-{project}", writable=True),
            Mount(path="/receipts", claim="receipts", writable=True),
        ),
        stamp=stamp,
        asks_vault=reads,
        **given,
    )


def cut_work(project: str, stamp: str, image: str) -> Work:
    """Reads this project's warehouse and its decision, writes the cut; sees nothing identified."""
    command = ["readingroom", "cohort", "cut", "--project", project, "--warehouse", "/warehouse", "--out", "/cuts"]
    return Work(
        role="cut",
        project=project,
        account=cut_account(project),
        image=image,
        command=(*command, "--decision", "/etc/readingroom/decision/decision.json"),
        mounts=(
            Mount(path="/warehouse", claim=f"warehouse-{project}"),
            Mount(path="/cuts", claim=f"cuts-{project}", writable=True),
            Mount(path="/etc/readingroom/decision", config=decision_name(project)),
        ),
        stamp=stamp,
        memory="512Mi",
    )


def with_opt_outs(work: Work) -> Work:
    """The same, told who opted out; an empty folder means that the site asks nobody. What changes there is other input."""
    folder = places.volume(OPT_OUTS_CLAIM)
    if not settings.asks_opt_outs():
        return work
    return replace(
        work,
        command=(*work.command, "--opt-outs", "/opt-outs"),
        mounts=(*work.mounts, Mount(path="/opt-outs", claim=OPT_OUTS_CLAIM)),
        stamp=_hash([work.stamp, _listing(folder)]),
    )


def with_linked(work: Work) -> Work:
    """The same with the project's joined tables, each in a folder of its own, as `readingroom link join` made it."""
    folder = places.volume(f"linked-{work.project}")
    tables = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not tables:
        return work
    if odd := [name for name in tables if not TABLE.fullmatch(name) or not (folder / name / "linked.json").is_file()]:
        raise WrongSetUp(
            what="cut",
            which=f"{len(odd)} of {len(tables)} joined tables of {work.project}",
            why="they are none",
            next_step=f"leave in {folder} one folder for each, as `readingroom link join` made it",
        )
    return replace(
        work,
        command=(*work.command, *(word for name in tables for word in ("--linked", f"/linked/{name}"))),
        mounts=(*work.mounts, Mount(path="/linked", claim=f"linked-{work.project}")),
        stamp=_hash([work.stamp, _listing(folder)]),
    )


def _services() -> str:
    """The image of all data Jobs. Raises `WrongSetUp` when the code is newer than any `platform up`."""
    found = build.references().get("services")
    if found is None:
        raise WrongSetUp(
            what="job",
            which="image services",
            why="it is not built from this checkout as it is now",
            next_step="readingroom platform up",
        )
    return found


def _run(work: Work) -> None:
    _watch(manifest(work))


def _watch(job: Mapping[str, Any]) -> None:
    from infra import job_runner  # noqa: PLC0415 (the client of Kubernetes is slow to import)

    job_runner.run(job, click.echo)


def _decided(project: str) -> Path:
    found = settings.decisions().get(project) if PROJECT_ID.fullmatch(project) else None
    if found is None:
        raise WrongSetUp(
            what="job",
            which=f"project {project[:40]!r}",
            why="there is no decision for it",
            next_step="readingroom project decide, then readingroom platform up",
        )
    return found


def _listing(folder: Path) -> str:
    """What a folder holds, by name, size and time: enough to see that something came or went."""
    found = sorted((str(file.relative_to(folder)), file.stat()) for file in folder.rglob("*") if file.is_file())
    return _hash([(name, status.st_size, status.st_mtime_ns) for name, status in found])


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
