"""A released object is as valid as it was: dciodvfy's errors after are a subset of those before, in whatever hides there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dicom_factory import CR_CLASS, MR_CLASS, ct, part10, slice_pixels
from tests.judges.dciodvfy import judged
from tests.unit.deid.engine import run
from tests.unit.deid.test_corpus import FILES, RELEASED
from tests.unit.synth.trees import at, broken, content, made

Fields = dict[int, tuple[str, Any]]
DX_CLASS = "1.2.840.10008.5.1.4.1.1.1.1"
META = {0x00020012: ("UI", "1.2.826.0.1.3680043.8.498.9")}
REFERENCE = {0x00081150: ("UI", CR_CLASS), 0x00081155: ("UI", "1.2.826.0.1.3680043.8.498.5")}
NO_SLICE = (0x00180050, 0x00181210, 0x00185100, 0x00200032, 0x00200037, 0x00200052, 0x00280030, 0x00281052, 0x00281053)


def code(value: str, scheme: str, meaning: str) -> tuple[str, Any]:
    return "SQ", [{0x00080100: ("SH", value), 0x00080102: ("SH", scheme), 0x00080104: ("LO", meaning)}]


def film(sop_class: str, modality: str) -> Fields:
    fields = {tag: field for tag, field in ct(slice_pixels(signed=False)).items() if tag not in NO_SLICE}
    return {**fields, 0x00080008: ("CS", ["ORIGINAL", "PRIMARY"]), 0x00080016: ("UI", sop_class),
            0x00080023: ("DA", "20200403"), 0x00080033: ("TM", "101112"), 0x00080060: ("CS", modality),
            0x00185101: ("CS", "PA"), 0x00200020: ("CS", ["L", "F"])}  # fmt: skip


MORE: Fields = {0x00081140: ("SQ", [REFERENCE, REFERENCE]), 0x00200012: ("IS", "4"), 0x00201040: ("LO", ""),
                0x00280120: ("SS", -1024), 0x00280121: ("SS", -1000), 0x00281055: ("LO", "LUNG")}  # fmt: skip
CT: Fields = {**ct(), **MORE, 0x00180010: ("LO", "OMNIPAQUE"), 0x00181040: ("LO", "IV"), 0x00281054: ("LO", "HU")}
MR: Fields = {
    **ct(x00180060=None, x00181210=None, x00281052=None, x00281053=None), **MORE,
    0x00080008: ("CS", ["ORIGINAL", "PRIMARY", "OTHER"]), 0x00080016: ("UI", MR_CLASS), 0x00080060: ("CS", "MR"),
    0x00180020: ("CS", ["SE", "IR"]), 0x00180021: ("CS", "SK"), 0x00180022: ("CS", "CG"), 0x00180023: ("CS", "2D"),
    0x00180080: ("DS", "3000"), 0x00180081: ("DS", "90"), 0x00180082: ("DS", "1500"), 0x00180091: ("IS", "15"),
    0x00181060: ("DS", "500"),
}  # fmt: skip
CR: Fields = {**film(CR_CLASS, "CR"), 0x00281052: ("DS", "0"), 0x00281053: ("DS", "1"), 0x00281054: ("LO", "US")}
DX: Fields = {
    **film(DX_CLASS, "DX"), 0x00080068: ("CS", "FOR PRESENTATION"), 0x00082218: code("51185008", "SCT", "Chest"),
    0x00181164: ("DS", ["0.139", "0.139"]), 0x00181508: ("CS", ""), 0x00187004: ("CS", "DIRECT"), 0x00200062: ("CS", "U"),
    0x00280301: ("CS", "NO"), 0x00281040: ("CS", "LOG"), 0x00281041: ("SS", -1), 0x00281052: ("DS", "0"),
    0x00281053: ("DS", "1"), 0x00281054: ("LO", "US"), 0x00282110: ("CS", "00"), 0x00400555: ("SQ", []),
    0x20500020: ("CS", "IDENTITY"),
}  # fmt: skip
OBJECTS = {"CT": CT, "MR": MR, "CR": CR, "DX": DX}
# Whose type 1 value no honest dummy can replace: with an identifier in it, the file goes.
GOES = {
    0x00080060, 0x00080068, 0x00181164, 0x00200020, 0x00200032, 0x00200037, 0x00200062, 0x00280004, 0x00280030, 0x00280301,
    0x00281040, 0x00281041, 0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00282110, 0x20500020,
}  # fmt: skip
PLANTED = {"CS": "JONES", "LO": "Jones", "SH": "Jones", "ST": "Jones", "IS": "4471882", "DS": "4471882", "SS": 4471}


def planted(tag: int, fields: Fields) -> Fields | None:
    """The object with something of the patient's in place of one value, in its VR; None where there is no such thing."""
    vr, value = fields[tag]
    number = str(PLANTED[vr]) if vr in {"IS", "DS", "SS"} else "PID4471882"
    if vr == "SQ" and value:
        item = {inner: ("SH", "J1") if which == "SH" else (which, was) for inner, (which, was) in value[0].items()}
        new: Any = [{**item, **({0x00081150: ("UI", "1.2.3.4")} if 0x00081150 in item else {})}, *value[1:]]
    elif vr in PLANTED and value:
        new = [PLANTED[vr]] * len(value) if isinstance(value, list) else PLANTED[vr]
    else:
        return None
    return {**fields, 0x00100020: ("LO", number), tag: (vr, new)}


