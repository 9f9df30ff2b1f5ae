"""Whole live objects against what was declared, and what nobody declared: the answer of `platform status`.

Pulumi's own refresh cuts the live object to the shape of the inputs, so an appended egress rule or a further subject is
invisible to it. Here each object is compared with what the API server itself would make of its declaration, and in our
namespaces no rule, right or policy may exist that was not declared. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final

from infra import engine, places
from infra.node.cluster import BOOTSTRAP
from infra.provider.api import Api
from infra.provider.apply import Call, as_declared, name_of
from infra.provider.compare import MISSING, drift, whole_numbers
from infra.provider.errors import ApiRefusal, ProviderError
from infra.provider.kinds import KINDS, Kind, by_name, by_token

# What opens or permits something just by being there. Pods, claims and ConfigMaps come and go with the platform's work.
_GUARDED: Final = ("NetworkPolicy", "Role", "RoleBinding", "ResourceQuota", "LimitRange", "Service")
_GUARDED_EVERYWHERE: Final = (
    "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ClusterRole", "ClusterRoleBinding",
)  # fmt: skip
_KUBERNETES_OWN: Final = "kubernetes.io/bootstrapping"  # a label of the roles that the API server makes by itself
_DEFAULT_ROLES: Final = ("cluster-admin", "admin", "edit", "view")  # beside `system:…`
_FOR_EVERYBODY: Final = (  # what Kubernetes lets everybody who signed in do: read what the server is, not what it holds
    "system:basic-user", "system:discovery", "system:public-info-viewer", "system:service-account-issuer-discovery",
    "system:cluster-trust-bundle-discovery",
)  # fmt: skip
_WORKERS: Final = 8
Known = frozenset[tuple[str, str]]  # (kind, name) of whatever any stack declared


@dataclass(frozen=True)
class Finding:
    """One thing that is not as declared."""

    object: str  # `NetworkPolicy rr-system/deny-all`
    where: str  # the path; empty for the object as a whole
    what: str  # added | removed | changed | gone | undeclared | cannot be compared: …


@dataclass(frozen=True)
class Report:
    """One stack."""

    stack: str
    objects: int
    findings: tuple[Finding, ...]

    def lines(self) -> Iterator[str]:
        """For people."""
        for one in self.findings:
            yield f"! {one.object}{f': {one.where}' if one.where else ''}: {one.what}"
        verdict = f"differences: {len(self.findings)}" if self.findings else "all as declared"
        yield f"{self.stack}: {self.objects} objects, {verdict}"

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def compare() -> list[Report]:
    """Every object of every stack with the cluster. One that cannot be compared is a finding, never passed over."""
    declared, known = _declared()
    with Api.of(str(places.state(places.DEPLOYER_KUBECONFIG))) as api:
        return [_report(api, stack, some, known) for stack, some in declared.items()]


def take_back(stack: str) -> list[str]:
    """Delete what nobody declared in this stack's namespaces, each as it was seen, and name it.

    What stands for the whole cluster may belong to somebody else: it stays a finding.
    """
    spaces = _spaces(list(declared_objects(engine.resources(stack))))
    guarded = [kind for kind in KINDS if kind.name in _GUARDED]
    ended = []
    with Api.of(str(places.state(places.DEPLOYER_KUBECONFIG))) as api:
        seen = [(kind, live) for kind in guarded for space in spaces for live in api.objects(kind, space)]
        _, known = _declared()  # after the look: what another run of ours has made meanwhile is known then
        for kind, live in seen:
            if not _ours(kind, live, known):
                _delete(api, kind, live["metadata"])
                ended.append(f"{kind.name} {name_of(live)}")
    return ended


def _delete(api: Api, kind: Kind, metadata: Mapping[str, str]) -> None:
    try:
        api.delete(kind, metadata["namespace"], metadata["name"], uid=metadata["uid"], propagation="Background")
    except ApiRefusal as refusal:
        if refusal.status != 404:
            raise


def _declared() -> tuple[dict[str, list[dict[str, Any]]], Known]:
    declared = {stack: list(declared_objects(engine.resources(stack))) for stack in engine.stacks()}
    return declared, frozenset((one["kind"], name_of(one)) for some in declared.values() for one in some)


def _spaces(declared: list[dict[str, Any]]) -> list[str]:
    return sorted(one["metadata"]["name"] for one in declared if one["kind"] == "Namespace")


def _report(api: Api, stack: str, declared: list[dict[str, Any]], known: Known) -> Report:
    def one(manifest: dict[str, Any]) -> list[Finding]:
        return differences(api, manifest, f"readingroom-{stack}")

    with ThreadPoolExecutor(_WORKERS) as pool:
        found = [finding for some in pool.map(one, declared) for finding in some]
    return Report(stack, len(declared), (*found, *undeclared(api, declared, known)))


def declared_objects(resources: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The manifests of a stack's state, as the program gave them."""
    for resource in resources:
        inputs = resource.get("inputs") or {}
        if str(resource["type"]).startswith("kubernetes:") and not resource.get("delete"):
            kind = by_token(resource["type"])
            yield {"apiVersion": kind.api_version, "kind": kind.name, **whole_numbers(inputs)}


