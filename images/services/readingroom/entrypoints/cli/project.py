"""`readingroom project`: decisions and grants, as files that are written once.

A decision says which data, for whom, until when; a grant is the right that follows. Opening it is `readingroom platform up`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from readingroom.adapters.access_terms import terms_from
from readingroom.adapters.clock import SystemClock
from readingroom.adapters.cuts import read_record
from readingroom.adapters.decision_file import DecisionFolder
from readingroom.adapters.grant_file import GrantFolder
from readingroom.adapters.retired import check_not_retired
from readingroom.application.decide_access import Answer, decision_document
from readingroom.application.issue_grant import Decided, check_follows, grant_document, revoked
from readingroom.application.ports_workspace import Workspaces
from readingroom.domain.document import written
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


def decisions_in(state: Path) -> DecisionFolder:
    """The decision files below a state folder."""
    return DecisionFolder(state / "decisions", settings.policies_folder() / "schema" / "decision.schema.json")


def workspaces_in(state: Path) -> Workspaces:
    """The workspaces of the cluster that a state folder belongs to. Raises `WrongSetUp` where there is none."""
    from readingroom.adapters.cluster import KubernetesWorkspaces, by_kubeconfig  # noqa: PLC0415 (slow to import)

    return KubernetesWorkspaces(by_kubeconfig(state / DEPLOYER_KUBECONFIG))


@click.group()
def project() -> None:
    """Decisions and grants: who may use which data until when."""


@project.command()
@click.argument("project_name", metavar="PROJECT")
@click.option("--title", required=True, help="What the project is about.")
@click.option("--request", required=True, help="Id of the access request that was decided.")
@click.option("--until", required=True, metavar="TIME", help="End of the decision: 2027-05-22 or 2027-05-22T00:00:00Z.")
@click.option(
    "--modality", "modalities", multiple=True, required=True, metavar="CODE", help="DICOM code; may be repeated."
)
@click.option("--clinical", is_flag=True, help="With the clinical table of the cut's patients.")
@click.option("--linked", multiple=True, metavar="POLICY", help="With this joined table of them; may be repeated.")
@click.option("--member", "members", multiple=True, required=True, metavar="USERNAME", help="May be repeated.")
@state_option
@json_option
def decide(project_name: str, state: Path, as_json: bool, **given: Any) -> None:
    """Write down what the data access committee decided, as the next version."""
    folder = decisions_in(state)
    answer = Answer(project=project_id(project_name), **{**given, "until": time_from(given["until"])})
    document = decision_document(answer, folder.next_version(answer.project), SystemClock().now())
    found = folder.write(document)
    summary = {**document, "file": str(folder.path(found.project, found.version))}
    text = f"decided {found.id}; next: readingroom cohort cut --project {found.project}"
    click.echo(json.dumps(summary) if as_json else text)


@project.command()
@click.argument("project_name", metavar="PROJECT")
@click.option("--title", help="What the project is about [default: the decision's].")
@click.option("--member", "members", multiple=True, required=True, metavar="HANDLE[=UNTIL]", help="May be repeated.")
@click.option(
    "--until", metavar="TIME", help="End of the grant: 2027-05-22 or 2027-05-22T00:00:00Z [default: the decision's]."
)
@click.option(
    "--cut-file", type=click.Path(dir_okay=False, path_type=Path), help="The cut.json of `readingroom cohort cut`."
)
@click.option("--cut", "cut_id", help="Id of the data cut, for people; with the next two, instead of --cut-file.")
@click.option("--cut-image", help="The cut, rr.local/cut-<project>@sha256:…")
@click.option("--manifest-sha256", help="SHA-256 of the cut's MANIFEST.json.")
@click.option("--image", "images", multiple=True, required=True, metavar="NAME=REFERENCE", help="May be repeated.")
@click.option("--request", help="Id of the access request [default: the decision's, or rq-0001 without one].")
@click.option("--terms", type=click.Path(dir_okay=False, path_type=Path), help="Access terms [default: the site's].")
@state_option
@json_option
def grant(project_name: str, state: Path, as_json: bool, **given: Any) -> None:
    """Write the next version of a project's grant: what the decision says, or narrower."""
    folder, name = grants_in(state), project_id(project_name)
    policies = settings.policies_folder()
    terms = terms_from(
        given["terms"] or policies / "access" / "terms.yaml", policies / "schema" / "access-terms.schema.json"
    )
    decisions = decisions_in(state)
    decision = decisions.read(name) if decisions.versions(name) else None
    if decision is None and not (given["title"] and given["until"]):
        raise click.UsageError(f"give --title and --until: there is no decision for {name}")
    until = time_from(given["until"]) if given["until"] or decision is None else decision.until
    decided = Decided(
        project=name,
        title=given["title"] or (decision.title if decision else ""),
        request=given["request"] or (decision.request if decision else "rq-0001"),
        until=until,
        members=members_from(given["members"], until),
        images=images_from(given["images"]),
        record_sha256=decisions.record_sha256(name) if decision else None,
        **cut_from(given),
    )
    if decision is not None:
        check_follows(decided, decision)
    found = folder.write(grant_document(decided, terms, folder.next_version(name), SystemClock().now()))
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
        workspaces_in(state).withdraw(name, before["version"], ended)
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


def cut_from(given: Mapping[str, Any]) -> dict[str, str]:
    """The cut that is granted, from its record or from three options. Raises a usage error for both, or for neither."""
    named = {"cut_id": given["cut_id"], "cut_image": given["cut_image"], "manifest_sha256": given["manifest_sha256"]}
    if given["cut_file"] is None:
        if None in named.values():
            raise click.UsageError("give --cut-file, or --cut, --cut-image and --manifest-sha256")
        return named
    if any(named.values()):
        raise click.UsageError("give --cut-file, or --cut, --cut-image and --manifest-sha256, but not both")
    record = read_record(given["cut_file"])
    check_not_retired(given["cut_file"].parent, record.digest)
    return {
        "cut_id": record.cut,
        "cut_image": record.image,
        "manifest_sha256": record.manifest_sha256,
        "cut_for": record.ground.record_sha256,
    }


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
