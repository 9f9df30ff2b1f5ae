"""One file through the engine: what must go is gone, what must stay is there."""

from __future__ import annotations

import struct
from datetime import date, timedelta
from typing import Any

import jpeg_ls
import numpy as np
import pydicom
import pytest
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import UID

from readingroom.adapters.dicom.packed import codestream
from readingroom.adapters.dicom.phantom import drawn
from readingroom.domain.synth.centres import JPEG_LOSSLESS
from readingroom.domain.synth.plans import Picture
from tests import dicom_factory as make
from tests.unit.deid.engine import run


def leaks(data: bytes) -> list[bytes]:
    folded = data.lower()
    return [secret for secret in make.SECRETS if secret.lower() in folded]


def encoded(pixels: Any, syntax: str) -> bytes:
    if syntax == make.JPEG_LS:
        return bytes(jpeg_ls.encode(pixels).tobytes())
    options = {
        "rows": pixels.shape[0],
        "columns": pixels.shape[1],
        "samples_per_pixel": 1,
        "bits_allocated": 16,
        "bits_stored": 16,
        "pixel_representation": 0,
        "photometric_interpretation": "MONOCHROME2",
        "number_of_frames": 1,
    }
    return bytes(get_encoder(UID(syntax)).encode(pixels, **options))


def test_identifiers_go_and_physics_stays() -> None:
    result = run(make.part10(make.ct()))
    assert result.outcome == "released"
    assert leaks(result.data) == []
    found = result.dataset
    kept = {
        "Modality": "CT",
        "PatientSex": "M",
        "PatientAge": "068Y",
        "Manufacturer": "SIEMENS",
        "ManufacturerModelName": "SOMATOM Force",
        "BodyPartExamined": "CHEST",
        "SliceThickness": "1.25",
        "KVP": "120",
        "ConvolutionKernel": "B70f",
        "PatientPosition": "HFS",
        "PixelSpacing": ["0.48828125", "0.48828125"],
        "ImagePositionPatient": ["-125.5", "-130.25", "402.75"],
        "WindowCenter": "40",
        "WindowWidth": "400",
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "StudyTime": "101112.123",
        "SeriesNumber": "3",
        "InstanceNumber": "17",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "StudyDescription": "CT Chest Hodgkin lymphoma",
        "PatientIdentityRemoved": "YES",
        "LongitudinalTemporalInformationModified": "MODIFIED",
    }
    shown = {
        name: [str(each) for each in value]
        if isinstance(value := found[name].value, pydicom.multival.MultiValue)
        else str(value)
        for name in kept
    }
    assert shown == kept
    assert found.PatientBirthDate == ""
    assert len(found.PatientID) == 20
    assert str(found.PatientName) == found.PatientID
    assert {item.CodeValue for item in found.DeidentificationMethodCodeSequence} == {
        "113100",
        "113105",
        "113107",
        "113108",
    }


def test_the_frame_around_the_data_set_is_made_from_nothing() -> None:
    secret = b"Featherstone Barnaby"
    data = make.part10(
        make.ct(),
        preamble=secret.ljust(128, b"!"),
        meta={0x00020013: ("SH", "FEATHERSTONE"), 0x00020016: ("AE", "BARNABY")},
        trailing=secret * 3,
    )
    result = run(data)
    assert result.outcome == "released"
    assert leaks(result.data) == []
    assert result.data[:132] == bytes(128) + b"DICM"
    assert result.dataset.file_meta.MediaStorageSOPInstanceUID == result.dataset.SOPInstanceUID


@pytest.mark.parametrize("syntax", make.NATIVE)
def test_native_encodings_become_explicit_little_endian_with_equal_samples(syntax: str) -> None:
    pixels = make.slice_pixels()
    result = run(make.part10(make.ct(pixels, syntax=syntax), syntax))
    assert result.outcome == "released"
    assert leaks(result.data) == []
    found = result.dataset
    assert found.file_meta.TransferSyntaxUID == make.EXPLICIT
    assert found.PixelData == pixels.tobytes()
    assert found.KVP == 120


