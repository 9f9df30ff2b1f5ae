"""The scorer: a tool that copies leaks and keeps all, one that writes nothing does neither, and what hides is found."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from readingroom.adapters.answer_key import entries_of, receipt_of
from readingroom.adapters.dicom.scored import PIECE, Haystack, Written
from readingroom.application.score_outputs import score_outputs
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.synth.key import Class, Entry, Must
from readingroom.domain.synth.score import Score
from tests.dicom_factory import DEFLATED, ct, part10, slice_pixels
from tests.unit.synth.trees import made, make

NAME = Entry(
    kind=Class.OWN_FIELDS,
    fault="patient name",
    where="00100010",
    was="Featherstone^Barnaby",
    must=Must.REMOVED,
    file="a.dcm",
)
DATE = replace(NAME, kind=Class.TIME, fault="study date", where="00080020", was="20200403", must=Must.DATE_SHIFTED)
SHORT = replace(NAME, fault="a day alone", where="00100030", was="19511224")
MAKER = replace(NAME, kind=Class.UTILITY, fault="technique", where="00080070", was="SIEMENS", must=Must.KEPT)
KEY = [NAME, DATE, SHORT, MAKER]


def scored(
    tmp_path: Path, *written: tuple[str, bytes], key: list[Entry] = KEY, receipt: dict[str, list[str]] | None = None
) -> Score:
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / "in" / "a.dcm").write_bytes(part10(ct()))
    for name, data in written:
        (tmp_path / "out" / name).write_bytes(data)
    return score_outputs(key, Written(tmp_path / "out", tmp_path / "in", receipt))


def test_a_tool_that_copies_the_whole_tree_leaks_everything_and_keeps_everything(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", patients=12)
    shutil.copytree(tree.identified, tmp_path / "out")
    score = score_outputs(entries_of(tree.root / "key.jsonl"), Written(tmp_path / "out", tree.identified, None))
    score.left[Class.TIME] = score.asked[Class.TIME]  # dates of objects without samples have no output to look at
    nibbles = sum(line.get("encoding") == "nibbles" for line in tree.key)
    assert score.asked.total() > 800
    assert score.left.total() >= score.asked.total() - nibbles
    assert all(share.found == share.of > 0 for share in (*score.fields.values(), score.samples))
    assert score.refused.found > 20
    assert score.outputs == sum(path.suffix == ".dcm" for path in tree.files())


def test_a_tool_that_writes_nothing_leaks_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    score = scored(tmp_path)
    assert (score.asked.total(), score.left.total()) == (2, 0), (
        "a short number, which chance makes, is asked of no tool"
    )
    assert (score.fields["CT and MR"].of, score.fields["CT and MR"].found) == (1, 0)
    assert (score.samples.of, score.samples.found) == (1, 0)


def test_a_tool_is_given_what_it_took_off_and_what_it_lost(tmp_path: Path) -> None:
    score = scored(tmp_path, ("b.dcm", part10(ct(x00080020=("DA", "20191101"), x00080070=None))))
    assert (score.left[Class.OWN_FIELDS], score.left[Class.TIME]) == (1, 0)
    assert (score.fields["CT and MR"].found, score.samples.found) == (0, 1)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("b.dcm", part10(ct(x00100010=None, x00104000=("LT", "of FEATHERSTONE^BARNABY")), DEFLATED)),
        ("b.dcm", part10(ct(x00100010=None, x00091001=("OB", "Featherstone^Barnaby".encode("utf-16-le"))))),
        ("b.dcm", part10(ct(x00100010=None), trailing=b"featherstone^barnaby")),
        ("featherstone^barnaby.dcm", b""),
        ("manifest.jsonl", b'{"x": "Featherstone^Barnaby"}'),
        ("large.bin", bytes(PIECE - 7) + b"Featherstone^Barnaby" + bytes(99)),
    ],
)
def test_a_name_is_found_wherever_a_tool_may_write_it(tmp_path: Path, name: str, data: bytes) -> None:
    assert scored(tmp_path, (name, data)).left[Class.OWN_FIELDS] == 1


def test_an_image_is_known_by_its_samples_in_another_encoding_and_without_its_spare_bits(tmp_path: Path) -> None:
    pixels = slice_pixels(signed=False) & 0x0FFF
    depth = {"x00280101": ("US", 12), "x00280102": ("US", 11)}
    scored(tmp_path, ("b.dcm", part10(ct(pixels, **depth), DEFLATED)))
    (tmp_path / "in" / "a.dcm").write_bytes(part10(ct(pixels | 0x5000, **depth)))
    seen = Written(tmp_path / "out", tmp_path / "in", None)
    assert seen.same_samples("a.dcm")
    (tmp_path / "in" / "c.dcm").write_bytes(part10(ct(pixels ^ 1, **depth)))
    assert not seen.same_samples("c.dcm")


def test_what_must_be_held_and_what_came_twice_are_counted(tmp_path: Path) -> None:
    held = replace(NAME, fault="head in view", where="file", was="", must=Must.HELD, reason="faces-possible")
    again = replace(held, fault="sent again", was="a.dcm", must=Must.SAME, reason="same-as-another", file="b.dcm")
    orphan = replace(held, reason="orphan")
    copy = part10(ct())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.dcm").write_bytes(copy)
    score = scored(tmp_path, ("1.dcm", copy), ("2.dcm", copy), key=[held, again, orphan])
    assert (score.refused.found, score.refused.of, score.sent_again.found, score.sent_again.of) == (1, 1, 1, 1)
    (tmp_path / "out" / "2.dcm").unlink()
    score = scored(tmp_path, key=[held, again], receipt={"a.dcm": [""], "b.dcm": ["1.dcm", "1.dcm"]})
    assert (score.refused.found, score.sent_again.found) == (0, 0), "the receipt says that a.dcm was held"
    assert score.accounted
    assert (score.accounted.found, score.accounted.of) == (1, 2), "one input has two lines"


def test_a_score_reads_alike_for_people_and_programs(tmp_path: Path) -> None:
    score = scored(tmp_path, ("b.dcm", part10(ct())))
    lines = list(score.lines())
    assert "left        1 of 1: time" in lines
    assert "withstood   0 of 2 classes; left 2 of 2" in lines
    assert "accounted   no receipt was given" in lines
    document = score.to_document()
    assert json.loads(json.dumps(document)) == document
    assert document["leaks"]["time"] == {"asked": 1, "left": 1}
    assert document["accounted"] is None
    assert "Featherstone" not in json.dumps(document) + "".join(lines)


def test_the_key_that_is_written_is_the_key_that_is_read() -> None:
    entries = entries_of(made().root / "key.jsonl")
    assert [entry.to_document() for entry in entries] == made().key


LINE = NAME.to_document()
WRONG = [{"encoding": "utf-7"}, {"was": "\ud800"}, {"was": None}, {"must": "vanish"}, {"class": 1}]


def test_a_place_that_is_no_element_holds_nothing(tmp_path: Path) -> None:
    score = scored(
        tmp_path, ("b.dcm", part10(ct())), key=[replace(MAKER, where="nowhere"), replace(MAKER, where={"x": 1})]
    )
    assert (score.fields["CT and MR"].found, score.fields["CT and MR"].of) == (0, 2)


@pytest.mark.parametrize(
    "text",
    [
        *(json.dumps({**LINE, **wrong}) for wrong in WRONG),
        "",
        "x\n",
        "[]\n",
        "{}\n",
        '{"file": 1, "class": "time"}\n',
        "\udcff",
    ],
)
def test_what_is_no_key_is_refused_without_a_word_of_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key.jsonl"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(WrongSetUp, match=r"answer key: key\.jsonl") as caught:
        entries_of(path)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(WrongSetUp, match="receipt"):
        receipt_of(tmp_path / "gone.jsonl")


def test_texts_shorter_than_what_is_looked_for_first_are_found() -> None:
    assert b"abc" in Haystack(b"xxabc")
    assert b"abcdef" in Haystack(b"abcdef")
    assert b"abcdeg" not in Haystack(b"abcdef")
