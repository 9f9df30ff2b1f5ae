"""`readingroom platform`: the platform and its projects, made and compared by the real Pulumi engine.

One stack holds the platform, one more holds each project that has a grant file. The door finds the grants, calls the
programs, and says what happened; nothing is decided here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click

from infra import settings
from infra.cli_jobs import job
from readingroom.domain.errors import TryAgain, WrongSetUp

_PLATFORM = "local"


@dataclass(frozen=True)
class Plan:
    """One stack: its name, what must be on the host before it, and its program."""

    stack: str
    prepare: Callable[[], None]
    program: Callable[[], None]


def plans(project: str) -> list[Plan]:
    """The platform, then the projects; or one project alone. Raises `WrongSetUp` if it has no grant."""
    platform_program, project_program = (import_module(f"infra.programs.{name}") for name in ("platform", "project"))
    known = settings.grants()
    if project and project not in known:
        raise WrongSetUp(
            what="platform",
            which=f"project {project!r}",
            why="there is no grant for it",
            next_step=f"readingroom project grant {project} …",
        )

    def of(grant: Path) -> tuple[Callable[[], None], Callable[[], None]]:
        return lambda: project_program.prepare(grant), lambda: project_program.program(grant)

    projects = [Plan(f"project-{name}", *of(grant)) for name, grant in known.items() if project in ("", name)]
    return projects if project else [Plan(_PLATFORM, platform_program.prepare, platform_program.program), *projects]


stack_option = click.option(
    "--stack",
    type=click.Choice([_PLATFORM]),
    default=_PLATFORM,
    show_default=True,
    expose_value=False,
    help="Which site.",
)
project_option = click.option("--project", default="", metavar="ID", help="Only this project, not the platform.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def platform() -> None:
    """The platform on its cluster: seen before, made, compared, taken down."""


@platform.command()
@stack_option
@project_option
def preview(project: str) -> None:
    """Say what `up` would change; change nothing."""
    from infra import engine  # noqa: PLC0415 (Pulumi is slow to import)

    wanted = plans(project)
    engine.check_cluster("platform preview")
    for plan in wanted:
        outcome = engine.preview(plan.stack, plan.program)
        click.echo(f"{plan.stack}: {_counted(outcome.changes, planned=True)}")


@platform.command()
@stack_option
@project_option
@click.option("--take-back", is_flag=True, help="Overrule others who changed or added to what is ours.")
def up(project: str, take_back: bool) -> None:
    """Make or mend the platform and every project that has a grant. Repeating it changes nothing."""
    from infra import clearing, engine  # noqa: PLC0415 (the same)

    wanted = plans(project)
    engine.check_cluster("platform up")
    clearing.retire({*settings.decisions(), *settings.grants()})
    clearing.rebind()
    for plan in wanted:
        click.echo(f"{plan.stack}:")
        plan.prepare()
        outcome = engine.up(plan.stack, plan.program, take_back=take_back)
        for ended in _taken_back(plan.stack) if take_back else ():
            click.echo(f"{plan.stack}: deleted {ended}, which nobody declared")
        click.echo(f"{plan.stack}: {_counted(outcome.changes)}")


@platform.command()
@stack_option
@project_option
def down(project: str) -> None:
    """Delete what `up` made in the cluster, projects first. Data on volumes stays on the node."""
    from infra import clearing, engine  # noqa: PLC0415 (the same)

    known = engine.stacks()
    wanted = [f"project-{project}"] if project else [*(one for one in known if one != _PLATFORM), _PLATFORM]
    if project and wanted[0] not in known:
        raise WrongSetUp(
            what="platform down",
            which=f"project {project!r}",
            why="it is not up",
            next_step="readingroom platform status",
        )
    for name in wanted:
        if name not in known:
            click.echo(f"{name}: is not up")
            continue
        if ended := clearing.clear(name):
            click.echo(f"{name}: ended {ended} that ran in it")
        outcome = engine.down(name)
        click.echo(f"{name}: {_counted(outcome.changes)}")


@platform.command()
@stack_option
@json_option
def status(as_json: bool) -> None:
    """Compare every object in the cluster, whole, with what was declared; name each difference. Status 1 if any."""
    from infra import drift, engine  # noqa: PLC0415 (the same)

    engine.check_cluster("platform status")
    reports = drift.compare()
    if as_json:
        click.echo(json.dumps({"stacks": [report.to_json() for report in reports]}, indent=2))
    else:
        for line in [line for report in reports for line in report.lines()] or [f"{_PLATFORM}: is not up"]:
            click.echo(line)
    wrong = [report.stack for report in reports if report.findings]
    if wrong:
        raise WrongSetUp(
            what="platform status",
            which=", ".join(wrong),
            why="the cluster is not as declared",
            next_step="readingroom platform up --take-back, or declare the change",
        )


@platform.command()
@click.argument("out_dir", type=click.Path(file_okay=False, path_type=Path))
@stack_option
def render(out_dir: Path) -> None:
    """Write every object as YAML into OUT_DIR, a folder per stack; asks no cluster and no engine."""
    from infra import render as rendering  # noqa: PLC0415 (the same)

    if out_dir.exists() and any(out_dir.iterdir()):
        raise WrongSetUp(
            what="platform render", which=out_dir.name, why="the folder is not empty", next_step="name a new one"
        )
    stacks: list[tuple[str, tuple[str, ...]]] = [(_PLATFORM, (_PLATFORM,))]
    stacks += [(f"project-{name}", ("project", str(grant))) for name, grant in settings.grants().items()]
    for stack, words in stacks:
        count = rendering.write(rendering.render(stack, *words), out_dir / stack)
        click.echo(f"{stack}: {count} objects")


platform.add_command(job)


def _taken_back(stack: str) -> list[str]:
    from infra import drift  # noqa: PLC0415 (the same)
    from infra.provider.errors import ProviderError  # noqa: PLC0415 (the same)

    try:
        return drift.take_back(stack)
    except ProviderError as error:
        raise TryAgain(
            what="platform up", which=stack, why=str(error)[:300], next_step="readingroom platform status, then repeat"
        ) from error


_WORDS = {
    "create": "created", "update": "changed", "replace": "replaced", "delete": "deleted", "same": "unchanged",
}  # fmt: skip
_PLANNED = {"create": "to create", "update": "to change", "replace": "to replace", "delete": "to delete"}


def _counted(changes: Mapping[str, int], *, planned: bool = False) -> str:
    words = {**_WORDS, **(_PLANNED if planned else {})}
    said = [f"{changes[operation]} {word}" for operation, word in words.items() if changes.get(operation)]
    return ", ".join(said) or "nothing to do"
