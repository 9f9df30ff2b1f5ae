"""Many files, one row for each patient: the newest whole, dates by the images' shift, and no order that matters."""

from __future__ import annotations

import functools
import hashlib
import io
from datetime import date, timedelta
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests import dicom_factory as make
from tests.unit.clinical.engine import Output, deid, pseudonyms, record
from tests.unit.deid.engine import resolved

IMAGE = 0x00080018


def ct(patient: str, number: int = 1, **changes: Any) -> bytes:
    uids = {
        IMAGE: ("UI", f"1.2.3.{number}"),
        0x0020000D: ("UI", f"1.2.4.{number}"),
        0x0020000E: ("UI", f"1.2.5.{number}"),
    }
    return make.part10({**make.ct(x00100020=("LO", patient), **changes), **uids})


def only(found: Output) -> dict[str, str]:
    [row] = found.rows.values()
    return row


@pytest.mark.parametrize(
    ("recorded", "imaged"),
    [
        ("Covid1", "Covid1"),
        (" Covid1 ", "Covid1 "),
        ("943 476-5919", "9434765919"),
        (9434765919, "943 476 5919"),
        (12, "12"),
    ],
)
def test_a_row_bears_the_stand_in_and_the_shift_of_the_patients_images(recorded: Any, imaged: str) -> None:
    found = deid({"a_data.json": record(recorded, Date_of_admission="2020-04-03"), "i.dcm": ct(imaged)})
    [place] = [name for name in found.files if name.startswith("images/")]
    image = pydicom.dcmread(io.BytesIO(found.files[place]))
    assert only(found)["patient"] == place.split("/")[1] == image.PatientID
    assert only(found)["date_of_admission"].replace("-", "") == image.StudyDate  # both were the same day


def test_an_issuer_of_the_images_is_found_by_the_pseudonym_and_two_issuers_hold_the_record() -> None:
    first = ct("Covid1", 1, x00100021=("LO", "Site A"))
    film = ct("Covid1", 2, x00100021=("LO", "Site B"), x00080016=("UI", make.CR_CLASS))
    sent = {"a_data.json": record(Date_of_admission="2020-04-03")}
    found = deid({"i.dcm": first, **sent})
    [place] = [name for name in found.files if name.startswith("images/")]
    assert list(found.rows) == [place.split("/")[1]] == [pseudonyms().patient("local:Site A:Covid1")]
    assert deid({"i.dcm": film, **sent}).rows.keys() == {pseudonyms().patient("local:Site B:Covid1")}
    torn = deid({"i.dcm": first, "j.dcm": film, **sent})
    assert torn.receipt["a_data.json"] == "held identity-conflict"
    assert "clinical.csv" not in torn.files


def test_a_patient_about_whom_images_disagree_has_no_row() -> None:
    files = {"i.dcm": ct("Covid1", 1), "j.dcm": ct("Covid1", 2, x00100030=("DA", "19620203"))}
    found = deid({**files, "a_data.json": record(), "b_data.json": record("Covid2")})
    assert found.receipt["a_data.json"] == "held identity-conflict"
    assert found.receipt["b_data.json"] == "released"
    assert len(found.rows) == 1


def test_the_newest_wins_whole_and_a_positive_patients_file_before_any_other() -> None:
    found = deid({
        "2020-05-01/data/Covid1_data.json": record(Age=50, Ferritin=9),
        "2020-05-03/data/Covid1_data.json": record(Age=51),
        "2020-05-02/data/Covid1_data.json": record(Age=52, Ferritin=8),
        "2020-06-01/data/Covid1_status.json": record(Age=53, SwabStatus=0),
        "2020-06-01/data/Covid2_status.json": record("Covid2", Age=54, SwabStatus=0),
    })  # fmt: skip
    first, second = found.rows[pseudonyms().patient("local::Covid1")], found.rows[pseudonyms().patient("local::Covid2")]
    assert (first["age"], first["ferritin"], first["positive"], first["conflict"]) == ("51", "", "true", "true")
    assert (second["age"], second["positive"], second["conflict"]) == ("54", "false", "false")
    assert found.receipt == {
        "2020-05-01/data/Covid1_data.json": "released superseded",
        "2020-05-02/data/Covid1_data.json": "released superseded",
        "2020-05-03/data/Covid1_data.json": "released",
        "2020-06-01/data/Covid1_status.json": "released superseded",
        "2020-06-01/data/Covid2_status.json": "released",
    }


