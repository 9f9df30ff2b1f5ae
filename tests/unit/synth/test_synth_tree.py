"""The tree: same seed, same bytes; whole or not there; of a size that fits; and memory that does not grow."""

from __future__ import annotations

import gc
import hashlib
import json
import tracemalloc
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.pixels import get_decoder

from readingroom.adapters.dicom.phantom import samples
from readingroom.adapters.dicom.synthetic import Part10
from readingroom.adapters.synthetic_tree import tree_at
from readingroom.application.synthesise import Order, synthesise
from readingroom.domain.errors import TryAgain, WrongSetUp
from readingroom.domain.synth.centres import EXPLICIT, JPEG_2000, JPEG_BASELINE, JPEG_LOSSLESS, JPEG_LS, RLE
from readingroom.domain.synth.modalities import shape
from readingroom.domain.synth.plans import COMPACT, FULL, Design, Frame, Image, Picture
from tests.unit.synth.trees import SEED, TINY, made, make

FEW = 6


def bytes_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(tmp_path: Path) -> None:
    first, again, other = (
        make(tmp_path / name, patients=FEW, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert bytes_of(first.root) == bytes_of(again.root)
    assert first.summary["tree_sha256"] == again.summary["tree_sha256"] != other.summary["tree_sha256"]


def test_the_bytes_are_those_that_every_machine_makes() -> None:
    assert made().summary["tree_sha256"] == "c6598c00b73a5ffd043f337bc881a0fa9d8025ee2dbc36bd3dd2ccbabdb11b86"


def test_the_summary_counts_what_is_there_and_its_hash_is_that_of_the_files(tmp_path: Path) -> None:
    tree = make(tmp_path / "a", patients=FEW, seed=3)
    files = tree.files()
    summary = json.loads((tree.root / "summary.json").read_text())
    assert summary == tree.summary
    assert summary["images"] == sum(path.suffix == ".dcm" for path in files)
    assert summary["records"] == sum(path.suffix == ".json" for path in files)
    assert summary["bytes"] == sum(path.stat().st_size for path in files)
    assert sum(summary["key_lines"].values()) == len(tree.key)
    assert summary["patients"] == FEW
    assert "invented" in summary["synthetic"]
    lines = {
        f"{path.relative_to(tree.identified)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in files
    }
    assert len(lines) == summary["images"] + summary["records"]


def test_files_lie_as_uploaders_put_them() -> None:
    for path in made().files():
        uploader, day, part, name = path.relative_to(made().identified).parts
        assert uploader.startswith("raw-syn")
        assert len(day) == 10
        assert part == ("images" if name.endswith(".dcm") else "data")
        assert part == "images" or name.endswith(("_data.json", "_status.json"))


def test_who_opted_out_stands_one_number_a_line() -> None:
    for name, fate in (("opt-outs.txt", "before"), ("opt-outs-after-release.txt", "after")):
        numbers = (made().root / name).read_text().splitlines()
        assert numbers
        keyed = {line["was"] for line in made().key if line["fault"] == f"opted out {fate} release"}
        assert keyed <= set(numbers)
        assert all(len(number) == 10 and number.isdigit() for number in numbers)


@pytest.mark.parametrize("there", ["file", "folder with a file", "hidden file"])
def test_a_place_that_is_taken_is_refused_and_left_alone(tmp_path: Path, there: str) -> None:
    place = tmp_path / "out"
    if there == "file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / (".mine" if there == "hidden file" else "mine")).write_text("mine")
    before = bytes_of(tmp_path)
    with pytest.raises(WrongSetUp, match="something already"), tree_at(place):
        pass
    assert bytes_of(tmp_path) == before


def test_an_empty_folder_is_taken_and_parents_are_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert make(tmp_path / "empty", patients=1).files()
    assert make(tmp_path / "new" / "deep", patients=1).files()


class StopError(Exception):
    """Whatever comes in between."""


class Stopping(Part10):
    """Stops after some files."""

    def __init__(self, after: int, error: BaseException) -> None:
        super().__init__()
        self._left, self._error = after, error

    def encode(self, image: Image) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise self._error
        return super().encode(image)


@pytest.mark.parametrize("error", [StopError(), KeyboardInterrupt()])
def test_what_was_stopped_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    order = Order(patients=FEW, seed=1, design=TINY)
    with pytest.raises(type(error)), tree_at(tmp_path / "out") as tree:
        synthesise(order, Stopping(5, error), tree)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_swept_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".out.synth" / "identified"
    left.mkdir(parents=True)
    (left / "half.dcm").write_bytes(b"half")
    (tmp_path / ".out.synth" / "key.jsonl").write_text("half")
    tree = make(tmp_path / "out", patients=1)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not any(path.name == "half.dcm" for path in tree.files())


def test_two_runs_do_not_make_one_tree(tmp_path: Path) -> None:
    with tree_at(tmp_path / "out"), pytest.raises(TryAgain, match="another run"), tree_at(tmp_path / "out"):
        pass


def test_somebody_who_fills_the_folder_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    def fill(_done: int, _all: int) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").write_text("mine")

    order = Order(patients=1, seed=1, design=TINY)
    with pytest.raises(WrongSetUp, match="cannot be written"), tree_at(tmp_path / "out") as tree:
        synthesise(order, Part10(), tree, fill)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert bytes_of(tmp_path / "out") == {"mine": b"mine"}


class Nowhere:
    """The port `SyntheticTree` for whoever only counts."""

    def __init__(self) -> None:
        self.files, self.bytes, self.lines = 0, 0, 0

    def write(self, place: str, data: bytes) -> None:
        self.files += 1
        self.bytes += len(data)

    def line(self, sheet: str, text: str) -> None:
        self.lines += 1

    def finish(self, summary: Mapping[str, Any]) -> None:
        assert summary["images"] + summary["records"] == self.files


def test_a_hundred_thousand_compact_instances_stay_under_two_gigabytes() -> None:
    tree = Nowhere()
    synthesise(Order(patients=60, seed=5, design=COMPACT), Part10(), tree)
    assert tree.files > 2000
    assert tree.bytes / tree.files * 100_000 < 2e9


def test_memory_does_not_grow_with_patients() -> None:
    small: Design = replace(TINY, slices=(1, 1), film=(64, 64))
    peaks = []
    for patients in (8, 64):
        gc.collect()
        tracemalloc.start()
        synthesise(Order(patients=patients, seed=5, design=small), Part10(), Nowhere())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.5 + 200_000


def test_progress_is_told_for_each_patient() -> None:
    told: list[tuple[int, int]] = []
    order = Order(patients=3, seed=5, design=TINY)
    synthesise(order, Part10(), Nowhere(), lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_full_size_is_as_large_as_scanners_make_it(tmp_path: Path) -> None:
    design = replace(FULL, slices=(2, 2), mix=(("film", 1), ("ct", 1)))
    tree = make(tmp_path / "full", patients=2, seed=SEED, design=design)
    shapes = {path: pydicom.dcmread(path, stop_before_pixels=True) for path in tree.files() if path.suffix == ".dcm"}
    slices = [each for each in shapes.values() if each.Modality == "CT"]
    films = [each for each in shapes.values() if each.Modality in {"CR", "DX"}]
    assert films
    assert slices
    assert {(each.Rows, each.Columns) for each in slices} == {(512, 512)}
    assert all(2000 <= each.Rows <= 2500 and each.BitsStored == 12 for each in films)


MARKS = (("application", b"hidden before"), ("comment", b"hidden between"))


@pytest.mark.parametrize("syntax", [EXPLICIT, RLE, JPEG_LOSSLESS, JPEG_LS, JPEG_2000, JPEG_BASELINE])
@pytest.mark.parametrize("spare", [b"", b"hidden above"])
def test_compressed_and_plain_pixels_are_the_same(tmp_path: Path, syntax: str, spare: bytes) -> None:
    """Encoders of our own against decoders that are not, with rows longer than one run and no multiple of eight."""
    lossy = syntax == JPEG_BASELINE
    style, bits = ("fan", 8) if lossy else ("head", 12)
    picture = Picture(style=style, rows=203, columns=197, bits=bits, allocated=8 if lossy else 16, noise=b"n",
                      anatomy=(400, 300, 170, 210, 0), spare=b"" if lossy else spare)  # fmt: skip
    wanted = np.frombuffer(samples(picture), "u1" if lossy else "<u2").reshape(203, 197)
    shared = {0x00080016: ("UI", "1.2.840.10008.5.1.4.1.1.2"), **shape(picture)}
    frame = Frame(syntax=syntax, marks=MARKS, tail=b"hidden after")
    image = Image(place="", shared=shared, own={0x00080018: ("UI", "2.999.1")}, picture=picture, frame=frame)
    (tmp_path / "one.dcm").write_bytes(data := Part10().encode(image))
    found = pydicom.dcmread(tmp_path / "one.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what stands after the last run
        array, _ = get_decoder(syntax).as_array(found, raw=True, correct_unused_bits=False)
    assert np.abs(array.astype(int) - wanted).max() <= (3 if lossy else 0)
    hidden = [word for word in (b"hidden before", b"hidden between", b"hidden after") if word in data]
    assert len(hidden) == {EXPLICIT: 0, RLE: 1}.get(syntax, 3)


def test_series_come_compressed_in_every_way() -> None:
    beginnings = [path.read_bytes()[:600] for path in made().files() if path.suffix == ".dcm"]
    for syntax in (RLE, JPEG_LOSSLESS, JPEG_LS, JPEG_2000, JPEG_BASELINE):
        padded = syntax.encode() + b"\0" * (len(syntax) % 2)
        element = b"\2\0\x10\0UI" + len(padded).to_bytes(2, "little") + padded
        assert any(element in each for each in beginnings), syntax
