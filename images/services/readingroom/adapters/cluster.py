"""Workspaces as the API server knows them: the only user of the Kubernetes client in the package. It closes; it cannot
open.

A pod's environment holds its server's token, so pods are read here and leave as `WorkspacePod`, which has none.
Foreign errors become ours: no answer is `TryAgain`, a no is `Refused`, and what is gone already counts as done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes import client
from kubernetes import config as untyped_config
from kubernetes import watch as untyped_watch

from readingroom.adapters.grant_file import parse
from readingroom.application.ports_workspace import Known, WorkspacePod
from readingroom.contract import (
    ADMISSION,
    ADMITTED,
    ADMITTED_CUT,
    LABEL_PROJECT,
    LABEL_ROLE,
    LABEL_SEAL,
    MOUNT_DATA,
    PROJECT_ID,
    SEAL_CLOSED,
    hub_namespace,
    workspace_namespace,
)
from readingroom.domain.errors import ReadingRoomError, Refused, TryAgain, WrongSetUp
from readingroom.domain.grant import Grant
from readingroom.domain.ids import ProjectId
from readingroom.domain.workspace import WorkspaceState

SECONDS = 10  # for one answer of the API server
GRACE_SECONDS = 1  # never 0: that removes the record before the process is dead
GRANT_KEY, SCHEMA_KEY = "grant.json", "grant.schema.json"
RETIRED_KEY = "cuts"  # of the note of withdrawals
config: Any = untyped_config
watch: Any = untyped_watch
_GRANT_NAME = re.compile(r"grant-(?P<project>[a-z0-9-]+)-v(?P<version>[1-9][0-9]*)")


def in_cluster() -> client.CoreV1Api:
    """The API server as this pod's own account sees it. Raises `WrongSetUp` outside a cluster."""
    try:
        config.load_incluster_config()
    except config.ConfigException as error:
        raise WrongSetUp(
            what="Kubernetes account",
            why="this process is in no pod with an account",
            next_step="run it in the cluster",
        ) from error
    return client.CoreV1Api()


def by_kubeconfig(path: Path) -> client.CoreV1Api:
    """The API server through a kubeconfig. Raises `WrongSetUp` when there is none."""
    try:
        return client.CoreV1Api(config.new_client_from_config(config_file=str(path)))
    except (config.ConfigException, OSError, yaml.YAMLError) as error:
        raise WrongSetUp(
            what="cluster",
            which=path.name,
            why="there is no usable kubeconfig",
            next_step="start the node with `readingroom node up`",
        ) from error


