"""The network door in the cluster: a known hospital sends over TLS, and what was acknowledged survives the pod's sudden end."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra import places
from readingroom.contract import DOOR_HOST, PORT_DOOR, PORT_UPLOADS, QUARANTINE
from tests.cluster.probes import kubectl, listed
from tests.cluster.site import CENTRE, Room, command
from tests.dicom_factory import ct, part10
from tests.network_door import Reached, calling, send, wait_for

pytestmark = pytest.mark.cluster
SUCCESS = 0x0000


def reached(room: Room) -> Reached:
    address = listed("service", "-n", QUARANTINE, "door")["spec"]["clusterIP"]
    return Reached(room.hospital, PORT_DOOR, address, DOOR_HOST)


def slice_in(folder: Path, number: int) -> Path:
    path = folder / f"{number}"
    path.write_bytes(
        part10(
            ct(
                x00080018=("UI", f"1.2.826.0.1.78.{number}"),
                x0020000D=("UI", "1.2.826.0.1.78"),
                x00100010=("PN", "Quux^Zebediah"),
                x00100020=("LO", "9434765919"),
            )
        )
    )
    return path


def door_pod() -> dict[str, Any]:
    """The one that is there and not about to go."""
    found = listed("pods", "-n", QUARANTINE, "-l", "readingroom/role=door")["items"]
    (pod,) = [one for one in found if "deletionTimestamp" not in one["metadata"]]
    return {**pod}


def landed() -> set[str]:
    """The files that landing has of this hospital, by what they hold."""
    found = places.volume("landing") / CENTRE
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in found.glob("[0-9]*/[!.]*/instances/*/*.dcm")}


def lines() -> list[dict[str, Any]]:
    found = sorted((places.volume("receipts") / "door" / CENTRE).glob("*.jsonl"))
    return [json.loads(line) for path in found for line in path.read_text().splitlines()]


def answers(room: Room) -> Callable[[], bool]:
    """Whether the door takes this hospital's call."""

    def look() -> bool:
        with calling(reached(room)) as association:
            return bool(association.is_established)

    return look


def test_a_known_hospital_is_received_and_nobody_who_is_like_it(room: Room, tmp_path: Path) -> None:
    door = reached(room)
    for title, certificate in (
        ("PACS_ABC", "xyz"),  # signed by the same authority, of nobody who may send
        ("PACS_QUX", "abc"),  # a name that nobody has
        ("FAR", "abc"),  # known, from another address
        ("PACS_ABC", None),
    ):
        with calling(door, title, certificate) as association:
            assert not association.is_established, (title, certificate)
    had = len(lines())
    with calling(door) as association:
        assert [send(association, slice_in(tmp_path, number)) for number in (1, 2)] == [SUCCESS, SUCCESS]
    wait_for(lambda: len(lines()) == had + 2)
    assert {line["outcome"] for line in lines()} == {"received"}
    assert len(landed()) == 2
    status, said = kubectl("logs", "-n", QUARANTINE, "deployment/door", "-c", "door")
    assert status == 0
    assert "received 2, held 0, rejected 0" in said
    assert not any(secret in said for secret in ("Quux", "9434765919", "1.2.826.0.1.78"))


def test_a_folder_is_uploaded_and_sent_again_it_is_only_told_again(room: Room, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    sent, where = slice_in(tmp_path / "out", 5), reached(room)
    options = {"certificate": "abc.crt", "key": "abc.key"}
    words = [word for name, file in options.items() for word in (f"--{name}", str(room.hospital.work / file))]
    words += ["--authority", room.hospital.trusted, "--to", f"{where.address}:{PORT_UPLOADS}", "--name", DOOR_HOST]
    for _ in range(2):
        told = command("door", "send", str(sent.parent), *words).stdout
        assert told.split() == ["received", "1"]
    assert hashlib.sha256(sent.read_bytes()).hexdigest() in landed()
    assert len([line for line in lines() if line["input"] == hashlib.sha256(sent.read_bytes()).hexdigest()]) == 1


def test_what_was_acknowledged_is_received_though_the_pod_was_killed_in_the_midst_of_it(
    room: Room, tmp_path: Path
) -> None:
    wait_for(answers(room))
    had, first = landed(), door_pod()["metadata"]
    with calling(reached(room)) as association:
        assert [send(association, slice_in(tmp_path, number)) for number in (3, 4)] == [SUCCESS, SUCCESS]
        assert landed() == had, "the association is not over"
        status, said = kubectl("delete", "pod", "-n", QUARANTINE, first["name"], "--grace-period=0", "--force")
        assert status == 0, said
        time.sleep(1)
    wait_for(lambda: len(landed()) == len(had) + 2)
    assert door_pod()["metadata"]["uid"] != first["uid"]
    wait_for(answers(room))
    with calling(reached(room)) as association:  # the hospital, which did not see the end of it, sends again
        assert [send(association, slice_in(tmp_path, number)) for number in (3, 4)] == [SUCCESS, SUCCESS]
    wait_for(lambda: len(lines()) >= 7)
    assert len(landed()) == len(had) + 2, "nothing twice"
