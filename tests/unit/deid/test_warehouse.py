"""The warehouse: whole or not there, one project, one run at a time, nothing that the manifest does not name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from readingroom.adapters import warehouse as adapter
from readingroom.adapters.warehouse import FileSheet, FolderWarehouse
from readingroom.domain.errors import Refused, TryAgain, WrongSetUp


def fill(warehouse: FolderWarehouse, staged: int, data: bytes) -> None:
    descriptor = warehouse.open_staged(staged)
    os.write(descriptor, data)
    os.close(descriptor)


def line(path: str, project: str = "demo") -> dict[str, str]:
    return {"path": path, "project": project}


def test_a_staged_file_is_seen_only_when_it_is_committed(tmp_path: Path) -> None:
    warehouse = FolderWarehouse(tmp_path / "out", "demo")
    fill(warehouse, 1, b"one")
    fill(warehouse, 2, b"two")
    assert not list((tmp_path / "out" / "images").rglob("*"))
    warehouse.commit(1, "images/P/S/E/I.dcm")
    warehouse.discard(2)
    warehouse.finish([line("images/P/S/E/I.dcm")])
    warehouse.close()
    found = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    )
    assert found == ["images/P/S/E/I.dcm", "manifest.jsonl"]


def test_a_run_that_dies_leaves_nothing_that_the_next_one_keeps(tmp_path: Path) -> None:
    warehouse = FolderWarehouse(tmp_path / "out", "demo")
    fill(warehouse, 1, b"one")
    warehouse.commit(1, "images/P/S/E/I.dcm")
    fill(warehouse, 2, b"half")
    os.close(warehouse._lock)  # as a kill does
    again = FolderWarehouse(tmp_path / "out", "demo")
    again.finish([])
    again.close()
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["manifest.jsonl"]


def test_one_run_at_a_time(tmp_path: Path) -> None:
    warehouse = FolderWarehouse(tmp_path / "out", "demo")
    with pytest.raises(TryAgain):
        FolderWarehouse(tmp_path / "out", "demo")
    warehouse.close()
    FolderWarehouse(tmp_path / "out", "demo").close()


def test_another_project_or_a_strange_folder_is_left_alone(tmp_path: Path) -> None:
    warehouse = FolderWarehouse(tmp_path / "out", "demo")
    warehouse.finish([line("images/x.dcm")])
    warehouse.close()
    with pytest.raises(Refused):
        FolderWarehouse(tmp_path / "out", "other")
    (tmp_path / "out" / "manifest.jsonl").write_text("not json\n")
    with pytest.raises(WrongSetUp):
        FolderWarehouse(tmp_path / "out", "demo")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").touch()
    with pytest.raises(WrongSetUp):
        FolderWarehouse(tmp_path / "mine", "demo")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis"]


def test_the_sweep_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    warehouse = FolderWarehouse(tmp_path / "out", "demo")
    (tmp_path / "out" / "images" / "link").symlink_to(outside)
    warehouse.finish([])
    warehouse.close()
    assert (outside / "kept").exists()
    assert list((tmp_path / "out" / "images").iterdir()) == []


def test_a_sheet_is_whole_or_not_there(tmp_path: Path) -> None:
    sheet = FileSheet(tmp_path / "receipt")
    sheet.line({"input": "\udcff"})
    assert not (tmp_path / "receipt").exists()
    sheet.close()
    sheet.abandon()
    assert (tmp_path / "receipt").read_text() == '{"input":"\\udcff"}\n'
    other = FileSheet(tmp_path / "other")
    other.abandon()
    assert [path.name for path in tmp_path.iterdir()] == ["receipt"]
    with pytest.raises(WrongSetUp):
        FileSheet(tmp_path / "gone" / "receipt")


def test_files_get_their_names_together_and_only_once_the_disk_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    monkeypatch.setattr(adapter, "TOGETHER", 2)
    monkeypatch.setattr(adapter, "sync_all", lambda _: waits.append(len(seen(tmp_path / "out"))))
    warehouse = FolderWarehouse(tmp_path / "out", "demo")
    for staged in range(3):
        fill(warehouse, staged, b"whole")
        warehouse.commit(staged, f"images/P/S/E/{staged}.dcm")
        assert len(seen(tmp_path / "out")) == (0, 2, 2)[staged]
    warehouse.finish([line(f"images/P/S/E/{staged}.dcm") for staged in range(3)])
    assert waits == [0, 2, 3], "before two names, before the third, and before the manifest that names all three"
    warehouse.close()


def test_a_disk_that_refuses_shows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError

    warehouse = FolderWarehouse(tmp_path / "out", "demo")
    fill(warehouse, 1, b"whole")
    warehouse.commit(1, "images/P/S/E/I.dcm")
    monkeypatch.setattr(adapter, "sync_all", full)
    with pytest.raises(WrongSetUp):
        warehouse.finish([line("images/P/S/E/I.dcm")])
    assert seen(tmp_path / "out") == []
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    warehouse.close()


def seen(out: Path) -> list[Path]:
    return [path for path in (out / "images").rglob("*") if path.is_file()]
