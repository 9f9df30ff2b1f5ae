"""`readingroom workspace`: what runs, and stopping it. Opening one needs a browser and a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from readingroom.application.ports_workspace import WorkspacePod
from readingroom.contract import LABEL_GRANT, LABEL_HANDLE
from readingroom.domain.document import written
from readingroom.domain.errors import Refused
from readingroom.domain.ids import handle, project_id
from readingroom.domain.workspace import pod_name
from readingroom.entrypoints.cli.project import json_option, state_option, workspaces_in


@click.group()
def workspace() -> None:
    """Workspaces that run now."""


@workspace.command("list")
@click.option("--project", "project_name", help="Only this project.")
@state_option
@json_option
def list_workspaces(project_name: str | None, state: Path, as_json: bool) -> None:
    """List the workspaces of all projects, or of one."""
    wanted = project_id(project_name) if project_name else None
    workspaces = workspaces_in(state)
    projects = [wanted] if wanted else workspaces.projects()
    found = [pod for name in projects for pod in workspaces.pods(name)]
    if as_json:
        click.echo(json.dumps([_summary(pod) for pod in found]))
        return
    for pod in found:
        people = "user namespace" if not pod.host_users else "no user namespace"
        started = f"since {pod.started:%Y-%m-%d %H:%M} UTC" if pod.started else "not started"
        click.echo(f"{pod.project:20}  {pod.labels.get(LABEL_HANDLE, '?'):8}  {pod.state.value:9}  {started}  {people}")


@workspace.command()
@click.argument("project_name", metavar="PROJECT")
@click.argument("handle_text", metavar="HANDLE")
@state_option
@json_option
def stop(project_name: str, handle_text: str, state: Path, as_json: bool) -> None:
    """Stop one person's workspace. The person may open another: to end that, use `readingroom project revoke`."""
    name, person = project_id(project_name), handle(handle_text)
    workspaces = workspaces_in(state)
    found = next((pod for pod in workspaces.pods(name) if pod.name == pod_name(person)), None)
    if found is None:
        raise Refused(
            what="workspace",
            which=f"{person} in {name}",
            why="no such workspace is running",
            next_step="see `readingroom workspace list`",
        )
    workspaces.delete(found)
    click.echo(json.dumps(_summary(found)) if as_json else f"stopping {found.name} of {name}")


def _summary(pod: WorkspacePod) -> dict[str, Any]:
    return {
        "project": pod.project,
        "name": pod.name,
        "handle": pod.labels.get(LABEL_HANDLE),
        "grant": pod.labels.get(LABEL_GRANT),
        "state": pod.state.value,
        "started": written(pod.started) if pod.started else None,
        "cut": pod.cut,
        "image": pod.image,
        "user_namespace": not pod.host_users,
    }
