"""A program rendered without cluster or engine: objects, their order, and files to hand to a judge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from infra import places
from infra.render import Declared, write

PROGRAM = """
import json, sys
from dataclasses import asdict
import pulumi, pulumi_kubernetes
from pulumi_kubernetes.core.v1 import Service, ServiceSpecArgs, ServicePortArgs
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from infra.components.sealed_namespace import SealedNamespace, SealedNamespaceArgs
from infra.render import collect

def program():
    provider = pulumi_kubernetes.Provider("cluster", kubeconfig="none")
    opts = pulumi.ResourceOptions(providers=[provider])
    sealed = SealedNamespace(
        SealedNamespaceArgs(name="rr-one", role="system", pod_security_version="v1.37", quota={"pods": "5"}), opts)
    Service("rr-one/s", metadata=ObjectMetaArgs(name="s", namespace="rr-one"),
            spec=ServiceSpecArgs(ports=[ServicePortArgs(port=53, target_port=53)]),
            opts=pulumi.ResourceOptions(provider=provider, depends_on=[sealed]))

json.dump([asdict(one) for one in collect(program, "local")], sys.stdout)
"""


@pytest.fixture(scope="module")
def declared() -> list[Declared]:
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=places.CHECKOUT, capture_output=True, text=True, check=True
    )
    return [Declared(**one) for one in json.loads(told.stdout)]


def named(declared: list[Declared], kind: str) -> Declared:
    return next(one for one in declared if one.manifest.get("kind") == kind)


def test_every_object_is_there_with_its_kind(declared: list[Declared]) -> None:
    kinds = sorted(one.manifest["kind"] for one in declared if one.manifest)
    assert kinds == ["LimitRange", "Namespace", "NetworkPolicy", "ResourceQuota", "Service"]


def test_numbers_are_whole(declared: list[Declared]) -> None:
    assert named(declared, "Service").manifest["spec"]["ports"] == [{"port": 53, "targetPort": 53}]


def test_what_depends_on_a_sealed_namespace_depends_on_all_of_it(declared: list[Declared]) -> None:
    before = " ".join(named(declared, "Service").dependencies)
    assert all(name in before for name in ("rr-one/deny-all", "rr-one/quota", "rr-one/limits"))


def test_one_file_for_each_object(declared: list[Declared], tmp_path: Path) -> None:
    assert write(declared, tmp_path) == 5
    file = tmp_path / "rr-one_networkpolicy_deny-all.yaml"
    assert yaml.safe_load(file.read_text()) == named(declared, "NetworkPolicy").manifest