class KubernetesWorkspaces:
    """See the port `Workspaces`."""

    def __init__(self, api: client.CoreV1Api) -> None:
        self._api: Any = api  # the client's own types make every field optional

    def projects(self) -> Sequence[ProjectId]:
        with _translated("namespaces"):
            found = self._api.list_namespace(label_selector=f"{LABEL_ROLE}=workspace", _request_timeout=SECONDS)
        ids = [(item.metadata.labels or {}).get(LABEL_PROJECT, "") for item in found.items]
        names = {item.metadata.name for item in found.items}
        return sorted(
            ProjectId(found_id)
            for found_id in ids
            if PROJECT_ID.fullmatch(found_id) and workspace_namespace(found_id) in names
        )

    def known(self, project: ProjectId) -> Known:
        with _translated(f"grants of {project}"):
            found = self._api.list_namespaced_config_map(hub_namespace(project), _request_timeout=SECONDS)
        maps = {item.metadata.name: dict(item.data or {}) for item in found.items}
        grant = grant_in_force(project, maps)
        notes = maps.get(withdrawal_name(project), {})
        withdrawn = withdrawn_from(notes, grant.version if grant else 0)
        retired = frozenset(_words(notes.get(RETIRED_KEY, "[]")))
        return Known(project=project, grant=grant, withdrawn=withdrawn, retired=retired)

    def pods(self, project: ProjectId) -> Sequence[WorkspacePod]:
        with _translated(f"workspaces of {project}"):
            found = self._api.list_namespaced_pod(workspace_namespace(project), _request_timeout=SECONDS)
        return [from_pod(project, item) for item in found.items]

    def seal(self, pod: WorkspacePod) -> None:
        # The uid makes the patch invalid (422) if the name belongs to another pod by now.
        body = {"metadata": {"uid": pod.uid, "labels": {LABEL_SEAL: SEAL_CLOSED}}}
        with _translated(f"workspace {pod.name}", gone_is_done=True):
            self._api.patch_namespaced_pod(pod.name, workspace_namespace(pod.project), body, _request_timeout=SECONDS)

    def delete(self, pod: WorkspacePod) -> None:
        options = client.V1DeleteOptions(
            grace_period_seconds=GRACE_SECONDS, preconditions=client.V1Preconditions(uid=pod.uid)
        )
        with _translated(f"workspace {pod.name}", gone_is_done=True):
            self._api.delete_namespaced_pod(
                pod.name, workspace_namespace(pod.project), body=options, _request_timeout=SECONDS
            )

    def withdraw(self, project: ProjectId, version: int, handles: frozenset[str]) -> None:
        self._note(project, f"v{version}", handles)

        def without(data: dict[str, str]) -> dict[str, str]:
            return {ADMITTED: " ".join(one for one in data[ADMITTED].split() if one not in handles)}

        self._narrow(project, without)

    def retire(self, project: ProjectId, cuts: frozenset[str]) -> None:
        if project not in self.projects():
            return  # it was never opened here, so nothing mounts them
        self._note(project, RETIRED_KEY, cuts)
        self._narrow(project, lambda data: {ADMITTED_CUT: ""} if data[ADMITTED_CUT] in cuts else {})

    def _note(self, project: ProjectId, key: str, words: frozenset[str]) -> None:
        """Adds to what was noted under that key; nothing is taken from it."""
        name, namespace = withdrawal_name(project), hub_namespace(project)
        with _translated(f"withdrawals of {project}"):
            found = self._config_maps(namespace, name)
            data = dict(found[0].data or {}) if found else {}
            data[key] = json.dumps(sorted(_words(data.get(key, "[]")) | words))
            metadata: Any = client.V1ObjectMeta(name=name, namespace=namespace, labels={LABEL_PROJECT: project})
            body = client.V1ConfigMap(metadata=metadata, data=data)
            if found:
                metadata.resource_version = found[0].metadata.resource_version  # a note made meanwhile is not lost
                self._api.replace_namespaced_config_map(name, namespace, body, _request_timeout=SECONDS)
            else:
                self._api.create_namespaced_config_map(namespace, body, _request_timeout=SECONDS)

    def _narrow(self, project: ProjectId, narrower: Callable[[dict[str, str]], dict[str, str]]) -> None:
        """The hub still has the grant from before; admission refuses whatever it would start."""
        namespace = workspace_namespace(project)
        with _translated(f"admission of {project}"):
            for found in self._config_maps(namespace, ADMISSION):  # one; without it nobody is admitted
                version = found.metadata.resource_version  # an `up` meanwhile is not undone
                body = {"metadata": {"resourceVersion": version}, "data": narrower(found.data)}
                self._api.patch_namespaced_config_map(ADMISSION, namespace, body, _request_timeout=SECONDS)

    def _config_maps(self, namespace: str, name: str) -> Sequence[Any]:
        """The one of that name, or none."""
        selector = f"metadata.name={name}"
        found: Sequence[Any] = self._api.list_namespaced_config_map(
            namespace, field_selector=selector, _request_timeout=SECONDS
        ).items
        return found

    def watch(self, project: ProjectId, noticed: Callable[[], None], seconds: int) -> None:
        """Call `noticed` for each change of the project's pods, until `seconds` have passed or the watch breaks."""
        with _translated(f"workspaces of {project}"):
            stream = watch.Watch().stream(
                self._api.list_namespaced_pod,
                workspace_namespace(project),
                timeout_seconds=seconds,
                _request_timeout=seconds + SECONDS,
            )
            for _ in stream:
                noticed()


