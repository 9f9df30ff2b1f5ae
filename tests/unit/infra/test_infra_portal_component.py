"""What the portal's component declares, and what the Job that enrols may: every object, and rules over all of them."""

from __future__ import annotations

import itertools
import json
from datetime import date
from typing import Any

import pytest
import yaml

from infra import settings
from infra.components.portal import Portal, PortalArgs, enrol_job, portal_pod, project_entry, projects_file
from infra.jobs import CONTAINER
from readingroom.contract import PORTAL_HOST, PORTAL_SERVICE_ADDRESS, SYSTEM
from readingroom.entrypoints.settings import projects_from
from tests.unit.infra.test_infra_hub_components import REFS, Objects, collect, of, pods

DECISION = {
    "project": "demo",
    "title": "Lungs & ribs",
    "until": "2027-05-22T00:00:00Z",
    "members": [{"username": "zeppelin"}],
    "data": {"modalities": ["CT", "DX"]},
}
ARGS = PortalArgs(images=REFS, projects=[project_entry(DECISION), {"id": "other", "title": "Other"}])


@pytest.fixture(scope="module")
def objects() -> Objects:
    def program() -> None:
        Portal(ARGS)

    return collect(program)


def command(objects: Objects) -> list[str]:
    found: list[str] = pods(objects)["rr-system/portal"]["spec"]["initContainers"][0]["command"]
    return found


def after(words: list[str], option: str) -> set[str]:
    return {value for name, value in itertools.pairwise(words) if name == option}


def test_the_objects_are_exactly_these(objects: Objects) -> None:
    found = {f"{kind} {inputs['metadata']['namespace']}/{inputs['metadata']['name']}" for kind, inputs in objects}
    assert found == {
        "ServiceAccount rr-system/portal", "ServiceAccount rr-system/accounts", "ConfigMap rr-system/portal-settings",
        "Deployment rr-system/portal", "Service rr-system/portal",
    }  # fmt: skip
    assert len(objects) == 5


def test_no_account_is_given_a_token_by_itself(objects: Objects) -> None:
    for account in of(objects, "ServiceAccount").values():
        assert account["automountServiceAccountToken"] is False


def test_the_pod_is_restricted_reads_only_and_has_no_token(objects: Objects) -> None:
    spec = pods(objects)["rr-system/portal"]["spec"]
    assert spec["serviceAccountName"] == "portal"
    assert spec["securityContext"]["runAsUser"] == 10001
    main = spec["containers"][0]
    assert main["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["mountPath"] for mount in main["volumeMounts"]} == {
        "/tmp",
        "/etc/readingroom/portal",
        "/run/delivered",
    }
    assert [mount["readOnly"] for mount in main["volumeMounts"] if mount["mountPath"] != "/tmp"] == [True, True]
    assert main["readinessProbe"]["httpGet"] == {"path": "/health", "port": 8443, "scheme": "HTTPS"}
    assert main["env"] == [{"name": "RR_PROJECTS", "value": "/etc/readingroom/portal/projects.json"}]


def test_the_deliverer_asks_for_these_secrets_and_certificates_alone(objects: Objects) -> None:
    words = command(objects)
    assert after(words, "--role") == {"portal"}
    assert after(words, "--kv") == {
        "platform/portal#django_secret_key=django_secret_key",
        "platform/portal#oidc_private_key=oidc_private_key",
        "projects/demo/oidc#client_secret=oidc-demo",
        "projects/other/oidc#client_secret=oidc-other",
    }
    assert after(words, "--certificate") == {
        f"portal:tls:{PORTAL_HOST},portal.rr-system.svc",
        "portal-client:database:portal",
    }