@pytest.mark.parametrize("syntax", [make.RLE, make.JPEG_LS, make.JPEG_2000])
def test_compressed_images_keep_their_encoding_and_their_samples(syntax: str) -> None:
    pixels = make.slice_pixels(signed=False)
    frame = make.fragments(encoded(pixels, syntax))
    result = run(make.part10(make.ct(pixels, x7FE00010=("OB", frame)), syntax))
    assert result.outcome == "released"
    assert leaks(result.data) == []
    assert result.dataset.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(result.dataset.pixel_array, pixels)


def test_several_frames_keep_their_order_and_get_a_table() -> None:
    frames = np.stack([make.slice_pixels(seed=seed, signed=False) for seed in range(3)])
    pieces = [encoded(frame, make.JPEG_LS) for frame in frames]
    fields = make.ct(frames[0], x7FE00010=("OB", make.fragments(*pieces)), x00280008=("IS", "3"))
    result = run(make.part10(fields, make.JPEG_LS))
    assert result.outcome == "released"
    assert np.array_equal(result.dataset.pixel_array, frames)
    native = make.ct(frames[0], x7FE00010=("OW", frames.tobytes()), x00280008=("IS", "3"))
    assert run(make.part10(native)).dataset.PixelData == frames.tobytes()


def test_comments_of_a_codestream_are_left_behind() -> None:
    pixels = make.slice_pixels(signed=False)
    stream = encoded(pixels, make.JPEG_LS)
    comment = b"\xff\xfe" + (2 + len(make.SECRETS[0])).to_bytes(2, "big") + make.SECRETS[0]
    for hidden in (stream[:2] + comment + stream[2:], stream + make.SECRETS[0]):
        result = run(make.part10(make.ct(pixels, x7FE00010=("OB", make.fragments(hidden))), make.JPEG_LS))
        assert result.outcome == "released"
        assert leaks(result.data) == []
        assert np.array_equal(result.dataset.pixel_array, pixels)
    j2k = encoded(pixels, make.JPEG_2000)
    comment = b"\xff\x64" + (4 + len(make.SECRETS[0])).to_bytes(2, "big") + b"\0\1" + make.SECRETS[0]
    size = 4 + int.from_bytes(j2k[4:6], "big")
    hidden = j2k[:size] + comment + j2k[size:] + make.SECRETS[1]
    result = run(make.part10(make.ct(pixels, x7FE00010=("OB", make.fragments(hidden))), make.JPEG_2000))
    assert result.outcome == "released"
    assert leaks(result.data) == []
    assert np.array_equal(result.dataset.pixel_array, pixels)


def test_spare_bits_are_cleared_and_counted_and_surplus_is_cut() -> None:
    pixels = make.slice_pixels(signed=False) & 0x0FFF
    dirty = pixels | 0x5000
    depth = {"x00280101": ("US", 12), "x00280102": ("US", 11)}
    result = run(make.part10(make.ct(dirty, **depth)))
    assert result.outcome == "released"
    assert result.answer["actions"]["clean-pixels"] == 1
    assert result.dataset.PixelData == pixels.tobytes()
    clean = run(make.part10(make.ct(pixels, x7FE00010=("OW", pixels.tobytes() + make.SECRETS[0]), **depth)))
    assert "clean-pixels" not in clean.answer["actions"]
    assert clean.dataset.PixelData == pixels.tobytes()
    assert leaks(clean.data) == []


@pytest.mark.parametrize("syntax", [JPEG_LOSSLESS, make.JPEG_LS, make.JPEG_2000])
def test_what_hides_above_the_stored_bits_of_a_codestream_is_seen(syntax: str) -> None:
    """pydicom's decoders clear those bits unless they are told not to; once, a name went out that way."""
    for spare, outcome in ((b"", "released"), (b"Featherstone", "held codestream-doubtful")):
        picture = Picture(style="body", rows=64, columns=64, anatomy=(400, 300, 170, 210, 0), noise=b"n", spare=spare)
        stream = codestream(picture, drawn(picture), syntax, (("comment", make.SECRETS[0]),), make.SECRETS[1])
        fields = make.ct(np.zeros((64, 64), "<u2"), x00280101=("US", 12), x00280102=("US", 11),
                         x7FE00010=("OB", make.fragments(stream)))  # fmt: skip
        result = run(make.part10(fields, syntax))
        assert result.outcome == outcome
        assert leaks(result.data) == []


