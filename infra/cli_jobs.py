"""`readingroom platform job`: the Jobs that move data, one step each, and the one that makes accounts what a roster says.

Each may be given again: what was done over the same input is not done twice. What was refused is in the receipts, which stay on
the identified side.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from images import build
from infra import places, settings
from infra.jobs import OPT_OUTS_CLAIM, ROSTER_CLAIM, SECONDS, Mount, Stranger, Work, decision_name, manifest
from readingroom.contract import (
    ACCOUNT_EVALUATE,
    ACCOUNT_HOLDOUT,
    ACCOUNT_INGEST,
    CLEARED,
    HOLDOUT,
    HOLDOUT_LEDGER,
    PROJECT_ID,
    cut_account,
    deid_account,
)
from readingroom.domain.errors import WrongSetUp

CENTRE = re.compile(r"[A-Z0-9]{2,12}")
TABLE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
CENTRES = "centres"  # in the hold-out's storage: who is wholly held out, one code a line; a secret
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
PLAN_NAME = re.compile(r"[a-z][a-z0-9-]{1,30}")
PLAN = re.compile(r"[0-9a-f]{64}")
project_option = click.option("--project", required=True, metavar="ID", help="Which project; it has a decision.")


@click.group()
def job() -> None:
    """Start one step in the cluster and watch it to its end: ingest, deid, cut, holdout, holdout-check, evaluate; or enrol."""


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
@click.option(
    "--share",
    type=click.IntRange(0, 100),
    default=20,
    show_default=True,
    metavar="PERCENT",
    help="Of all new patients.",
)
@click.option("--nothing-released", is_flag=True, help="At the first split: no project was given anything so far.")
def holdout(share: int, nothing_released: bool) -> None:
    """Split landing, then de-identify the hold-out under its own key. Wholly held-out centres stand in `holdout/centres`."""
    image, storage = _services(), places.volume(HOLDOUT)
    if not (storage / CENTRES).is_file():
        raise WrongSetUp(
            what="holdout",
            which=f"{HOLDOUT}/{CENTRES}",
            why="there is none, and nobody said which centres are wholly held out",
            next_step=f"write {storage / CENTRES}: one code a line, or an empty file",
        )
    receipts = sorted(path.name for path in places.volume("receipts").glob("deid-*.jsonl"))
    if bool(receipts) == nothing_released and not (storage / HOLDOUT_LEDGER).is_file():
        raise click.UsageError("give --nothing-released if no project was given anything, and not otherwise")
    told = (storage / CENTRES).read_text(encoding="utf-8")
    stamp = _hash([told, *(_listing(places.volume(name)) for name in ("landing", "receipts"))])
    _run(split_work(share, () if nothing_released else receipts, stamp, image))
    for work in deid_steps(HOLDOUT, _listing(storage / "landing"), image, settings.shard_workers()):
        _run(with_opt_outs(work) if work.step == "plan" else work)


@job.command("holdout-check")
@project_option
def holdout_check(project: str) -> None:
    """Compare a project's last cut with the hold-out. Where there is one, `platform up` mounts no cut that was not."""
    _decided(project)
    stamp = _hash([_listing(places.volume(name)) for name in (f"cuts-{project}", HOLDOUT)])
    _run(check_work(project, stamp, _services()))


@job.command()
@click.argument("submission", metavar="NAME")
@project_option
@click.option("--plan", required=True, metavar="NAME", help="A file of policies/evaluation.")
def evaluate(submission: str, project: str, plan: str) -> None:
    """Judge `submissions/ID/NAME` on the hold-out, sealed. The report lies in a folder of `evaluated/ID`."""
    _decided(project)
    if not NAME.fullmatch(submission) or not PLAN_NAME.fullmatch(plan):
        raise click.UsageError("a submission is a folder's name and a plan a file's, in letters, digits and '-'")
    folder = places.volume("submissions") / project / submission
    if not folder.is_dir():
        raise WrongSetUp(what="evaluate", which=submission, why="it is no folder", next_step=f"put it into {folder}")
    costs, manifest = settings.evaluation_costs(plan), places.volume(HOLDOUT) / "warehouse" / "manifest.jsonl"
    known = hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else ""
    stamp = _hash([_listing(folder), known, settings.text("evaluation", f"{plan}.yaml")])
    out = places.volume("evaluated") / project / stamp[:12]
    _run(evaluate_work(project, submission, plan, costs, stamp, _services()))
    click.echo(f"report: {out / 'report.html'}")


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
    kept = places.volume(HOLDOUT) / "receipts" if project == HOLDOUT else places.volume("receipts")
    file = kept / f"deid-{project}" / "plan.json"
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
    receipts = f"/{HOLDOUT}/receipts" if project == HOLDOUT else "/receipts"
    yield step("finish", *chosen, "--receipt", f"{receipts}/deid-{project}.jsonl")


