"""Conflicts hold every party, whatever the order; and what a file must have to get in. `data.md` section 3."""

from __future__ import annotations

import os
import struct
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from readingroom.adapters.bounded import Fault
from readingroom.adapters.dicom.door import door
from readingroom.domain.deid.outcome import Reason
from readingroom.domain.door import Answer, Identity, Seen, Verdict, judge
from readingroom.entrypoints.settings import policies_folder
from tests.unit.data.instances import (
    EXPLICIT,
    MPEG4,
    RLE,
    element,
    elements,
    encapsulated,
    instance,
    part10,
    us,
)

REPORT = b"1.2.840.10008.5.1.4.1.1.88.11"
FEW = st.sampled_from("abc")


@st.composite
def batches(draw: st.DrawFn) -> list[Seen]:
    """Files of few values, so that they meet; content is told by everything else, as it is in life."""
    found = []
    for number in range(draw(st.integers(0, 8))):
        who = Identity(
            instance=draw(FEW), study=draw(FEW), patient=draw(FEW), birth=draw(st.sampled_from(["", "x", "y"]))
        )
        content = f"{who}{draw(st.integers(0, 1))}"
        rejected = draw(st.integers(0, 4)) == 0
        found.append(
            Seen(
                input=f"{number}",
                sha256=content,
                identity=None if rejected else who,
                reason=Reason.TRUNCATED if rejected else None,
            )
        )
    return found


@given(both=batches().flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))))
def test_the_order_of_files_changes_no_answer(both: tuple[list[Seen], list[Seen]]) -> None:
    assert judge(both[0]) == judge(both[1])


@given(found=batches())
def test_every_party_of_a_conflict_is_held_and_nobody_else(found: list[Seen]) -> None:
    verdicts = judge(found)
    assert [verdict.seen for verdict in verdicts] == found  # named 0 to 7, in order
    good = [(seen, seen.identity) for seen in found if seen.identity]
    for verdict in verdicts:
        seen, who = verdict.seen, verdict.seen.identity
        if who is None:
            assert (verdict.answer, verdict.reason) == (Answer.REJECTED, seen.reason)
            continue
        uid = any(o.instance == who.instance and s.sha256 != seen.sha256 for s, o in good)
        study = any(o.study == who.study and o.patient != who.patient for _, o in good)
        births = {o.birth for _, o in good if o.patient == who.patient and o.birth}
        others = {o.patient for _, o in good if o.study == who.study}
        if uid:
            assert verdict == Verdict(seen=seen, answer=Answer.HELD, reason=Reason.UID_CONFLICT)
        elif study or len(births) > 1 or len(others) > 1:
            assert verdict == Verdict(seen=seen, answer=Answer.HELD, reason=Reason.IDENTITY_CONFLICT)
        else:
            assert verdict == Verdict(seen=seen, answer=Answer.RECEIVED)


@given(found=batches())
def test_what_is_received_contradicts_nothing_that_is_received(found: list[Seen]) -> None:
    received = [verdict.seen for verdict in judge(found) if verdict.answer is Answer.RECEIVED]
    for one in received:
        for other in received:
            assert one.identity
            assert other.identity
            if one.identity.instance == other.identity.instance:
                assert one.sha256 == other.sha256


def looked(content: bytes, tmp_path: Path) -> dict[str, Any]:
    """What the child would answer, asked in this process."""
    path = tmp_path / "x"
    path.write_bytes(content)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return door({"key": "00" * 32})({}, [descriptor])
    finally:
        os.close(descriptor)


def changed(**by_tag: bytes | None) -> bytes:
    """The usual file with some elements others, or gone: `t` and the tag in hexadecimal."""
    found = elements()
    for name, value in by_tag.items():
        tag = int(name[1:], 16)
        found.pop(tag, None)
        if value is not None:
            found[tag] = value
    return part10(found)


def pixels(count: int) -> bytes:
    return element(0x7FE00010, "OW", bytes(count))


def frames(text: str) -> bytes:
    return element(0x00280008, "IS", text.encode())


def fragments(*found: bytes, syntax: str = RLE, count: str = "", table: bytes = b"") -> bytes:
    whole = {**elements(), 0x7FE00010: encapsulated(*found, table=table)}
    if count:
        whole[0x00280008] = frames(count)
    return part10(whole, syntax)


