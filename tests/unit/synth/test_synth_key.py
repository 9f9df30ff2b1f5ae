"""The answer key is true: what it says is in the bytes of the file that it names, and it says all that was placed."""

from __future__ import annotations

import json
import warnings
import zlib
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from pydicom.pixels import get_decoder

from readingroom.adapters.dicom.phantom import samples
from readingroom.domain.synth import hiding, objects
from readingroom.domain.synth.clinical import DIRT
from readingroom.domain.synth.facts import NEUTRAL, facts_of
from readingroom.domain.synth.key import Class, Must
from readingroom.domain.synth.plans import Burn, Picture
from readingroom.domain.synth.population import population
from tests.unit.synth.trees import (
    PATIENTS,
    SEED,
    TINY,
    Line,
    at,
    broken,
    bytes_of,
    content,
    in_json,
    made,
    opened,
    series_of,
)

IN_ELEMENTS = ("removed", "kept", "date-shifted", "uid-changed", "patient-consistent")


def of_elements() -> list[Line]:
    return [
        line
        for line in made().lines(*IN_ELEMENTS)
        if line["scope"] != "patient" and line["file"].endswith(".dcm") and line.get("encoding") != "nibbles"
    ]


def test_every_line_names_a_file_that_is_there() -> None:
    there = {str(path.relative_to(made().identified)) for path in made().files()}
    assert {line["file"] for line in made().key} <= there


def test_what_a_line_says_stands_in_the_bytes_of_its_file_and_at_its_place() -> None:
    for line in of_elements():
        path, wanted = made().identified / line["file"], bytes_of(line)
        if line["where"] == "00280010":  # a number of two bytes
            wanted = int(line["was"]).to_bytes(2, "little")
        assert wanted in content(path) or line["where"] == "name", line
        assert line["file"] in broken(made()) or wanted in at(path, line["where"]), line


def test_what_stands_in_a_series_stands_in_each_of_its_files() -> None:
    for file, lines in by_file().items():
        alike = [line for line in lines if line["scope"] == "series" and line["where"] != "00280010"]
        for path in series_of(made(), file) if alike else ():
            for line in alike:
                assert bytes_of(line) in at(path, line["where"]), (line, path)


def by_file() -> dict[str, list[Line]]:
    """Lines about elements, of each whole file that the key names."""
    found: dict[str, list[Line]] = defaultdict(list)
    for line in of_elements():
        if line["file"] not in broken(made()):
            found[line["file"]].append(line)
    return found


def test_no_identifier_of_a_patient_stands_in_a_file_without_a_line_of_the_key() -> None:
    patients = {patient.number: patient for patient in population(SEED, PATIENTS, TINY)}
    for file, lines in by_file().items():
        patient = patients[lines[0]["patient"]]
        study = next(each for each in patient.studies if each.uid.encode() in content(made().identified / file))
        said = " ".join(line["was"] for line in lines)
        for name, fact in facts_of(patient, study).items():
            if name not in NEUTRAL and fact.encode() in content(made().identified / file):
                assert fact in said, (file, name)


def test_every_way_to_hide_is_placed_and_in_the_key() -> None:
    faults = {line["fault"] for line in made().key}
    rows = {row.fault for row in (*hiding.OWN, *hiding.HIDING, *objects.ROWS)} | {dirt.fault for dirt in DIRT}
    assert rows - faults == set()
    whole = {"application segment", "comment segment", "after the end of a codestream", "head in view",
             "letters burned in", "marker of a film", "spare bits", "a file that ends too soon", "one instance UID, two contents",
             "the same file, sent again", "two birth dates of one patient", "opted out before release", "an older record",
             "opted out after release", "image without a clinical record", "clinical record without an image"}  # fmt: skip
    assert whole - faults == set()


def test_every_class_and_every_verdict_of_the_key_comes_about() -> None:
    assert {line["class"] for line in made().key} == {each.value for each in Class}
    assert {line["must"] for line in made().key} == {each.value for each in Must}


def test_two_rows_never_share_a_place() -> None:
    places = Counter(row.path for row in (*hiding.OWN, *hiding.HIDING))
    assert [place for place, number in places.items() if number > 1] == []


def test_what_must_go_is_long_enough_to_be_looked_for() -> None:
    assert {line["was"] for line in made().lines("removed") if len(line["was"]) < 6} == set()


def test_clinical_dirt_is_what_the_key_says() -> None:
    cells = [line for line in made().lines("cleaned", "removed") if line["file"].endswith(".json")]
    assert len(cells) > 100
    for line in cells:
        if line["scope"] != "patient":
            cell = str(in_json(made().identified / line["file"], line["where"]))
            assert line["was"] == cell or (line["must"] == "removed" and line["was"] in cell), line


