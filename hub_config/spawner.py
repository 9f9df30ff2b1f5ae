"""Asks `open_workspace` and obeys: one class over KubeSpawner 7.1. `workspaces.md` section 5.

Overridden: `load_user_options` (parse and decide), `options_from_query` (never), `get_pod_manifest` (the pod of
`pod.py`), `get_state` and `load_state` (recompute, never remember), `start` (every refusal has a code), `stop` (never
grace 0), `progress` (text from the pod's status). Nothing a person typed reaches a template of the stock class.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from jupyterhub.spawner import SpawnException
from kubernetes_asyncio.client import ApiException, V1DeleteOptions
from kubespawner import KubeSpawner
from traitlets import Callable, Instance

from hub_config import pod, progress
from hub_config.authenticator import sentence
from hub_config.settings import HubSettings
from hub_config.start_page import choices
from readingroom.contract import LABEL_HANDLE
from readingroom.domain.grant import Code, NotOpened, Running
from readingroom.domain.workspace import KEYS, WorkspaceSpec, pod_name

PLACE_SECONDS = 20  # without a place on a node: refused, not left waiting
GRACE_SECONDS = 1
LOOK_SECONDS = 0.1  # at the watch's own copy of the pods, in memory
GPU = "nvidia.com/"
TOLD = {  # a part of the API server's reason, to what the person reads; anything else is W11
    "exceeded quota": (
        Code.NO_ROOM,
        "W07: the project has no room for another workspace. Wait until a colleague stops theirs.",
    ),
    "this person is not in the grant": (
        Code.NOT_A_MEMBER,
        "W01: your access to this project was withdrawn. Ask the project lead.",
    ),
    "the data of this project were taken back": (
        Code.CUT_REPLACED,
        "W03: the data of this project are being replaced. Your home folder stays. Try again later.",
    ),
}


class WorkspaceSpawner(KubeSpawner):  # type: ignore[misc]  # the library has no types
    """One person's workspace."""

    decide = Callable(help="(handle, options, running) to WorkspaceSpec; raises NotOpened.").tag(config=True)
    may_enter = Callable(help="Handle to grant; raises NotOpened.").tag(config=True)
    settings = Instance(HubSettings, help="Where this hub's project lives.").tag(config=True)
    spec: WorkspaceSpec | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.pod_name = pod_name(self.user.name)
        self.log.addFilter(no_pod_bodies)

    # --- recompute, never remember ------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Nothing: names come from grant and handle every time."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """What was saved is ignored: it may be from an older configuration."""

    def clear_state(self) -> None:
        """The stock class would expand its templates here."""
        self.pod_name = pod_name(self.user.name)

    # --- decide -------------------------------------------------------------------------------------------------------

    async def load_user_options(self) -> None:
        """Parse the options and ask whether this workspace may be; raises a refusal with its code."""
        try:
            self.spec = self.decide(self.user.name, self.user_options, running_beside(self._pods(), self.user.name))
        except NotOpened as refused:
            raise refusal(refused.code, sentence(refused), str(refused)) from refused

    def options_from_query(self, query_options: Mapping[str, list[str]]) -> dict[str, Any]:
        """Never: a link must not open a workspace. Raises W04; the stock class would treat it as a form."""
        raise refusal(
            Code.UNKNOWN_CHOICE,
            "W04: a workspace is opened from the start page only.",
            f"query: {len(query_options)} options",
        )

    def _pods(self) -> Mapping[str, Mapping[str, Any]]:
        return self.pod_reflector.pods if self.pod_reflector else {}

    async def get_pod_manifest(self) -> dict[str, Any]:
        """The pod that the decision allows."""
        if self.spec is None:
            await self.load_user_options()
        spec = self.spec
        if spec is None or spec.name != self.pod_name or spec.project != self.settings.project:
            raise refusal(Code.REFUSED_BY_PLATFORM, _told(), "the decision is about another workspace")
        address = await gate_address(self.settings)
        variables = pod.environment(spec, self.get_env(), f"http://{address}:{self.settings.gate_port}/hub/api")
        return pod.manifest(
            spec,
            variables,
            pull_policy=self.settings.image_pull_policy,
            user_namespaces=self.settings.user_namespaces,
        )

    # --- start and stop -----------------------------------------------------------------------------------------------

    def start(self) -> asyncio.Future[str]:
        """Decide, create, wait for readiness; the watch's own copy is looked at, so nothing polls the API server."""
        self._start_future = asyncio.ensure_future(self._open())
        return self._start_future

    async def _open(self) -> str:
        await self._start_watching_pods()
        await self.load_user_options()
        manifest = await self.get_pod_manifest()
        await self._create(manifest)
        found = await self._until_ready()
        return str(self._get_pod_url(found))

    async def _create(self, manifest: dict[str, Any]) -> None:
        """Create the pod; one of the same name is ended first, once.

        Nothing of the body is logged: it holds a token.
        """
        for attempt in (1, 2):
            try:
                await self.api.create_namespaced_pod(
                    self.namespace, manifest, _request_timeout=self.k8s_api_request_timeout
                )
            except ApiException as error:
                if error.status != 409 or attempt == 2:
                    raise self._refused_by_api(error) from error
                self.log.info("%s exists, ending it first", self.pod_name)
                await self.stop()
            else:
                return

    def _refused_by_api(self, error: ApiException) -> SpawnException:
        reference = secrets.token_hex(4)
        # The API server's reason names rules and quotas, never values of the environment; it is cut all the same.
        reason = str(error.body or error.reason)[:400].replace("\n", " ")
        told = next((told for part, told in TOLD.items() if error.status == 403 and part in reason), None)
        code, text = told or (Code.REFUSED_BY_PLATFORM, _told(reference))
        return refusal(code, text, f"reference {reference}: API server answered {error.status}: {reason}")

    async def _until_ready(self) -> dict[str, Any]:
        """Wait until the pod is ready. Raises W07 after 20 s without a place, W11 when it ends before it was ready."""
        key, since, seen = f"{self.namespace}/{self.pod_name}", time.monotonic(), False
        while True:
            found: dict[str, Any] | None = self.pod_reflector.pods.get(key)
            if found and self.is_pod_running(found):
                return found
            waited = time.monotonic() - since
            seen = seen or found is not None
            if seen and (found is None or found["status"].get("phase") in {"Failed", "Succeeded"}):
                raise refusal(Code.REFUSED_BY_PLATFORM, _told(), f"{self.pod_name} ended before it was ready")
            if progress.without_place(found) and waited > PLACE_SECONDS:
                raise refusal(
                    Code.NO_ROOM,
                    "W07: there is no room for your workspace now. Choose a smaller size, or try again later.",
                    f"{self.pod_name} found no place in {PLACE_SECONDS} s",
                )
            if waited > self.start_timeout:
                raise refusal(Code.REFUSED_BY_PLATFORM, _told(), f"{self.pod_name} not ready in {self.start_timeout} s")
            await asyncio.sleep(LOOK_SECONDS)

    async def stop(self, now: bool = False) -> None:
        """Delete with grace 1 s and wait for the kubelet: grace 0 removes the record before the process is dead."""
        await self._start_watching_pods()
        try:
            await self.api.delete_namespaced_pod(
                self.pod_name,
                self.namespace,
                body=V1DeleteOptions(grace_period_seconds=GRACE_SECONDS),
                _request_timeout=self.k8s_api_request_timeout,
            )
        except ApiException as error:
            if error.status != 404:
                raise
        key, since = f"{self.namespace}/{self.pod_name}", time.monotonic()
        while self.pod_reflector.pods.get(key) is not None:
            if time.monotonic() - since > self.start_timeout:
                raise TimeoutError(f"{self.pod_name} did not end in {self.start_timeout} s")
            await asyncio.sleep(LOOK_SECONDS)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What happens now, in words, from the pod's own status; a step that lasts is named again after 10 s."""
        key, since, last = f"{self.namespace}/{self.pod_name}", time.monotonic(), ""
        while True:
            done = self._start_future is not None and self._start_future.done()
            step = progress.step(self._pods().get(key), self.spec.cut_id if self.spec else "")
            waited = time.monotonic() - since
            message = progress.message(step, waited)
            if message != last:
                last = message
                yield {"progress": step.percent, "message": message}
            if done:
                return
            await asyncio.sleep(0.25)


