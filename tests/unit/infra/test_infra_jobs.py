"""What each Job of the data's path may see and write, restated by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from infra import cli_jobs, settings
from infra.components.quarantine import claims
from infra.jobs import Work, manifest
from readingroom.domain.errors import WrongSetUp

IMAGE = f"rr.local/services@sha256:{'0' * 64}"
PLAN = {"plan": "5" * 64, "shards": 3, "finished": False}


def steps(stamp: str = "stamp", workers: int = 2, **told: Any) -> list[Work]:
    return list(cli_jobs.deid_steps("demo", stamp, IMAGE, workers, lambda _: {**PLAN, **told}))


COSTS = {"seconds": 600, "memory_mib": 4096, "scratch_mib": 1024}


def holdout_steps() -> list[Work]:
    return list(cli_jobs.deid_steps("holdout", "stamp", IMAGE, 2, lambda _: PLAN))


WORKS = {
    "split": cli_jobs.split_work(20, ["deid-demo.jsonl"], "stamp", IMAGE),
    **dict(zip(("holdout-plan", "holdout-work", "holdout-finish"), holdout_steps(), strict=True)),
    "check": cli_jobs.check_work("demo", "stamp", IMAGE),
    "evaluate": cli_jobs.evaluate_work("demo", "net", "small", COSTS, "5" * 64, IMAGE),
    "ingest": cli_jobs.ingest_work("PYDICOM", "stamp", IMAGE),
    **dict(zip(("plan", "work", "finish"), steps(), strict=True)),
    "cut": cli_jobs.cut_work("demo", "stamp", IMAGE),
}
READ, WRITE = True, False
# (claim or ConfigMap, read only), as the picture in the README draws the arrows.
SEES = {
    "split": {("landing", WRITE), ("holdout", WRITE), ("receipts", READ)},
    **{f"holdout-{step}": {("holdout", WRITE)} for step in ("plan", "work", "finish")},
    "evaluate": {("submissions", READ), ("holdout", WRITE), ("evaluated", WRITE)},
    "check": {("cuts-demo", READ), ("holdout", READ), ("cleared", WRITE)},
    "ingest": {("inbox", READ), ("landing", WRITE), ("receipts", WRITE)},
    "plan": {("landing", READ), ("warehouse-demo", WRITE), ("receipts", WRITE)},
    "work": {("landing", READ), ("warehouse-demo", WRITE), ("receipts", WRITE)},
    "finish": {("warehouse-demo", WRITE), ("receipts", WRITE)},
    "cut": {("warehouse-demo", READ), ("cuts-demo", WRITE), ("decision-demo", READ)},
}
HOLDOUT = {"split", "holdout-plan", "holdout-work", "holdout-finish", "check", "evaluate"}
ACCOUNTS = {
    **dict.fromkeys(("split", "check"), "holdout"),
    "evaluate": "evaluate",
    **dict.fromkeys(("holdout-plan", "holdout-work", "holdout-finish"), "deid-holdout"),
    "ingest": "ingest",
    **dict.fromkeys(("plan", "work", "finish"), "deid-demo"),
    "cut": "cut-demo",
}


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
    assert bool(tokens) == (name in {"plan", "work", "holdout-plan", "holdout-work", "split"})
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
    assert job["spec"]["activeDeadlineSeconds"] == {
        **dict.fromkeys(("work", "holdout-work"), 7200),
        "evaluate": 4200,
    }.get(name, 3600), "an hour for each turn"


def test_the_steps_of_the_de_identifier_read_landing_as_a_landing_and_name_the_plan() -> None:
    beginning = ("readingroom", "deid", "/landing", "/warehouse", "--landing", "--project", "demo")
    staged = ("--staging", "/receipts/deid-demo", "--step")
    chosen = ("--plan", PLAN["plan"])
    assert [work.command for work in steps()] == [
        (*beginning, "--vault", *staged, "plan", "--shards", "2", "--jobs", "2"),
        (*beginning, "--vault", *staged, "work", *chosen, "--jobs", "1"),
        (*beginning, *staged, "finish", *chosen, "--receipt", "/receipts/deid-demo.jsonl"),
    ]


def test_no_account_of_a_project_mounts_the_hold_out_and_none_of_the_hold_outs_a_warehouse_or_inbox() -> None:
    for name, work in WORKS.items():
        theirs = {mount.claim for mount in work.mounts}
        assert ("holdout" in theirs) == (name in HOLDOUT)
        assert (work.account in {"holdout", "deid-holdout", "evaluate"}) == (name in HOLDOUT)
        assert name not in HOLDOUT or not theirs & {"warehouse-demo", "inbox", "linked-demo"}
    assert not {work.account for name, work in WORKS.items() if name.startswith("holdout")} & {"holdout"}


def test_the_hold_out_is_split_by_one_account_and_de_identified_by_another_in_its_own_storage() -> None:
    assert WORKS["split"].command == (
        "readingroom", "holdout", "split", "--landing", "/landing", "--holdout", "/holdout", "--vault", "--centre-file",
        "/holdout/centres", "--share", "20", "--deid-receipt", "/receipts/deid-demo.jsonl", "--confirm",
    )  # fmt: skip
    first = cli_jobs.split_work(20, (), "stamp", IMAGE)
    assert first.command[-2:] == ("--nothing-released", "--confirm")
    assert sees(first) == {("landing", WRITE), ("holdout", WRITE)}
    beginning = ("readingroom", "deid", "/holdout/landing", "/holdout/warehouse", "--landing", "--project", "holdout")
    for name in ("holdout-plan", "holdout-work", "holdout-finish"):
        assert WORKS[name].command[: len(beginning)] == beginning
        assert WORKS[name].command[WORKS[name].command.index("--staging") + 1] == "/holdout/receipts/deid-holdout"
    assert WORKS["holdout-finish"].command[-2:] == ("--receipt", "/holdout/receipts/deid-holdout.jsonl")
    assert WORKS["check"].command[2:] == ("check", "/cuts", "--holdout", "/holdout", "--cleared", "/cleared")


def test_a_submission_runs_beside_with_images_alone_as_another_user_and_ends_with_ours() -> None:
    spec = pod(WORKS["evaluate"])
    (stranger,) = spec["initContainers"]
    (ours,) = spec["containers"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    seen = {
        mount["mountPath"]: (mount.get("readOnly", False), mount.get("subPath")) for mount in stranger["volumeMounts"]
    }
    assert seen == {"/cases": (True, None), "/scratch": (False, None), "/images": (True, "warehouse/images")}
    (image_mount,) = (mount for mount in stranger["volumeMounts"] if mount["mountPath"] == "/images")
    assert volumes[image_mount["name"]]["persistentVolumeClaim"] == {"claimName": "holdout"}
    assert volumes["room"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1024Mi"}
    shared = {mount["name"] for mount in stranger["volumeMounts"]} & {mount["name"] for mount in ours["volumeMounts"]}
    assert shared == {"cases", "room"}
    assert next(mount for mount in ours["volumeMounts"] if mount["name"] == "room")["readOnly"] is True
    assert stranger["restartPolicy"] == "Always", "it ends with ours"
    assert {**ours["securityContext"], "runAsUser": 10002, "runAsGroup": 10002} == stranger["securityContext"]
    assert stranger["resources"]["limits"]["memory"] == "5120Mi"
    assert "env" not in stranger
    assert spec.get("shareProcessNamespace", False) is False
    assert not any("projected" in volume for volume in volumes.values())
    assert WORKS["evaluate"].command[-2:] == ("--beside", "/room")


def test_no_flow_leads_to_or_from_a_run_on_the_hold_out() -> None:
    assert not [flow for flow in settings.flows() if "evaluate" in str(flow)]


def test_an_evaluation_is_another_job_for_another_submission_plan_or_hold_out(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Work] = []
    monkeypatch.setattr(cli_jobs, "_run", ran.append)
    monkeypatch.setattr(cli_jobs, "_services", lambda: IMAGE)
    monkeypatch.setattr(cli_jobs, "_decided", lambda _: home)
    words = ["evaluate", "net", "--project", "demo", "--plan", "nccid-status"]
    assert isinstance(CliRunner().invoke(cli_jobs.job, words).exception, WrongSetUp)
    folder, manifest = home / "volumes/submissions/demo/net", home / "volumes/holdout/warehouse/manifest.jsonl"
    folder.mkdir(parents=True)
    manifest.parent.mkdir(parents=True)
    for change in (folder / "predict.py", manifest, None):
        if change:
            change.write_text("x")
        done = CliRunner().invoke(cli_jobs.job, words)
        assert done.exit_code == 0
        assert f"/evaluated/demo/{ran[-1].stamp[:12]}/report.html" in done.output
    assert len({work.name for work in ran}) == 2, "the same asked again is the same Job"
    for wrong in (["evaluate", "../net", *words[2:]], [*words[:-1], "../x"]):
        assert CliRunner().invoke(cli_jobs.job, wrong).exit_code == 2


def test_the_plan_of_the_hold_out_is_read_in_its_own_storage(home: Path) -> None:
    file = cli_jobs.places.volume("holdout") / "receipts" / "deid-holdout" / "plan.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(PLAN))
    assert cli_jobs.planned("holdout") == PLAN


def test_a_split_is_told_what_projects_were_given_and_which_centres_are_held_out(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Work] = []
    monkeypatch.setattr(cli_jobs, "_run", ran.append)
    monkeypatch.setattr(cli_jobs, "_services", lambda: IMAGE)
    monkeypatch.setattr(cli_jobs, "deid_steps", lambda *_: [])
    asked = CliRunner()
    without = asked.invoke(cli_jobs.job, ["holdout"])
    assert isinstance(without.exception, WrongSetUp)
    for name, file in (("holdout", "centres"), ("receipts", "deid-demo.jsonl"), ("receipts", "ingest-ABC.jsonl")):
        (home / "volumes" / name).mkdir(parents=True, exist_ok=True)
        (home / "volumes" / name / file).write_text("")
    assert asked.invoke(cli_jobs.job, ["holdout", "--nothing-released"]).exit_code == 2
    assert asked.invoke(cli_jobs.job, ["holdout", "--share", "5"]).exit_code == 0
    assert ran[0].command[-5:] == ("--share", "5", "--deid-receipt", "/receipts/deid-demo.jsonl", "--confirm")
    (home / "volumes/receipts/deid-demo.jsonl").unlink()
    assert asked.invoke(cli_jobs.job, ["holdout"]).exit_code == 2, "at the first split it must be said"
    assert asked.invoke(cli_jobs.job, ["holdout", "--nothing-released"]).exit_code == 0
    (home / "volumes/holdout/holdout-ledger.json").write_text("{}")
    assert asked.invoke(cli_jobs.job, ["holdout"]).exit_code == 0
    assert len({work.name for work in ran}) == 2


def test_shards_are_an_indexed_job_of_so_many_workers_and_a_refusal_ends_its_shard_alone() -> None:
    found = {name: manifest(work)["spec"] for name, work in WORKS.items()}
    asked = ("completionMode", "completions", "parallelism", "backoffLimitPerIndex")
    assert [found["work"][name] for name in asked] == ["Indexed", 3, 2, 2]
    assert "backoffLimit" not in found["work"], "counted over all shards it would end the Job"
    for name, spec in found.items():
        (rule,) = spec["podFailurePolicy"]["rules"]
        assert rule["action"] == ("FailIndex" if name.endswith("work") else "FailJob")
        assert name.endswith("work") or not set(asked) & set(spec)
    (_, few, _) = steps(workers=8)
    assert manifest(few)["spec"]["parallelism"] == 3


def test_without_images_there_is_no_indexed_job() -> None:
    assert [work.step for work in steps(shards=0)] == ["plan", "finish"]


def test_the_steps_are_three_jobs_of_which_none_makes_room_for_another() -> None:
    labels = [manifest(work)["metadata"]["labels"] for work in steps()]
    assert [each["readingroom/step"] for each in labels] == ["plan", "work", "finish"]
    assert {(each["readingroom/role"], each["readingroom/project"]) for each in labels} == {("deid", "demo")}
    assert len({work.name for work in steps()}) == 3


def test_the_same_input_is_the_same_job_and_other_input_another() -> None:
    for again, other, step in zip(steps(), steps("more came"), ("plan", "work", "finish"), strict=True):
        assert again.name == WORKS[step].name != other.name
        assert other.name.startswith(f"deid-demo-{step}-")
    replanned = steps(plan="6" * 64)
    assert [work.name == WORKS[work.step].name for work in replanned] == [True, False, False]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", json.dumps({**PLAN, "plan": "--vault"}), json.dumps({**PLAN, "shards": "3"}),
     json.dumps({**PLAN, "more": 1}), json.dumps({**PLAN, "plan": 7})],
)  # fmt: skip
def test_a_plan_that_cannot_be_read_ends_the_command(text: str, home: Path) -> None:
    file = cli_jobs.places.volume("receipts") / "deid-demo" / "plan.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(PLAN))
    assert cli_jobs.planned("demo") == PLAN
    file.write_text(text)
    with pytest.raises(WrongSetUp, match=r"plan\.json"):
        cli_jobs.planned("demo")


def test_how_many_work_at_a_time_is_policy(tmp_path: Path) -> None:
    assert settings.shard_workers() == 2
    (tmp_path / "shards.yaml").write_text("instances: 1\nbytes: 1\nworkers: none\n")
    with pytest.raises(WrongSetUp):
        settings.shard_workers(tmp_path / "shards.yaml")


def test_folders_are_shared_up_to_landing_and_a_projects_own_from_there() -> None:
    assert claims(["two", "one"]) == [
        "inbox", "spool", "landing", "receipts", "opt-outs", "holdout", "cleared",
        "submissions", "evaluated",
        "warehouse-one", "cuts-one", "linked-one", "warehouse-two", "cuts-two", "linked-two",
    ]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "readingroom"


def sees(work: Work) -> set[tuple[str, bool]]:
    return {(mount.claim or mount.config, not mount.writable) for mount in work.mounts}


@pytest.mark.parametrize("name", ["ingest", "plan"])
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