def test_intervals_stay_true_and_no_true_date_stays() -> None:
    found = run(make.part10(make.ct())).dataset
    moved = [date.fromisoformat(str(found[name].value)) for name in ("StudyDate", "AcquisitionDate")]
    assert moved[1] - moved[0] == timedelta(days=2)
    assert timedelta(days=30) <= date(2020, 4, 3) - moved[0] < timedelta(days=30 + 3652)
    later = run(make.part10(make.ct(x00080020=("DA", "20210403"), x00080018=("UI", "1.2.3.4")))).dataset
    assert date.fromisoformat(later.StudyDate) - moved[0] == timedelta(days=365)


@pytest.mark.parametrize(
    "broken", ["2020.04.03", "20200230", "202004", "20200403-20200405", "April 3rd", "20200403 Smith"]
)
def test_what_is_not_exactly_a_date_is_emptied(broken: str) -> None:
    result = run(make.part10(make.ct(x00080020=("DA", broken))))
    assert result.outcome == "released"
    assert result.dataset.StudyDate == ""


@pytest.mark.parametrize(
    ("age", "born", "expected"),
    [
        ("068Y", "19511224", "068Y"),
        ("089Y", "19511224", "089Y"),
        ("090Y", "19511224", "090Y"),
        ("104Y", "19151224", "090Y"),
        ("999M", "19151224", "999M"),
        ("012D", "20200322", "012D"),
        (None, "19511224", "068Y"),
        (None, "19151224", "090Y"),
        ("eighty", "19511224", "068Y"),
        ("eighty", "unknown", None),
    ],
)
def test_age_is_kept_capped_or_worked_out(age: str | None, born: str, expected: str | None) -> None:
    fields = make.ct(x00100030=("DA", born), x00101010=("AS", age) if age else None)
    assert run(make.part10(fields)).dataset.get("PatientAge") == expected


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"x00080016": ("UI", make.SR_CLASS)}, "rejected sop-class"),
        ({"x00080016": ("UI", make.PDF_CLASS)}, "rejected sop-class"),
        ({"x00080016": ("UI", make.RAW_CLASS)}, "rejected sop-class"),
        ({"x00080016": ("UI", make.RTSTRUCT_CLASS)}, "rejected sop-class"),
        ({"x00080016": ("UI", "1.2.3.4.5")}, "rejected sop-class"),
        ({"x00080016": None}, "rejected sop-class"),
        ({"x00080016": ("UI", make.US_CLASS)}, "held pixels-doubtful"),
        ({"x00080016": ("UI", make.SC_CLASS)}, "held pixels-doubtful"),
        ({"x00080016": ("UI", make.CR_CLASS), "x00080060": ("CS", "CR")}, "held pixels-doubtful"),
        ({"x00280301": ("CS", "YES")}, "held pixels-doubtful"),
        ({"x00280301": ("CS", "NO")}, "released"),
        ({"x00280004": ("CS", "PALETTE COLOR")}, "held pixels-doubtful"),
        ({"x00280102": ("US", 14)}, "held pixels-doubtful"),
        ({"x00180015": ("CS", "HEAD")}, "held faces-possible"),
        ({"x00081030": ("LO", "ct Brain")}, "held faces-possible"),
        ({"x00082218": ("SQ", [{0x00080104: ("LO", "Head and neck")}])}, "held faces-possible"),
        ({"x00081030": ("LO", "Carotids"), "x00180015": ("CS", "NECK")}, "held faces-possible"),
        ({"x00189346": ("SQ", [{0x00080104: ("LO", "IEC Head Dosimetry Phantom")}])}, "released"),
        ({"x00100020": None}, "rejected identity-missing"),
        ({"x00100020": ("LO", "  ")}, "rejected identity-missing"),
        ({"x0020000D": ("UI", "1.2..3")}, "rejected uid-malformed"),
        ({"x00080018": ("UI", "1." + "2" * 64)}, "rejected uid-malformed"),
        ({"x0020000E": None}, "rejected uid-malformed"),
        ({"x00080016": ("UI", [make.CT_CLASS, make.CT_CLASS])}, "rejected uid-malformed"),
        ({"x00080018": ("UI", ["1.2.3", "1.2.4"])}, "rejected uid-malformed"),
        ({"x0020000D": ("UI", ["1.2.3", "1.2.3"])}, "rejected uid-malformed"),
        ({"x0020000E": ("UI", ["1.2.3", ""])}, "rejected uid-malformed"),
        ({"x7FE00010": None}, "rejected truncated"),
        ({"x7FE00010": ("OW", bytes(100))}, "rejected truncated"),
        ({"x00280008": ("IS", "2")}, "rejected truncated"),
        ({"x00280008": ("IS", "20001")}, "rejected over-limit"),
        ({"x00280010": None}, "rejected malformed"),
        ({"x00280010": ("US", 0)}, "rejected malformed"),
        ({"x00280010": ("US", 40000), "x00280011": ("US", 40000)}, "rejected over-limit"),
        ({"x00080060": ("CS", "FEATHERSTONE")}, "rejected malformed"),
        ({"x00080008": ("CS", ["DERIVED", "SECONDARY"])}, "released"),
    ],
)
def test_what_is_not_certain_is_not_released(change: dict[str, Any], outcome: str) -> None:
    result = run(make.part10(make.ct(**change)))
    assert result.outcome == outcome
    assert bool(result.data) == (outcome == "released")


