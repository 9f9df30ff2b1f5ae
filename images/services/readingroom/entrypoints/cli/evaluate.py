"""`readingroom evaluate`: judge a submission on the hold-out, sealed; numbers come out and nothing else. Hold-out's side."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
from pathlib import Path
from typing import Any

import click

from readingroom.adapters.clock import SystemClock
from readingroom.adapters.durable import write_new
from readingroom.adapters.evaluation_files import EVALUATIONS, HoldOutFolder, MemoryFolder, check_report, plan_named
from readingroom.adapters.evaluation_page import page
from readingroom.adapters.pod_run import run_beside
from readingroom.adapters.sealed_run import run_sealed
from readingroom.adapters.submission import SubmissionRoom, run_folder
from readingroom.application.evaluate import Evaluated
from readingroom.application.evaluate import evaluate as evaluate_submission
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.evaluation.answer import FIGURES
from readingroom.domain.evaluation.plan import Plan
from readingroom.domain.ids import project_id
from readingroom.entrypoints import settings
from readingroom.entrypoints.cli.project import json_option

RECEIPT = "readingroom/evaluation-receipt/v1"
_folder = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("submission", metavar="SUBMISSION", type=click.Path(path_type=Path))
@click.option("--project", "project_name", required=True, metavar="ID", help="Who asks; the plan names it.")
@click.option("--plan", "plan_name", required=True, metavar="NAME", help="A file of policies/evaluation.")
@click.option("--holdout", "storage", type=_folder, required=True, help="The hold-out's own storage.")
@click.option("--out", type=_folder, required=True, help="Where report.json, report.html and receipt.json are put.")
@click.option("--beside", type=_folder, hidden=True, help="In a pod: where the container that runs it finds `cases`.")
@json_option
def evaluate(submission: Path, project_name: str, plan_name: str, as_json: bool, **given: Any) -> None:
    """Run SUBMISSION on the hold-out, sealed, and tell how good it is: figures in steps, with intervals, small groups hidden.

    SUBMISSION is predict.py, predict.ipynb, or a folder with one of them. It finds /cases/cases.csv (case, and
    where an image lies), and writes predictions.csv where it is started: `case` and a column for each task of the plan, a number
    from 0 to 1 for each case. It has no network, starts no other program, and nothing that it prints is kept.

    A question is spent before it runs, and stays spent if the run fails. The same submission again gives the same answer and
    costs nothing. The hold-out is STORAGE/warehouse, as deid --project holdout made it.
    """
    storage, out = given["storage"], given["out"]
    if out.resolve().is_relative_to(storage.resolve()):
        raise click.UsageError("--out lies in the hold-out's storage, and is for others to read")
    project, policies = project_id(project_name), settings.policies_folder()
    plan = plan_named(policies, plan_name)
    holdout = HoldOutFolder(storage)
    key = secrets.token_bytes(32)  # cases have other names in each run: a submission cannot know one again by its name

    def name(patient: str) -> str:
        return hmac.digest(key, patient.encode(), hashlib.sha256).hex()[:16]

    own = given["beside"]
    with contextlib.nullcontext(own) if own else run_folder(storage / EVALUATIONS) as folder:
        room = SubmissionRoom(submission, holdout.folder, folder, plan, run_beside if own else run_sealed)
        memory, now = MemoryFolder(storage, project), SystemClock().now()
        found = evaluate_submission(project, plan, holdout, room, memory, names=name, now=now)
    check_report(policies, found.report)
    _write(out, found, plan)
    _say(found, as_json=as_json)


def _write(out: Path, found: Evaluated, plan: Plan) -> None:
    """Report, page and receipt; what is there already and the same stays."""
    report = _bytes(found.report)
    receipt = {
        "schema": RECEIPT,
        "question": found.question,
        **{key: value for key, value in found.report.items() if key.endswith("_sha256")},
        "report_sha256": hashlib.sha256(report).hexdigest(),
    }
    files = {
        "report.json": report,
        "report.html": page(found.report, plan.question).encode(),
        "receipt.json": _bytes(receipt),
    }
    for name, content in files.items():
        try:
            write_new(out / name, content, 0o644)
        except FileExistsError:
            if (out / name).read_bytes() != content:
                raise _unwritten(
                    name, "another report is there", "give an empty folder; the question stays answered"
                ) from None
        except OSError as error:
            raise _unwritten(name, f"it cannot be written ({type(error).__name__})", "give another folder") from error


def _say(found: Evaluated, *, as_json: bool) -> None:
    report, left = found.report, found.left
    if as_json:
        told = {"question": found.question, "again": found.again, "left_now": left.now, "left_in_all": left.in_all}
        click.echo(json.dumps({**told, "report": report}))
        return
    for name, task in report.get("tasks", {}).items():
        click.echo(name)
        for key in FIGURES:
            each = task["overall"][key]
            click.echo(f"  {key:26}{each['value']:>6.2f}  ({each['low']:.2f} to {each['high']:.2f})")
    if "reason" in report:
        click.echo(f"no figures: {report['reason']}")
    word = "answered before, nothing is spent" if found.again else "one question is spent"
    click.echo(f"{word}; left: {left.now} now, {left.in_all} in all")


def _bytes(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, indent=1).encode("ascii") + b"\n"


def _unwritten(name: str, why: str, next_step: str) -> WrongSetUp:
    return WrongSetUp(what="evaluation", which=name, why=why, next_step=next_step)
