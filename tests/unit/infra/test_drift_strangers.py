"""What opens or permits something and was declared by nobody is a finding, however it is labelled or named."""

from __future__ import annotations

from typing import Any, cast

import pytest

from infra import drift
from infra.node.cluster import BOOTSTRAP, DEPLOYER_RULES
from infra.provider.api import Api
from infra.provider.kinds import Kind

RBAC = "rbac.authorization.k8s.io/v1"
OWN = {"kubernetes.io/bootstrapping": "rbac-defaults"}
DECLARED = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "p-a-ws"}},
    {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "one"}},
]
KNOWN = frozenset({("NetworkPolicy", "p-a-ws/deny-all"), ("ValidatingAdmissionPolicy", "one")})


class Shelf:
    """A cluster that only lists."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self._objects = objects

    def objects(self, kind: Kind, namespace: str = "") -> list[dict[str, Any]]:
        return [
            one for one in self._objects
            if one["kind"] == kind.name and one["metadata"].get("namespace", "") == namespace
        ]  # fmt: skip


def found(*objects: dict[str, Any]) -> list[str]:
    api = cast(Api, Shelf(*objects))
    return [f"{one.object}: {one.what}" for one in drift.undeclared(api, DECLARED, KNOWN)]


def thing(kind: str, name: str, space: str = "", labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels or {}, **({"namespace": space} if space else {})}
    return {"apiVersion": RBAC, "kind": kind, "metadata": metadata, **more}


def subject(kind: str, name: str, space: str = "") -> dict[str, str]:
    return {"kind": kind, "name": name, **({"namespace": space} if space else {})}


FINE = {
    "declared": thing("NetworkPolicy", "deny-all", "p-a-ws"),
    "in a namespace that is not ours": thing("NetworkPolicy", "open", "elsewhere"),
    "the operators' own": thing(
        "ClusterRoleBinding", "cluster-admin", labels=OWN, subjects=[subject("Group", "system:masters")]
    ),
    "a controller's": thing(
        "ClusterRoleBinding", "system:controller:job-controller", labels=OWN,
        subjects=[subject("ServiceAccount", "job-controller", "kube-system")],
    ),
    "the scheduler's": thing(
        "ClusterRoleBinding", "system:volume-scheduler", labels=OWN,
        subjects=[subject("User", "system:kube-scheduler")],
    ),
    "for everybody, to see what the server is": thing(
        "ClusterRoleBinding", "system:discovery", labels=OWN, subjects=[subject("Group", "system:authenticated")]
    ),
    "the node's": thing(
        "ClusterRoleBinding", "readingroom:deployer", subjects=[subject("Group", "readingroom:deployer")]
    ),
    "the node's role": thing("ClusterRole", "readingroom:deployer", rules=DEPLOYER_RULES),
}  # fmt: skip
STRANGE = {
    "a policy": thing("NetworkPolicy", "open", "p-a-ws"),
    "a role that says it is Kubernetes' own": thing("Role", "reader", "p-a-ws", OWN),
    "a role named like one": thing("Role", "system:reader", "p-a-ws", OWN),
    "a role for the whole cluster": thing("ClusterRole", "reader", labels=OWN),
    "one that is named like one and has no label": thing("ClusterRole", "system:reader"),
    "somebody among the operators": thing(
        "ClusterRoleBinding", "cluster-admin", labels=OWN,
        subjects=[subject("Group", "system:masters"), subject("User", "ada")],
    ),
    "everybody among the operators": thing(
        "ClusterRoleBinding", "cluster-admin", labels=OWN, subjects=[subject("Group", "system:authenticated")]
    ),
    "a workspace's account with a controller's rights": thing(
        "ClusterRoleBinding", "system:controller:job-controller", labels=OWN,
        subjects=[subject("ServiceAccount", "job-controller", "p-a-ws")],
    ),
    "somebody beside the deployer": thing(
        "ClusterRoleBinding", "readingroom:deployer",
        subjects=[subject("Group", "readingroom:deployer"), subject("User", "ada")],
    ),
    "a deployer with one right more": thing(
        "ClusterRole", "readingroom:deployer",
        rules=[*DEPLOYER_RULES, {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
    ),
    "another admission policy": thing("ValidatingAdmissionPolicy", "two"),
}  # fmt: skip


@pytest.mark.parametrize("case", FINE)
def test_what_belongs_there_is_no_finding(case: str) -> None:
    assert found(FINE[case]) == []


@pytest.mark.parametrize("case", STRANGE)
def test_what_nobody_declared_is_named(case: str) -> None:
    one = STRANGE[case]
    space = f"{one['metadata']['namespace']}/" if "namespace" in one["metadata"] else ""
    assert found(*FINE.values(), one) == [f"{one['kind']} {space}{one['metadata']['name']}: undeclared"]


def test_the_nodes_own_roles_are_all_known() -> None:
    for name, (kind, who, rules) in BOOTSTRAP.items():
        assert found(
            thing("ClusterRole", name, rules=rules), thing("ClusterRoleBinding", name, subjects=[subject(kind, who)])
        ) == []  # fmt: skip
