"""The engine on the live node: a real pod in a sealed namespace, awaited, changed, refused, gone again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pulumi
import pytest
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgs, DeploymentStrategyArgs
from pulumi_kubernetes.core.v1 import (
    CapabilitiesArgs,
    ContainerArgs,
    PodSecurityContextArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    SeccompProfileArgs,
    SecurityContextArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from images.build import references
from infra import drift, engine, places
from infra.clusters import local
from infra.components.sealed_namespace import SealedNamespace, SealedNamespaceArgs
from readingroom.domain.errors import WrongSetUp

pytestmark = pytest.mark.cluster
STACK, SPACE = "t-engine", "t-engine"
NOTHING = f"rr.local/nothing@sha256:{'0' * 64}"


@dataclass
class Scratch:
    """A stack of its own, in a state folder of its own, on the node everybody shares."""

    image: str
    user: int = 10001
    lines: list[str] = field(default_factory=list)

    def program(self) -> None:
        provider = local.provider()
        facts = local.facts()
        sealed = SealedNamespace(
            SealedNamespaceArgs(
                name=SPACE, role="system", pod_security_version=facts.pod_security_version, quota={"pods": "3"}
            ),
            pulumi.ResourceOptions(providers=[provider]),
        )
        Deployment(
            f"{SPACE}/w",
            metadata=ObjectMetaArgs(name="w", namespace=SPACE, annotations={"pulumi.com/timeoutSeconds": "30"}),
            spec=DeploymentSpecArgs(
                selector=LabelSelectorArgs(match_labels={"app": "w"}),
                strategy=DeploymentStrategyArgs(type="Recreate"),
                template=PodTemplateSpecArgs(metadata=ObjectMetaArgs(labels={"app": "w"}), spec=self._pod()),
            ),
            opts=pulumi.ResourceOptions(provider=provider, depends_on=[sealed]),
        )

    def _pod(self) -> PodSpecArgs:
        locked = SecurityContextArgs(
            allow_privilege_escalation=False,
            capabilities=CapabilitiesArgs(drop=["ALL"]),
            read_only_root_filesystem=True,
        )
        return PodSpecArgs(
            automount_service_account_token=False,
            security_context=PodSecurityContextArgs(
                run_as_non_root=True, run_as_user=self.user, seccomp_profile=SeccompProfileArgs(type="RuntimeDefault")
            ),
            containers=[
                ContainerArgs(name="main", image=self.image, image_pull_policy="Never", security_context=locked)
            ],
        )

    def up(self) -> dict[str, int]:
        return dict(engine.up(STACK, self.program, self.lines.append).changes)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scratch]:
    image = references()["pause"]
    kubeconfig = places.state(places.DEPLOYER_KUBECONFIG)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    places.state().mkdir(parents=True)
    shutil.copy(kubeconfig, places.state(places.DEPLOYER_KUBECONFIG))
    site = Scratch(image)
    yield site
    engine.down(STACK, site.lines.append)


def test_a_pod_is_awaited_a_missing_image_is_named_and_mending_it_is_enough(scratch: Scratch) -> None:
    good = scratch.image
    assert scratch.up()["create"] > 0
    assert set(scratch.up()) == {"same"}
    assert [report.findings for report in drift.compare()] == [()]
    scratch.image = NOTHING
    with pytest.raises(WrongSetUp, match="container main: ErrImageNeverPull"):
        scratch.up()
    scratch.image = good
    assert scratch.up()["update"] == 1
    assert set(scratch.up()) == {"same"}


def test_a_pod_that_pod_security_refuses_is_named_with_the_clusters_own_warning(scratch: Scratch) -> None:
    scratch.user = 0
    with pytest.raises(WrongSetUp, match=r"runAsUser=0|must not set runAsUser"):
        scratch.up()
