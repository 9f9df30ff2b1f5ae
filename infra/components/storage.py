"""The storage class of volumes that are folders of the node: nothing is provisioned, nothing is deleted with a claim."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pulumi_kubernetes.storage.v1 import StorageClass


@dataclass(frozen=True, kw_only=True)
class StorageArgs:
    """Its name."""

    name: str


class Storage(pulumi.ComponentResource):
    """The class."""

    def __init__(self, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("readingroom:system:Storage", "storage", None, opts)
        StorageClass(
            args.name,
            metadata=ObjectMetaArgs(name=args.name),
            provisioner="kubernetes.io/no-provisioner",
            reclaim_policy="Retain",
            volume_binding_mode="Immediate",  # claim and volume name each other
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