def refusal(code: Code, text: str, operator: str) -> SpawnException:
    """What the person reads, and a line for the operator; the hub logs the second without a traceback."""
    error = SpawnException(text, reason=code.value, log_message=operator, status_code=403)
    error.jupyterhub_message = text
    return error


def _told(reference: str = "") -> str:
    ending = f": reference {reference}" if reference else ""
    return f"W11: the platform refused the workspace. Your account is fine. The operator has been told{ending}."


def running_beside(pods: Mapping[str, Mapping[str, Any]], handle: str) -> Running:
    """What runs in the project beside this person's own workspace, from the watch."""
    others = [
        found
        for found in pods.values()
        if found["metadata"].get("labels", {}).get(LABEL_HANDLE) != handle
        and found.get("status", {}).get("phase") not in {"Failed", "Succeeded"}
    ]
    limits = [found["spec"]["containers"][0].get("resources", {}).get("limits", {}) for found in others]
    gpus = sum(int(value) for limit in limits for name, value in limit.items() if name.startswith(GPU))
    return Running(workspaces=len(others), gpus=gpus)


def options_form(spawner: WorkspaceSpawner) -> str:
    """What may be chosen; or why nothing may any more, because a session outlives its grant by up to a minute."""
    try:
        return choices(spawner.may_enter(spawner.user.name))
    except NotOpened as refused:
        raise refusal(refused.code, sentence(refused), str(refused)) from refused


def options_from_form(form: Mapping[str, list[str]]) -> dict[str, str]:
    """A form's fields as options: granted keys with one value each. Raises W04 for anything else."""
    if set(form) - set(KEYS) or any(len(values) != 1 for values in form.values()):
        raise refusal(Code.UNKNOWN_CHOICE, "W04: choose one of the sizes and images listed here.", "form: odd fields")
    return {key: values[0] for key, values in form.items()}


async def gate_address(settings: HubSettings) -> str:
    """The gate's address now. A workspace has no names, so it is told an address. Raises W11 when there is none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            settings.gate_host, settings.gate_port, family=socket.AF_INET, type=socket.SOCK_STREAM
        )
    except OSError as error:
        raise refusal(Code.REFUSED_BY_PLATFORM, _told(), f"{settings.gate_host} has no address: {error}") from error
    return str(found[0][4][0])


def no_pod_bodies(record: logging.LogRecord) -> bool:
    """Drop the stock line that writes a whole refused pod, token included, into the log."""
    return not str(record.msg).startswith("Failed for %s")