def withdrawal_name(project: str) -> str:
    """The ConfigMap that notes withdrawals until a newer grant version is in force."""
    return f"withdrawn-{project}"


def grant_in_force(project: str, maps: dict[str, dict[str, str]]) -> Grant | None:
    """The highest version among the project's ConfigMaps; None if there is none, or if that one cannot be read."""
    versions = {}
    for name in maps:
        match = _GRANT_NAME.fullmatch(name)
        if match and match["project"] == project:
            versions[int(match["version"])] = name
    if not versions:
        return None
    data = maps[versions[max(versions)]]
    try:
        grant = parse(data.get(GRANT_KEY, ""), json.loads(data.get(SCHEMA_KEY, "")), versions[max(versions)])
    except (ReadingRoomError, ValueError):
        return None
    return grant if (grant.project, grant.version) == (project, max(versions)) else None


def withdrawn_from(data: dict[str, str], version: int) -> frozenset[str]:
    """Handles withdrawn against this version or a later one; a note that cannot be read withdraws everybody."""
    found: set[str] = set()
    for key, text in data.items():
        if key == RETIRED_KEY:
            continue
        if not re.fullmatch(r"v[0-9]+", key):
            found.add("*")
        elif int(key[1:]) >= version:
            found |= _words(text)
    return frozenset(found)


def _words(text: str) -> set[str]:
    try:
        values = json.loads(text)
    except ValueError:
        return {"*"}
    return {str(value) for value in values} if isinstance(values, list) else {"*"}


def from_pod(project: ProjectId, pod: Any) -> WorkspacePod:
    """A pod of the API as the port's own type, without its environment."""
    main = pod.spec.containers[0]
    volume = next((mount.name for mount in main.volume_mounts or () if mount.mount_path == MOUNT_DATA), "")
    return WorkspacePod(
        project=project,
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        labels=dict(pod.metadata.labels or {}),
        cut=next((_source(found) for found in pod.spec.volumes or () if found.name == volume), None),
        image=main.image,
        state=_state(pod),
        started=pod.status.start_time,
        host_users=pod.spec.host_users is not False,
    )


def _source(volume: Any) -> str | None:
    if volume.image is not None:
        return str(volume.image.reference)
    claim = volume.persistent_volume_claim
    return None if claim is None else str(claim.claim_name)


def _state(pod: Any) -> WorkspaceState:
    ended = {"Succeeded": WorkspaceState.STOPPED, "Failed": WorkspaceState.FAILED}
    if pod.status.phase in ended:
        return ended[pod.status.phase]
    if (pod.metadata.labels or {}).get(LABEL_SEAL) == SEAL_CLOSED:
        return WorkspaceState.SEALED
    if pod.metadata.deletion_timestamp is not None:
        return WorkspaceState.STOPPING
    ready = any(item.type == "Ready" and item.status == "True" for item in pod.status.conditions or ())
    return WorkspaceState.RUNNING if ready else WorkspaceState.STARTING


@contextmanager
def _translated(which: str, *, gone_is_done: bool = False) -> Iterator[None]:
    try:
        yield
    except client.ApiException as error:
        if gone_is_done and error.status in {404, 409, 422}:  # 409, 422: the name belongs to another pod now
            return
        if error.status in {401, 403}:
            raise Refused(
                what="cluster",
                which=which,
                why=f"the API server refuses this account ({error.status})",
                next_step="check the account's rights",
            ) from error
        raise _away(which, f"the API server answered {error.status}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _away(which, f"the API server does not answer ({type(error).__name__})") from error


def _away(which: str, why: str) -> TryAgain:
    return TryAgain(what="cluster", which=which, why=why, next_step="check `readingroom node status` and try again")
