"""When an object counts as ready, kind by kind, and the wait for it.

Each judgement is pure: live object in, `None` when ready or the reason why not. `Failed` is raised for what will not
become ready by waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from infra.provider.api import Api
from infra.provider.errors import ApiAway, ApiRefusal, Failed, TookTooLong
from infra.provider.kinds import KINDS, Kind
from infra.provider.pod_reasons import cut, is_hopeless, newest, why_not_ready

SKIP: Final = "pulumi.com/skipAwait"
TIMEOUT: Final = "pulumi.com/timeoutSeconds"
DEFAULT_SECONDS: Final = 600.0
GIVE_UP: Final = 8.0  # seconds that a hopeless pod may stay: it may be the last of the revision before
QUIET: Final = 1.5  # seconds before a wait is worth a word
_PAUSE: Final = 0.25
_ENDPOINT_SLICE: Final = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
_STORAGE_CLASS: Final = next(kind for kind in KINDS if kind.name == "StorageClass")
_POD: Final = next(kind for kind in KINDS if kind.name == "Pod")
_EVENT: Final = Kind("v1", "Event", "events")


Judge = Callable[[Mapping[str, Any], Api], str | None]


def _condition(live: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    for condition in live.get("status", {}).get("conditions") or ():
        if condition.get("type") == kind:
            found: Mapping[str, Any] = condition
            return found
    return {}


def _observed(live: Mapping[str, Any]) -> bool:
    generation: int = live["metadata"].get("generation", 0)
    observed: int = live.get("status", {}).get("observedGeneration", 0)
    return observed >= generation


def deployment(live: Mapping[str, Any], _: Api) -> str | None:
    """All replicas at the observed generation, updated and available."""
    if not _observed(live):
        return "the controller has not seen this generation"
    progressing = _condition(live, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        raise Failed(str(progressing.get("message", "no progress")))
    status, wanted = live.get("status", {}), live["spec"].get("replicas", 1)
    if status.get("updatedReplicas", 0) < wanted or status.get("availableReplicas", 0) < wanted:
        return f"{status.get('availableReplicas', 0)} of {wanted} replicas are available"
    return "old replicas are still there" if status.get("replicas", 0) > wanted else None


def stateful_set(live: Mapping[str, Any], _: Api) -> str | None:
    """All replicas at the current revision and ready."""
    if not _observed(live):
        return "the controller has not seen this generation"
    status, wanted = live.get("status", {}), live["spec"].get("replicas", 1)
    if status.get("readyReplicas", 0) < wanted:
        return f"{status.get('readyReplicas', 0)} of {wanted} replicas are ready"
    on_delete = live["spec"].get("updateStrategy", {}).get("type") == "OnDelete"
    current = on_delete or status.get("updateRevision") == status.get("currentRevision")
    return None if current else "replicas are being replaced"


def daemon_set(live: Mapping[str, Any], _: Api) -> str | None:
    """A ready, current pod on each node that should have one."""
    if not _observed(live):
        return "the controller has not seen this generation"
    status = live.get("status", {})
    wanted = status.get("desiredNumberScheduled", 0)
    ready = min(status.get("numberReady", 0), status.get("updatedNumberScheduled", 0))
    return None if ready >= wanted else f"{ready} of {wanted} pods are ready"


def pod(live: Mapping[str, Any], _: Api) -> str | None:
    """Ready or Succeeded."""
    phase = live.get("status", {}).get("phase")
    if phase == "Failed" or is_hopeless(live):
        raise Failed(why_not_ready(live) or cut(live["status"].get("message", "")) or "the pod failed")
    if phase == "Succeeded" or _condition(live, "Ready").get("status") == "True":
        return None
    return why_not_ready(live) or f"the pod is {phase or 'not seen yet'}"


def job(live: Mapping[str, Any], _: Api) -> str | None:
    """Complete; a failed Job is a failure at once."""
    failed = _condition(live, "Failed")
    if failed.get("status") == "True":
        raise Failed(f"{failed.get('reason', '')}: {failed.get('message', '')}")
    suspended = live["spec"].get("suspend", False)
    return None if suspended or _condition(live, "Complete").get("status") == "True" else "the job is not complete"


def claim(live: Mapping[str, Any], api: Api) -> str | None:
    """Bound, unless its class waits for the first pod that uses it."""
    phase = live.get("status", {}).get("phase")
    if phase == "Bound":
        return None
    if phase == "Lost":
        raise Failed("the claim has lost its volume")
    wanted = live["spec"].get("storageClassName")
    storage_class = api.get(_STORAGE_CLASS, "", wanted) if wanted else None
    if (storage_class or {}).get("volumeBindingMode") == "WaitForFirstConsumer":
        return None
    return "the claim is not bound"


def service(live: Mapping[str, Any], api: Api) -> str | None:
    """At least one ready endpoint, when it selects pods and any pod matches."""
    spec, metadata = live["spec"], live["metadata"]
    selector = spec.get("selector")
    if not selector or spec.get("type") == "ExternalName":
        return None
    slices = api.objects(_ENDPOINT_SLICE, metadata["namespace"], f"kubernetes.io/service-name={metadata['name']}")
    ready = [
        endpoint
        for one in slices
        for endpoint in one.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
    ]
    if ready:
        return None
    # A Service declared before its pods would wait for ever: pods are awaited by their own workload.
    wanted = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    return "no endpoint is ready" if api.objects(_POD, metadata["namespace"], wanted) else None


def namespace(live: Mapping[str, Any], _: Api) -> str | None:
    """Active."""
    phase = live.get("status", {}).get("phase")
    return None if phase == "Active" else f"the namespace is {phase or 'not seen yet'}"


def quota(live: Mapping[str, Any], _: Api) -> str | None:
    """The controller has taken the limits over."""
    return (
        None if set(live.get("status", {}).get("hard", {})) == set(live["spec"].get("hard", {})) else "not counted yet"
    )


def admission_policy(live: Mapping[str, Any], _: Api) -> str | None:
    """Type-checked by the server; an expression that it warns about does not count as a guard."""
    status = live.get("status", {})
    warnings = status.get("typeChecking", {}).get("expressionWarnings") or ()
    if warnings and _observed(live):
        raise Failed("; ".join(f"{one.get('fieldRef')}: {one.get('warning')}" for one in warnings))
    return None if _observed(live) else "its expressions are not checked yet"


JUDGES: Final[Mapping[str, Judge]] = {
    "DaemonSet": daemon_set,
    "Deployment": deployment,
    "Job": job,
    "Namespace": namespace,
    "PersistentVolumeClaim": claim,
    "Pod": pod,
    "ResourceQuota": quota,
    "Service": service,
    "StatefulSet": stateful_set,
    "ValidatingAdmissionPolicy": admission_policy,
}

WORKLOADS: Final = frozenset({"DaemonSet", "Deployment", "Job", "StatefulSet"})


def seconds(annotations: Mapping[str, str], asked: float) -> float:
    """How long to wait: what the program asks for in its options, else in the annotation, else ten minutes."""
    return asked or float(annotations.get(TIMEOUT, DEFAULT_SECONDS))


def wait(
    api: Api, kind: Kind, live: dict[str, Any], *, asked: float, tell: Callable[[str], None], stop: Callable[[], bool]
) -> dict[str, Any]:
    """Wait until the object is ready and return it as it is then.

    Raises `Failed`, `TookTooLong`; `tell` hears each reason that lasts, `stop` ends the wait early. An API server that is
    away for a while is waited for like anything else.
    """
    annotations = live["metadata"].get("annotations") or {}
    judge = JUDGES.get(kind.name)
    if judge is None or annotations.get(SKIP) == "true":
        return live
    start = time.monotonic()
    deadline = start + seconds(annotations, asked)
    said, hopeless_since = "", start
    while True:
        try:
            reason = judge(live, api)
        except ApiAway as away:
            reason = f"the API server does not answer: {away}"
        except Failed as failed:
            raise Failed(_with_pods(api, kind, live, str(failed))[0]) from failed
        if reason is None:
            return live
        reason, hopeless = _with_pods(api, kind, live, reason)
        now = time.monotonic()
        hopeless_since = hopeless_since if hopeless else now
        if now - hopeless_since > GIVE_UP:
            raise Failed(reason)
        if now > deadline or stop():
            warning = _last_warning(api, live["metadata"])
            raise TookTooLong(f"{reason}; {warning}" if warning and warning not in reason else reason)
        if reason != said and now - start > QUIET:
            tell(reason)
            said = reason
        time.sleep(_PAUSE)
        live = _again(api, kind, live)


def _again(api: Api, kind: Kind, live: dict[str, Any]) -> dict[str, Any]:
    """The object as it is now, or as it was while the API server is away."""
    metadata = live["metadata"]
    try:
        seen = api.get(kind, metadata.get("namespace", ""), metadata["name"])
    except ApiAway:
        return live
    if seen is None or seen["metadata"].get("uid") != metadata.get("uid"):
        raise Failed("it was deleted while we waited for it")
    return seen


def _with_pods(api: Api, kind: Kind, live: Mapping[str, Any], reason: str) -> tuple[str, bool]:
    """The reason of a workload, with what its youngest pod in trouble says, and whether that one can only fail."""
    if kind.name not in WORKLOADS:
        return reason, False
    try:
        pods = newest(api.objects(_POD, live["metadata"]["namespace"], _selector(live)))
    except (ApiAway, ApiRefusal):
        return reason, False
    if not pods:  # refused before they came to be: only the events tell
        warning = _last_warning(api, live["metadata"])
        return (f"{reason}; {warning}" if warning else reason), "is forbidden" in warning
    said, hopeless = next(((why, is_hopeless(pod)) for pod in pods if (why := why_not_ready(pod))), ("", False))
    return (f"{reason}; {said}" if said else reason), hopeless


def _selector(live: Mapping[str, Any]) -> str:
    labels = (live["spec"].get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _last_warning(api: Api, metadata: Mapping[str, Any]) -> str:
    """What the cluster last warned of about the object, or about what is named after it."""
    if not metadata.get("namespace"):
        return ""
    try:
        events = api.objects(_EVENT, metadata["namespace"])
    except (ApiAway, ApiRefusal):
        return ""
    about = [
        event
        for event in events
        if event.get("type") == "Warning"
        and str(event.get("involvedObject", {}).get("name", "")).startswith(metadata["name"])
    ]
    about.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return f"last warning: {cut(about[-1].get('message', ''))}" if about else ""
