"""The real programs, rendered: nothing that brings pods comes before the walls of its namespace, nothing is left open.

Only the engine is stood in for. Image digests are made up: no image is built for this.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import places
from infra.render import Declared

PODS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"})
SCRIPT = """
import sys
from images import build
from infra import render, vault_tls
from readingroom.contract import IMAGES, image_reference
build.references = lambda: {name: image_reference(name, "sha256:" + "0" * 64) for name in IMAGES}
vault_tls.ensure()
sys.exit(render.main(sys.argv[1:]))
"""
GRANT = [
    "project", "grant", "demo", "--title", "t", "--member", "r1234567", "--until", "2099-01-01", "--cut", "c1",
    "--cut-image", f"rr.local/cut-demo@sha256:{'1' * 64}", "--manifest-sha256", "2" * 64,
    "--image", f"imaging-cpu=rr.local/workspace-cpu@sha256:{'0' * 64}",
]  # fmt: skip


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Declared]]:
    """Both programs, in a state folder of their own."""
    home = tmp_path_factory.mktemp("state")
    environment = {**os.environ, "XDG_STATE_HOME": str(home)}

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=places.CHECKOUT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    run(sys.executable, "-c", "from readingroom.entrypoints.cli import main; main()", *GRANT)
    (grant,) = (home / "readingroom" / "grants" / "demo").glob("v*.json")
    return {
        "local": _read(run(sys.executable, "-c", SCRIPT, "local")),
        "project-demo": _read(run(sys.executable, "-c", SCRIPT, "project", str(grant))),
    }


def _read(text: str) -> list[Declared]:
    return [Declared(**{**one, "dependencies": tuple(one["dependencies"])}) for one in json.loads(text)]


def objects(rendered: dict[str, list[Declared]]) -> Iterator[tuple[str, Declared]]:
    """(stack, resource) of every object of the cluster."""
    for stack, found in rendered.items():
        yield from ((stack, one) for one in found if one.manifest)


def before(found: list[Declared], urn: str) -> frozenset[str]:
    """Everything that must be there before `urn`, however many steps before.

    A child is registered after its component, and a component after what it depends on: so a parent counts as well.
    """
    by_urn = {one.urn: one for one in found}

    @functools.cache
    def reach(this: str) -> frozenset[str]:
        direct = [urn for urn in (*by_urn[this].dependencies, by_urn[this].parent) if urn in by_urn]
        return frozenset(direct).union(*map(reach, direct)) if direct else frozenset()

    return reach(urn)


def namespace(one: Declared) -> str:
    return str(one.manifest["metadata"].get("namespace", ""))


def kinds_before(found: list[Declared], one: Declared, space: str) -> set[str]:
    by_urn = {other.urn: other for other in found}
    return {
        by_urn[urn].manifest["kind"]
        for urn in before(found, one.urn)
        if by_urn[urn].manifest and (namespace(by_urn[urn]) or by_urn[urn].manifest["metadata"]["name"]) == space
    }


def test_no_pod_comes_before_the_walls_of_its_namespace(rendered: dict[str, list[Declared]]) -> None:
    walls = {"Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange"}
    bearing = [(stack, one) for stack, one in objects(rendered) if one.manifest["kind"] in PODS]
    assert bearing
    for stack, one in bearing:
        assert walls <= kinds_before(rendered[stack], one, namespace(one)), one.urn


def test_no_pod_of_the_platform_comes_before_admission(rendered: dict[str, list[Declared]]) -> None:
    found = rendered["local"]
    guards = {one.urn for one in found if one.manifest.get("kind", "").startswith("ValidatingAdmissionPolicy")}
    assert guards
    for one in found:
        if one.manifest.get("kind") in PODS:
            assert guards <= before(found, one.urn), one.urn


def test_every_namespace_is_sealed_in_both_directions_and_restricted(rendered: dict[str, list[Declared]]) -> None:
    manifests = [one.manifest for _, one in objects(rendered)]
    spaces = [one for one in manifests if one["kind"] == "Namespace"]
    assert len(spaces) >= 4
    for space in spaces:
        name = space["metadata"]["name"]
        assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        sealed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        assert any(
            one["kind"] == "NetworkPolicy" and one["metadata"]["namespace"] == name and one["spec"] == sealed
            for one in manifests
        ), name


def pod_specs(rendered: dict[str, list[Declared]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, pod spec) of whatever brings pods."""
    for _, one in objects(rendered):
        if one.manifest["kind"] in PODS:
            yield one.urn, one.manifest["spec"]["template"]["spec"]


def test_every_image_is_named_by_digest_and_never_pulled(rendered: dict[str, list[Declared]]) -> None:
    for name, spec in pod_specs(rendered):
        for container in (*spec["containers"], *spec.get("initContainers", ())):
            assert "@sha256:" in container["image"], name
            assert container["imagePullPolicy"] == "Never", name


def test_nothing_is_exposed_beyond_the_cluster(rendered: dict[str, list[Declared]]) -> None:
    services = [one.manifest["spec"] for _, one in objects(rendered) if one.manifest["kind"] == "Service"]
    assert services
    assert all(spec.get("type", "ClusterIP") == "ClusterIP" and not spec.get("externalIPs") for spec in services)


def test_no_secret_object_and_no_reference_to_one_is_declared(rendered: dict[str, list[Declared]]) -> None:
    for _, one in objects(rendered):
        assert one.manifest["kind"] != "Secret"
        if one.manifest["kind"] == "ValidatingAdmissionPolicy":
            continue  # their expressions name what they forbid
        text = json.dumps(one.manifest)
        assert not any(word in text for word in ("secretKeyRef", '"secretName"', "BEGIN PRIVATE KEY", "BEGIN EC")), (
            one.urn
        )


def test_every_declared_kind_is_served_by_the_offline_provider(rendered: dict[str, list[Declared]]) -> None:
    from infra.provider.kinds import by_name

    for _, one in objects(rendered):
        by_name(one.manifest["apiVersion"], one.manifest["kind"])


def test_two_renders_give_the_same_files(rendered: dict[str, list[Declared]], tmp_path: Path) -> None:
    from infra.render import write

    for _ in range(2):
        for stack, found in rendered.items():
            count = write(found, tmp_path / stack)
            assert count == len(list((tmp_path / stack).iterdir()))  # no two objects share a file
