"""No text survives: whatever stands in whatever field of a record, none of its words is in any byte that a run leaves."""

from __future__ import annotations

import io
import json
import re
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.unit.clinical.engine import RULES, Output, deid, policy

# What may stand in an output: names of columns, codes, words of the dictionary, keys of the manifest.
OURS = json.dumps(RULES.document) + "released data status clinical manifest project true false null"
SECRETS = ["Featherstone", "Barnaby", "Queen Gwendolyn Infirmary", "PID4471882", "4471882", "9434765919", "GU21 5XX",
           "barnaby@example.org", "1951-12-24", "24/12/1951", "ÆTHELÞRYÐ", "0x4f6d"]  # fmt: skip
FIELDS = [header for _, column in RULES.document["columns"] for header in column.get("fields", ())]
WORDS = [
    word
    for _, column in RULES.document["columns"]
    for each in column.get("codes", {}).values()
    for word in each["words"]
]


def hidden() -> st.SearchStrategy[Any]:
    """A secret as a value: alone, before, behind or within what a rule accepts; or some other scalar or nested thing."""
    secret = st.sampled_from(SECRETS)
    shapes = ["{}", "[{}] - 2020-05-06", "[137/91] - {}", "5 - {}", "A - {}", "1 ({})", "{} 37", "37 {}", "{}L", "37.{}",
              "3/{}/20", "\n{}\n", "2020-05-06 {}"]  # fmt: skip
    text = st.builds(str.format, st.sampled_from(shapes), secret)
    plain = st.one_of(
        st.none(), st.booleans(), st.integers(-5, 10**8), st.floats(allow_nan=False, allow_infinity=False)
    )
    words = st.builds(lambda word, secret: f"{word} {secret}", st.sampled_from(WORDS), secret)
    return st.one_of(text, words, plain, st.lists(text, max_size=2), st.dictionaries(secret, text, max_size=2))


def records() -> st.SearchStrategy[dict[str, Any]]:
    keys = st.one_of(st.sampled_from(FIELDS), st.sampled_from(SECRETS))
    fields = st.dictionaries(
        keys.filter(lambda key: key not in {"Pseudonym", "Patient pseudonym"}), hidden(), max_size=12
    )
    nested = st.fixed_dictionaries({"SegmentationData": fields})
    return st.builds(lambda top, below: {**top, "OtherDataSources": below}, fields, st.one_of(nested, fields))


def shown(found: Output) -> bytes:
    """Every byte that a run leaves on the project's side, the compressed table decoded, and the data manager's report."""
    table = parquet.read_table(io.BytesIO(found.files["clinical.parquet"]))
    names = "\n".join(found.files)
    decoded = f"{names}\n{table.to_pylist()!r}\n{table.schema}\n{table.schema.metadata!r}\n{json.dumps(found.report)}"
    return b"\n".join([decoded.encode(), *found.files.values()])


@given(fields=records(), sort=st.sampled_from(["data", "status"]), name=st.sampled_from(SECRETS[:4]))
@example(
    {"Date of death": "24/12/1951", "Sex": "F (Featherstone)", "SubmittingCentre": SECRETS[2]}, "data", "PID4471882"
)
@example({"Ferritin": 4471882, "Troponin I": "4471882", "PaO2": "37.4471882"}, "data", "PID4471882")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_text_of_a_record_is_in_any_output(fields: dict[str, Any], sort: str, name: str) -> None:
    path = f"raw-{name}/2020-05-06/data/{name}_{sort}.json"
    found = deid({path: json.dumps({"Pseudonym": name, **fields}).encode()})
    assert found.receipt == {path: "released"}
    output = shown(found)
    folded = output.lower()
    for secret in SECRETS:
        assert secret.lower().encode() not in folded, secret
    said = json.dumps([fields, name], ensure_ascii=False)
    for word in set(re.findall(r"[^\W\d_]{4,}", said)):
        assert word.lower() in OURS.lower() or word.lower().encode() not in folded, word


@given(fields=records())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_cell_is_a_number_a_code_a_shifted_date_a_truth_value_or_null(fields: dict[str, Any]) -> None:
    found = deid({"x_data.json": json.dumps({"Pseudonym": "Covid1", **fields}).encode()})
    [row] = parquet.read_table(io.BytesIO(found.files["clinical.parquet"])).to_pylist()
    for column in policy().table():
        value = row[column.name]
        if column.codes:
            assert value is None or value in column.codes
        elif value is not None and column.low is not None and column.high is not None:
            assert column.low <= value <= column.high
        elif isinstance(value, str):
            assert column.name in {"patient", "centre"}
            assert re.fullmatch("[A-Z2-7]{12,20}", value)
