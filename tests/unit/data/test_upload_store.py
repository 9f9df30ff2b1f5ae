"""Uploads on the disk: killed before any change of it and sent again, every file is there once and as it was."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.adapters.spool import SpoolFolder
from readingroom.adapters.upload_store import FORGOTTEN_SECONDS, UploadStore
from readingroom.domain.errors import Refused
from readingroom.domain.peers import Limits, Peer, Peers
from readingroom.domain.upload import Answer, Chunk, State, fits, key_of
from tests.unit.data.stopping import stops

FILES = {hashlib.sha256(data).hexdigest(): data for data in (b"the first of them", b"x", b"")}
KEY = key_of(FILES)
PIECE = 7


def store(work: Path, **limits: int) -> UploadStore:
    return UploadStore(SpoolFolder(work / "spool", Limits(**limits), jobs=1), work / "receipts")


def go_on(work: Path) -> None:
    """What a sender does: it asks what came, sends what is missing in pieces, and closes."""
    uploads = store(work)
    if uploads.state("ABC", KEY) not in {None, State.OPEN}:
        return
    whole, parts = uploads.came("ABC", KEY)
    for content, data in FILES.items():
        offset = parts.get(content, 0)
        while content not in whole:
            chunk = Chunk(content=content, offset=offset, size=len(data), data=data[offset : offset + PIECE])
            answer, offset = uploads.put("ABC", KEY, chunk)
            assert answer is Answer.TAKEN
            if offset == len(data):
                break
    assert uploads.close("ABC", KEY, len(FILES))


def test_killed_before_any_change_of_the_disk_and_sent_again_every_file_is_there_once(tmp_path: Path) -> None:
    works = [tmp_path / "0"]
    for _ in stops(lambda: go_on(works[-1])):
        work = works[-1]
        with SpoolFolder(work / "spool", Limits(), jobs=1).opened():  # as the next start does
            go_on(work)
            (upload,) = (work / "spool" / "ABC").iterdir()
        assert {path.name: path.read_bytes() for path in upload.iterdir()} == FILES
        assert store(work).state("ABC", KEY) is State.WAITING
        works.append(tmp_path / f"{len(works)}")
    assert len(works) > 20


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(FILES)), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20)),
        max_size=30,
    )
)
def test_whatever_pieces_come_a_file_is_whole_only_if_it_is_what_its_name_says(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, int, int, int]]
) -> None:
    work = tmp_path_factory.mktemp("u")
    uploads = store(work, object_bytes=18)
    for content, offset, length, size in said:
        data = FILES[content][offset : offset + length]
        answer, there = uploads.put("ABC", KEY, Chunk(content=content, offset=offset, size=size, data=data))
        assert (answer is Answer.TAKEN) <= (there == offset + len(data) or there == len(FILES[content]))
    folder = work / "spool" / ".uploads" / "ABC" / KEY
    for path in folder.iterdir() if folder.exists() else ():
        assert FILES[path.name.removesuffix(".part")].startswith(path.read_bytes())
        assert path.name.endswith(".part") or path.read_bytes() == FILES[path.name]
    shutil.rmtree(work)


def test_room_is_counted_over_files_chunks_and_uploads_and_given_back(tmp_path: Path) -> None:
    limits = Limits(object_bytes=10, association_bytes=12, association_objects=2)
    taken = {"a": 8}
    assert fits(Chunk(content="b", offset=0, size=4, data=b"1234"), taken, limits)
    assert not fits(Chunk(content="b", offset=0, size=5, data=b"12345"), taken, limits)
    assert not fits(Chunk(content="b", offset=0, size=11, data=b"1"), taken, limits)
    assert not fits(Chunk(content="b", offset=0, size=2, data=b""), taken, limits)
    assert not fits(Chunk(content="b", offset=0, size=1, data=b"12"), taken, limits)
    assert not fits(Chunk(content="c", offset=0, size=1, data=b"1"), {"a": 1, "b": 1}, limits)
    uploads = store(tmp_path, spool_bytes=20)
    content = "0" * 64
    assert uploads.put("ABC", KEY, Chunk(content=content, offset=0, size=15, data=b"1" * 14)) == (Answer.TAKEN, 14)
    assert uploads.put("XYZ", KEY, Chunk(content=content, offset=0, size=9, data=b"1" * 8))[0] is Answer.OUT_OF_SPACE
    assert uploads.put("ABC", KEY, Chunk(content=content, offset=14, size=15, data=b"1")) == (Answer.DAMAGED, 0)
    assert uploads.put("XYZ", KEY, Chunk(content=content, offset=0, size=9, data=b"1" * 8)) == (Answer.TAKEN, 8)


def test_what_nobody_goes_on_with_for_a_week_is_given_up_and_its_room_is_free(tmp_path: Path) -> None:
    uploads = store(tmp_path, spool_bytes=10)
    for centre in ("ABC", "XYZ"):
        assert uploads.put(centre, KEY, Chunk(content="0" * 64, offset=0, size=9, data=b"1" * 5))[0] is Answer.TAKEN
    old = time.time() - FORGOTTEN_SECONDS - 60
    os.utime(tmp_path / "spool" / ".uploads" / "ABC" / KEY, (old, old))
    assert uploads.forget_old() == 1
    assert [uploads.state(centre, KEY) for centre in ("ABC", "XYZ")] == [None, State.OPEN]
    assert uploads.put("LMN", KEY, Chunk(content="0" * 64, offset=0, size=9, data=b"1" * 5))[0] is Answer.TAKEN


def test_a_certificate_is_one_centres_from_its_addresses_or_nobodys() -> None:
    def peer(title: str, centre: str, *prints: str, addresses: frozenset[str] = frozenset()) -> Peer:
        return Peer(ae_title=title, centre=centre, fingerprints=frozenset(prints), addresses=addresses)

    near = frozenset({"192.0.2.7"})
    peers = Peers(
        ae_title="ROOM",
        limits=Limits(),
        peers=(
            peer("A", "ABC", "one", "two"), peer("B", "ABC", "one"), peer("C", "XYZ", "three", addresses=near),
            peer("D", "XYZ", "two"), peer("E", "LMN", addresses=near),
        ),
    )  # fmt: skip
    assert peers.centre_of("one", "198.51.100.1") == "ABC"
    assert peers.centre_of("three", "192.0.2.7") == "XYZ"
    for fingerprint, address in (
        ("three", "192.0.2.8"),
        ("two", "192.0.2.7"),
        ("four", "192.0.2.7"),
        ("", "192.0.2.7"),
    ):
        with pytest.raises(Refused):
            peers.centre_of(fingerprint, address)