@pytest.mark.parametrize(
    "change",
    [
        {"x00091001": ("LO", "Featherstone")},  # private
        {"x00090010": ("LO", "FEATHERSTONE CREATOR")},
        {"x00400275": ("SQ", [{0x00400007: ("LO", "Featherstone"), 0x00090010: ("LO", "Barnaby")}])},
        {"x00081140": ("SQ", [{0x00081155: ("UI", "1.2.826.0.1.9"), 0x00100010: ("PN", "Featherstone")}])},
        {"x00080008": ("CS", ["ORIGINAL", "PRIMARY", "FEATHERSTONE"])},
        {"x00180015": ("CS", "BARNABY")},
        {"x00181030": ("LO", "Featherstone, Barnaby")},
        {"x00082218": ("SQ", [{0x00080100: ("SH", "51185008"), 0x00080102: ("SH", "SCT"), 0x00080104: ("LO", "Featherstone")}])},
        {"x00082218": ("SQ", [{0x00080100: ("SH", "ACC7700123"), 0x00080102: ("SH", "99X"), 0x00080104: ("LO", "x")}])},
        {"x00200011": ("IS", "4471882")},
        {"x00180050": ("DS", "0.4471882")},
        {"x00280030": ("DS", ["0.4471882", "1"])},
        {"x00180060": ("DS", "Barnaby")},
        {"x00189305": ("FD", 4471882.0)},
        {"x00189311": ("FD", float("nan"))},
        {"x00200052": ("UI", "Featherstone")},
        {"x00080030": ("TM", "Barnaby")},
        {"x0008002A": ("DT", "20200403101112+0100")},
        {"x00080005": ("CS", "FEATHERSTONE")},
        {"x60003000": ("OW", b"Featherstone Barnaby")},
        {"x60000010": ("US", 10)},
        {"x00880200": ("SQ", [{0x7FE00010: ("OW", b"Featherstone Barnaby")}])},
        {"x00104000": ("LT", "Featherstone " * 100)},
        {"x00081111": ("UN", b"Featherstone")},
        {"x00180022": ("LO", "Featherstone")},  # mistyped
        {"x00280106": ("LT", "Featherstone")},
        {"x00000000": ("UL", 4471882)},
        {"xFFFCFFFC": ("OB", b"Featherstone" * 20)},
        {"x00190010": ("PN", "Gwendolyn^Ottoline")},
        {"x00102160": ("SH", "Featherstone")},
        {"x00081050": ("PN", ["Ottoline^Prudence", "Gwendolyn"])},
        {"x00182800": ("UT", "PID4471882")},
    ],
)  # fmt: skip
@pytest.mark.parametrize("syntax", [make.EXPLICIT, make.IMPLICIT])
@pytest.mark.parametrize("undefined", [False, True])
def test_a_planted_identifier_is_gone_wherever_it_stands(change: dict[str, Any], syntax: str, undefined: bool) -> None:
    result = run(make.part10(make.ct(**change), syntax, undefined=undefined))
    assert result.outcome in {"released", "rejected malformed"}
    assert leaks(result.data) == []
    if result.data:
        assert result.dataset.KVP or "x00180060" in change


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ({}, "held faces-possible"),
        ({"x00081030": ("LO", "Follow-up")}, "held faces-possible"),
        ({"x00180015": ("CS", "CHEST")}, "released"),
        ({"x0008103E": ("LO", "right knee")}, "released"),
        ({"x00082218": ("SQ", [{0x00080104: ("LO", "Chest")}])}, "released"),
        ({"x00281053": None}, "released"),  # no Hounsfield units: nobody can say
        ({"x00280010": ("US", 64), "x7FE00010": ("OW", make.slice_pixels().tobytes())}, "released"),
    ],
)
def test_a_ct_slice_that_names_no_part_and_is_as_bony_as_a_head_is_held(words: dict[str, Any], outcome: str) -> None:
    """A head without a word about it: decision 0918."""
    rows, columns = np.mgrid[:64, :64]
    far = np.hypot(rows - 32, columns - 32)
    head = (-1000 + 1030 / (1 + np.exp(far - 25)) + 900 * np.exp(-(((far - 22) / 2) ** 2))).astype("<i2")
    unnamed: dict[str, Any] = {"x00281052": ("DS", "0"), "x00180015": None, "x00081030": None, "x0008103E": None}
    assert run(make.part10(make.ct(head, **{**unnamed, **words}))).outcome == outcome


