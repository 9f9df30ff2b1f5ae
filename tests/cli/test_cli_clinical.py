"""Clinical records as a user sends them: beside their images, through `deid`, and through `ingest` and then `deid`."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pyarrow import parquet

from tests import dicom_factory as make
from tests.cli.command import run, start
from tests.cli.test_cli_decide import deciding
from tests.cli.test_cli_deid import answers, contents, deid, lines, put
from tests.unit.data.warehouses import unpacked

DAY = "raw-gwendolyn/2020-05-06"
SENT: dict[str, Any] = {
    "Pseudonym": "PID4471882",
    "SubmittingCentre": "Queen Gwendolyn Infirmary",
    "Age": 65.889,
    "Sex": "t",
    "Ethnicity": "White - British",
    "Date of admission": "04/03/2020",
    "Date of death": "[Featherstone died] - 2020-05-28",
    "Death": "1",
    "Systolic BP": "[137/91] - 2020-04-05",
    "FiO2": "10L",
    "Ferritin": 4471882,
    "PMH Lung disease": "5 - asthma, Dr Ottoline",
    "Notes": "Barnaby Featherstone, ACC7700123",
    "OtherDataSources": {"SegmentationData": {"CXR severity 3": "2", "Reader": "Ottoline^Prudence"}},
}
NEVER = (
    *make.SECRETS,
    b"Featherstone",
    b"Barnaby",
    b"Gwendolyn",
    b"Ottoline",
    b"4471882",
    b"ACC7700123",
    b"2020-04-03",
)


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    negative = {"Pseudonym": "PID5", "SubmittingCentre": "Elsewhere", "SwabStatus": 0, "SwabDate": "14/05/2020"}
    put(
        tmp_path,
        **{
            f"{DAY}/images/1.dcm": make.part10(make.ct()),
            f"{DAY}/data/PID4471882_data.json": json.dumps(SENT).encode(),
            "raw-gwendolyn/2020-05-01/data/PID4471882_data.json": json.dumps({**SENT, "Age": 20}).encode(),
            f"{DAY}/data/PID5_status.json": json.dumps(negative).encode(),
            f"{DAY}/data/PID6_data.json": b'{"Pseudonym": "Featherstone", "Age": NaN}',
        },
    )
    return tmp_path


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "clinical.csv").read_text().splitlines()))


def test_records_and_images_become_one_warehouse_that_says_nothing_of_anybody(sent: Path) -> None:
    done = deid(sent, "--jobs", 2, "--explain", sent / "explain", "--clinical-report", sent / "report", by=start)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "5 files: 4 released, 0 held, 1 rejected"
    assert answers(sent) == {
        f"{DAY}/images/1.dcm": "released",
        f"{DAY}/data/PID4471882_data.json": "released",
        "raw-gwendolyn/2020-05-01/data/PID4471882_data.json": "released superseded",
        f"{DAY}/data/PID5_status.json": "released",
        f"{DAY}/data/PID6_data.json": "rejected clinical-malformed",
    }
    assert {line["output"] for line in lines(sent / "receipt.jsonl") if "data/" in line["input"]} == {
        "clinical.parquet",
        None,
    }
    manifest = {line["path"]: line for line in lines(sent / "out" / "manifest.jsonl")}
    files = contents(sent / "out")
    assert set(files) == {*manifest, "manifest.jsonl"}
    assert all(hashlib.sha256(files[path]).hexdigest() == line["sha256"] for path, line in manifest.items())
    assert {path for path, line in manifest.items() if line["modality"] == "clinical"} == {
        "clinical.csv",
        "clinical.parquet",
        "clinical-dictionary.csv",
    }
    [image] = (path for path in files if path.startswith("images/"))
    patients = {row["patient"]: row for row in rows(sent / "out")}
    row, study = patients[image.split("/")[1]], pydicom.dcmread(sent / "out" / image)
    shift = date(2020, 4, 3) - date.fromisoformat(f"{study.StudyDate[:4]}-{study.StudyDate[4:6]}-{study.StudyDate[6:]}")
    assert date(2020, 4, 3) - date.fromisoformat(row["date_of_admission"]) == shift
    assert date(2020, 5, 28) - date.fromisoformat(row["date_of_death"]) == shift
    assert date(2020, 4, 5) - date.fromisoformat(row["systolic_bp_date"]) == shift
    wanted = {"age": "65", "sex": "M", "sex_from_image": "true", "ethnicity": "A", "death": "true", "systolic_bp": "137",
              "fio2": "60", "ferritin": "", "pmh_lung_disease": "5", "cxr_severity_2": "2", "positive": "true",
              "conflict": "false"}  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted
    assert sorted(row["positive"] for row in patients.values()) == ["false", "true"]
    table = parquet.read_table(io.BytesIO(files["clinical.parquet"]))
    everything = b"\n".join([
        *files.values(),
        *(path.encode() for path in files),
        repr(table.to_pylist()).encode(),
        repr(table.schema.metadata).encode(),
        done.stdout.encode(),
        (sent / "report").read_bytes(),
    ]).lower()  # fmt: skip
    assert [secret for secret in NEVER if secret.lower() in everything] == []
    report = lines(sent / "report")
    assert report[0] == {"patients": 2, "files": 3, "unknown_fields": 2}
    assert {"column": "ferritin", "ok": 0, "repaired": 0, "null": 1, "unmapped": 1} in report


def test_the_table_is_the_same_for_any_number_of_jobs_and_goes_with_its_records(sent: Path) -> None:
    assert deid(sent, "--jobs", 1).returncode == 0
    first = contents(sent / "out")
    assert deid(sent, "--jobs", 3).returncode == 0
    assert contents(sent / "out") == first
    for path in (sent / "in").rglob("*.json"):
        path.unlink()
    assert deid(sent).returncode == 0
    assert {name for name in contents(sent / "out") if not name.startswith("images/")} == {"manifest.jsonl"}


def test_what_ingest_received_becomes_the_same_table(sent: Path) -> None:
    same = sent / "in" / "raw-gwendolyn" / "2020-05-07" / "data"
    same.mkdir(parents=True)
    shutil.copy(sent / "in" / DAY / "data" / "PID5_status.json", same / "PID5_status.json")
    assert deid(sent).returncode == 0
    landing = ["ingest", sent / "in", "--centre", "ABC", "--landing", sent / "landing"]
    done = run(*landing, "--receipt", sent / "told")
    assert done.returncode == 0, done.stderr
    told = {line["input"]: line for line in lines(sent / "told")}
    assert told[f"{DAY}/data/PID6_data.json"]["reason"] == "clinical-malformed"
    assert sorted(str(line["reason"]) for line in told.values() if line["outcome"] == "received") == [
        *["None"] * 4,
        "same-as-another",
    ]
    place = Path(told[f"{DAY}/data/PID4471882_data.json"]["output"])
    bytes_sent = (sent / "in" / DAY / "data" / "PID4471882_data.json").read_bytes()
    assert (sent / "landing" / place).read_bytes() == bytes_sent
    assert place.parts[3:] == ("clinical", f"{hashlib.sha256(bytes_sent).hexdigest()}.json")
    [record] = (sent / "landing").rglob("batch.json")
    kept = json.loads(record.read_text())
    assert sorted((each["sort"], each["day"]) for each in kept["clinical"]) == [
        ("data", "2020-05-01"),
        ("data", "2020-05-06"),
        ("status", "2020-05-07"),
    ]
    assert len(kept["instances"]) == 1
    given = ["--project", "demo", "--key-file", sent / "key", "--receipt", sent / "receipt.jsonl"]
    assert run("deid", sent / "landing", sent / "w", "--landing", *given).returncode == 0
    assert contents(sent / "w") == contents(sent / "out")
    assert run(*landing, "--json").stdout.startswith('{"batch": null')


def test_a_record_that_names_two_people_is_held_by_both_doors(tmp_path: Path) -> None:
    two = {"Pseudonym": "Featherstone", "OtherDataSources": {"SegmentationData": {"Pseudonym": "Ottoline"}}}
    put(tmp_path, **{"x_data.json": json.dumps(two).encode()})
    assert deid(tmp_path).returncode == 0
    assert answers(tmp_path) == {"x_data.json": "held identity-conflict"}
    done = run("ingest", tmp_path / "in", "--centre", "ABC", "--landing", tmp_path / "landing", "--json")
    assert json.loads(done.stdout)["held"] == {"identity-conflict": 1}


def test_the_report_holds_no_value_but_lies_where_no_project_looks(sent: Path) -> None:
    for place in ("out/report", "in/report", "receipt.jsonl"):
        done = deid(sent, "--clinical-report", sent / place)
        assert done.returncode == 2
        assert "--clinical-report" in done.stderr
        assert not (sent / "out").exists()


def test_a_decision_that_says_so_takes_the_table_of_the_cuts_patients_along(sent: Path) -> None:
    assert deid(sent).returncode == 0
    assert run(*deciding(), "--clinical", state=sent).returncode == 0
    cut = ["cohort", "cut", "--project", "demo", "--warehouse", sent / "out", "--out", sent / "cuts"]
    done = run(*cut, state=sent)
    assert done.returncode == 0, done.stderr
    record = json.loads((sent / "cuts" / "cut.json").read_text())
    inside = unpacked(sent / "cuts" / record["tar"])
    table = inside["clinical.csv"]
    assert isinstance(table, bytes)
    assert len(table.splitlines()) == 2  # the negative patient has no image
    assert {"clinical.parquet", "clinical-dictionary.csv"} < set(inside)
    index = inside["series.parquet"]
    assert isinstance(index, bytes)
    [series] = parquet.read_table(io.BytesIO(index)).to_pylist()
    assert series["patient"] == table.decode().splitlines()[1].split(",")[0]
    assert (series["modality"], series["rows"], series["varies"]) == ("CT", 64, None)
    assert not [secret for secret in NEVER if secret in repr(series).encode()]
