"""One approved project, from its grant file alone: two sealed namespaces, quota, claims, admission parameters, hub, edge.

The grant file's form is checked by the hub and by `readingroom project`; here only what places objects is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from images import build
from infra import places, settings, vault_tls
from infra.clusters import local
from infra.components.claims import ProjectClaims, ProjectClaimsArgs, project_claims, project_folders
from infra.components.edge import Edge, EdgeArgs
from infra.components.flows import AllowedFlows, AllowedFlowsArgs
from infra.components.hub import Hub, HubArgs
from infra.components.reconciler import ReconcilerRights, ReconcilerRightsArgs
from infra.components.sealed_namespace import SealedNamespace, SealedNamespaceArgs
from infra.facts import ClusterFacts
from infra.node import images as node_images
from infra.programs import host
from infra.provider.apply import FORCE
from readingroom.contract import (
    ADMISSION,
    ADMITTED,
    ADMITTED_CUT,
    CLEARED,
    RETIRED,
    SERVICE_UID,
    SPLIT_MARK,
    WORKSPACE_UID,
    clearance_file,
    cut_file,
    hub_namespace,
    image_reference,
    retired_digests,
    workspace_namespace,
)
from readingroom.domain.errors import Refused, WrongSetUp

_HUB_QUOTA = {"pods": "10", "limits.memory": "4Gi"}


@dataclass(frozen=True)
class Places:
    """What of a grant decides where objects lie and how many there may be."""

    project: str
    version: int
    text: str
    handles: tuple[str, ...]
    document: dict[str, Any]
    retired: frozenset[str] = frozenset()  # digests of this project's cuts that are never mounted again

    @classmethod
    def read(cls, grant: Path) -> Places:
        """From the file. Raises `WrongSetUp` if it is no grant."""
        try:
            text = grant.read_text(encoding="utf-8")
            document = json.loads(text)
            handles = tuple(sorted(member["handle"] for member in document["members"]))
            return cls(document["project"], document["version"], text, handles, document, retired(document["project"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WrongSetUp(
                what="grant file",
                which=grant.name,
                why=f"it cannot be read ({type(error).__name__})",
                next_step="write a new version of the grant",
            ) from error


def retired(project: str) -> frozenset[str]:
    """What `readingroom cohort retract` retired of a project's cuts. Raises `WrongSetUp` when that cannot be read."""
    file = places.volume(f"cuts-{project}") / RETIRED
    try:
        return retired_digests(file.read_bytes()) if file.exists() else frozenset()
    except (OSError, ValueError) as error:
        raise WrongSetUp(
            what="cut",
            which=f"{RETIRED} of {project}",
            why=f"it cannot be read ({type(error).__name__}), so nobody knows what was taken back",
            next_step="restore it from the backup",
        ) from error


def cleared(digest: str) -> bool:
    """Whether a cut may be mounted where a hold-out is kept apart: `readingroom holdout check` compared it.

    That says nothing of who is in the hold-out: a cut that was not compared and one that met it look alike from here.
    """
    apart = (places.volume("landing") / SPLIT_MARK).exists()
    return not apart or (places.volume(CLEARED) / clearance_file(digest)).is_file()


def workspace_quota(document: dict[str, Any]) -> dict[str, str]:
    """At most what the committee approved, whatever the hub asks for."""
    running, sizes = document["limits"]["running"], document["sizes"].values()
    memory = max(size["memory_gib"] for size in sizes)
    quota = {"pods": str(running), "limits.memory": f"{running * memory}Gi"}
    resources = {size["gpu"]["resource"] for size in sizes if size["gpu"]}
    return {**quota, **{f"requests.{name}": str(document["limits"]["gpus"]) for name in sorted(resources)}}


def admission_parameters(places_: Places) -> dict[str, str]:
    """What admission holds every workspace of the project to."""
    document = places_.document
    image = document["data"]["image"] or ""
    digest = image.partition("@")[2]
    return {
        ADMITTED_CUT: image if digest not in places_.retired and cleared(digest) else "",
        "images": " ".join(sorted(image["ref"] for image in document["images"].values())),
        ADMITTED: " ".join(places_.handles),
        "seconds": str(document["limits"]["max_hours"] * 3600),
        "until": datetime.fromisoformat(document["until"]).astimezone(UTC).isoformat(),
    }


