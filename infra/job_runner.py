"""Starts a Job as the deployer, tells its lines as they come, and says how it ended.

Ctrl-C ends the watching and not the Job: it runs on in the cluster, and the same command finds it again.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import kubernetes
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from infra import places
from infra.jobs import CONTAINER, SECONDS
from readingroom.contract import LABEL_PROJECT, LABEL_ROLE, LABEL_STEP
from readingroom.domain.errors import ReadingRoomError, Refused, TryAgain, WrongSetUp

_LOOK: Final = 0.5
_WITHOUT_POD: Final = 30.0  # after that long, what the API server says of it is the answer
_LINE: Final = re.compile(r"(refused|rejected|held|not now|waiting-for-vault|wrong set-up|failed): .*")
_KINSHIP: Final = (LABEL_ROLE, LABEL_PROJECT, LABEL_STEP)  # Jobs that agree in these follow one another
Say = Callable[[str], None]


def run(job: Mapping[str, Any], say: Say) -> str:
    """Start the Job of that manifest or find it, tell its lines, and return what its process left as its last word.

    Raises `Refused`, `TryAgain` or `WrongSetUp` with the process's own line when it failed.
    """
    watched = _Watched(job, say)
    with _told(f"job {watched.name}", "readingroom node status"):
        watched.start()
        return watched.end()


class _Watched:
    """One Job, as the deployer sees it."""

    def __init__(self, job: Mapping[str, Any], say: Say) -> None:
        self._job, self._say = job, say
        metadata = job["metadata"]
        self.name: str = metadata["name"]
        self._namespace: str = metadata["namespace"]
        self._labels: Mapping[str, str] = metadata["labels"]
        self._seconds: int = job["spec"].get("activeDeadlineSeconds", SECONDS)
        self._logged: set[str] = set()
        configuration = kubernetes.client.Configuration()
        kubeconfig = str(places.state(places.DEPLOYER_KUBECONFIG))
        with _told("the cluster", "readingroom node up"):
            kubernetes.config.load_kube_config(kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]  # the library has no types
        client = kubernetes.client.ApiClient(configuration)
        self._jobs: Any = kubernetes.client.BatchV1Api(client)
        self._core: Any = kubernetes.client.CoreV1Api(client)

    def start(self) -> None:
        """Create it unless it runs or is done; one that failed, and earlier ones over other input, make room."""
        selector = ",".join(f"{key}={self._labels[key]}" for key in _KINSHIP if key in self._labels)
        wanted = True
        for job in self._jobs.list_namespaced_job(self._namespace, label_selector=selector).items:
            ended = _ended(job)
            if job.metadata.name == self.name and "Failed" not in ended:
                wanted = False
            elif ended:
                self._jobs.delete_namespaced_job(job.metadata.name, self._namespace, propagation_policy="Foreground")
                self._await_gone(job.metadata.name)
        if wanted:
            self._jobs.create_namespaced_job(self._namespace, self._job)

    def end(self) -> str:
        """Wait for it, telling its lines."""
        since = time.monotonic()
        while (waited := time.monotonic() - since) < self._seconds:
            job = self._jobs.read_namespaced_job(self.name, self._namespace)
            ended = _ended(job)
            pods = self._pods()
            self._tell(pods, follow=not ended)
            if "Complete" in ended:
                return next((one.message or "" for one in _terminated(pods) if one.exit_code == 0), "")
            if "Failed" in ended:
                raise self._failure(pods, ended["Failed"])
            if not pods and waited > _WITHOUT_POD:
                raise self._without_pod()
            time.sleep(_LOOK)
        raise TryAgain(
            what="job", which=self.name, why=f"it runs for over {self._seconds} s", next_step="give it again"
        )

    def _await_gone(self, name: str) -> None:
        for _ in range(int(30 / _LOOK)):
            try:
                self._jobs.read_namespaced_job(name, self._namespace)
            except ApiException as error:
                if error.status == 404:
                    return
                raise
            time.sleep(_LOOK)

    def _pods(self) -> list[Any]:
        """Newest first."""
        found = self._core.list_namespaced_pod(self._namespace, label_selector=f"job-name={self.name}").items
        return sorted(found, key=lambda pod: pod.metadata.creation_timestamp, reverse=True)

    def _tell(self, pods: list[Any], *, follow: bool) -> None:
        """The log of each pod, once. While one runs, this lasts as long as it does."""
        for pod in pods:
            begun = any(
                one.name == CONTAINER and (one.state.running or one.state.terminated)
                for one in pod.status.container_statuses or ()
            )
            if not begun or pod.metadata.name in self._logged:
                continue
            self._logged.add(pod.metadata.name)
            with contextlib.suppress(HTTPError):  # a broken stream loses lines, not the result
                log = self._core.read_namespaced_pod_log(
                    pod.metadata.name, self._namespace, container=CONTAINER, follow=follow, _preload_content=False,
                    _request_timeout=(5, self._seconds),
                )  # fmt: skip
                for line in _lines(log):
                    self._say(line)

    def _failure(self, pods: list[Any], why: str) -> ReadingRoomError:
        """The process's own line, under its own exit status."""
        for one in _terminated(pods):
            if one.exit_code:
                lines = [line for line in str(one.message or "").splitlines() if line.strip()]
                own = next((line for line in reversed(lines) if _LINE.match(line)), "")
                kind = Refused if one.exit_code == Refused.exit_status else TryAgain
                why = f"its process says: {own or (lines or [one.reason])[-1]}"
                return kind(
                    what=f"job {self.name}",
                    why=why[:600].rstrip("."),
                    next_step="mend that, then give the same command again",
                )
        return TryAgain(what=f"job {self.name}", why=why[:400], next_step="give the same command again")

    def _without_pod(self) -> WrongSetUp:
        events = self._core.list_namespaced_event(
            self._namespace, field_selector=f"involvedObject.name={self.name}"
        ).items
        said = max(events, key=lambda one: one.metadata.creation_timestamp).message if events else "no pod was made"
        return WrongSetUp(
            what=f"job {self.name}", why=f"the cluster says: {said[:400]}", next_step="readingroom platform up"
        )


def _ended(job: Any) -> dict[str, str]:
    return {
        one.type: str(one.message or one.reason)
        for one in job.status.conditions or ()
        if one.status == "True" and one.type in ("Complete", "Failed")
    }


def _terminated(pods: list[Any]) -> list[Any]:
    return [
        one.state.terminated
        for pod in pods
        for one in pod.status.container_statuses or ()
        if one.name == CONTAINER and one.state.terminated
    ]


def _lines(stream: Any) -> Iterator[str]:
    rest = b""
    for chunk in stream.stream(4096):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole if line.strip())
    if rest.strip():
        yield rest.decode(errors="replace")


@contextlib.contextmanager
def _told(what: str, next_step: str) -> Iterator[None]:
    """The client's errors as ours. A refusal of the API server is a fault of the set-up, not of the caller."""
    try:
        yield
    except ApiException as error:
        reason = json.loads(error.body).get("message", error.reason) if error.body else error.reason
        raise WrongSetUp(what=what, why=f"the API server says: {str(reason)[:400]}", next_step=next_step) from error
    except (HTTPError, OSError, kubernetes.config.ConfigException) as error:
        raise TryAgain(what=what, why=f"it does not answer ({type(error).__name__})", next_step=next_step) from error
