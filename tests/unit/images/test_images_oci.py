"""A layer is a function of its entries alone, and an image says exactly what it holds."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.oci import EPOCH, Entry, Kind, Layer, digest_of, image, layer

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40).filter(
    lambda name: name not in (".", "..") and not name.startswith(".wh.")
)
MODES = st.sampled_from([0o444, 0o644, 0o755, 0o4755])


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    """A folder per first name, files and links inside it: every kind, odd names included."""
    entries: list[Entry] = []
    for folder in draw(st.sets(NAMES, max_size=4)):
        entries.append(Entry(folder, 0o755, kind=Kind.FOLDER))
        for name in draw(st.sets(NAMES, max_size=4)):
            path = f"{folder}/{name}"
            if draw(st.booleans()):
                uid = draw(st.integers(0, 70_000))
                entries.append(Entry(path, draw(MODES), draw(st.binary(max_size=2000)), uid=uid, gid=uid))
            else:
                entries.append(Entry(path, 0o777, kind=Kind.SYMLINK, target=draw(NAMES)))
    return entries


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("oci")


@given(both=trees().flatmap(lambda entries: st.tuples(st.just(entries), st.permutations(entries))))
def test_the_order_of_entries_never_changes_the_layer(work: Path, both: tuple[list[Entry], list[Entry]]) -> None:
    entries, shuffled = both
    assert layer(entries, work / "a").digest == layer(shuffled, work / "b").digest


@given(entries=trees())
def test_what_goes_in_comes_out(work: Path, entries: list[Entry]) -> None:
    made = layer(entries, work / "c")
    data = made.path.read_bytes()
    assert made.digest == made.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert made.size == len(data)
    wanted = {e.path: (e.kind.value, e.mode, e.uid, e.gid, e.target, e.content or b"") for e in entries}
    found = {}
    with tarfile.open(made.path, "r:") as tar:
        for member in tar:
            source = tar.extractfile(member) if member.isreg() else None
            content = source.read() if source else b""
            found[member.name] = (member.type, member.mode, member.uid, member.gid, member.linkname, content)
            assert (member.mtime, member.uname, member.gname) == (EPOCH, "", "")
    assert found == wanted
    assert list(found) == sorted(found)


def test_a_file_on_disk_and_its_bytes_make_the_same_layer(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"abc" * 1000)
    os.utime(file, (1, 1))
    from_disk = layer([Entry("x", content=file)], tmp_path / "a")
    assert from_disk.digest == layer([Entry("x", content=b"abc" * 1000)], tmp_path / "b").digest


def test_a_known_layer_keeps_its_digest_for_ever(tmp_path: Path) -> None:
    """If this fails, every cut and every image gets a new name: be sure that is wanted."""
    made = layer(
        [Entry("data", 0o755, kind=Kind.FOLDER), Entry("data/" + "é" * 120, content=b"x", uid=1000, gid=1000)],
        tmp_path / "a",
    )
    assert made.digest == "sha256:927739a97e5b1903f866f8065b463f49d57d8b82ecb580a9852c5769ef69fd45"
    assert (
        image([made], {}, tmp_path / "i.tar")
        == "sha256:0a8ce5eebff1a0570a5216f1076c95dbfbd49e429ffcf1326d89ae421e1bddbb"
    )


@pytest.mark.parametrize("path", ["", "/etc", "../x", "a//b", "a/./b", "a/..", "a/", "a\0b", "\udcff", "a/.wh.b"])
def test_a_path_that_could_leave_the_root_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        Entry(path, content=b"")


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": Kind.FOLDER, "content": b""},
        {"kind": Kind.FILE},
        {"kind": Kind.FILE, "content": b"", "target": "x"},
        {"kind": Kind.SYMLINK},
        {"kind": Kind.HARDLINK, "target": "z"},
        {"content": b"", "mode": 0o10000},
        {"content": b"", "uid": -1},
    ],
)
def test_a_field_of_another_kind_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="'x'"):
        Entry("x", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "entries",
    [
        [Entry("a", content=b""), Entry("a", content=b"")],
        [Entry("a", content=b""), Entry("a/b", content=b"")],
        [Entry("a", kind=Kind.SYMLINK, target="/etc"), Entry("a/b/c", content=b"")],
        [Entry("b", kind=Kind.HARDLINK, target="a")],
    ],
)
def test_a_tree_that_an_unpacker_could_write_through_is_refused(tmp_path: Path, entries: list[Entry]) -> None:
    with pytest.raises(ValueError, match=r"twice|below|no file"):
        layer(entries, tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_hard_link_follows_its_file(tmp_path: Path) -> None:
    made = layer([Entry("b", kind=Kind.HARDLINK, target="a"), Entry("a", content=b"1")], tmp_path / "l")
    with tarfile.open(made.path) as tar:
        assert [(m.name, m.islnk()) for m in tar] == [("a", False), ("b", True)]


def test_a_link_in_place_of_a_file_is_not_followed_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic"):
        layer([Entry("x", content=tmp_path / "link")], tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "secret"]


def test_an_image_is_an_oci_layout_whose_blobs_match_their_names(tmp_path: Path) -> None:
    made = [layer([Entry(name, content=name.encode())], tmp_path / name) for name in ("one", "two")]
    config = {"User": "1000:1000", "Cmd": ["/one"]}
    digest = image([*made, made[0]], config, tmp_path / "i.tar", {"org.opencontainers.image.title": "t"})
    assert digest_of(tmp_path / "i.tar") == digest
    with tarfile.open(tmp_path / "i.tar", "r:") as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    assert json.loads(files.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files.pop("index.json"))
    for name, blob in files.items():
        assert name == "blobs/sha256/" + hashlib.sha256(blob).hexdigest()
    assert [m["digest"] for m in index["manifests"]] == [digest]
    manifest = json.loads(files["blobs/sha256/" + digest[7:]])
    assert manifest["annotations"] == {"org.opencontainers.image.title": "t"}
    assert [one["digest"] for one in manifest["layers"]] == [made[0].digest, made[1].digest, made[0].digest]
    described = json.loads(files["blobs/sha256/" + manifest["config"]["digest"][7:]])
    assert (described["os"], described["architecture"], described["config"]) == ("linux", "amd64", config)
    assert described["rootfs"]["diff_ids"] == [one.diff_id for one in (*made, made[0])]


@pytest.mark.parametrize("damage", [b"longer or shorter", None])
def test_a_layer_that_changed_on_disk_is_refused(tmp_path: Path, damage: bytes | None) -> None:
    made = layer([Entry("x", content=b"1")], tmp_path / "l")
    data = made.path.read_bytes()
    made.path.write_bytes(damage or data[:-1] + b"!")
    with pytest.raises(ValueError, match="not the layer"):
        image([made], {}, tmp_path / "i.tar")
    assert not (tmp_path / "i.tar").exists()


def test_a_tar_that_is_no_image_has_no_digest(tmp_path: Path) -> None:
    made = layer([Entry("x", content=b"1")], tmp_path / "l")
    with pytest.raises(ValueError, match="no OCI layout"):
        digest_of(made.path)
    two = layer([Entry("index.json", content=b'{"manifests": []}')], tmp_path / "m")
    with pytest.raises(ValueError, match="exactly one"):
        digest_of(two.path)


def test_two_images_of_the_same_layers_are_one(tmp_path: Path) -> None:
    made = layer([Entry("x", content=b"1")], tmp_path / "l")
    copy = Layer(made.digest, made.diff_id, made.size, made.path)
    assert image([made], {"a": 1, "b": 2}, tmp_path / "i") == image([copy], {"b": 2, "a": 1}, tmp_path / "j")
    assert (tmp_path / "i").read_bytes() == (tmp_path / "j").read_bytes()