def test_spare_bits_hold_what_the_key_says() -> None:
    found = [line for line in made().key if line.get("encoding") == "nibbles"]
    assert found
    for line in found:
        data = opened(made().identified / line["file"])
        assert data.BitsStored == 12
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what hides after a codestream
            whole, _ = get_decoder(data.file_meta.TransferSyntaxUID).as_buffer(data, raw=True)
        nibbles = (np.frombuffer(whole, "<u2") >> 12)[: 2 * len(line["was"])]
        assert bytes.fromhex("".join(f"{nibble:x}" for nibble in nibbles)).decode() == line["was"]


def test_letters_stand_in_their_box() -> None:
    found = made().lines("pixels-hidden", "pixels-kept")
    assert len(found) > 20
    for line in found:
        box, data = line["where"], opened(made().identified / line["file"])
        image = data.pixel_array & ((1 << data.BitsStored) - 1)
        y, x, high, wide = box["y"], box["x"], box["height"], box["width"]
        lossy = 3 if data.get("LossyImageCompression") == "01" else 0
        inside = np.abs(image[y : y + high, x : x + wide].astype(int) - box["grey"]) <= lossy
        assert inside.shape == (high, wide)
        scale = min(high, wide) // 7
        assert np.sum(inside) >= 14 * len(line["was"].replace(" ", "")) * scale**2 * 0.5, line
        edges = inside[:, [0]] if high < wide else inside[[0], :]
        assert line["was"] == "R" or np.any(edges), line
    assert {line["where"]["width"] > line["where"]["height"] for line in made().lines("pixels-hidden")} == {True, False}
    assert len({line["where"]["grey"] for line in made().lines("pixels-hidden")}) > 2


def bright(burn: Burn) -> set[tuple[int, int]]:
    picture = Picture(style="page", rows=12, columns=12, bits=8, allocated=8, burns=(burn,))
    image = np.frombuffer(samples(picture), dtype=np.uint8).reshape(12, 12)
    return {(int(row), int(column)) for row, column in zip(*np.nonzero(image == 255), strict=True)}


def test_a_letter_has_its_shape_and_is_turned_not_mirrored() -> None:
    across = Burn(text="L", x=1, y=2, scale=1, grey=255)
    assert bright(across) == {(row, 1) for row in range(2, 9)} | {(8, column) for column in range(1, 6)}
    assert across.where == {"frame": 1, "x": 1, "y": 2, "width": 5, "height": 7, "grey": 255}
    down = replace(across, down=True)
    assert bright(down) == {(2, column) for column in range(1, 8)} | {(row, 1) for row in range(2, 7)}
    assert (down.where["width"], down.where["height"]) == (7, 5)


def test_pydicom_opens_every_file_that_is_not_broken_and_each_says_that_it_is_synthetic() -> None:
    images = [path for path in made().files() if path.suffix == ".dcm"]
    assert len(images) > 400
    for path in images:
        if str(path.relative_to(made().identified)) in broken(made()):
            assert b"\x08\x00\x1c\x00" in content(path)
        else:
            data = opened(path)
            assert data.SyntheticData == "YES"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for element in data.iterall():
                    assert element.tag is not None
                if "PixelData" in data:
                    assert data.pixel_array.size
    for path in made().files():
        assert path.suffix == ".dcm" or json.loads(path.read_text())["SyntheticData"] == "YES"


def test_a_file_that_ends_too_soon_has_less_pixels_than_it_promises() -> None:
    assert broken(made())
    for name in broken(made()):
        with pytest.raises((ValueError, AttributeError, zlib.error)):
            assert opened(made().identified / name).pixel_array.size


def test_conflicts_are_conflicts() -> None:
    root = made().identified
    held = [line for line in made().lines("held") if line["reason"] == "uid-conflict"]
    by_uid = defaultdict(set)
    for line in held:
        by_uid[at(root / line["file"], "00080018")].add((root / line["file"]).read_bytes())
    assert by_uid
    assert all(len(contents) == 2 for contents in by_uid.values())
    for line in made().lines("same"):
        if line["reason"] == "same-as-another":
            assert (root / line["file"]).read_bytes() == (root / line["was"]).read_bytes()
    [other, *_] = [line for line in made().lines("held") if line["reason"] == "identity-conflict"]
    born = {at(path, "00100030") for path in (root / other["file"]).parent.glob("*.dcm")
            if at(path, "00100020") == at(root / other["file"], "00100020")}  # fmt: skip
    assert len(born) == 2


def test_references_of_derived_objects_lead_to_instances_that_were_sent() -> None:
    whole = [path for path in made().files() if str(path.relative_to(made().identified)) not in broken(made())]
    sent = {at(path, "00080018").strip(b"\0") for path in whole if path.suffix == ".dcm"}
    found = [line for line in made().lines("uid-changed") if line["where"].endswith("00081155")]
    assert len({line["where"] for line in found}) == 3
    assert {line["was"].encode() for line in found} <= sent