def differences(api: Api, manifest: dict[str, Any], manager: str) -> list[Finding]:
    """One object with its declaration."""
    kind = by_name(manifest["apiVersion"], manifest["kind"])
    which = f"{kind.name} {name_of(manifest)}"
    metadata = manifest["metadata"]
    try:
        live = api.get(kind, metadata.get("namespace", ""), metadata["name"])
        if live is None:
            return [Finding(which, "", "gone")]
        expected = as_declared(api, manifest, Call(kind=kind, manager=manager))
    except ProviderError as error:
        return [Finding(which, "", f"cannot be compared: {error}")]
    return [
        Finding(which, one.where, _word(one.expected is MISSING, one.live is MISSING))
        for one in drift(expected, live, manifest)
    ]


def undeclared(api: Api, declared: list[dict[str, Any]], known: Known) -> Iterator[Finding]:
    """What opens or permits something where this stack's namespaces are, and was declared by no stack.

    The stack that declares admission policies also answers for the whole cluster's.
    """
    guards_all = any(one["kind"] == "ValidatingAdmissionPolicy" for one in declared)
    for kind in KINDS:
        if kind.name in _GUARDED:
            spaces = _spaces(declared)
        elif kind.name in _GUARDED_EVERYWHERE and guards_all:
            spaces = [""]
        else:
            continue
        for space in spaces:
            try:
                found = [live for live in api.objects(kind, space) if not _ours(kind, live, known)]
            except ProviderError as error:
                yield Finding(f"{kind.name} {space or '*'}", "", f"cannot be compared: {error}")
                continue
            yield from (Finding(f"{kind.name} {name_of(live)}", "", "undeclared") for live in found)


def _ours(kind: Kind, live: Mapping[str, Any], known: Known) -> bool:
    """Declared by some stack, or just as the node or Kubernetes itself brings it."""
    return (kind.name, name_of(live)) in known or _of_the_node(live) or _of_kubernetes(live)


def _of_the_node(live: Mapping[str, Any]) -> bool:
    if name_of(live) not in BOOTSTRAP:
        return False
    kind, subject, rules = BOOTSTRAP[name_of(live)]
    if live["kind"] == "ClusterRole":
        return bool(live.get("rules") == rules)
    return [(one["kind"], one["name"]) for one in live.get("subjects") or ()] == [(kind, subject)]


def _of_kubernetes(live: Mapping[str, Any]) -> bool:
    """The label alone says nothing: anybody who may write a role may write it. Kubernetes mends these roles and never
    takes a subject out of their bindings."""
    name, labels = name_of(live), live["metadata"].get("labels") or {}
    return (
        _KUBERNETES_OWN in labels
        and "namespace" not in live["metadata"]
        and (name.startswith("system:") or name in _DEFAULT_ROLES)
        and (name in _FOR_EVERYBODY or all(_own_subject(name, one) for one in live.get("subjects") or ()))
    )


def _own_subject(binding: str, subject: Mapping[str, str]) -> bool:
    name = subject["name"]
    if subject["kind"] == "ServiceAccount":
        return subject.get("namespace") == "kube-system"
    return name in ("system:masters", binding) or (subject["kind"] == "User" and name.startswith("system:kube-"))


def _word(absent_before: bool, absent_now: bool) -> str:
    return "added" if absent_before else "removed" if absent_now else "changed"
