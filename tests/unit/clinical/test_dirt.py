"""The dirt of `data.md` section 5, a row of it each: what a centre wrote, and the cells that it becomes."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from readingroom.domain.clinical.cells import How
from readingroom.domain.clinical.record import Sort, Told, told_by
from readingroom.domain.deid.outcome import FileHeld, FileRejected
from tests.unit.clinical.engine import DAYS, deid, policy, pseudonyms, record, row


def moved(day: str) -> str:
    return (date.fromisoformat(day) - timedelta(days=DAYS)).isoformat()


FEB = moved("2020-02-01")
VALUES: list[tuple[str, Any, str, Any, How]] = [
    # misspelled, old, double-spaced and wrong headers
    ("PMH h1pertension", "1es", "pmh_hypertension", True, How.REPAIRED),
    ("PMH diabetes mellitus type II", 1, "pmh_diabetes_mellitus_type_2", True, How.OK),
    ("PMH diabetes mellitus TYPE II", "0", "pmh_diabetes_mellitus_type_2", False, How.OK),
    ("Fibrinogen  if d-dimer not performed", "4.2", "fibrinogen_if_d_dimer_not_performed", 4.2, How.OK),
    ("CXR severity 3", "2", "cxr_severity_2", "2", How.OK),
    ("Fi02", 28, "fio2", 28, How.OK),
    ("ferritin", 3.493, "ferritin", 3, How.OK),
    # a value and its date in brackets
    ("Systolic BP", "[137/91] - 2020-06-02", "systolic_bp", 137, How.REPAIRED),
    ("Diastolic BP", "[137/91] - 2020-06-02", "diastolic_bp", 91, How.REPAIRED),
    ("Diastolic BP", "131 / 68", "diastolic_bp", 68, How.REPAIRED),
    ("Diastolic BP", "[137/91] - 2020-06-02", "diastolic_bp_date", moved("2020-06-02"), How.REPAIRED),
    ("Ferritin", "[67] - 2020-02-01", "ferritin_date", FEB, How.REPAIRED),
    ("Ferritin", "[Text] - 2020-02-01", "ferritin", None, How.UNMAPPED),
    ("Ferritin", "[Text] - 2020-02-01", "ferritin_date", FEB, How.UNMAPPED),
    ("Date of admission", "[Text] - 2020-02-01", "date_of_admission", FEB, How.REPAIRED),
    # orders, two-digit years, serials, dots
    ("Date of admission", "3/31/2020", "date_of_admission", moved("2020-03-31"), How.OK),
    ("Date of admission", "3/31/20", "date_of_admission", moved("2020-03-31"), How.REPAIRED),
    ("Date of admission", "31/03/2020", "date_of_admission", moved("2020-03-31"), How.OK),
    ("SwabDate", "05/16/2020", "swab_date", moved("2020-05-16"), How.OK),
    ("SwabDate", "01/02/2020", "swab_date", FEB, How.REPAIRED),
    ("SwabDate", "01/02/2020", "swab_date_assumed", True, How.REPAIRED),
    ("Date of admission", "02/01/2020", "date_of_admission", FEB, How.REPAIRED),
    ("Date of admission", "2/2/2020", "date_of_admission_assumed", False, How.OK),
    ("Date of admission", 43862, "date_of_admission", FEB, How.REPAIRED),
    ("Date of admission", "43862.0", "date_of_admission", FEB, How.REPAIRED),
    ("Date of admission", "1-Feb-20", "date_of_admission", FEB, How.REPAIRED),
    ("Date of admission", "20200201", "date_of_admission", FEB, How.REPAIRED),
    ("Date of admission", "2020-02-01 10:11:12", "date_of_admission", FEB, How.OK),
    ("Date of admission", "2020-02-01T10:11:12Z", "date_of_admission", FEB, How.OK),
    ("Date of death", ".", "date_of_death", None, How.NULL),
    ("Date of death", "", "date_of_death_assumed", None, How.NULL),
    ("Date of death", "31/02/2020", "date_of_death", None, How.UNMAPPED),
    ("Date of death", "24/12/1951", "date_of_death", None, How.UNMAPPED),  # a birth date in a wrong field
    ("Date of death", "20200231", "date_of_death", None, How.UNMAPPED),
    ("Date of death", "1-Febtober-20", "date_of_death", None, How.UNMAPPED),
    ("Date of death", "passed away 1/2/2020", "date_of_death", None, How.UNMAPPED),
    ("Date of death", True, "date_of_death", None, How.UNMAPPED),
    # codes as words or with comments
    ("PMH Lung disease", "5 - Lung Ca", "pmh_lung_disease", "5", How.REPAIRED),
    ("PMH Lung disease", "4 (Featherstone's)", "pmh_lung_disease", "4", How.REPAIRED),
    ("PMH Lung disease", "6", "pmh_lung_disease", None, How.UNMAPPED),
    ("PMH Lung disease", "5-4", "pmh_lung_disease", None, How.UNMAPPED),
    ("PMH Lung disease", 3.0, "pmh_lung_disease", "3", How.REPAIRED),
    ("1st RT-PCR result", "RNA DETECTED (SARS-CoV-2)", "1st_rt_pcr_result", "1", How.REPAIRED),
    ("1st RT-PCR result", "RNA NOT DETECTED", "1st_rt_pcr_result", "0", How.REPAIRED),
    ("1st RT-PCR result", "o", "1st_rt_pcr_result", None, How.UNMAPPED),
    ("Final COVID Status", 0, "final_covid_status", "0", How.OK),
    ("COVID CODE", "CVCX2", "covid_code", "2", How.REPAIRED),
    ("COVID CODE", " ", "covid_code", None, How.NULL),
    ("Sex", "F", "sex", "F", How.OK),
    ("Sex", "m", "sex", "M", How.REPAIRED),
    ("Sex", "0", "sex", "F", How.REPAIRED),
    ("Sex", 1, "sex", "M", How.REPAIRED),
    ("Sex", "t", "sex", None, How.NULL),
    ("Sex", 3, "sex", None, How.NULL),
    ("Sex", "Featherstone", "sex", None, How.UNMAPPED),
    ("Death", "0.0", "death", False, How.REPAIRED),
    ("Death", True, "death", True, How.OK),
    ("Death", "perhaps", "death", None, How.UNMAPPED),
    ("Death", ["1"], "death", None, How.UNMAPPED),
    ("Smoking status", "never smoked", "smoking_status", "0", How.REPAIRED),
    ("PMH CVS disease", "none", "pmh_cvs_disease", "0", How.REPAIRED),
    ("If CKD, stage", "none", "if_ckd_stage", None, How.NULL),
    # FiO2, D-dimer and PaO2
    ("FiO2", 0.28, "fio2", 28, How.REPAIRED),
    ("FiO2", "0.8", "fio2", 80, How.REPAIRED),
    ("FiO2", "96", "fio2", 96, How.OK),
    ("FiO2", "28 %", "fio2", 28, How.REPAIRED),
    ("FiO2", "10L", "fio2", 60, How.REPAIRED),
    ("FiO2", "1 litre", "fio2", 24, How.REPAIRED),
    ("FiO2", 15, "fio2", 100, How.REPAIRED),
    ("FiO2", "White", "fio2", 28, How.REPAIRED),
    ("FiO2", "room air", "fio2", 21, How.REPAIRED),
    ("FiO2", "1", "fio2", None, How.UNMAPPED),  # a litre, or all of it
    ("FiO2", "1", "fio2_unclear", True, How.UNMAPPED),
    ("FiO2", "2.5L", "fio2", None, How.UNMAPPED),
    ("FiO2", "0", "fio2_unclear", False, How.UNMAPPED),
    ("FiO2", "", "fio2_unclear", None, How.NULL),
    ("PaO2", 9.8, "pao2", 9.8, How.OK),
    ("PaO2", 75, "pao2", 10.0, How.REPAIRED),
    ("PaO2", "35", "pao2", None, How.UNMAPPED),
    ("PaO2", "35", "pao2_unclear", True, How.UNMAPPED),
    ("PaO2", "35 mmHg", "pao2", 4.7, How.REPAIRED),
    ("D-dimer on admission", 450, "d_dimer_on_admission", 450, How.OK),
    ("D-dimer on admission", "0.45", "d_dimer_on_admission", 450, How.REPAIRED),
    ("D-dimer on admission", 50, "d_dimer_on_admission", None, How.UNMAPPED),
    ("D-dimer on admission", "50 ng/mL", "d_dimer_on_admission", 50, How.REPAIRED),
    # ages
    ("Age", 65.889, "age", 65, How.REPAIRED),
    ("Age", "44", "age", 44, How.OK),
    ("Age", 0, "age", None, How.NULL),
    ("Age", "90", "age", 90, How.OK),
    ("Age", 100, "age", 90, How.REPAIRED),
    ("Age", 131, "age", None, How.UNMAPPED),
    ("Age", -3, "age", None, How.UNMAPPED),
    ("Age", "forty", "age", None, How.UNMAPPED),
    # ethnic categories
    ("Ethnicity", "A", "ethnicity", "A", How.OK),
    ("Ethnicity", "M", "ethnicity", "M", How.OK),
    ("Ethnicity", "CA", "ethnicity", "C", How.REPAIRED),
    ("Ethnicity", "H1", "ethnicity", "H", How.REPAIRED),
    ("Ethnicity", "J - Pakistani", "ethnicity", "J", How.REPAIRED),
    ("Ethnicity", "White - British", "ethnicity", "A", How.REPAIRED),
    ("Ethnicity", "Caribbean", "ethnicity", "M", How.REPAIRED),
    ("Ethnicity", 99, "ethnicity", None, How.NULL),
    ("Ethnicity", "not recorded", "ethnicity", None, How.NULL),
    ("Ethnicity", "NO", "ethnicity", None, How.UNMAPPED),
    ("Ethnicity", "White", "ethnicity", None, How.UNMAPPED),
    # plain numbers, and what is none
    ("Temperature on admission", "37.64471882", "temperature_on_admission", 37.6, How.OK),
    ("Temperature on admission", "96", "temperature_on_admission", None, How.UNMAPPED),
    ("Troponin I", "<5", "troponin_i", None, How.UNMAPPED),
    ("Ferritin", "4 532", "ferritin", None, How.UNMAPPED),
    ("Ferritin", "٤٥", "ferritin", None, How.UNMAPPED),
    ("Ferritin", {"value": 3}, "ferritin", None, How.UNMAPPED),
    ("Ferritin", True, "ferritin", None, How.UNMAPPED),
    ("Ferritin", None, "ferritin", None, How.NULL),
]


@pytest.mark.parametrize(("field", "given", "cell", "wanted", "how"), VALUES)
def test_what_a_centre_wrote_becomes_a_cell(field: str, given: Any, cell: str, wanted: Any, how: How) -> None:
    found = row({field: given})
    column = max((name for name in found.how if cell.startswith(name)), key=len)
    assert (found.values[cell], found.how[column]) == (wanted, how)
    assert type(found.values[cell]) is type(wanted)


def test_the_patients_own_certain_dates_decide_the_order_of_a_doubtful_one() -> None:
    certain = {"Date of admission": "2020-05-14"}
    found = row({**certain, "Date of death": "5/6/2020", "SwabDate": "05/06/2020", "Date of 1st CXR": "05/06/2020"})
    may = moved("2020-05-06")
    assert [found.values[name] for name in ("date_of_death", "swab_date", "date_of_1st_cxr")] == [may] * 3
    assert not found.values["swab_date_assumed"]
    beside = row({"Ferritin": "[5] - 2020-05-14", "SwabDate": "05/06/2020"})
    assert beside.values["swab_date"] == may


def test_a_certain_date_that_is_near_to_both_readings_decides_nothing() -> None:
    found = row({"Date of admission": "2020-02-01", "Date of 2nd CXR": "2020-06-30", "SwabDate": "03/04/2020"})
    assert (found.values["swab_date"], found.values["swab_date_assumed"]) == (moved("2020-04-03"), True)


def test_nested_data_lies_over_the_top() -> None:
    nested = {"OtherDataSources": {"SegmentationData": {"Age": 60, "Ferritin": " ", "Reader": "Ottoline"}, "Other": 1}}
    found = row({"Age": 50, "Ferritin": 7, **nested})
    assert (found.values["age"], found.values["ferritin"], found.unknown) == (60, 7, 2)
    assert not found.values["conflict"]


def test_the_best_spelling_that_says_something_counts_and_a_contradiction_is_marked() -> None:
    silent = row({"PMH hypertension": ".", "PMH h1pertension": "1es"})
    assert (silent.values["pmh_hypertension"], silent.values["conflict"]) == (True, False)
    torn = row({"PMH hypertension": "0", "PMH h1pertension": "1es"})
    assert (torn.values["pmh_hypertension"], torn.values["conflict"]) == (False, True)


def test_fields_that_no_column_names_are_dropped_and_counted() -> None:
    found = row({"Hospital": "Queen Gwendolyn Infirmary", "NHS Number": "9434765919", "Notes": "x", "Age": 7})
    assert found.unknown == 3
    assert "Queen Gwendolyn Infirmary" not in repr(found)
    assert "Infirmary" not in str(found.values)


def test_a_centre_is_a_stand_in_of_the_project_and_its_spelling_does_not_matter() -> None:
    first, second = row({"SubmittingCentre": "Centre A"}), row({"Submitting  Centre": " centre-a"})
    assert first.values["centre"] == second.values["centre"] == pseudonyms().centre("CENTRE A")
    assert first.values["centre"] != pseudonyms("other").centre("CENTRE A")
    assert row({"SubmittingCentre": "unknown"}).values["centre"] is None
    assert row({"SubmittingCentre": {"name": "Centre A"}}).values["centre"] is None


def test_what_a_centre_is_known_to_send_decides_a_unit_unless_the_number_cannot_be_one() -> None:
    rules = replace(policy(), centres={"CENTRE A": {"pao2": "mm[Hg]"}})
    assert row({"PaO2": 35}, by=rules).values["pao2"] is None
    assert row({"PaO2": 35, "SubmittingCentre": "Centre A"}, by=rules).values["pao2"] == 4.7
    assert row({"PaO2": 9, "SubmittingCentre": "Centre A"}, by=rules).values["pao2"] == 9.0


def test_a_number_that_is_the_patients_identifier_is_no_measurement() -> None:
    assert row({"Pseudonym": "Covid4532", "Ferritin": 4532}).how["ferritin"] is How.UNMAPPED
    assert row({"Pseudonym": "Covid4533", "Ferritin": 4532}).values["ferritin"] == 4532


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("raw-x/2020-05-06/data/Covid1_data.json", Told(sort=Sort.DATA, day="2020-05-06")),
        ("raw-x/2020-05-06/data/Covid_1_STATUS.JSON", Told(sort=Sort.STATUS, day="2020-05-06")),
        ("training/data/Covid1/data_2020-05-06.json", Told(sort=Sort.DATA, day="2020-05-06")),
        ("2019-01-01/Covid1/status_2020-05-06.json", Told(sort=Sort.STATUS, day="2020-05-06")),
        ("Covid1_data.json", Told(sort=Sort.DATA)),
        ("2020-05-06/Covid1.json", Told()),
        ("2020-05-06/data.txt", Told()),
        ("data/x.dcm", Told()),
    ],
)
def test_a_name_tells_the_sort_and_the_day(path: str, told: Told) -> None:
    assert told_by(path) == told


@pytest.mark.parametrize("pseudonym", [None, "", " ", "--", "."])
def test_a_record_of_nobody_is_rejected(pseudonym: Any) -> None:
    assert deid({"a_data.json": record(pseudonym)}).receipt == {"a_data.json": "rejected identity-missing"}


@pytest.mark.parametrize("pseudonym", [True, 1.5, ["a"], {"a": 1}, "half \ud800 a character"])
def test_a_pseudonym_that_is_no_text_is_malformed(pseudonym: Any) -> None:
    with pytest.raises(FileRejected, match="clinical-malformed"):
        row({"Pseudonym": pseudonym})


def test_a_record_that_names_two_people_is_held() -> None:
    with pytest.raises(FileHeld, match="identity-conflict"):
        row({"OtherDataSources": {"SegmentationData": {"Pseudonym": "Covid2"}}})
