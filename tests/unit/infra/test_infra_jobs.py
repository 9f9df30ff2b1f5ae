"""What each Job of the data's path may see and write, restated by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra import cli_jobs, settings
from infra.components.quarantine import claims
from infra.jobs import Work, manifest
from readingroom.domain.errors import WrongSetUp

IMAGE = f"rr.local/services@sha256:{'0' * 64}"
WORKS = {
    "ingest": cli_jobs.ingest_work("PYDICOM", "stamp", IMAGE),
    "deid": cli_jobs.deid_work("demo", "stamp", IMAGE),
    "cut": cli_jobs.cut_work("demo", "stamp", IMAGE),
}
READ, WRITE = True, False
# (claim or ConfigMap, read only), as the picture in the README draws the arrows.
SEES = {
    "ingest": {("inbox", READ), ("landing", WRITE), ("receipts", WRITE)},
    "deid": {("landing", READ), ("warehouse-demo", WRITE), ("receipts", WRITE)},
    "cut": {("warehouse-demo", READ), ("cuts-demo", WRITE), ("decision-demo", READ)},
}
ACCOUNTS = {"ingest": "ingest", "deid": "deid-demo", "cut": "cut-demo"}


def pod(work: Work) -> dict[str, Any]:
    found: dict[str, Any] = manifest(work)["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("name", WORKS)
def test_a_job_sees_its_own_folders_and_writes_only_onwards(name: str) -> None:
    spec = pod(WORKS[name])
    sources = {
        volume["name"]: volume.get("persistentVolumeClaim", {}).get("claimName")
        or volume.get("configMap", {}).get("name")
        for volume in spec["volumes"]
    }
    mounts = {(sources[one["name"]], one.get("readOnly", False)) for one in spec["containers"][0]["volumeMounts"]}
    assert mounts - {(None, False), (None, True), ("vault-ca", True)} == SEES[name]


@pytest.mark.parametrize("name", WORKS)
def test_only_the_de_identifier_can_ask_vault_and_nobody_the_api_server(name: str) -> None:
    spec = pod(WORKS[name])
    tokens = [volume["projected"] for volume in spec["volumes"] if "projected" in volume]
    assert bool(tokens) == (name == "deid")
    assert all(one["sources"][0]["serviceAccountToken"]["audience"] == "rr-vault" for one in tokens)
    assert spec["serviceAccountName"] == ACCOUNTS[name]
    assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", WORKS)
def test_a_job_is_restricted_and_ends(name: str) -> None:
    job = manifest(WORKS[name])
    spec = pod(WORKS[name])
    container = spec["containers"][0]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"] == IMAGE
    assert job["spec"]["activeDeadlineSeconds"] <= 3600


def test_the_de_identifier_reads_landing_as_a_landing() -> None:
    command = WORKS["deid"].command
    assert command[:5] == ("readingroom", "deid", "/landing", "/warehouse", "--landing")


def test_the_same_input_is_the_same_job_and_other_input_another() -> None:
    again, other = cli_jobs.deid_work("demo", "stamp", IMAGE), cli_jobs.deid_work("demo", "more came", IMAGE)
    assert again.name == WORKS["deid"].name != other.name
    assert other.name.startswith("deid-demo-")


def test_folders_are_shared_up_to_landing_and_a_projects_own_from_there() -> None:
    assert claims(["two", "one"]) == [
        "inbox", "landing", "receipts", "opt-outs",
        "warehouse-one", "cuts-one", "linked-one", "warehouse-two", "cuts-two", "linked-two",
    ]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "readingroom"


def sees(work: Work) -> set[tuple[str, bool]]:
    return {(mount.claim or mount.config, not mount.writable) for mount in work.mounts}


@pytest.mark.parametrize("name", ["ingest", "deid"])
def test_a_job_is_told_who_opted_out_where_the_site_asks(home: Path, name: str) -> None:
    folder = home / "volumes" / "opt-outs"
    assert cli_jobs.with_opt_outs(WORKS[name]) == WORKS[name]
    folder.mkdir(parents=True)
    (folder / ".draft").write_text("")
    assert cli_jobs.with_opt_outs(WORKS[name]) == WORKS[name]
    (folder / "opted-out.txt").write_text("")
    told = cli_jobs.with_opt_outs(WORKS[name])
    assert told.command == (*WORKS[name].command, "--opt-outs", "/opt-outs")
    assert sees(told) == SEES[name] | {("opt-outs", READ)}
    (folder / "opted-out.txt").write_text("9434765919")
    assert len({WORKS[name].name, told.name, cli_jobs.with_opt_outs(WORKS[name]).name}) == 3, (
        "another list is other input"
    )


def test_a_cut_has_the_joined_tables_of_its_project(home: Path) -> None:
    folder = home / "volumes" / "linked-demo"
    assert cli_jobs.with_linked(WORKS["cut"]) == WORKS["cut"]
    for table in ("vaccines", "deaths"):
        (folder / table).mkdir(parents=True)
        (folder / table / "linked.json").write_text("{}")
    told = cli_jobs.with_linked(WORKS["cut"])
    assert told.command == (*WORKS["cut"].command, "--linked", "/linked/deaths", "--linked", "/linked/vaccines")
    assert sees(told) == SEES["cut"] | {("linked-demo", READ)}
    assert told.name != WORKS["cut"].name
    for odd in ("half", "--confirm"):
        (folder / odd).mkdir()
        with pytest.raises(WrongSetUp, match="1 of 3 joined tables"):
            cli_jobs.with_linked(WORKS["cut"])
        (folder / odd).rmdir()


def test_no_name_of_a_person_reaches_the_cluster_with_the_decision(home: Path) -> None:
    from infra.programs import platform

    folder = home / "decisions" / "demo"
    folder.mkdir(parents=True)
    for version, name in ((1, "nobody-else"), (10, "researcher-1")):
        document = {
            "project": "demo",
            "version": version,
            "members": [{"username": name}],
            "data": {"modalities": ["CT"]},
        }
        (folder / f"d{version}.json").write_text(json.dumps(document))
    assert settings.decisions()["demo"].name == "d10.json"
    found = platform.decisions()["demo"]
    assert "researcher" not in found
    assert json.loads(found)["data"] == {"modalities": ["CT"]}


@pytest.mark.parametrize("text", ["[]", "{", "null"])
def test_a_decision_that_cannot_be_read_ends_the_run(home: Path, text: str) -> None:
    from infra.programs import platform

    folder = home / "decisions" / "demo"
    folder.mkdir(parents=True)
    (folder / "d1.json").write_text(text)
    with pytest.raises(WrongSetUp, match=r"demo/d1\.json"):
        platform.decisions()