@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_without_an_error_has_none_afterwards(kind: str) -> None:
    data = part10(OBJECTS[kind], meta=META)
    result = run(data, gated=False)
    assert result.outcome == "released"
    assert judged(data) == judged(result.data) == frozenset()


@pytest.mark.parametrize("kind", OBJECTS)
def test_whatever_hides_in_one_element_the_object_stays_valid_or_goes(kind: str) -> None:
    fields, judgements, gone = OBJECTS[kind], 0, set()
    for tag in fields:
        if changed := planted(tag, fields):
            data = part10(changed, meta=META)
            result = run(data, gated=False)
            if result.data:
                added = (judged(result.data) or frozenset()) - (judged(data) or frozenset())
                assert added == set(), f"{kind} {tag:08X}"
                judgements += 1
            else:
                gone.add(tag)
    assert gone <= GOES
    assert judgements > 15


@pytest.mark.parametrize("path", [path for path in FILES if path.name in RELEASED], ids=lambda path: path.name)
def test_a_file_of_pydicom_is_as_valid_as_it_was(path: Any) -> None:
    before, after = judged(path.read_bytes()), judged(run(path.read_bytes()).data)
    assert before is not None
    assert after is not None
    assert after - before == set()


def test_a_synthetic_series_is_as_valid_as_it_was() -> None:
    """A file of every second series; `python -m tests.bench --only scores` judges every file."""
    named = {str(path.relative_to(made().identified)): path for path in made().files() if path.suffix == ".dcm"}
    series = {at(path, "0020000E"): path for name, path in named.items() if name not in broken(made())}
    judgements = 0
    for path in list(series.values())[::2]:
        if data := run(path.read_bytes()).data:
            before, after = judged(content(path)), judged(data)
            assert before is not None
            assert after is not None
            assert after - before == set(), path.name
            judgements += 1
    assert judgements > 20


# --- the judge itself meets what is known to be bad ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("tag", "error"),
    [(0x00080008, "<ImageType>"), (0x00080020, "<StudyDate>"), (0x00200032, "<ImagePositionPatient>"),
     (0x00200052, "<FrameOfReferenceUID>"), (0x00280030, "<PixelSpacing>"), (0x00281051, "<WindowWidth>"),
     (0x00281053, "<RescaleSlope>"), (0x00201040, "<PositionReferenceIndicator>")],
)  # fmt: skip
def test_the_judge_sees_what_is_missing(tag: int, error: str) -> None:
    found = judged(part10({place: field for place, field in CT.items() if place != tag}, meta=META))
    assert found
    assert any(error in each for each in found)


def test_the_judge_says_so_when_it_cannot_read() -> None:
    assert judged(b"nothing") is None
    assert judged(part10(CT, meta=META)[:-9000]) != frozenset()


def test_blind_spots_of_the_judge() -> None:
    """What it does not see: a lossy image that names no ratio (1C), an emptied type 2 that something else contradicts."""
    assert judged(part10({**CT, 0x00282110: ("CS", "01")}, meta=META)) == frozenset()
    assert judged(part10({**DX, 0x00082218: ("SQ", [])}, meta=META)) == frozenset()