OFF: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not-dicom"),
    "text": (b"hello" * 100, "not-dicom"),
    "a bare data set": (instance()[132:], "not-dicom"),
    "cut in the pixels": (instance()[:-1], "truncated"),
    "cut before the pixels": (changed(t7FE00010=None), "truncated"),
    "one pixel short": (changed(t7FE00010=pixels(30)), "truncated"),
    "a frame short": (changed(t7FE00010=pixels(62), t00280008=frames("2")), "truncated"),
    "a sample short": (changed(t7FE00010=pixels(94), t00280002=us(0x00280002, 3)), "truncated"),
    "an image without a trace of pixels": (changed(t7FE00010=None, t00280010=None, t00280011=None), "truncated"),
    "rows of no known class, and no pixels": (
        changed(t7FE00010=None, t00080016=element(0x00080016, "UI", b"1.2.3")),
        "truncated",
    ),
    "rows absent": (changed(t00280010=None), "malformed"),
    "no bits": (changed(t00280100=None), "malformed"),
    "rows of four bytes": (changed(t00280010=element(0x00280010, "US", bytes(4))), "malformed"),
    "frames that are no number": (changed(t00280008=frames("two")), "malformed"),
    "no frame": (changed(t00280008=frames("0")), "malformed"),
    "fewer fragments than frames": (fragments(b"ab", count="2"), "truncated"),
    "no fragment": (fragments(), "truncated"),
    "a table of fewer frames": (fragments(b"ab", b"cd", count="2", table=bytes(4)), "truncated"),
    "a table of more frames": (fragments(b"ab", table=bytes(8)), "malformed"),
    "no delimiter": (fragments(b"ab")[:-8], "truncated"),
    "a media directory": (part10(elements(), sop_class="1.2.840.10008.1.3.10"), "sop-class"),
    "a transfer syntax of nobody": (part10(elements(), "1.2.3"), "transfer-syntax"),
    "no instance UID": (changed(t00080018=None), "uid-malformed"),
    "no class UID": (changed(t00080016=None), "uid-malformed"),
    "two class UIDs": (changed(t00080016=element(0x00080016, "UI", b"1.2\\1.3")), "uid-malformed"),
    "no study UID": (changed(t0020000D=None), "uid-malformed"),
    "no series UID": (changed(t0020000E=None), "uid-malformed"),
    "a study UID of letters": (instance(study="1.2.x"), "uid-malformed"),
    "a study UID that ends in a dot": (instance(study="1.2."), "uid-malformed"),
    "an instance UID of 65": (instance(instance="1." + "2" * 63), "uid-malformed"),
    "two instance UIDs": (instance(instance="1.2\\1.3"), "uid-malformed"),
    "no patient identifier": (changed(t00100020=None), "identity-missing"),
    "an empty patient identifier": (instance(patient=""), "identity-missing"),
    "a blank patient identifier": (instance(patient="   "), "identity-missing"),
    "an identifier of two thousand": (instance(patient="P" * 2000), "malformed"),
    "tags out of order": (part10({**elements(), 0x00280012: us(0x00280002, 1)}), "malformed"),
}
GOOD = {
    "as it is": instance(),
    "a pad byte more": changed(t7FE00010=pixels(34)),
    "two frames": changed(t7FE00010=pixels(64), t00280008=frames("2 ")),
    "one bit a pixel": changed(t7FE00010=pixels(2), t00280100=us(0x00280100, 1)),
    "half the colour": changed(
        t7FE00010=pixels(64), t00280002=us(0x00280002, 3), t00280004=element(0x00280004, "CS", b"YBR_FULL_422")
    ),
    "a report": changed(t7FE00010=None, t00280010=None, t00280011=None, t00080016=element(0x00080016, "UI", REPORT)),
    "fragments": fragments(b"ab", b"cd", b"ef", count="2"),
    "a table": fragments(b"ab", b"cd", count="2", table=bytes(8)),
    "a film in one stream": fragments(b"ab", syntax=MPEG4, count="300"),
}


@pytest.mark.parametrize("name", sorted(OFF))
def test_what_is_not_whole_or_says_not_who_it_is_is_rejected(name: str, tmp_path: Path) -> None:
    content, reason = OFF[name]
    answer = looked(content, tmp_path)
    assert {name: answer[name] for name in answer if name != "names"} == {"reason": reason}