def prepare(grant: Path) -> None:
    """Images, folders of hub, homes and outboxes, and the granted cut into the runtime, by its digest and no other."""
    found = Places.read(grant)
    host.images()
    _deliver_cut(found)
    owners = project_folders(found.project, found.handles)
    host.folders({name: WORKSPACE_UID if mine else SERVICE_UID for name, mine in owners.items()})


def _deliver_cut(found: Places) -> None:
    """The runtime knows the cut, or gets it from where the cut's Job left it. Its digest is compared on the way in.

    Of a cut that was retired it keeps nothing. A grant that still gives one to somebody is `Refused`.
    """
    node_images.forget(found.retired)
    name, _, digest = str(found.document["data"]["image"]).rpartition("/")[2].partition("@")
    if digest in found.retired:
        if not found.handles:
            return
        raise Refused(
            what="cut",
            which=f"{found.project} v{found.version}",
            why="the grant gives a cut that is retired: it holds data that were taken back",
            next_step=f"readingroom project grant {found.project}, over a new cut",
        )
    if not cleared(digest):
        if not found.handles:
            return
        raise Refused(
            what="cut",
            which=f"{found.project} v{found.version}",
            why="a hold-out is kept apart here, and the cut that the grant gives is not cleared of it",
            next_step=f"readingroom platform job holdout-check --project {found.project}",
        )
    archive = places.volume(f"cuts-{found.project}") / cut_file(digest)
    if image_reference(name, digest) in node_images.present():
        return
    if not archive.is_file():
        raise WrongSetUp(
            what="cut",
            which=f"{found.project} v{found.version}",
            why="the subset that the grant names is not on this machine",
            next_step=f"readingroom platform job cut --project {found.project}",
        )
    node_images.import_image(archive, name, digest)


def program(grant: Path) -> None:
    """Every object of the project: its walls, then what runs within them."""
    facts, images, found = local.facts(), build.references(), Places.read(grant)
    top = pulumi.ResourceOptions(providers=[local.provider()])
    walls = _walls(found, facts, top)
    hub = Hub(
        HubArgs(
            project=found.project,
            version=found.version,
            grant=found.text,
            grant_schema=settings.text("schema", "grant.schema.json"),
            images=images,
            vault_ca=vault_tls.ca_certificate(),
            pull_policy=facts.image_pull_policy,
        ),
        _after(top, *walls),
    )
    Edge(
        EdgeArgs(
            project=found.project,
            edge_conf=settings.text("access", "edge.conf"),
            gate_conf=settings.text("access", "gate.conf"),
            images=images,
            pull_policy=facts.image_pull_policy,
        ),
        _after(top, *walls, hub),
    )


def _walls(found: Places, facts: ClusterFacts, top: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """Two sealed namespaces, and within them what is allowed: flows, admission, claims, the reconciler's rights."""
    project, document = found.project, found.document
    sealed = [
        SealedNamespace(
            SealedNamespaceArgs(
                name=name,
                role=side,
                pod_security_version=facts.pod_security_version,
                quota=quota,
                project=project,
                tier=document["tier"],
            ),
            top,
        )
        for side, name, quota in (
            ("hub", hub_namespace(project), _HUB_QUOTA),
            ("workspace", workspace_namespace(project), workspace_quota(document)),
        )
    ]
    inside = _after(top, *sealed)
    folders = {name: str(places.volume(name)) for name in project_folders(project, found.handles)}
    claims = ProjectClaimsArgs(
        project=project,
        claims=project_claims(project, found.handles, document["home_gib"], document["outbox_gib"], folders),
        node_name=facts.node_name,
        storage_class=facts.storage_class,
    )
    return [
        *sealed,
        *(
            AllowedFlows(AllowedFlowsArgs(flows=settings.flows(), side=side, project=project), inside)
            for side in ("hub", "workspace")
        ),
        _admission(found, inside),
        ProjectClaims(claims, inside),
        ReconcilerRights(ReconcilerRightsArgs(project=project), inside),
    ]


def _admission(found: Places, inside: pulumi.ResourceOptions) -> ConfigMap:
    """A withdrawal narrows it at once; the next version of the grant, which says the same for good, overrules that."""
    namespace = workspace_namespace(found.project)
    return ConfigMap(
        f"{namespace}/{ADMISSION}",
        metadata=ObjectMetaArgs(name=ADMISSION, namespace=namespace, annotations={FORCE: "true"}),
        data=admission_parameters(found),
        opts=inside,
    )


def _after(opts: pulumi.ResourceOptions, *guards: pulumi.Resource) -> pulumi.ResourceOptions:
    """The same options, after these too."""
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(guards)))
