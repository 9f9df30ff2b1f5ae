"""Claims of a project, each bound beforehand to one `local` volume: the hub's state, and home and outbox of each member.

A claim is made with the membership, never by the hub. When the stack goes, claim and volume go, and the folder stays: what a
person wrote is not thrown away by an operator's `down`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import (
    LocalVolumeSourceArgs,
    NodeSelectorArgs,
    NodeSelectorRequirementArgs,
    NodeSelectorTermArgs,
    ObjectReferenceArgs,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpecArgs,
    PersistentVolumeSpecArgs,
    VolumeNodeAffinityArgs,
    VolumeResourceRequirementsArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from readingroom.contract import hub_namespace, object_name, workspace_namespace


@dataclass(frozen=True, kw_only=True)
class LocalClaim:
    """One claim, its folder on the node, and its size."""

    namespace: str
    name: str
    folder: str
    gib: int

    @property
    def volume(self) -> str:
        """The volume's name: one for each claim in the cluster."""
        return object_name(self.namespace, self.name)


@dataclass(frozen=True, kw_only=True)
class ProjectClaimsArgs:
    """The claims, and where `local` volumes lie."""

    project: str
    claims: Sequence[LocalClaim]
    node_name: str
    storage_class: str = "rr-local"


def project_claims(
    project: str, handles: Sequence[str], home_gib: int, outbox_gib: int, folders: Mapping[str, str]
) -> list[LocalClaim]:
    """What a project has: `hub-state`, and `home-<handle>`, `outbox-<handle>` for each member.

    `folders` maps the names of `project_folders` to paths that exist.
    """
    inside, rooms = hub_namespace(project), workspace_namespace(project)
    found = [LocalClaim(namespace=inside, name="hub-state", folder=folders[f"hub-{project}"], gib=1)]
    for handle in sorted(handles):
        for kind, gib in (("home", home_gib), ("outbox", outbox_gib)):
            folder = folders[f"{kind}-{project}-{handle}"]
            found.append(LocalClaim(namespace=rooms, name=f"{kind}-{handle}", folder=folder, gib=gib))
    return found


def project_folders(project: str, handles: Sequence[str]) -> dict[str, bool]:
    """Names of the folders to make, and whether the researcher (1000) owns it; else the services (10001). Mode 0700."""
    mine = {f"{kind}-{project}-{handle}": True for handle in sorted(handles) for kind in ("home", "outbox")}
    return {f"hub-{project}": False, **mine}


class ProjectClaims(pulumi.ComponentResource):
    """Volumes and claims, bound to each other by name from the start."""

    def __init__(self, args: ProjectClaimsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("readingroom:project:ProjectClaims", f"claims-{args.project}", None, opts)
        for claim in args.claims:
            self._pair(claim, args)
        self.register_outputs({})

    def _pair(self, claim: LocalClaim, args: ProjectClaimsArgs) -> None:
        size = {"storage": f"{claim.gib}Gi"}
        here = NodeSelectorRequirementArgs(key="kubernetes.io/hostname", operator="In", values=[args.node_name])
        volume = PersistentVolume(
            claim.volume,
            metadata=ObjectMetaArgs(name=claim.volume),
            spec=PersistentVolumeSpecArgs(
                capacity=size,
                access_modes=["ReadWriteOnce"],
                persistent_volume_reclaim_policy="Retain",
                storage_class_name=args.storage_class,
                local=LocalVolumeSourceArgs(path=claim.folder),
                node_affinity=VolumeNodeAffinityArgs(
                    required=NodeSelectorArgs(node_selector_terms=[NodeSelectorTermArgs(match_expressions=[here])])
                ),
                claim_ref=ObjectReferenceArgs(
                    api_version="v1", kind="PersistentVolumeClaim", namespace=claim.namespace, name=claim.name
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        PersistentVolumeClaim(
            f"{claim.namespace}/{claim.name}",
            metadata=ObjectMetaArgs(name=claim.name, namespace=claim.namespace),
            spec=PersistentVolumeClaimSpecArgs(
                access_modes=["ReadWriteOnce"],
                storage_class_name=args.storage_class,
                volume_name=claim.volume,
                resources=VolumeResourceRequirementsArgs(requests=size),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[volume]),
        )
