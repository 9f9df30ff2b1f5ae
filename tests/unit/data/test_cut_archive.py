"""A cut on the disk: the same bytes every time, exactly what the manifest names, whole or not there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readingroom.adapters.cuts import CutFolder, WarehouseFolder, check_kept, read_record
from readingroom.application.cut_cohort import cut_cohort
from readingroom.contract import cut_file
from readingroom.domain import cut as cut_module
from readingroom.domain.access import Decision
from readingroom.domain.cut import CutRecord
from readingroom.domain.errors import Refused, TryAgain, WrongSetUp
from tests.unit.data.stopping import stops
from tests.unit.data.warehouses import CT, FILES, NOW, File, build, decision, unpacked, write_lines


def cut(warehouse: Path, out: Path, asked: Decision | None = None) -> tuple[CutRecord, bool]:
    files = WarehouseFolder(warehouse)
    return cut_cohort(asked or decision("CT"), "7" * 64, files, CutFolder(out, files), NOW, lambda _: None)


@pytest.fixture(autouse=True)
def small_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_module, "LAYER_BYTES", 3005)  # so that a few files make several layers


def test_the_archive_holds_exactly_what_was_decided_readable_and_owned_by_nobody_in_particular(tmp_path: Path) -> None:
    record, changed = cut(build(tmp_path / "w"), tmp_path / "out")
    assert changed
    inside = unpacked(tmp_path / "out" / cut_file(record.digest))
    wanted = {file.path: file.content for file in FILES if file.modality == "CT"}
    text = inside["MANIFEST.json"]
    assert isinstance(text, bytes)
    files = {name: content for name, content in inside.items() if not name.endswith(":")}
    tables = {name: files.pop(name) for name in ("series.parquet", "series-dictionary.csv")}
    assert files == {**wanted, "MANIFEST.json": text}
    for name, member in inside.items():
        if isinstance(member, tarfile.TarInfo):
            assert (member.uid, member.gid) == (0, 0)
            assert member.mode == (0o555 if member.isdir() else 0o444), name
    assert hashlib.sha256(text).hexdigest() == record.manifest_sha256
    document = json.loads(text)
    assert document["files"] == [
        {
            "path": path,
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "modality": "index" if path in tables else "CT",
            "sop_class_uid": None if path in tables else CT,
        }
        for path, content in sorted({**wanted, **tables}.items())
        if isinstance(content, bytes)
    ]
    assert document["cut"] == record.cut
    assert document["counts"] == {"patients": 2, "studies": 2, "series": 2, "instances": 3}
    assert [(step["patients"], step["studies"]) for step in document["attrition"]] == [(3, 4), (2, 2)]
    assert read_record(tmp_path / "out" / "cut.json") == record
    check_kept(tmp_path / "out", record)


PLACES = st.tuples(*[st.sampled_from(["a", "b", "c"])] * 4)
CONTENTS = st.tuples(st.sampled_from(["CT", "CT", "DX"]), st.binary(max_size=2500))


@settings(max_examples=30)
@given(found=st.dictionaries(PLACES, CONTENTS, max_size=8), chance=st.integers(1, 9))
def test_same_decision_and_warehouse_same_bytes_in_any_order_of_files(
    tmp_path_factory: pytest.TempPathFactory, found: dict[tuple[str, str, str, str], tuple[str, bytes]], chance: int
) -> None:
    files = [File(*place, modality, content) for place, (modality, content) in found.items()] + [FILES[0]]
    work = tmp_path_factory.mktemp("cut")
    first, _ = cut(build(work / "a", files), work / "x")
    build(work / "b", files, chance=chance)
    for path in (work / "b").rglob("*.dcm"):
        os.utime(path, (chance, chance))
        path.chmod(0o600)
    second, _ = cut(work / "b", work / "y")
    assert second == first
    for name in (cut_file(first.digest), "cut.json"):
        assert (work / "x" / name).read_bytes() == (work / "y" / name).read_bytes()


def test_a_second_run_says_so_and_changes_nothing(tmp_path: Path) -> None:
    warehouse, out = build(tmp_path / "w"), tmp_path / "out"
    record, _ = cut(warehouse, out)
    before = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.iterdir()}
    assert cut(warehouse, out) == (record, False)
    assert {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.iterdir()} == before


def test_an_archive_that_was_damaged_is_made_again_and_show_sees_the_damage(tmp_path: Path) -> None:
    warehouse, out = build(tmp_path / "w"), tmp_path / "out"
    record, _ = cut(warehouse, out)
    archive = out / cut_file(record.digest)
    good = archive.read_bytes()
    archive.write_bytes(good[:1000])
    with pytest.raises(WrongSetUp, match="archive"):
        check_kept(out, record)
    assert cut(warehouse, out) == (record, True)
    assert archive.read_bytes() == good


def test_a_wider_decision_makes_another_cut_beside_the_first(tmp_path: Path) -> None:
    warehouse, out = build(tmp_path / "w"), tmp_path / "out"
    narrow, _ = cut(warehouse, out)
    wide, _ = cut(warehouse, out, decision("CT", "DX"))
    assert narrow.digest != wide.digest
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [cut_file(narrow.digest), cut_file(wide.digest), "cut.json"]
    )
    assert read_record(out / "cut.json") == wide


def edit_line(warehouse: Path, **changes: object) -> None:
    write_lines(warehouse, [{**FILES[0].line(), **changes}, *(file.line() for file in FILES[1:])])


def swap_for_link(warehouse: Path) -> None:
    path = warehouse / FILES[0].path
    path.rename(warehouse.parent / "elsewhere")
    path.symlink_to(warehouse.parent / "elsewhere")


def swap_folder_for_link(warehouse: Path) -> None:
    path = (warehouse / FILES[0].path).parents[1]
    path.rename(warehouse.parent / "elsewhere")
    path.symlink_to(warehouse.parent / "elsewhere")


def swap_for_pipe(warehouse: Path) -> None:
    (warehouse / FILES[0].path).unlink()
    os.mkfifo(warehouse / FILES[0].path)


def append(warehouse: Path, text: str) -> None:
    with (warehouse / "manifest.jsonl").open("a") as file:
        file.write(text)


SPOILED: dict[str, Callable[[Path], object]] = {
    "bytes changed, same length": lambda w: (w / FILES[0].path).write_bytes(b"x" * 3000),
    "bytes added": lambda w: (w / FILES[0].path).write_bytes(FILES[0].content + b"x"),
    "a file that is gone": lambda w: (w / FILES[0].path).unlink(),
    "a link for a file, to the same bytes": swap_for_link,
    "a link for a folder": swap_folder_for_link,
    "a pipe for a file": swap_for_pipe,
    "a path out of the warehouse": lambda w: edit_line(w, path="images/../../elsewhere/x/y.dcm"),
    "an absolute path": lambda w: edit_line(w, path="/etc/passwd"),
    "a path off the layout": lambda w: edit_line(w, path="images/PA/x.dcm"),
    "an unknown key": lambda w: edit_line(w, name="Doe"),
    "another project in one line": lambda w: edit_line(w, project="other"),
    "a hash that is none": lambda w: edit_line(w, sha256="X"),
    "a hash that is a number": lambda w: edit_line(w, sha256=5),
    "a modality that is a list": lambda w: edit_line(w, modality=["CT"]),
    "one path twice": lambda w: append(w, json.dumps(FILES[0].line()) + "\n"),
    "a key twice": lambda w: append(w, '{"path": "a", "path": "b"}\n'),
    "no JSON": lambda w: append(w, "rubbish\n"),
    "deep nesting": lambda w: append(w, "[" * 100_000 + "\n"),
    "no object": lambda w: append(w, "[]\n"),
    "a line without end": lambda w: append(w, '"' + "x" * (1 << 20)),
}


@pytest.mark.parametrize("name", sorted(SPOILED))
def test_a_warehouse_that_is_not_what_its_manifest_says_is_refused_and_nothing_is_left(
    tmp_path: Path, name: str
) -> None:
    warehouse = build(tmp_path / "w")
    SPOILED[name](warehouse)
    with pytest.raises(Refused) as refused:
        cut(warehouse, tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert "Doe" not in str(refused.value)
    out = tmp_path / "out"
    assert not out.exists() or not list(out.iterdir())


def test_files_that_the_manifest_does_not_name_do_not_exist(tmp_path: Path) -> None:
    warehouse = build(tmp_path / "w")
    record, _ = cut(warehouse, tmp_path / "out")
    (warehouse / "images" / "PA" / "1.1" / "1.1.1" / "9.dcm").write_bytes(b"not committed")
    assert cut(warehouse, tmp_path / "out") == (record, False)


def test_no_manifest_no_warehouse(tmp_path: Path) -> None:
    lines = tmp_path / "w" / "manifest.jsonl"
    for prepare in (list, lines.parent.mkdir, lambda: lines.symlink_to("/dev/null")):
        prepare()
        with pytest.raises(WrongSetUp, match=r"manifest\.jsonl"):
            cut(tmp_path / "w", tmp_path / "out")


def test_two_cuts_at_once_in_one_folder_are_one_too_many(tmp_path: Path) -> None:
    warehouse, out = build(tmp_path / "w"), tmp_path / "out"
    out.mkdir()
    held = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(held, fcntl.LOCK_SH)  # shared: only who wants it alone is stopped
    try:
        with pytest.raises(TryAgain):
            cut(warehouse, out)
    finally:
        os.close(held)
    assert cut(warehouse, out)[1]


def test_killed_before_any_change_of_the_disk_nothing_looks_whole_that_is_not(tmp_path: Path) -> None:
    warehouse, out = build(tmp_path / "w"), tmp_path / "out"
    good, _ = cut(warehouse, tmp_path / "good")
    archive = (tmp_path / "good" / cut_file(good.digest)).read_bytes()
    points = 0
    for points in stops(lambda: cut(warehouse, out)):
        seen = [path for path in (out.iterdir() if out.exists() else ()) if not path.name.startswith(".")]
        for path in seen:
            if path.name == "cut.json":
                assert read_record(path) == good
                check_kept(out, good)
            else:
                assert (path.name, path.read_bytes()) == (cut_file(good.digest), archive)
        # Each run meets what the killed one left, and the next must clear it away; from time to time it starts anew.
        if points % 3 == 0 and out.exists():
            for path in seen:
                path.unlink()
    assert points > 10
    assert sorted(path.name for path in out.iterdir()) == sorted([cut_file(good.digest), "cut.json"])
    assert cut(warehouse, out) == (good, False)