def test_the_same_bytes_count_once_with_the_strongest_of_their_names() -> None:
    same = record(SwabStatus=0, Age=50)
    found = deid(
        {"2020-05-09/x_status.json": same, "2020-05-01/x_data.json": same, "2020-05-05/y_data.json": record(Age=60)}
    )
    assert (only(found)["age"], only(found)["positive"]) == ("50", "true")
    assert sorted(found.receipt.values()) == ["released", "released same-as-another", "released superseded"]


def test_of_two_files_of_one_day_the_same_one_wins_in_any_order() -> None:
    files = {f"{name}_data.json": record(Age=number) for number, name in enumerate("abcdefgh", 20)}
    ages = {only(deid(files, chance=chance))["age"] for chance in range(8)}
    again = {f"{name}_data.json": record(Age=number) for number, name in enumerate("hgfedcba", 20)}
    assert ages == {only(deid(again))["age"]}


def test_a_file_that_cannot_be_cleaned_gets_its_reason_and_the_next_newest_wins() -> None:
    newest, older = "2020-05-02/a_data.json", "2020-05-01/a_data.json"
    files = {newest: record(Age=50), older: record(Age=40), "z_data.json": record(Age=50)}
    found = deid(files, slow=[newest])
    assert only(found)["age"] == "40"
    assert found.receipt == {newest: "rejected time-out", older: "released", "z_data.json": "rejected time-out"}
    assert deid(files, slow=[newest, older]).rows == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"Death": 0, "Date of death": "2020-06-01"},
        {"ITU admission": 0, "Date of ITU admission": "2020-06-01"},
        {"Intubation": "no", "Date of intubation": "2020-06-01"},
        {"Date of admission": "2020-06-02", "Date of death": "2020-06-01"},
        {"Date last known alive": "2020-06-02", "Date of death": "2020-06-01"},
        {"Final COVID Status": "0"},
        {"SwabStatus": "negative"},
    ],
)
def test_what_cannot_be_true_together_is_kept_and_marked(fields: dict[str, Any]) -> None:
    row = only(deid({"a_data.json": record(**fields)}))
    assert row["conflict"] == "true"
    assert sum(bool(value) for name, value in row.items() if not name.endswith("_assumed")) >= 4 + len(fields)
    for name in fields:
        rest = {key: value for key, value in fields.items() if key != name}
        assert len(fields) == 1 or only(deid({"a_data.json": record(**rest)}))["conflict"] == "false"


def test_files_that_disagree_about_sex_or_centre_are_marked() -> None:
    for name, values in (("Sex", ("F", "M")), ("SubmittingCentre", ("A", "B"))):
        files = {f"2020-05-0{n}/x_data.json": record(**{name: value, "Age": n}) for n, value in enumerate(values, 1)}
        assert only(deid(files))["conflict"] == "true"
    silent = {"2020-05-01/x_data.json": record(Sex="F"), "2020-05-02/x_data.json": record(Sex="t")}
    assert only(deid(silent))["conflict"] == "false"


def test_age_and_sex_that_no_record_has_come_from_images_even_held_ones_and_say_so() -> None:
    film = ct("Covid1", 2, x00080016=("UI", make.CR_CLASS), x00101010=("AS", "069Y"))
    found = only(deid({"i.dcm": ct("Covid1"), "j.dcm": film, "a_data.json": record(Age=0, Sex="t")}))
    assert (found["age"], found["age_from_image"], found["sex"], found["sex_from_image"]) == ("69", "true", "M", "true")
    kept = only(deid({"i.dcm": ct("Covid1"), "a_data.json": record(Age=30, Sex="F")}))
    assert (kept["age"], kept["age_from_image"], kept["sex"], kept["sex_from_image"]) == ("30", "false", "F", "false")
    torn = {"i.dcm": ct("Covid1", 1), "j.dcm": ct("Covid1", 2, x00100040=("CS", "F")), "a_data.json": record()}
    assert (only(deid(torn))["sex"], only(deid(torn))["sex_from_image"]) == ("", "false")
    unknown = {"i.dcm": ct("Covid1", x00101010=("AS", "000Y"), x00100040=("CS", "O")), "a_data.json": record()}
    assert (only(deid(unknown))["age"], only(deid(unknown))["sex"]) == ("", "")
    by_dates = {"i.dcm": ct("Covid1", x00101010=None, x00100030=("DA", "20000404")), "a_data.json": record()}
    assert only(deid(by_dates))["age"] == "19"
    old = {"i.dcm": ct("Covid1", x00101010=("AS", "097Y")), "a_data.json": record()}
    assert only(deid(old))["age"] == "90"