def test_what_is_asked_for_is_what_vault_s_roles_allow(objects: Objects) -> None:
    roles = yaml.safe_load(settings.text("vault", "roles.yaml"))
    for text in after(command(objects), "--certificate"):
        role, _, rest = text.partition(":")
        assert set(rest.partition(":")[2].split(",")) <= set(roles["certificates"][role]["names"])
        assert f'path "rr-pki/sign/{role}"' in settings.text("vault", "portal.hcl")
    assert set(roles["seeds"]["platform/portal"]) == {"django_secret_key", "oidc_private_key"}
    assert roles["roles"]["accounts"] == {
        "namespace": SYSTEM, "account": "accounts", "policy": "accounts", "seconds": 600,
    }  # fmt: skip
    paths = [line for line in settings.text("vault", "accounts.hcl").splitlines() if line.startswith("path")]
    assert paths == ['path "rr-pki/sign/portal-client" {']


def test_the_service_has_the_fixed_address(objects: Objects) -> None:
    spec = of(objects, "Service")["rr-system/portal"]["spec"]
    assert spec["clusterIP"] == PORTAL_SERVICE_ADDRESS
    assert spec["selector"] == {"readingroom/role": "portal"}
    assert spec["type"] == "ClusterIP"
    assert [(port["port"], port["targetPort"]) for port in spec["ports"]] == [(8443, 8443)]


def test_the_portal_reads_its_list_of_projects_and_another_list_is_another_pod(objects: Objects) -> None:
    text = of(objects, "ConfigMap")["rr-system/portal-settings"]["data"]["projects.json"]
    demo, other = projects_from(text)
    assert (demo.id, demo.title, demo.ends) == ("demo", "Lungs & ribs", date(2027, 5, 21))
    assert "CT, DX" in demo.may[0]
    assert (other.may, other.ends) == ((), None)
    assert "members" not in text
    assert "zeppelin" not in text
    changed = PortalArgs(images=REFS, projects=ARGS.projects[:1])
    assert portal_pod(changed).stamp != portal_pod(ARGS).stamp
    assert json.loads(projects_file(changed)) != json.loads(projects_file(ARGS))


def test_a_role_of_the_pod_is_a_peer_of_the_flows(objects: Objects) -> None:
    flows = {(flow.source.role, flow.destination.role) for flow in settings.flows()}
    roles = [
        pods(objects)["rr-system/portal"]["metadata"]["labels"]["readingroom/role"],
        job()["spec"]["template"]["metadata"]["labels"]["readingroom/role"],
    ]
    assert roles == ["portal", "accounts"]
    for role in roles:
        assert {(role, "database"), (role, "vault"), (role, "dns")} <= flows


def job(roster: str = "{}") -> dict[str, Any]:
    return enrol_job(roster, REFS["services"])


def test_the_job_has_the_roster_s_claim_and_nothing_of_the_portal_s() -> None:
    made = job()
    assert made["metadata"]["namespace"] == SYSTEM
    pod = made["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "accounts"
    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert [each["name"] for each in pod["initContainers"]] == ["deliver"]
    main = pod["containers"][0]
    assert main["name"] == CONTAINER
    assert {mount["name"] for mount in main["volumeMounts"]} & {"vault-token", "vault-ca"} == set()
    assert {mount["mountPath"] for mount in main["volumeMounts"]} == {"/tmp", "/roster", "/run/delivered"}
    assert {entry["name"]: entry["value"] for entry in main["env"]} == {
        "RR_ROSTER": "/roster/roster.json",
        "RR_RESULT": "/roster/handles.json",
    }
    for container in [main, *pod["initContainers"]]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["image"] == REFS["services"]
        assert container["resources"]["limits"]["memory"]
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert claims == ["accounts-roster"]
    words = pod["initContainers"][0]["command"]
    assert after(words, "--role") == {"accounts"}
    assert after(words, "--certificate") == {"portal-client:database:portal"}
    assert "--kv" not in words
    assert "--keep" not in words


def test_another_roster_is_another_job_and_no_name_of_it_stands_there() -> None:
    first, second = job('{"accounts": ["zeppelin"]}'), job('{"accounts": ["ben"]}')
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert first == job('{"accounts": ["zeppelin"]}')
    assert "zeppelin" not in json.dumps(first)


def test_a_volume_that_is_mounted_exists() -> None:
    pod = job()["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    mounted = {mount["name"] for each in [*pod["containers"], *pod["initContainers"]] for mount in each["volumeMounts"]}
    assert mounted == volumes
