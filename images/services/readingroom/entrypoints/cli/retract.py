"""`readingroom cohort retract`: take back what was received, from landing; or what was released, from a warehouse, its cuts and
the workspaces that mount them. A dry run until `--confirm`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from readingroom.adapters.clinical_policy import clinical_policy
from readingroom.adapters.clock import SystemClock
from readingroom.adapters.cuts import ENGINE, CutFolder, WarehouseFolder
from readingroom.adapters.opt_out_files import identities_in, listed_in, names_in_list, studies_in
from readingroom.adapters.originals import LandingOriginals
from readingroom.adapters.retractable import RetractableWarehouse
from readingroom.adapters.shelf import CutShelf
from readingroom.adapters.tree import Tree
from readingroom.application.cut_cohort import cut_cohort
from readingroom.application.issue_grant import recut
from readingroom.application.retract import retract as retract_patients
from readingroom.application.retract import retract_studies, retract_within
from readingroom.application.retract_released import Effects, Reach, Taken, reach, retract_released
from readingroom.contract import cut_repository, image_reference
from readingroom.domain.cut import CutRecord
from readingroom.domain.deid.keys import Pseudonyms
from readingroom.domain.document import HEX
from readingroom.domain.door import CENTRE
from readingroom.domain.errors import TryAgain, WrongSetUp
from readingroom.domain.grant import Grant
from readingroom.domain.ids import Digest, ProjectId, project_id
from readingroom.domain.opt_out import OptOuts
from readingroom.domain.retraction import Chosen
from readingroom.entrypoints import settings
from readingroom.entrypoints.cli.deid import keys_given, keys_options
from readingroom.entrypoints.cli.project import decisions_in, grants_in, json_option, state_option, workspaces_in

_CHOICES: Final = {
    "landing": ("patient_file", "study_file", "batch", "centre"),
    "warehouse": ("patient_file", "study_file", "pseudonym_file", "profile_hash", "engine_version", "gone"),
}
_FORMS: Final = {
    "centre": (CENTRE, "a centre is 2 to 12 capital letters and digits"),
    "batch": (
        re.compile(rf"{CENTRE.pattern}/[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}/[A-Za-z0-9-]+"),
        "a batch is written CODE/DAY/BATCH, as in the lines of a dry run",
    ),
    "profile_hash": (HEX, "a profile's hash is 64 hexadecimal digits, as profile_sha256 in the manifest"),
    "engine_version": (ENGINE, "an engine's version is a word, as engine in the manifest"),
}
_APART: Final = ("patient_file", "study_file", "pseudonym_file")
_file = click.Path(dir_okay=False, path_type=Path)
_folder = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option("--landing", type=_folder, help="Landing of ingest: originals go.")
@click.option("--warehouse", type=_folder, help="OUT_DIR of deid, instead: what was released goes.")
@click.option("--patient-file", type=_file, help="Whose: one identifier a line.")
@click.option("--study-file", type=_file, help="Which studies: one Study Instance UID a line.")
@click.option("--batch", metavar="CODE/DAY/BATCH", help="Which batch of landing, as this command writes it.")
@click.option("--centre", metavar="CODE", help="Of which centre: all of it in landing.")
@click.option("--pseudonym-file", type=_file, help="Patients and studies as the warehouse names them, one a line.")
@click.option("--profile-hash", metavar="SHA256", help="All that was made by this profile, as the manifest says.")
@click.option(
    "--engine-version", metavar="WORD", help="All that was made by this version of deid, as the manifest says."
)
@click.option("--gone", is_flag=True, default=None, help="What the warehouse has lost already: from its cuts.")
@click.option("--project", "project_name", metavar="ID", help="Whose warehouse.")
@click.option("--cuts", type=_folder, help="Where `cohort cut` put this project's cuts.")
@click.option("--linked", multiple=True, type=_folder, help="OUT of link join, for the new cut; may be repeated.")
@keys_options
@state_option
@click.option("--confirm", is_flag=True, help="Remove them. Without it, only say what would go.")
@json_option
def retract(confirm: bool, as_json: bool, **given: Any) -> None:
    """Take back originals from landing; or from a project what was released of them.

    --landing: of patients, images and clinical records, under every name landing knows; of studies; of one batch; or of a
    centre. For patients, `deid --opt-outs` follows; for the rest, `deid`; then --warehouse with --gone.

    --warehouse: files and rows go, every cut that holds any of it is retired and never mounted again, workspaces that mount
    one are stopped, a new cut and grant take their place. --patient-file and --study-file need the project's keys; a
    patient's other numbers are known to landing alone.

    Nothing is removed without --confirm. Killed at any point, run it again.
    """
    by = _choice(given)
    if given["landing"]:
        _from_landing(given["landing"], by, confirm=confirm, as_json=as_json)
    else:
        _from_warehouse(by, given, confirm=confirm, as_json=as_json)


def _choice(given: Mapping[str, Any]) -> dict[str, Any]:
    """One place and one choice of it, clear, and identifiers that lie apart."""
    places = [place for place in _CHOICES if given[place]]
    if len(places) != 1:
        raise click.UsageError("give --landing or --warehouse")
    [place] = places
    by = {name: given[name] for names in _CHOICES.values() for name in names}
    if len([name for name, value in by.items() if value is not None]) != 1 or not any(
        by[name] is not None for name in _CHOICES[place]
    ):
        words = [f"--{name.replace('_', '-')}" for name in _CHOICES[place]]
        raise click.UsageError(f"with --{place} give one of {', '.join(words[:-1])} and {words[-1]}")
    for name in _APART:
        if by[name] and by[name].resolve().is_relative_to(given[place].resolve()):
            raise click.UsageError(f"--{name.replace('_', '-')} holds identifiers and must lie outside --{place}")
    for name, (form, meaning) in _FORMS.items():
        if by[name] is not None and not form.fullmatch(by[name]):
            raise click.UsageError(meaning)
    if place == "warehouse" and not (given["project_name"] and given["cuts"]):
        raise click.UsageError("with --warehouse give --project and --cuts")
    keyed = by["patient_file"] or by["study_file"]
    if (given["vault"] or given["key_file"]) and (place == "landing" or not keyed):
        raise click.UsageError("--key-file and --vault belong to --warehouse with --patient-file or --study-file")
    return by


def _from_landing(landing: Path, by: Mapping[str, Any], *, confirm: bool, as_json: bool) -> None:
    patients = OptOuts(opted_out=listed_in(by["patient_file"], "the patient file")) if by["patient_file"] else None
    studies = studies_in(by["study_file"]) if by["study_file"] else None
    with Tree(landing) as tree:
        jobs = len(os.sched_getaffinity(0))
        originals = LandingOriginals(landing, tree, clinical_policy(settings.policies_folder()), jobs=jobs)
        if patients is not None:
            done = retract_patients(patients, originals, _say, confirm=confirm)
        elif studies is not None:
            done = retract_studies(studies, originals, _say, confirm=confirm)
        else:
            done = retract_within(by["batch"] or by["centre"], originals, confirm=confirm)
    if as_json:
        click.echo(json.dumps({"removed": confirm, "batches": done.batches}))
        return
    total = sum(sum(kinds.values()) for kinds in done.batches.values())
    click.echo(f"{total} originals in {len(done.batches)} batches " + ("are removed" if confirm else "would go"))
    for batch, kinds in sorted(done.batches.items()):
        click.echo(f"  {batch}  " + ", ".join(f"{kind} {number}" for kind, number in sorted(kinds.items())))
    if total and not confirm:
        click.echo("next: the same command with --confirm removes them")


def _from_warehouse(by: Mapping[str, Any], given: Mapping[str, Any], *, confirm: bool, as_json: bool) -> None:
    project, state = project_id(given["project_name"]), given["state"]
    chosen = _chosen(project, by, given)
    store, shelf = RetractableWarehouse(given["warehouse"], project), CutShelf(given["cuts"])
    grants = grants_in(state)
    grant = grants.read(project) if grants.versions(project) else None
    found = reach(chosen, store, shelf, _granted(grant))
    done, now = None, grant
    if confirm:
        files = WarehouseFolder(given["warehouse"], given["linked"])

        def new_cut() -> CutRecord:
            decisions = decisions_in(state)
            ground = decisions.read(project), decisions.record_sha256(project)
            return cut_cohort(*ground, files, CutFolder(given["cuts"], files), SystemClock().now(), _say)[0]

        def stop(digests: frozenset[Digest]) -> None:
            try:
                workspaces = workspaces_in(state)
            except WrongSetUp:  # there is no cluster on this machine
                return
            workspaces.retire(project, frozenset(image_reference(cut_repository(project), one) for one in digests))

        done = retract_released(chosen, store, shelf, Effects(stop=stop, recut=new_cut), _granted(grant))
        if grant and _granted(grant) in done.retired:
            now = grants.write(recut(grants.document(project), done.cut))
    _report(project, found, done, (grant, now), as_json=as_json)
    if done and done.unstopped:
        raise TryAgain(
            what="retract",
            which=project,
            why=f"all is done, but the cluster was not told ({done.unstopped.why})",
            next_step="run the same command again as soon as the cluster answers",
        ) from done.unstopped


def _granted(grant: Grant | None) -> Digest | None:
    """The cut that members may mount."""
    image = grant.cut.image if grant and grant.members else None
    return Digest(image.partition("@")[2]) if image else None


def _chosen(project: ProjectId, by: Mapping[str, Any], given: Mapping[str, Any]) -> Chosen:
    """What is taken, by the names it has in this project: identifiers turn into pseudonyms here, as in `deid`."""
    if by["pseudonym_file"]:
        return _named(names_in_list(by["pseudonym_file"]))
    if not (by["patient_file"] or by["study_file"]):
        return Chosen(profile=by["profile_hash"] or "", engine=by["engine_version"] or "", gone=bool(by["gone"]))
    identified = identities_in(by["patient_file"]) if by["patient_file"] else studies_in(by["study_file"])
    pseudonyms = Pseudonyms(keys_given(project, dict(given)), project)
    return _named(frozenset(map(pseudonyms.patient if by["patient_file"] else pseudonyms.uid, identified)))


def _named(names: frozenset[str]) -> Chosen:
    if not names:
        raise WrongSetUp(what="retract", which="the file", why="it names nobody", next_step="write one name a line")
    return Chosen(names=names)


def _report(
    project: ProjectId, found: Reach, done: Taken | None, grants: tuple[Grant | None, Grant | None], *, as_json: bool
) -> None:
    before, now = grants
    granted = _granted(before)
    new = done.cut if done and granted in done.retired else None
    if as_json:
        summary = {
            "removed": done is not None,
            "project": project,
            "files": found.files,
            **asdict(found.counts),
            "rows": found.rows,
            "cuts": found.cuts,
            "granted": before.id if before and granted in found.cuts else None,
            "retired": sorted(done.retired) if done else None,
            "cut": new.to_document() if new else None,
            "grant": now.id if now else None,
        }
        click.echo(json.dumps(summary))
        return
    click.echo(
        f"{found.files} files of {found.counts.patients} patients, {found.counts.studies} studies, and {found.rows} rows of "
        f"{project} " + ("are removed" if done else "would go")
    )
    for digest in found.cuts:
        mounted = f"  granted in {before.id}" if before and digest == granted else ""
        click.echo(f"  cut {digest} " + ("is retired" if done else "would be retired") + mounted)
    if done is None:
        click.echo("next: the same command with --confirm does it")
        return
    if found.files or found.rows:
        click.echo("  landing keeps the originals, and `deid` releases them again: retract them there too")
    if done.cut and found.cuts:
        click.echo(f"  cut {done.cut.digest} is the last one now")
    if done.uncut:
        click.echo(f"  no cut takes its place: {done.uncut.why}")
    if now is not before and now:
        what = "gives the new cut" if now.members else "gives nobody anything"
        click.echo(f"  {now.id} {what}; what mounts the old one is being stopped")
        click.echo("next: readingroom platform up" + ("" if now.members else ", and `readingroom project grant`"))


def _say(line: str) -> None:
    click.echo(line, err=True)
