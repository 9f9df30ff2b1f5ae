"""The platform as declared: again nothing changes, what others change is named and taken back, and its state holds no secret."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import engine, places
from infra.node import host, launcher, processes, supervisor
from readingroom.contract import QUARANTINE, SYSTEM, hub_namespace, workspace_namespace
from tests.cluster.probes import kubectl, listed
from tests.cluster.secrets_here import KEY_SHAPED, all_secrets, findings
from tests.cluster.site import Room, command

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
LOOSE = "t-loose"
EXTRA = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": LOOSE},
    "spec": {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [{"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}],
    },
}


def counted(line: str, stack: str) -> str:
    return next(one for one in line.splitlines() if one.startswith(f"{stack}: ")).partition(": ")[2]


def test_a_second_up_changes_nothing_and_preview_had_said_so(room: Room) -> None:
    """Of the room; the demo's own second run says the same of the platform and the demo."""
    stack = f"project-{room.project}"
    seen = command("platform", "preview").stdout
    done = command("platform", "up", "--project", room.project).stdout
    for line in (counted(seen, "local"), counted(seen, stack), counted(done, stack)):
        number, word = line.split(maxsplit=1)
        assert word == "unchanged", line
        assert int(number) > 20


def differences(room: Room) -> tuple[int, str, set[tuple[str, str, str]]]:
    """The exit status, the line beside it, and what is told of the tests' own project."""
    done = command("platform", "status", "--json", check=False)
    reports = {one["stack"]: one for one in json.loads(done.stdout)["stacks"]}
    found = reports[f"project-{room.project}"]["findings"]
    return done.returncode, done.stderr, {(one["object"], one["where"], one["what"]) for one in found}


def by_hand(*words: str, given: Any = None) -> None:
    status, said = kubectl(*words, given=json.dumps(given) if given else "")
    assert status == 0, said


@pytest.fixture
def loosened(room: Room) -> Iterator[set[tuple[str, str, str]]]:
    """What an operator with break-glass did by night, and how each should be told."""
    hub, workspaces = hub_namespace(room.project), workspace_namespace(room.project)
    rules = len(listed("networkpolicy", "-n", hub, "allow-hub")["spec"]["egress"])
    subjects = len(listed("rolebinding", "-n", hub, "reconciler")["subjects"])
    rule = [{"op": "add", "path": "/spec/egress/-", "value": EXTRA["spec"]["egress"][0]}]  # type: ignore[index]
    stranger = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "t-stranger"}
    subject = [{"op": "add", "path": "/subjects/-", "value": stranger}]
    try:
        by_hand("patch", "networkpolicy", "-n", hub, "allow-hub", "--type=json", "-p", json.dumps(rule))
        by_hand("patch", "rolebinding", "-n", hub, "reconciler", "--type=json", "-p", json.dumps(subject))
        by_hand("create", "-n", workspaces, "-f", "-", given=EXTRA)
        by_hand("label", "namespace", workspaces, "--overwrite", "pod-security.kubernetes.io/enforce=baseline")
        yield {
            (f"NetworkPolicy {hub}/allow-hub", f"spec.egress[{rules}]", "added"),
            (f"RoleBinding {hub}/reconciler", f"subjects[{subjects}]", "added"),
            (f"NetworkPolicy {workspaces}/{LOOSE}", "", "undeclared"),
            (f"Namespace {workspaces}", 'metadata.labels["pod-security.kubernetes.io/enforce"]', "changed"),
        }
    finally:
        if LOOSE in kubectl("get", "networkpolicy", "-n", workspaces, "-o", "name")[1]:  # the test got no further
            command("platform", "up", "--project", room.project, "--take-back")


def test_whatever_somebody_loosens_is_named_and_taken_back(room: Room, loosened: set[tuple[str, str, str]]) -> None:
    status, line, told = differences(room)
    assert status == 1
    assert told == loosened
    assert f"project-{room.project}" in line
    assert "readingroom platform up --take-back" in line
    done = command("platform", "up", "--project", room.project, "--take-back").stdout
    assert f"deleted NetworkPolicy {workspace_namespace(room.project)}/{LOOSE}, which nobody declared" in done
    assert differences(room)[2] == set()


def what_the_engine_keeps() -> Iterator[tuple[str, bytes]]:
    """Every stack with what is marked in clear, and every file, the state as it lies on the disk among them."""
    for stack in engine.stacks():
        yield f"stack {stack}", json.dumps(engine.resources(stack)).encode()
    folder = places.state("pulumi")
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink() and file != folder / "passphrase":
            yield str(file.relative_to(folder)), file.read_bytes()


def test_no_secret_that_exists_is_in_what_the_engine_keeps(room: Room) -> None:
    secrets = all_secrets()
    kinds = set(secrets.values())
    assert {"Vault's unseal share", "the passphrase of Pulumi's state", "the hash of a password"} <= kinds
    assert {"the node's key operator.key", "the node's key service-account.key", "Vault's key ca.key"} <= kinds
    assert {f"delivered {name}" for name in ("client_secret", "cookie_secret", "tls.key", "django_secret_key")} <= kinds
    kept = dict(what_the_engine_keeps())
    assert {f"stack project-{room.project}", "stack local"} <= set(kept)
    if findings(b"\n".join(kept.values()), secrets):
        assert {name: found for name, content in kept.items() if (found := findings(content, secrets))} == {}


@pytest.mark.parametrize("written", ["plain", "json", "base64", "inside"])
def test_the_scanner_finds_each_secret_however_it_is_written(written: str) -> None:
    secrets = all_secrets()
    for secret, what in secrets.items():
        planted = {
            "plain": secret,
            "json": json.dumps({"value": secret}),
            "base64": base64.b64encode(secret.encode()).decode(),
            "inside": base64.b64encode(f"a={secret};b=1".encode()).decode(),
        }[written]
        assert what in findings(f'{{"inputs": "{planted}"}}'.encode(), {secret: what}), what


@pytest.mark.parametrize("shape", KEY_SHAPED)
def test_the_scanner_finds_what_looks_like_a_key(shape: str) -> None:
    samples = {
        "a private key": "-----BEGIN EC PRIVATE KEY-----",
        "a token of Vault's": "hvs.CAESIJ" + "a" * 30,
        "a token of a service account": "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2ln",
        "the hash of a password": "argon2$argon2id$v=19$m=102400,t=2,p=8$c2FsdHNhbHQ$aGFzaA",
    }
    assert findings(samples[shape].encode(), {}) == {shape}


def test_the_node_with_its_platform_and_one_project_holds_less_than_two_and_a_half_gibibytes(room: Room) -> None:
    """Pages that several share are counted once. Other projects and open workspaces come on top."""
    spaces = (SYSTEM, QUARANTINE, hub_namespace(room.project))
    uids = [pod["metadata"]["uid"] for space in spaces for pod in listed("pods", "-n", space)["items"]]
    groups = [file for file in Path("/sys/fs/cgroup").rglob("cgroup.procs") if any(uid in str(file) for uid in uids)]
    pods = {int(pid) for file in groups for pid in file.read_text().split()}
    names = (supervisor.NAME, *launcher.STOP_ORDER)
    node = {known.pid for name in names if (known := processes.running(name))} | set(host.shims())
    everything = next(state.detail for state in launcher.status() if state.name == "memory")
    held = sum(map(held_by, pods | node)) / 2**30
    assert 0.5 < held < 2.5, f"{held:.2f} GiB; node status says {everything}"
    assert held <= float(everything.split()[0]) + 0.1


def held_by(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has ended
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
