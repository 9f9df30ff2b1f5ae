"""The kinds our programs declare. Any other is refused by name: the official plugin serves it, where it is installed.

`force_new` is the small table of fields that the API reference calls immutable, for a diff made where no API server can
be asked; where one can, its own refusal decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from infra.provider.errors import NotServed


@dataclass(frozen=True)
class Kind:
    """How the API server names one kind, and which paths below its inputs cannot be changed in place."""

    api_version: str
    name: str
    plural: str
    namespaced: bool = True
    force_new: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def token(self) -> str:
        """The type token of a Pulumi program."""
        group, _, version = self.api_version.rpartition("/")
        return f"kubernetes:{group or 'core'}/{version}:{self.name}"

    def path(self, namespace: str, name: str = "") -> str:
        """The address of the collection, or of one object in it."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        middle = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{middle}/{self.plural}" + (f"/{name}" if name else "")


_WORKLOAD = ("spec.selector",)
_CLAIM = ("spec.accessModes", "spec.storageClassName", "spec.volumeName", "spec.volumeMode", "spec.selector")
_JOB = ("spec.template", "spec.selector", "spec.completions", "spec.completionMode")

KINDS: Final = (
    Kind("v1", "Namespace", "namespaces", namespaced=False),
    Kind("v1", "ConfigMap", "configmaps"),
    Kind("v1", "LimitRange", "limitranges"),
    Kind(
        "v1", "PersistentVolume", "persistentvolumes", namespaced=False, force_new=("spec.local", "spec.nodeAffinity")
    ),
    Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims", force_new=_CLAIM),
    Kind("v1", "Pod", "pods", force_new=("spec",)),
    Kind("v1", "ResourceQuota", "resourcequotas", force_new=("spec.scopes", "spec.scopeSelector")),
    Kind("v1", "Service", "services", force_new=("spec.clusterIP", "spec.clusterIPs")),
    Kind("v1", "ServiceAccount", "serviceaccounts"),
    Kind("apps/v1", "DaemonSet", "daemonsets", force_new=_WORKLOAD),
    Kind("apps/v1", "Deployment", "deployments", force_new=_WORKLOAD),
    Kind(
        "apps/v1",
        "StatefulSet",
        "statefulsets",
        force_new=(*_WORKLOAD, "spec.serviceName", "spec.podManagementPolicy", "spec.volumeClaimTemplates"),
    ),
    Kind("batch/v1", "Job", "jobs", force_new=_JOB),
    Kind("batch/v1", "CronJob", "cronjobs"),
    Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind("rbac.authorization.k8s.io/v1", "Role", "roles"),
    Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", force_new=("roleRef",)),
    Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False),
    Kind(
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        namespaced=False,
        force_new=("roleRef",),
    ),
    Kind(
        "storage.k8s.io/v1",
        "StorageClass",
        "storageclasses",
        namespaced=False,
        force_new=("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"),
    ),
    Kind("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", namespaced=False, force_new=("value",)),
    Kind(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        namespaced=False,
    ),
    Kind(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        namespaced=False,
    ),
)
_BY_TOKEN: Final = {kind.token: kind for kind in KINDS}
_BY_NAME: Final = {(kind.api_version, kind.name): kind for kind in KINDS}


def by_token(token: str) -> Kind:
    """The kind of a type token such as `kubernetes:apps/v1:Deployment`.

    Raises `NotServed`, which names the plugin that would serve it.
    """
    try:
        return _BY_TOKEN[token]
    except KeyError:
        raise NotServed(
            f"{token} is not among the kinds that Reading Room's offline provider serves; install the official plugin "
            "(pulumi plugin install resource kubernetes) or declare the kind in infra/provider/kinds.py"
        ) from None


def by_name(api_version: str, name: str) -> Kind:
    """The kind of a manifest's `apiVersion` and `kind`. Raises `NotServed`."""
    try:
        return _BY_NAME[api_version, name]
    except KeyError:
        raise NotServed(f"{api_version} {name} is not among the kinds listed in infra/provider/kinds.py") from None