def test_the_manifest_names_the_table_twice_and_its_dictionary() -> None:
    found = deid({"a_data.json": record(), "i.dcm": ct("Covid1")})
    lines = {line["path"]: line for line in found.manifest}
    assert [path for path in lines if not path.startswith("images/")] == [
        "clinical-dictionary.csv",
        "clinical.csv",
        "clinical.parquet",
    ]
    assert list(lines) == sorted(lines)
    for path, line in lines.items():
        assert line["sha256"] == hashlib.sha256(found.files[path]).hexdigest()
        if not path.startswith("images/"):
            assert (line["modality"], line["sop_class_uid"], line["project"]) == ("clinical", None, "demo")
            assert line["profile_sha256"] != resolved().sha256
            assert line["actions"] == {"clean": 1}


def test_both_forms_of_the_table_say_the_same() -> None:
    found = deid(
        {"a_data.json": record(Age=7, Date_of_admission="2020-04-03", Death=0), "b_data.json": record("Covid2")}
    )
    table = parquet.read_table(io.BytesIO(found.files["clinical.parquet"])).to_pylist()

    def shown(value: Any) -> str:
        return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)

    assert [{name: shown(value) for name, value in row.items()} for row in table] == list(found.rows.values())
    assert isinstance(table[0]["date_of_admission"] or table[1]["date_of_admission"], date)
    assert [row["patient"] for row in table] == sorted(row["patient"] for row in table)


def test_without_a_record_there_is_no_table_and_an_old_one_is_swept() -> None:
    assert not any(name.startswith("clinical") for name in deid({"i.dcm": ct("Covid1")}).files)


def test_the_report_counts_how_cells_came_about_and_holds_no_value() -> None:
    found = deid({
        "a_data.json": record(Age=44, Sex="M", Ferritin="Featherstone", Hospital="Gwendolyn"),
        "b_data.json": record("Covid2", Age=65.889, Ferritin=4711),
    })  # fmt: skip
    assert found.report[0] == {"patients": 2, "files": 2, "unknown_fields": 1}
    counts = {line["column"]: line for line in found.report[1:]}
    assert counts["age"] == {"column": "age", "ok": 1, "repaired": 1, "null": 0, "unmapped": 0}
    assert counts["sex"] == {"column": "sex", "ok": 1, "repaired": 0, "null": 1, "unmapped": 0}
    assert counts["ferritin"] == {"column": "ferritin", "ok": 1, "repaired": 0, "null": 0, "unmapped": 1}
    assert not any(word in repr(found.report) for word in ("Featherstone", "Gwendolyn", "Hospital", "4711", "Covid"))


def test_days_between_events_stay_true_and_projects_share_nothing() -> None:
    fields = {"Date of admission": "2020-03-28", "Date of death": "2020-05-28"}
    found, other = (only(deid({"a_data.json": record(**fields)}, project=name)) for name in ("demo", "other"))
    first, last = (date.fromisoformat(found[name]) for name in ("date_of_admission", "date_of_death"))
    assert last - first == timedelta(days=61)
    assert first < date(2020, 3, 28) - timedelta(days=29)
    assert found["patient"] != other["patient"]
    assert found["date_of_admission"] != other["date_of_admission"]


@given(chance=st.integers(1, 10_000))
@settings(max_examples=15, deadline=None)
def test_bytes_are_the_same_in_any_order_of_files_and_answers(chance: int) -> None:
    files = {"i.dcm": ct("Covid1", 1), "j.dcm": ct("Covid2", 2)}
    for number in range(1, 9):
        files[f"2020-05-0{number % 3 + 1}/data/{number}_data.json"] = record(f"Covid{number % 4}", Age=number + 20)
        files[f"2020-05-02/data/{number}_status.json"] = record(f"Covid{number % 5}", SwabStatus=0, Age=number)
    files["copy"] = files["2020-05-02/data/1_data.json"]
    assert _first(tuple(sorted(files.items()))) == deid(files, chance=chance)


@functools.cache
def _first(files: tuple[tuple[str, bytes], ...]) -> Output:
    return deid(dict(files))
