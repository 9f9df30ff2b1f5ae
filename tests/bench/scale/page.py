"""The plan as a page and a picture: what was assumed, what came out of it. Pure: the same plan gives the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from tests.bench.figures import nearest_rank
from tests.bench.scale.plan import HOUR, YEAR_WEEKS, Plan, Scenario
from tests.bench.scale.simulate import Done, Shard, shards_of, simulate, waiting

PICTURE = "queue.svg"
COLOURS = ("#0b3d62", "#b5530a", "#2f7d32", "#7a3b8f", "#8a1c1c")
WIDTH, HEIGHT, LEFT, TOP = 720, 230, 64, 30
SHOWN_DAYS = (7, 14)  # the week with the stop

Runs = Mapping[str, tuple[Scenario, list[Shard], Mapping[int, list[Done]]]]


def runs_of(plan: Plan) -> Runs:
    """Every scenario with every number of workers."""
    found = {}
    for scenario in plan.scenarios:
        shards = shards_of(plan, scenario)
        found[scenario.name] = (
            scenario,
            shards,
            {workers: simulate(shards, workers, scenario.stop) for workers in scenario.workers},
        )
    return found


def page(plan: Plan, runs: Runs) -> str:
    """The page in Markdown."""
    shared = plan.value("engine", "two_jobs") / plan.value("engine", "slices")
    parts = [
        "# The scale plan\n",
        "Written by `make plan` from `policies/scale/plan.yaml`; a test compares. **This is a simulation, not a measurement.**"
        "\nA shard is work for one core, a worker of the Indexed Job is one core, first come, first served. What was put in"
        "\nstands below, each figure with its source. That workers on machines of their own do not slow each other down is"
        f"\nassumed; two jobs on one machine of two cores and one disk gave {shared:.2f} times the rate of one.\n",
        f"![Instances waiting, by hour]({PICTURE})\n",
    ]
    for scenario, shards, by_workers in runs.values():
        parts += [f"## {scenario.title}\n", _sums(plan, scenario, shards), _table(scenario, by_workers)]
    parts += ["## What was put in\n", _assumptions(plan)]
    return "\n".join(parts)


def picture(runs: Runs) -> str:
    """Instances waiting by hour, a panel for each scenario."""
    panels = [_panel(number, *run) for number, run in enumerate(runs.values())]
    height = HEIGHT * len(panels)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            *panels,
            "</svg>\n",
        ]
    )


def _sums(plan: Plan, scenario: Scenario, shards: Sequence[Shard]) -> str:
    """What the whole weighs and costs, of a backlog or of a year."""
    studies = sum(scenario.studies.values())
    instances = sum(count * plan.modalities[kind].instances for kind, count in scenario.studies.items())
    terabytes = sum(count * plan.modalities[kind].megabytes for kind, count in scenario.studies.items()) / 1e6
    times = YEAR_WEEKS / scenario.weeks if scenario.weeks else 1
    cores = sum(shard.seconds for shard in shards) / HOUR * times
    stored = terabytes * plan.value("prices", "copies")
    moved = 2 * terabytes * 1e6 / plan.value("engine", "disk") / HOUR
    held = studies * plan.value("people", "held")
    rows = [
        ("studies; instances", f"{studies:,}; {instances / 1e6:.1f} million"),
        ("received; stored", f"{terabytes:,.1f} TB; {stored:,.1f} TB in {plan.value('prices', 'copies'):.0f} copies"),
        ("compute", f"{cores:,.0f} core-hours, GBP {cores * plan.value('prices', 'core_hour'):,.0f}"),
        ("storage, once all is there", f"GBP {stored * plan.value('prices', 'terabyte_month'):,.0f} a month"),
        ("read and written through one disk", f"{moved:,.0f} h"),
        (
            "held for a person",
            f"{held:,.0f} studies, {held * plan.value('people', 'minutes') / 60:,.0f} h of a data manager",
        ),
    ]
    if scenario.weeks:
        peak = max(_by_hour(shards).values()) / HOUR
        listeners = math.ceil(peak / plan.value("engine", "listener"))
        rows.append(("busiest hour at the network door", f"{peak:.0f} instances/s: {listeners} listener"))
    return _lines(["one year" if scenario.weeks else "in all", ""], rows)


def _table(scenario: Scenario, by_workers: Mapping[int, Sequence[Done]]) -> str:
    if not scenario.weeks:
        head = ["workers", "all done after", "instances/s"]
        rows = [
            (str(workers), f"{_end(done) / HOUR:.1f} h", f"{sum(d.shard.instances for d in done) / _end(done):,.0f}")
            for workers, done in by_workers.items()
        ]
        return _lines(head, rows)
    head = [
        "workers",
        "busy",
        "done after arrival: half",
        "95 %",
        "longest",
        "waiting at most, first week",
        "caught up after the stop",
    ]
    rows = []
    for workers, done in by_workers.items():
        late = [each.ended - each.shard.arrived for each in done]
        span = workers * scenario.weeks * 168 * HOUR
        queue = waiting(done, scenario.weeks * 168)
        rows.append(
            (
                str(workers),
                f"{sum(each.shard.seconds for each in done) / span:.0%}",
                *(_time(nearest_rank(late, share)) for share in (0.5, 0.95, 1)),
                f"{max(queue[:168]):,} instances",
                f"{_caught_up(queue, scenario)} h",
            )
        )
    return _lines(head, rows)


def _caught_up(queue: Sequence[int], scenario: Scenario) -> int:
    """Hours after the stop until no more waits than ever waited in the week before."""
    usual, ended = max(queue[:168]), int(scenario.stop[1] // HOUR)
    return next((hour for hour, count in enumerate(queue[ended:]) if count <= usual), len(queue) - ended)


def _time(seconds: float) -> str:
    return f"{seconds / HOUR:.1f} h" if seconds >= 2 * HOUR else f"{seconds / 60:.0f} min"


def _end(done: Iterable[Done]) -> float:
    return max(each.ended for each in done)


def _by_hour(shards: Iterable[Shard]) -> dict[float, int]:
    found: dict[float, int] = {}
    for shard in shards:
        found[shard.arrived] = found.get(shard.arrived, 0) + shard.instances
    return found


def _assumptions(plan: Plan) -> str:
    rows = [
        (f"`{place}`", f"{figure['value']:,} {figure['unit']}", f"**{figure['basis']}**", figure["source"])
        for place, figure in plan.figures()
    ]
    rows.append(("`week`", "the hours and days of the file", "**assumed**", plan.document["week"]["source"]))
    return _lines(["figure", "value", "basis", "source"], rows)


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows)) + "\n"


def _panel(number: int, scenario: Scenario, _: Sequence[Shard], by_workers: Mapping[int, Sequence[Done]]) -> str:
    if scenario.weeks:
        first, last = (day * 24 for day in SHOWN_DAYS)
    else:
        first, last = 0, math.ceil(_end(by_workers[min(by_workers)]) / HOUR)
    series = {workers: waiting(done, last + 1)[first:] for workers, done in by_workers.items()}
    top = max(max(line) for line in series.values())
    base, wide, tall = number * HEIGHT + TOP, WIDTH - LEFT - 16, HEIGHT - TOP - 34
    title = f"{scenario.title}: instances waiting" + (", in the week of the stop" if scenario.weeks else "")
    drawn = [f'<text x="{LEFT}" y="{base - 12}" font-weight="bold">{title}</text>']
    drawn.append(f'<path d="M{LEFT} {base}v{tall}h{wide}" fill="none" stroke="#555555"/>')
    drawn.append(f'<text x="{LEFT - 6}" y="{base + 4}" text-anchor="end">{_short(top)}</text>')
    drawn.append(f'<text x="{LEFT - 6}" y="{base + tall}" text-anchor="end">0</text>')
    drawn.append(f'<text x="{LEFT + wide}" y="{base + tall + 18}" text-anchor="end">{last - first} h</text>')
    for place, (workers, line) in enumerate(series.items()):
        points = " ".join(
            f"{LEFT + wide * hour / (last - first):.1f},{base + tall - tall * count / top:.1f}"
            for hour, count in enumerate(line)
        )
        colour = COLOURS[place]
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        label = f"{workers} worker{'s' if workers > 1 else ''}"
        drawn.append(f'<text x="{WIDTH - 110}" y="{base + 12 + 16 * place}" fill="{colour}">{label}</text>')
    return "\n".join(drawn)


def _short(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} k"