def test_a_name_under_a_wrong_vr_is_known_as_a_name() -> None:
    for tag in ("x00100010", "x00101001"):
        fields = make.ct(**{tag: ("LO", "Ribs^Thorax")}, x00081030=("LO", "CHEST RIBS liver"))
        found = run(make.part10(fields)).dataset
        assert found.StudyDescription == "CHEST LIVER"
        assert str(found.PatientName) == found.PatientID


def test_a_patient_without_a_name_is_still_one() -> None:
    found = run(make.part10(make.ct(x00100010=None))).dataset
    assert str(found.PatientName) == found.PatientID


@pytest.mark.parametrize("name", ["", "Featherstone^Barnaby"])
def test_a_name_under_a_wrong_vr_gets_its_stand_in(name: str) -> None:
    found = run(make.part10(make.ct(x00100010=("LO", name)))).dataset
    assert str(found.PatientName) == found.PatientID


def test_what_follows_is_counted() -> None:
    assert run(make.part10(make.ct(), trailing=b"Featherstone")).answer["actions"]["cut-trailing"] == 1
    assert "cut-trailing" not in run(make.part10(make.ct())).answer["actions"]


def test_a_listed_public_element_sent_as_unknown_is_read_again_under_its_own_vr() -> None:
    found = run(make.part10(make.ct(x00180060=("UN", b"120 "), x00280010=("UN", struct.pack("<H", 64))))).dataset
    assert (found.KVP, found["Rows"].VR) == (120, "US")


def test_references_between_files_stay_intact() -> None:
    reference = {0x00081150: ("UI", make.CT_CLASS), 0x00081155: ("UI", make.ct()[0x00080018][1])}
    other = make.ct(x00080018=("UI", "1.2.3.9"), x00082112=("SQ", [reference]))
    first, second = run(make.part10(make.ct())).dataset, run(make.part10(other)).dataset
    assert second.SourceImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert second.StudyInstanceUID == first.StudyInstanceUID


def test_two_projects_share_nothing_but_physics() -> None:
    one, two = (run(make.part10(make.ct()), project=project).dataset for project in ("demo", "other"))
    apart = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "AccessionNumber", "StudyID", "StudyDate",
             "FrameOfReferenceUID"]  # fmt: skip
    assert [name for name in apart if one[name].value == two[name].value] == []
    assert one.PixelData == two.PixelData
    keyed = run(make.part10(make.ct()), key=bytes(32)).dataset
    assert [name for name in apart if one[name].value == keyed[name].value] == []