def _deid_step(project: str, stamp: str, image: str, step: str, *more: str, **given: Any) -> Work:
    """Writes this project's warehouse and the receipts; reads landing and reaches Vault, but for the last, and nothing else.

    The hold-out's has all of these in the hold-out's own storage, and mounts nothing else: no account of a project sees it.
    """
    reads, own = step != "finish", f"/{HOLDOUT}" if project == HOLDOUT else ""
    mounts = (Mount(path=own, claim=HOLDOUT, writable=True),) if own else _deid_mounts(project, reads=reads)
    command = ("readingroom", "deid", f"{own}/landing", f"{own}/warehouse", "--landing", "--project", project)
    staging = ("--staging", f"{own}/receipts/deid-{project}", "--step", step)
    return Work(
        role="deid",
        project=project,
        step=step,
        account=deid_account(project),
        image=image,
        command=(*command, *(("--vault",) if reads else ()), *staging, *more),
        mounts=mounts,
        stamp=stamp,
        asks_vault=reads,
        **given,
    )


def _deid_mounts(project: str, *, reads: bool) -> tuple[Mount, ...]:
    return (
        *((Mount(path="/landing", claim="landing"),) if reads else ()),
        Mount(path="/warehouse", claim=f"warehouse-{project}", writable=True),
        Mount(path="/receipts", claim="receipts", writable=True),
    )


def split_work(share: int, receipts: Sequence[str], stamp: str, image: str) -> Work:
    """Moves originals from landing into the hold-out's storage, by a key of its own; no other account writes both."""
    released = tuple(word for name in receipts for word in ("--deid-receipt", f"/receipts/{name}"))
    command = ("readingroom", "holdout", "split", "--landing", "/landing", "--holdout", f"/{HOLDOUT}", "--vault")
    given = ("--centre-file", f"/{HOLDOUT}/{CENTRES}", "--share", str(share), *(released or ("--nothing-released",)))
    return Work(
        role=HOLDOUT,
        step="split",
        account=ACCOUNT_HOLDOUT,
        image=image,
        command=(*command, *given, "--confirm"),
        mounts=(
            Mount(path="/landing", claim="landing", writable=True),
            Mount(path=f"/{HOLDOUT}", claim=HOLDOUT, writable=True),
            *((Mount(path="/receipts", claim="receipts"),) if released else ()),
        ),
        stamp=stamp,
        asks_vault=True,
    )


def check_work(project: str, stamp: str, image: str) -> Work:
    """Reads a project's cuts and the hold-out, and writes which cut it cleared: a digest, and nothing of the hold-out."""
    return Work(
        role=HOLDOUT,
        project=project,
        step="check",
        account=ACCOUNT_HOLDOUT,
        image=image,
        command=("readingroom", "holdout", "check", "/cuts", "--holdout", f"/{HOLDOUT}", "--cleared", f"/{CLEARED}"),
        mounts=(
            Mount(path="/cuts", claim=f"cuts-{project}"),
            Mount(path=f"/{HOLDOUT}", claim=HOLDOUT),
            Mount(path=f"/{CLEARED}", claim=CLEARED, writable=True),
        ),
        stamp=stamp,
    )


def evaluate_work(project: str, submission: str, plan: str, costs: Mapping[str, int], stamp: str, image: str) -> Work:
    """Reads the hold-out and a submission, runs that beside, writes a report. It asks nobody, and no flow leads anywhere."""
    command = ("readingroom", "evaluate", f"/submissions/{project}/{submission}", "--project", project, "--plan", plan)
    given = ("--holdout", f"/{HOLDOUT}", "--out", f"/evaluated/{project}/{stamp[:12]}", "--beside", "/room")
    return Work(
        role="evaluate",
        project=project,
        account=ACCOUNT_EVALUATE,
        image=image,
        command=(*command, *given),
        mounts=(
            Mount(path="/submissions", claim="submissions"),
            Mount(path=f"/{HOLDOUT}", claim=HOLDOUT, writable=True),
            Mount(path="/evaluated", claim="evaluated", writable=True),
        ),
        stamp=stamp,
        memory="2Gi",
        seconds=costs["seconds"] + SECONDS,
        beside=Stranger(
            command=("python", "-I", "-B", "-c", "from readingroom.adapters.pod_run import serve; serve()"),
            mounts=(Mount(path="/images", claim=HOLDOUT, below="warehouse/images"),),
            memory=f"{costs['memory_mib'] + costs['scratch_mib']}Mi",
            scratch=f"{costs['scratch_mib']}Mi",
        ),
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
