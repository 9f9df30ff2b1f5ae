"""`readingroom project`: grants, as files that are written once. Opening them is `readingroom platform up`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from readingroom.adapters.access_terms import terms_from
from readingroom.adapters.clock import SystemClock
from readingroom.adapters.cluster import KubernetesWorkspaces, by_kubeconfig
from readingroom.adapters.grant_file import GrantFolder
from readingroom.application.issue_grant import Decided, grant_document, revoked, written
from readingroom.domain.errors import Refused, TryAgain, WrongSetUp
from readingroom.domain.grant import Grant, state_at
from readingroom.domain.ids import Handle, handle, project_id
from readingroom.entrypoints import settings

DEPLOYER_KUBECONFIG = "deployer.kubeconfig"

state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=settings.state_folder,
    help="State folder [default: the user's XDG state folder].",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def grants_in(state: Path) -> GrantFolder:
    """The grant files below a state folder."""
    return GrantFolder(state / "grants", settings.policies_folder() / "schema" / "grant.schema.json")


@click.group()
def project() -> None:
    """Grants: who may use which data until when."""


@project.command()
@click.argument("project_name", metavar="PROJECT")
@click.option("--title", required=True, help="What the project is about.")
@click.option("--member", "members", multiple=True, required=True, metavar="HANDLE[=UNTIL]", help="May be repeated.")
@click.option("--until", required=True, metavar="TIME", help="End of the grant: 2027-05-22 or 2027-05-22T00:00:00Z.")
@click.option("--cut", "cut_id", required=True, help="Id of the data cut, for people.")
@click.option("--cut-image", required=True, help="The cut, rr.local/cut-<project>@sha256:…")
@click.option("--manifest-sha256", required=True, help="SHA-256 of the cut's MANIFEST.json.")
@click.option("--image", "images", multiple=True, required=True, metavar="NAME=REFERENCE", help="May be repeated.")
@click.option("--request", default="rq-0001", show_default=True, help="Id of the access request that was decided.")
@click.option("--terms", type=click.Path(dir_okay=False, path_type=Path), help="Access terms [default: the site's].")
@state_option
@json_option
def grant(project_name: str, state: Path, as_json: bool, **given: Any) -> None:
    """Write the next version of a project's grant."""
    folder = grants_in(state)
    name, until = project_id(project_name), time_from(given["until"])
    policies = settings.policies_folder()
    terms = terms_from(
        given["terms"] or policies / "access" / "terms.yaml", policies / "schema" / "access-terms.schema.json"
    )
    decided = Decided(
        project=name,
        title=given["title"],
        request=given["request"],
        until=until,
        members=members_from(given["members"], until),
        cut_id=given["cut_id"],
        cut_image=given["cut_image"],
        manifest_sha256=given["manifest_sha256"],
        images=images_from(given["images"]),
    )
    version = (folder.versions(name) or [0])[-1] + 1
    found = folder.write(grant_document(decided, terms, version, SystemClock().now()))
    _report(folder, found, as_json, f"granted {found.id}; next: readingroom platform up")


@project.command()
@click.argument("project_name", metavar="PROJECT")
@click.option("--version", type=int, help="Which version [default: the highest].")
@state_option
@json_option
def show(project_name: str, version: int | None, state: Path, as_json: bool) -> None:
    """Show one grant."""
    folder = grants_in(state)
    name = project_id(project_name)
    found = folder.read(name, version)
    _report(folder, found, as_json, "\n".join(_lines(found, folder.versions(name)[-1])))


@project.command("list")
@state_option
@json_option
def list_grants(state: Path, as_json: bool) -> None:
    """List projects and their grant in force."""
    folder, now = grants_in(state), SystemClock().now()
    found = [folder.read(name) for name in folder.projects()]
    if as_json:
        click.echo(json.dumps([_summary(folder, item, now) for item in found]))
        return
    for item in found:
        state_name = state_at(item, now).value
        click.echo(f"{item.project:20}  v{item.version:<4}  {state_name:9}  until {item.until:%Y-%m-%d}  {item.title}")


@project.command()
@click.argument("project_name", metavar="PROJECT")
@click.option("--member", "members", multiple=True, metavar="HANDLE", help="Only this member; may be repeated.")
@state_option
@json_option
def revoke(project_name: str, members: Sequence[str], state: Path, as_json: bool) -> None:
    """End a grant, or some members' part of it: a new version without them, and the running workspaces closed."""
    folder = grants_in(state)
    name, handles = project_id(project_name), frozenset(handle(text) for text in members)
    before = folder.document(name)
    after = folder.write(revoked(before, handles))
    ended = handles or frozenset(Handle(member["handle"]) for member in before["members"])
    try:
        KubernetesWorkspaces(by_kubeconfig(state / DEPLOYER_KUBECONFIG)).withdraw(name, before["version"], ended)
        note = "running workspaces are being closed; next: readingroom platform up"
    except WrongSetUp:
        note = "there is no cluster on this machine"
    except (TryAgain, Refused) as error:
        raise TryAgain(
            what="revocation",
            which=after.id,
            why=f"the grant is written, but the cluster was not told ({error.why})",
            next_step="run `readingroom platform up` as soon as the cluster answers",
        ) from error
    _report(folder, after, as_json, f"revoked {len(ended)} of {before['project']} in v{after.version}; {note}")


def time_from(text: str) -> datetime:
    """A date means its first instant, in UTC. Raises a usage error for anything else than the two forms."""
    for form in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise click.UsageError(f"{text[:40]!r} is no time: write 2027-05-22 or 2027-05-22T00:00:00Z")


def members_from(texts: Sequence[str], until: datetime) -> dict[Handle, datetime]:
    """Members and the end of each; without an end of its own, a membership ends with the grant."""
    found: dict[Handle, datetime] = {}
    for text in texts:
        name, _, end = text.partition("=")
        if handle(name) in found:
            raise click.UsageError(f"member {name} is given twice")
        found[handle(name)] = time_from(end) if end else until
    return found


def images_from(texts: Sequence[str]) -> dict[str, str]:
    """Environments by name. Whether the reference is one is the grant parser's to say."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, reference = text.partition("=")
        if not equals or name in found:
            raise click.UsageError(f"--image {text[:60]!r}: write each NAME=REFERENCE once")
        found[name] = reference
    return found


def _summary(folder: GrantFolder, found: Grant, now: datetime) -> dict[str, Any]:
    latest = folder.versions(found.project)[-1]
    return {
        "project": found.project,
        "version": found.version,
        "state": state_at(found, now, latest=latest).value,
        "title": found.title,
        "until": written(found.until),
        "members": [{"handle": member.handle, "until": written(member.until)} for member in found.members],
        "cut": found.cut.id,
        "cut_image": found.cut.image,
        "file": str(folder.path(found.project, found.version)),
    }


def _lines(found: Grant, latest: int) -> list[str]:
    state = state_at(found, SystemClock().now(), latest=latest).value
    members = [f"  {member.handle}  until {member.until:%Y-%m-%d %H:%M} UTC" for member in found.members]
    return [
        f"{found.id}  {state}  {found.title}",
        f"from {found.starts:%Y-%m-%d %H:%M} until {found.until:%Y-%m-%d %H:%M} UTC, request {found.request}",
        f"data {found.cut.id}  {found.cut.image or found.cut.claim}",
        "members:" if members else "no members",
        *members,
    ]


def _report(folder: GrantFolder, found: Grant, as_json: bool, text: str) -> None:
    click.echo(json.dumps(_summary(folder, found, SystemClock().now())) if as_json else text)