def test_the_explain_log_has_every_element_and_no_value() -> None:
    result = run(make.part10(make.ct(x00091001=("LO", "Featherstone"))), explain=True)
    lines = result.answer["explained"]
    assert {"path", "vr", "action", "rule", "reason"} == set().union(*(set(line) for line in lines))
    assert {line["path"]: line["action"] for line in lines}["00100010"] == "pseudonym"
    assert leaks(repr(lines).encode()) == []
    assert not any(str(line).find("SIEMENS") >= 0 for line in lines)


def test_writing_in_the_pixels_holds_the_file() -> None:
    clean = make.slice_pixels(128)
    glyph = np.array([[1, 0, 1, 0, 1], [1, 0, 1, 0, 1], [1, 1, 1, 0, 1], [1, 0, 1, 0, 1], [1, 0, 1, 0, 1]], dtype=bool)
    for turned in (False, True):
        for scale, level in ((1, 3000), (2, 1000), (3, 3000)):
            mark = np.kron(np.tile(np.pad(glyph, ((0, 0), (0, 2))), (1, 4)), np.ones((scale, scale), dtype=bool))
            drawn = clean.copy()
            drawn[5 : 5 + mark.shape[0], 5 : 5 + mark.shape[1]][mark] = level
            drawn = np.ascontiguousarray(drawn.T) if turned else drawn
            assert run(make.part10(make.ct(drawn))).outcome == "held pixels-doubtful"
    assert run(make.part10(make.ct(clean))).outcome == "released"


@pytest.mark.parametrize(
    ("change", "name", "expected"),
    [
        ({"x00080008": ("CS", ["ORIGINAL", "PRIMARY", "FEATHERSTONE"])}, "ImageType", ["ORIGINAL", "PRIMARY", "OTHER"]),
        ({"x00080008": ("CS", ["FEATHERSTONE", "BARNABY", "AXIAL", "BARNABY"])}, "ImageType", ["DERIVED", "SECONDARY", "AXIAL"]),
        ({"x00080008": ("CS", ["ORIGINAL", "FEATHERSTONE"])}, "ImageType", ["ORIGINAL", "SECONDARY"]),
        ({"x00080008": ("CS", ["ORIGINAL", "PRIMARY", "", "M"])}, "ImageType", ["ORIGINAL", "PRIMARY", "", "M"]),
        ({"x00080008": ("LO", "Featherstone")}, "ImageType", ["DERIVED", "SECONDARY", "OTHER"]),
        ({"x00080008": ("CS", "")}, "ImageType", ""),
        ({"x00180060": ("LO", "Featherstone")}, "KVP", None),
        ({"x00281051": ("DS", "4471882")}, "WindowCenter", "absent"),
        ({"x00281050": ("DS", "4471882")}, "WindowWidth", "absent"),
    ],
)  # fmt: skip
def test_what_a_value_leaves_behind_is_valid(change: dict[str, Any], name: str, expected: object) -> None:
    """PS3.15 table E.1-1: a dummy for type 1, nothing for type 2; what belongs together goes together."""
    found = run(make.part10(make.ct(**change))).dataset
    assert found.get(name, "absent") == expected


@pytest.mark.parametrize(
    "change",
    [
        {"x00200032": ("DS", ["4471882", "0", "0"])},
        {"x00281053": ("DS", "4471882")},
        {"x00280030": ("LO", "Featherstone")},
    ],
)
def test_where_only_a_false_value_could_stand_the_file_is_rejected(change: dict[str, Any]) -> None:
    assert run(make.part10(make.ct(**change))).outcome == "rejected malformed"
    absent = run(make.part10(make.ct(**dict.fromkeys(change))))
    assert absent.outcome == "released", "what was never there is not asked for"


def test_an_item_without_what_it_needs_goes_and_the_others_stay() -> None:
    whole = {0x00081150: ("UI", make.CT_CLASS), 0x00081155: ("UI", "1.2.3.9")}
    fields = make.ct(x00081140=("SQ", [{0x00081155: ("UI", "1.2.3.8")}, whole]))
    assert len(run(make.part10(fields)).dataset.ReferencedImageSequence) == 1
