"""What the launcher itself asks of the API: is it ready, is the node ready, and the few objects that come before Pulumi."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Final

from infra import places
from infra.node import build, pki
from readingroom import contract
from readingroom.domain.errors import TryAgain

GPUS: Final = 2  # advertised where no device is: scheduling, quota and admission are real, the device is not
GPU: Final = "nvidia.com/gpu"

_READ: Final = ["get", "list", "watch"]
_WRITE: Final = [*_READ, "create", "update", "patch", "delete"]


def _rule(groups: list[str], resources: list[str], verbs: list[str]) -> dict[str, Any]:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}


# What the render of our programs brings, and what waiting for it reads. No Secret, no exec, no impersonation.
DEPLOYER_RULES: Final = [
    _rule([""], ["namespaces", "configmaps", "services", "serviceaccounts", "persistentvolumes",
                 "persistentvolumeclaims", "resourcequotas", "limitranges", "pods"], _WRITE),
    _rule(["apps"], ["deployments", "statefulsets"], _WRITE),
    _rule(["batch"], ["jobs"], _WRITE),
    _rule(["networking.k8s.io"], ["networkpolicies"], _WRITE),
    _rule(["storage.k8s.io"], ["storageclasses"], _WRITE),
    _rule(["scheduling.k8s.io"], ["priorityclasses"], _WRITE),
    _rule(["policy"], ["poddisruptionbudgets"], _WRITE),
    _rule(["admissionregistration.k8s.io"],
          ["validatingadmissionpolicies", "validatingadmissionpolicybindings"], _WRITE),
    _rule(["rbac.authorization.k8s.io"], ["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
          [*_WRITE, "bind", "escalate"]),
    _rule([""], ["events", "pods/log", "nodes", "endpoints"], _READ),
    _rule(["apps"], ["replicasets"], _READ),
    _rule(["discovery.k8s.io"], ["endpointslices"], _READ),
]  # fmt: skip
NETPOL_RULES: Final = [
    _rule([""], ["pods", "namespaces", "nodes"], _READ),
    _rule(["networking.k8s.io"], ["networkpolicies"], _READ),
]
FRONT_DOOR_RULES: Final = [_rule([""], ["services"], ["get"])]  # where a project's edge is
KUBELET_RULES: Final = [_rule([""], ["nodes/proxy", "nodes/stats", "nodes/log", "nodes/metrics"], ["*"])]
BOOTSTRAP: Final = {  # cluster role and its binding, by name: (subject kind, subject, rules)
    "readingroom:deployer": ("Group", contract.GROUP_DEPLOYER, DEPLOYER_RULES),
    "readingroom:netpol": ("User", "readingroom:netpol", NETPOL_RULES),
    "readingroom:front-door": ("User", "readingroom:front-door", FRONT_DOOR_RULES),
    "readingroom:kubelet-client": ("Group", "readingroom:kubelet-client", KUBELET_RULES),
}


def bootstrap() -> None:
    """The identities that come before Pulumi may what they must, and nothing else. Brief: who died meanwhile waits for it."""
    rbac = "rbac.authorization.k8s.io"
    objects: list[dict[str, Any]] = []
    for name, (kind, subject, rules) in BOOTSTRAP.items():
        head = {"apiVersion": f"{rbac}/v1", "metadata": {"name": name}}
        objects.append({**head, "kind": "ClusterRole", "rules": rules})
        objects.append({
            **head,
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": rbac, "kind": kind, "name": subject}],
        })  # fmt: skip
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    words = ("apply", "--server-side", "--force-conflicts", "--field-manager=readingroom-node", "-f", "-")
    kubectl(*words, given=text, seconds=3)


def kubectl(*words: str, given: str | None = None, seconds: int = 30) -> str:
    """One call as the operator. Raises `TryAgain` with kubectl's own words."""
    command = [str(build.binary("kube")), "kubectl", "--kubeconfig", str(places.state(places.OPERATOR_KUBECONFIG))]
    try:
        done = subprocess.run(
            [*command, f"--request-timeout={seconds}s", *words],
            input=given, capture_output=True, text=True, check=False, timeout=seconds + 10,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TryAgain(
            what="kubectl",
            which=words[0],
            why=f"no answer in {seconds} s",
            next_step="repeat; see readingroom node status",
        ) from error
    if done.returncode:
        raise TryAgain(
            what="kubectl",
            which=" ".join(words[:3]),
            why=" ".join(done.stderr.split())[:600],
            next_step="see readingroom node status",
        )
    return done.stdout


def api_ready() -> bool:
    """The API server says so itself."""
    return _asked("get", "--raw=/readyz") == "ok"


def node_ready() -> bool:
    """Our node is there and Ready."""
    path = '{.status.conditions[?(@.type=="Ready")].status}'
    return _asked("get", "node", contract.NODE_NAME, f"-o=jsonpath={path}") == "True"


def advertise_gpus() -> None:
    """Patch the node's status where no device is; a kubelet that starts anew zeroes it, so this is repeated."""
    count = _asked("get", "node", contract.NODE_NAME, "-o=jsonpath={.status.capacity.nvidia\\.com/gpu}")
    if count not in (None, str(GPUS)):
        patch = json.dumps({"status": {"capacity": {GPU: str(GPUS)}}})
        kubectl("patch", "node", contract.NODE_NAME, "--subresource=status", "--type=merge", "-p", patch, seconds=5)


def _asked(*words: str) -> str | None:
    if not pki.certificate("operator").exists():
        return None
    try:
        return kubectl(*words, seconds=4).strip()
    except TryAgain:
        return None