@pytest.mark.parametrize("name", sorted(GOOD))
def test_what_is_whole_gets_in(name: str, tmp_path: Path) -> None:
    assert set(looked(GOOD[name], tmp_path)) == {"identity", "names"}


@given(length=st.integers(0, len(instance()) - 1))
def test_a_shortened_file_never_gets_in(length: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    answer = looked(instance()[:length], tmp_path_factory.getbasetemp())
    assert answer.get("reason") in {"truncated", "not-dicom", "malformed", "transfer-syntax", "uid-malformed"}


@given(at=st.integers(132, len(instance()) - 1), byte=st.binary(min_size=1, max_size=4))
def test_any_few_bytes_changed_end_in_an_answer(at: int, byte: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = instance()
    answer = looked(whole[:at] + byte + whole[at + len(byte) :], tmp_path_factory.getbasetemp())
    assert set(answer) - {"names"} in ({"identity"}, {"reason"})


def test_tokens_are_equal_where_values_are_and_tell_nothing_else(tmp_path: Path) -> None:
    one = looked(instance(instance="1.5", filling="x"), tmp_path)["identity"]
    other = looked(instance(instance="1.6", patient="P-2"), tmp_path)["identity"]
    same = {name for name in one if one[name] == other[name]}
    assert same == {"study", "birth"}
    assert looked(instance(birth=""), tmp_path)["identity"]["birth"] == ""
    assert "P-1" not in str(one)
    path = tmp_path / "x"
    path.write_bytes(instance())
    descriptor = os.open(path, os.O_RDONLY)
    assert door({"key": "01" * 32})({}, [descriptor])["identity"]["study"] != one["study"]
    os.close(descriptor)


def test_an_nhs_number_is_one_patient_however_it_is_spaced(tmp_path: Path) -> None:
    tokens = {
        looked(instance(patient=written), tmp_path)["identity"]["patient"] for written in ("943 476 5919", "9434765919")
    }
    assert len(tokens) == 1


def test_big_endian_numbers_are_read_as_such(tmp_path: Path) -> None:
    def turned(tag: int, vr: bytes, value: bytes) -> bytes:
        long = struct.pack(">HI", 0, len(value)) if vr == b"OW" else struct.pack(">H", len(value))
        return struct.pack(">HH", tag >> 16, tag & 0xFFFF) + vr + long + value

    texts = {0x00080016: "UI", 0x00080018: "UI", 0x00100020: "LO", 0x0020000D: "UI", 0x0020000E: "UI"}
    given_values = {0x00080016: b"1.2.3.", 0x00100020: b"P-1 "}
    found = {tag: turned(tag, vr.encode(), given_values.get(tag, b"1.2\0")) for tag, vr in texts.items()}
    found[0x00080016] = turned(0x00080016, b"UI", b"1.2\0")
    for tag, number in {0x00280002: 1, 0x00280010: 4, 0x00280011: 4, 0x00280100: 16}.items():
        found[tag] = turned(tag, b"US", struct.pack(">H", number))
    for size, wanted in ((32, "identity"), (30, "reason")):
        found[0x7FE00010] = turned(0x7FE00010, b"OW", bytes(size))
        assert set(looked(part10(found, "1.2.840.10008.1.2.2"), tmp_path)) == {wanted, "names"}


def test_the_usual_file_is_what_another_reader_takes_it_for(tmp_path: Path) -> None:
    import pydicom

    (tmp_path / "x").write_bytes(instance())
    found = pydicom.dcmread(tmp_path / "x")
    assert (found.PatientID, found.Rows, len(found.PixelData)) == ("P-1", 4, 32)
    assert found.file_meta.TransferSyntaxUID == EXPLICIT
    assert [tag for tag, _ in groupby(found.keys())] == sorted(found.keys())


def test_every_reason_of_the_door_stands_in_the_list_that_the_hospital_reads() -> None:
    listed = yaml.safe_load((policies_folder() / "deid" / "reasons.yaml").read_text())["reasons"]
    given_reasons = {reason for _, reason in OFF.values()} | {fault.value for fault in Fault} | {"unreadable"}
    assert {listed[reason]["outcome"] for reason in given_reasons} == {"rejected"}
    assert {listed[reason]["outcome"] for reason in ("uid-conflict", "identity-conflict")} == {"held"}
    assert "same-as-another" in listed
