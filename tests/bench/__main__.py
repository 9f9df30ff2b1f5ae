"""`python -m tests.bench`: all arms in one run, in rotating order, so that drift hits all alike; then data path and network."""

from __future__ import annotations

import csv
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from images import build
from infra import places
from infra.node import cluster, launcher
from infra.node.images import import_image
from readingroom.domain.errors import ReadingRoomError, WrongSetUp
from tests import mutants
from tests.bench import contest, data, network, shards
from tests.bench.arms import Arm, kubectl
from tests.bench.bare import bare
from tests.bench.figures import Start, ratio_lines, spawn_table, stage_table
from tests.bench.ours import ours
from tests.bench.stock import stock
from tests.cluster import site
from tests.cluster.site import Person, Room

ARMS = ("bare", "stock", "ours")
LEVELS = (1, 2, 4)
STAGES = ("pod seen", "running", "ready", "hub ready", "usable", "first page")
PROJECT = "bench"
MORE = ("cat", "dan")
OUT = places.CHECKOUT / "build" / "bench"


def say(text: str = "") -> None:
    """A line for people."""
    click.echo(text)


def members(room: Room) -> list[Person]:
    """The people of the room who are in its grant: as many as start at once."""
    return [room.ada, room.ben, *room.more.values()]


@click.command()
@click.option(
    "--starts", type=click.IntRange(4), default=8, show_default=True, help="Starts of each cell; a multiple of 4."
)
@click.option(
    "--only",
    type=click.Choice([*ARMS, "data", "shards", "network", "peers", "scores", "mutants"]),
    help="One arm or part alone.",
)
@click.option("--instances", type=click.IntRange(1), default=256, show_default=True, help="CT slices of the data path.")
@click.option("--mutants", "damaged", type=click.IntRange(1), default=2000, show_default=True, help="Damaged files.")
def main(starts: int, only: str | None, instances: int, damaged: int) -> None:
    """Spawn times of a bare pod, of stock KubeSpawner and of ours, and instances a second of de-identification."""
    if starts % max(LEVELS):
        raise click.UsageError(f"--starts must be a multiple of {max(LEVELS)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended like Ctrl-C: what was made goes
    OUT.mkdir(parents=True, exist_ok=True)
    try:
        say(machine())
        if only in {None, *ARMS}:
            bench_spawns(starts, [only] if only else list(ARMS))
        if only in {None, "data"}:
            bench_data(instances)
        if only in {None, "shards"}:
            bench_shards(instances)
        if only in {None, "network"}:
            bench_network(instances)
        if only in {None, "peers"}:
            bench_peers(rounds=2)
        if only == "scores":
            bench_peers(rounds=0)
        if only in {None, "mutants"}:
            bench_mutants(damaged)
    except ReadingRoomError as error:
        click.echo(str(error), err=True)
        sys.exit(1)


def machine() -> str:
    """What this machine is, and how busy before anything of the bench runs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return (
        f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB of memory; load before the run (1, 5, 15 min): {load}"
    )


def bench_spawns(starts: int, names: Sequence[str]) -> None:
    """All cells, the tables, the file."""
    if not cluster.api_ready() or not cluster.node_ready():
        raise WrongSetUp(
            what="the bench", which="the node", why="it is not running", next_step="`make demo`, then repeat"
        )
    running = len(kubectl("get", "pods", "-A", "--field-selector=status.phase=Running", "--no-headers").splitlines())
    say(f"{running} pods run on the node before the bench makes any")
    built = build.build("workspace-cpu")
    image = import_image(built.tar, "workspace-cpu", built.digest)
    found: list[Start] = []
    with ExitStack() as made:
        made.callback(write_csv, OUT / "spawn.csv", found)  # also what an interrupted run has measured
        made.enter_context(launcher.using())
        arms: list[Arm] = []
        if "bare" in names:
            arms.append(made.enter_context(bare(image)))
        if "stock" in names:
            arms.append(made.enter_context(stock(image, max(LEVELS))))
        if "ours" in names:
            say("making a project with four researchers, who sign in")
            room = made.enter_context(site.room(PROJECT, MORE))
            arms.append(made.enter_context(ours(room, members(room))))
        rounds(arms, starts, found)
    say()
    say(spawn_table(found, names, LEVELS))
    say(
        f"p95 is the nearest rank: of {starts} starts that is {'the largest' if starts < 20 else 'nearly the largest'}."
    )
    say()
    for line in ratio_lines(found, "ours", [name for name in names if name != "ours"], LEVELS):
        say(f"{line}  (medians; 90 % interval)")
    say("Median seconds after the request until")
    say(stage_table(found, names, LEVELS, STAGES))
    for one in found:
        if one.failure:
            say(f"failed: {one.arm}, {one.concurrent} at once: {one.failure}")
    say(f"every start: {(OUT / 'spawn.csv').relative_to(places.CHECKOUT)}")


def rounds(arms: Sequence[Arm], starts: int, found: list[Start]) -> None:
    """One start of each arm that is not counted (it is the cold one), then all cells, into `found`."""
    for arm in arms:
        (first,) = at_once(arm, 1, 0)
        say(f"first start, not counted: {arm.name} {first.failure or f'{first.seconds:.2f} s'}")
    for concurrent in LEVELS:
        for number in range(starts // concurrent):
            turn = number % len(arms)
            for arm in (*arms[turn:], *arms[:turn]):
                found += at_once(arm, concurrent, number + 1)
        say(f"{concurrent} at once: done; load {os.getloadavg()[0]:.1f}")


def at_once(arm: Arm, concurrent: int, number: int) -> list[Start]:
    """Fired together; when all have ended the next round may begin."""
    found: list[Start] = []
    gate = threading.Barrier(concurrent)

    def one(seat: int) -> None:
        gate.wait()
        try:
            stages = arm.start(seat)
            found.append(Start(arm.name, concurrent, number, stages["usable"], stages=stages))
        except Exception as error:  # noqa: BLE001 (the edge of one start: a failure is a result, with its words)
            found.append(Start(arm.name, concurrent, number, None, f"{type(error).__name__}: {error}"[:300]))

    threads = [threading.Thread(target=one, args=(seat,), daemon=True) for seat in range(concurrent)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seat in range(concurrent):
        arm.end(seat)
    time.sleep(0.5)
    return found


def write_csv(path: Path, starts: Sequence[Start]) -> None:
    """Every start with its stages."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["arm", "at once", "round", *STAGES, "failure"])
        for one in starts:
            reached = [f"{one.stages[stage]:.3f}" if stage in one.stages else "" for stage in STAGES]
            writer.writerow([one.arm, one.concurrent, one.round, *reached, one.failure])


def bench_data(instances: int) -> None:
    """The passes, the table, the file."""
    runs = data.measure(instances, rounds=2)
    data.write_csv(OUT / "deid.csv", runs)
    say()
    say(f"{instances} CT slices of {data.SIZE} x {data.SIZE}, whole processes, the better of two passes each")
    say(data.report(runs))


def bench_shards(instances: int) -> None:
    """The passes, the table, the file."""
    runs = shards.measure(instances, rounds=2)
    data.write_csv(OUT / "shards.csv", runs)
    say()
    say(f"{instances} CT slices of {data.SIZE} x {data.SIZE}, {shards.PATIENTS} patients in {shards.SHARDS} shards")
    say(shards.report(runs))


def bench_network(instances: int) -> None:
    """The passes, the table, the file."""
    runs = network.measure(instances)
    network.write_csv(OUT / "network.csv", runs)
    say()
    say(f"{instances} CT slices of {data.SIZE} x {data.SIZE} to the network door over TLS, senders on the same cores")
    say(network.report(runs))


def bench_peers(rounds: int) -> None:
    """The contest, and its file; without rounds, what leaks and stays and is valid, and no speed."""
    told, rows = contest.contest(rounds)
    if rows:
        contest.write_csv(OUT / "peers.csv", rows)
    say()
    say(told)


def bench_mutants(number: int) -> None:
    """How damaged files end. What ends as none may is named: the name makes it again."""
    with tempfile.TemporaryDirectory(prefix="rr-mutants-") as work:
        survived = mutants.survive(number, Path(work))
    say()
    say(
        f"{number} damaged files: {survived.unanswered} without an answer, {len(survived.never)} that ended as none may; "
        f"largest process {survived.peak / 2**20:.0f} MiB"
    )
    for (outcome, reason), count in sorted(survived.counts.items()):
        say(f"  {outcome}  {reason}  {count}")
    for line in survived.never:
        say(f"  never: {line}")


if __name__ == "__main__":
    main()
