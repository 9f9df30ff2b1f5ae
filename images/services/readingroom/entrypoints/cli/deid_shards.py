"""`readingroom deid` in shards: its options, and the processes that work side by side on this machine.

`--step plan`, `--step work` and `--step finish` are what Jobs in the cluster give, one each; on one machine `--shards` gives
all three. A worker is the command itself in a process of its own, so that here and there the same code runs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

import click

from readingroom.domain.errors import TryAgain
from readingroom.entrypoints import settings
from readingroom.entrypoints.cli.progress import progress

STEPS: Final = ("plan", "work", "finish")
START: Final = "from readingroom.entrypoints.cli import main; main()"


def shards_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--shards` and `--staging` for people; `--step`, `--shard` and `--plan` for Jobs."""
    for option in (
        click.option("--plan", hidden=True, metavar="DIGEST", help="What `--step plan` told."),
        click.option("--shard", type=click.IntRange(0), hidden=True, help="Which one [default: JOB_COMPLETION_INDEX]."),
        click.option("--step", type=click.Choice(STEPS), hidden=True, help="One step of a run in shards."),
        click.option("--staging", type=click.Path(file_okay=False, path_type=Path),
                     help="Where a run in shards keeps its plan and what is done: identified."),
        click.option("--shards", type=click.IntRange(1, 100_000), metavar="N", help="In at least N shards: see below."),
    ):  # fmt: skip
        command = option(command)
    return command


def check_shards(given: dict[str, Any]) -> None:
    """Which options go together. Raises `click.UsageError`."""
    step, sharded = given["step"], given["step"] or given["shards"]
    if bool(sharded) != bool(given["staging"]):
        raise click.UsageError("--shards and --staging DIR go together")
    if (step in {"work", "finish"}) != bool(given["plan"]):
        raise click.UsageError("--plan DIGEST is for --step work and --step finish, and both need it")
    if given["shard"] is not None and step != "work":
        raise click.UsageError("--shard is for --step work")


def shard_of(given: dict[str, Any]) -> int:
    """Which shard is to be done. Raises `click.UsageError` when nobody says so."""
    shard = given["shard"] if given["shard"] is not None else settings.completion_index()
    if shard is None:
        raise click.UsageError("--step work: give --shard, or run it in a pod of an Indexed Job")
    return int(shard)


def work_all(given: dict[str, Any], digest: str, images: Sequence[int]) -> None:
    """Every shard, `--jobs` at a time. The first that fails ends the command, as it would have ended its own process."""
    command = _command(given, digest)
    done = 0
    with progress("files") as show, ThreadPoolExecutor(given["jobs"]) as pool:
        working = {pool.submit(_work, [*command, "--shard", str(shard)]): shard for shard in range(len(images))}
        try:
            for future in as_completed(working):
                future.result()
                done += images[working[future]]
                show("de-identified", done, sum(images))
        except subprocess.CalledProcessError as error:
            pool.shutdown(cancel_futures=True)
            _fail(error)


def _work(command: list[str]) -> None:
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)


def _command(given: dict[str, Any], digest: str) -> list[str]:
    keys = (
        ["--vault", "--vault-wait", str(given["vault_wait"])] if given["vault"] else ["--key-file", given["key_file"]]
    )
    explain = ["--explain", given["explain"]] if given["explain"] else []
    words = [
        *("deid", given["in_dir"], given["out_dir"], "--project", given["project"], "--profile", given["profile_name"]),
        *(*keys, *explain, "--staging", given["staging"], "--step", "work", "--plan", digest, "--jobs", "1"),
    ]
    return [sys.executable, "-c", START, *map(str, words)]


def _fail(error: subprocess.CalledProcessError) -> None:
    """The worker's own line and exit status are those of the command."""
    said = error.stderr.decode(errors="replace").strip().splitlines()
    if error.returncode < 0 or not said:
        raise TryAgain(
            what="a run in shards",
            why=f"the process of a shard was ended (status {error.returncode})",
            next_step="give the same command again: what is done is not done twice",
        ) from error
    click.echo(said[-1], err=True)
    raise click.exceptions.Exit(error.returncode)
