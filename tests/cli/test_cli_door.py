"""The network door: who is known gets in, what is acknowledged is in landing once, whatever moment anything ends at."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydicom.data import get_testdata_file
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF

from tests.cli.command import run
from tests.dicom_factory import CT_CLASS, EXPLICIT, MR_CLASS, SR_CLASS, ct, part10
from tests.network_door import VERIFICATION, Door, Site, calling, door, send, wait_for

SUCCESS, NO_RESOURCES, NO_CLASS, BAD_INSTANCE = 0x0000, 0xA700, 0x0122, 0x0117
LONG = 12  # seconds; our own client gives up after 20
SECRETS = ("Quux", "9434765919", "1.2.826.0.1.77")


def slice_in(folder: Path, number: int = 1, **more: str) -> Path:
    """A CT slice whose patient and study have values that nobody else uses."""
    path = folder / f"slice-{number}"
    fields = {
        "x00080018": ("UI", f"1.2.826.0.1.77.{number}"),
        "x0020000D": ("UI", "1.2.826.0.1.77"),
        "x00100010": ("PN", "Quux^Zebediah"),
        "x00100020": ("LO", "9434765919"),
        **{tag: ("LO", value) for tag, value in more.items()},
    }
    path.write_bytes(part10(ct(**fields)))
    return path


def data_set_of(path: Path) -> bytes:
    """What follows the file meta."""
    whole = path.read_bytes()
    return whole[144 + struct.unpack_from("<I", whole, 140)[0] :]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@contextlib.contextmanager
def opened(site: Site, *more: str) -> Iterator[Door]:
    with door(site, *more) as one:
        yield one


def test_what_a_known_peer_sends_is_in_landing_byte_for_byte_and_the_end_is_clean(site: Site) -> None:
    files = [Path(str(get_testdata_file(name, download=False))) for name in ("CT_small.dcm", "MR_small_RLE.dcm")]
    kinds = {VERIFICATION: [EXPLICIT]}
    for file in files:
        said = pydicom.dcmread(file, stop_before_pixels=True)
        kinds[str(said.SOPClassUID)] = [str(said.file_meta.TransferSyntaxUID)]
    with opened(site) as one:
        socket.create_connection(("127.0.0.1", one.port)).close()  # who asks whether it listens is no refusal
        with calling(one, kinds=kinds) as association:
            assert association.send_c_echo().Status == SUCCESS
            assert [send(association, file) for file in files] == [SUCCESS, SUCCESS]
        wait_for(lambda: one.heard("batch b-"))
        assert one.end() == 0
    assert site.receipts() == [[("received", None)] * 2]
    assert sorted(map(data_set_of, site.landed())) == sorted(map(data_set_of, files))
    for path in site.landed():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        assert pydicom.dcmread(path).SOPInstanceUID == pydicom.dcmread(path).file_meta.MediaStorageSOPInstanceUID
    assert site.spooled() == []
    assert not any(line.startswith("refused") for line in one.said)
    for line in one.said:
        assert not any(str(pydicom.dcmread(file).PatientName) in line for file in files)


def test_who_is_not_known_is_refused_and_who_is_known_gets_in_beside(site: Site) -> None:
    site.authority.leaf(site.work, "new", "new.test", client=True)
    other = site.work / "other"
    other.mkdir()
    with opened(site) as one:
        for title, certificate, called in (
            ("PACS_QUX", "abc", "ROOM"),  # a title that nobody has
            ("PACS_ABC", "xyz", "ROOM"),  # another peer's certificate
            ("PACS_ABC", "new", "ROOM"),  # a certificate of the authority that no peer has
            ("PACS_ABC", "abc", "ROOF"),  # not what we are called
        ):
            with calling(one, title, certificate, called=called) as association:
                assert association.is_rejected, (title, certificate, called)
        Site(other)  # signs with an authority of its own
        (site.work / "odd.crt").write_bytes((other / "abc.crt").read_bytes())
        (site.work / "odd.key").write_bytes((other / "abc.key").read_bytes())
        for certificate in (None, "odd"):
            with calling(one, certificate=certificate) as association:
                assert not association.is_established
        with socket.create_connection(("127.0.0.1", one.port)) as plain:  # DICOM without TLS
            plain.sendall(b"\x01\x00\x00\x00\x00\x44" + b"\0\1" + bytes(66))
            plain.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                assert plain.recv(100)[:1] != b"\x02"  # no A-ASSOCIATE-AC
        for title, certificate in (("PACS_ABC", "abc"), ("PACS_XYZ", "xyz")):
            with calling(one, title, certificate) as association:
                assert association.send_c_echo().Status == SUCCESS
        wait_for(lambda: any(line.startswith("refused: ") for line in one.said))
    assert site.spooled() == []


def test_a_peer_from_another_address_is_refused_and_one_that_was_taken_off_the_list_is_out_at_once(site: Site) -> None:
    site.write_peers(
        {"ae_title": "FAR", "centre": "ABC", "addresses": ["127.0.0.2"]},
        {"ae_title": "NEAR", "centre": "ABC", "addresses": ["127.0.0.1"]},
    )
    with opened(site) as one:
        for title, wanted in (("FAR", False), ("NEAR", True)):
            with calling(one, title) as association:
                assert association.is_established is wanted
        site.write_peers()
        with calling(one, "NEAR") as association:
            assert association.is_rejected
        (site.work / "peers.yaml").write_text("peers: everybody")
        with calling(one) as association:
            assert association.is_rejected


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # our own client says so
def test_what_is_refused_has_its_status_its_line_and_leaves_no_byte(site: Site) -> None:
    site.limits = {"object_bytes": 20_000}
    site.write_peers()
    large = slice_in(site.work, 2, x00204000="Quux" * 5000)
    odd_uid = slice_in(site.work, 3)
    odd_uid.write_bytes(odd_uid.read_bytes().replace(b"1.2.826.0.1.77.3", b"1.2.826.0.1..7.3"))
    other_class = slice_in(site.work, 4)
    with opened(site) as one:
        with calling(one) as association:
            assert send(association, slice_in(site.work)) == SUCCESS
            assert send(association, large) == NO_RESOURCES
            assert send(association, odd_uid) == BAD_INSTANCE
            as_mr = other_class.read_bytes().replace(CT_CLASS.encode() + b"\0", MR_CLASS.encode() + b"\0")
            other_class.write_bytes(as_mr)
            context = association.accepted_contexts[-1]
            association._get_valid_context = lambda *_, **__: context  # a peer that does not keep to what was agreed
            assert send(association, other_class) == NO_CLASS
        wait_for(lambda: one.heard("batch b-"))
    assert site.receipts() == [
        [("received", None), ("rejected", "over-limit"), ("rejected", "uid-malformed"), ("rejected", "sop-class")]
    ]
    assert len(site.landed()) == 1
    said = run("door", "status", "--landing", f"{site.work}/landing", "--spool", f"{site.work}/spool",
               "--receipts", f"{site.work}/receipts", "--json")  # fmt: skip
    assert json.loads(said.stdout) == {
        "ABC": {
            "pending": 0,
            "accepted": 1,
            "held": {},
            "rejected": {"over-limit": 1, "uid-malformed": 1, "sop-class": 1},
            "released": 0,
        }
    }
    plain = run("door", "status", "--landing", f"{site.work}/landing")
    assert plain.stdout.split(maxsplit=1) == ["ABC", "pending 0, accepted 1, held 0, rejected 0, released 0\n"]
    for secret in (*SECRETS, "1.2.826.0.1", "Invalid"):
        assert secret not in said.stdout + "".join(one.said)


def test_kinds_and_encodings_that_the_folder_door_does_not_read_are_not_agreed_to(site: Site) -> None:
    directory, private, json_syntax = "1.2.840.10008.1.3.10", "1.2.826.0.1.9", "1.2.826.0.1.8"
    kinds = {CT_CLASS: [json_syntax], directory: [EXPLICIT], private: [EXPLICIT], SR_CLASS: [EXPLICIT]}
    with opened(site) as one, calling(one, kinds=kinds) as association:
        assert [str(context.abstract_syntax) for context in association.accepted_contexts] == [SR_CLASS]


def test_what_is_sent_twice_is_acknowledged_and_there_once(site: Site) -> None:
    file = slice_in(site.work)
    with opened(site) as one:
        with calling(one) as association:
            assert [send(association, file), send(association, file)] == [SUCCESS, SUCCESS]
        wait_for(lambda: len(site.receipts()) == 1 and not site.spooled())
        with calling(one) as association:
            assert send(association, file) == SUCCESS
        wait_for(lambda: len(site.receipts()) == 2 and not site.spooled())
    assert site.receipts() == [[("received", None), ("received", "same-as-another")], [("received", None)]]
    assert len(site.landed()) == 1


def test_two_associations_at_once_are_two_batches_and_one_too_many_is_told_so(site: Site) -> None:
    site.limits = {"associations_of_a_peer": 2}
    site.write_peers()
    with opened(site) as one:
        with calling(one) as first, calling(one) as second, calling(one, "PACS_XYZ", "xyz") as other:
            with calling(one) as third:
                assert third.is_rejected
            sent = [
                threading.Thread(target=send, args=(each, slice_in(site.work, number)))
                for number, each in enumerate((first, second, other))
            ]
            for thread in sent:
                thread.start()
            for thread in sent:
                thread.join()
        wait_for(lambda: len(site.receipts()) == 2 and len(site.receipts("XYZ")) == 1 and not site.spooled())
        with calling(one) as third:
            assert third.is_established
    assert (len(site.landed()), len(site.landed("XYZ"))) == (2, 1)


def test_more_associations_than_the_door_holds_are_told_so(site: Site) -> None:
    site.limits = {"associations": 1}
    site.write_peers()
    with opened(site) as one, calling(one) as first:
        assert first.is_established
        with calling(one, "PACS_XYZ", "xyz") as second:
            assert second.is_rejected


def test_of_an_association_that_was_aborted_what_was_acknowledged_is_received_and_the_rest_is_not(site: Site) -> None:
    with opened(site) as one:
        with calling(one) as association:
            assert send(association, slice_in(site.work)) == SUCCESS
            half = _message(association.accepted_contexts[-1].context_id, slice_in(site.work, 2))[:-40]
            link = association.dul.socket.socket
            link.sendall(half)
            time.sleep(0.3)
            association.abort()
        wait_for(lambda: len(site.receipts()) == 1 and not site.spooled())
    assert site.receipts() == [[("received", None), ("rejected", "truncated")]]
    assert len(site.landed()) == 1


def _message(context: int, path: Path) -> bytes:
    """A C-STORE request as its PDUs, in one piece."""
    request = C_STORE()
    request.MessageID, request.Priority = 7, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CT_CLASS, "1.2.826.0.1.77.2"
    request.DataSet = BytesIO(data_set_of(path))
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    pdus = b""
    for primitive in message.encode_msg(context, 2048):
        pdu = P_DATA_TF()
        pdu.from_primitive(primitive)
        pdus += pdu.encode()
    return pdus


def test_slow_peers_end_and_hold_up_nobody(site: Site) -> None:
    """One that says nothing, one that stops in the middle of an object, one that sends a PDU byte by byte."""
    site.limits = {"idle_seconds": 2}
    site.write_peers()
    with opened(site) as one, socket.create_connection(("127.0.0.1", one.port)), calling(one) as slow:
        slow.dul.socket.socket.sendall(_message(slow.accepted_contexts[-1].context_id, slice_in(site.work, 2))[:-40])
        with calling(one, "PACS_XYZ", "xyz") as swift:  # meanwhile
            assert send(swift, slice_in(site.work)) == SUCCESS
        with calling(one) as trickling:
            link = trickling.dul.socket.socket
            link.sendall(struct.pack(">BBI", 4, 0, 4000))
            wait_for(lambda: not trickling.is_established or not link.send(b"x"), LONG)
        wait_for(lambda: not slow.is_established and len(site.receipts()) == 1 and not site.spooled(), LONG)
    assert site.receipts() == [[("rejected", "truncated")]]
    assert len(site.landed("XYZ")) == 1


def test_an_association_ends_at_its_time_however_busy_it_is(site: Site) -> None:
    site.limits = {"association_seconds": 2}
    site.write_peers()
    with opened(site) as one, calling(one) as association:
        assert send(association, slice_in(site.work)) == SUCCESS
        wait_for(lambda: not (association.is_established and association.send_c_echo().get("Status") == SUCCESS), LONG)
        wait_for(lambda: site.receipts() == [[("received", None)]])


def test_endless_peers_are_aborted_and_cost_little(site: Site) -> None:
    """A PDU too large, and an object without end; nothing of them waits for a time to be over."""
    site.limits = {"idle_seconds": 600, "association_bytes": 100_000}
    site.write_peers()
    with opened(site) as one:
        with calling(one) as huge:
            huge.dul.socket.socket.sendall(struct.pack(">BBI", 4, 0, 0xFFFFFFFF) + bytes(64))
            wait_for(lambda: huge.is_aborted, LONG)
        with calling(one) as endless:
            context, link = endless.accepted_contexts[-1].context_id, endless.dul.socket.socket
            head = _message(context, slice_in(site.work))
            piece = struct.pack(">BBIIBB", 4, 0, 8006, 8002, context, 0) + bytes(8000)
            with contextlib.suppress(OSError):
                link.sendall(head[: 6 + struct.unpack_from(">I", head, 2)[0]])  # the command alone
                for _ in range(1000):
                    link.sendall(piece)
            wait_for(lambda: not endless.is_established, LONG)
        wait_for(lambda: len(site.receipts()) == 1 and not site.spooled(), LONG)
        memory = Path(f"/proc/{one.process.pid}/status").read_text().partition("VmRSS:")[2].split()[0]
        assert int(memory) < 200_000
    assert site.receipts() == [[("rejected", "truncated")]]


@pytest.mark.parametrize("moment", ["acknowledged", "in the middle"])
def test_killed_at_work_nothing_acknowledged_is_lost_and_the_next_start_finishes_it(site: Site, moment: str) -> None:
    with opened(site) as one, calling(one) as association:
        acknowledged = [send(association, slice_in(site.work, number)) for number in range(1, 6)]
        if moment == "in the middle":
            link = association.dul.socket.socket
            link.sendall(_message(association.accepted_contexts[-1].context_id, slice_in(site.work, 9))[:-40])
            wait_for(lambda: len(site.spooled()) == 6)
        assert one.end(signal.SIGKILL) == -signal.SIGKILL
    assert acknowledged == [SUCCESS] * 5
    assert site.landed() == []
    said = run("door", "status", "--landing", f"{site.work}/landing", "--spool", f"{site.work}/spool", "--json")
    assert json.loads(said.stdout)["ABC"]["pending"] == 5
    with opened(site) as again:
        wait_for(lambda: len(site.receipts()) == 1 and not site.spooled())
        assert again.end() == 0
    half = [("rejected", "truncated")] if moment == "in the middle" else []
    assert site.receipts() == [[("received", None)] * 5 + half]
    assert len(site.landed()) == 5


def test_told_to_end_it_ends_the_association_and_ingests_what_was_acknowledged(site: Site) -> None:
    with opened(site) as one, calling(one) as association:
        assert send(association, slice_in(site.work)) == SUCCESS
        assert one.end(signal.SIGINT) == 0
    assert site.receipts() == [[("received", None)]]
    assert site.spooled() == []


def test_what_cannot_be_ingested_waits_and_is_said(site: Site) -> None:
    (site.work / "landing").mkdir()
    (site.work / "landing" / "ABC").write_text("no folder")
    with opened(site) as one:
        with calling(one) as association:
            assert send(association, slice_in(site.work)) == SUCCESS
        wait_for(lambda: one.heard("waits: "))
        assert one.end() == 1
        assert "nothing acknowledged is lost" in one.said[-1]
    (site.work / "landing" / "ABC").unlink()
    with opened(site):
        wait_for(lambda: len(site.landed()) == 1)


def test_who_opted_out_is_acknowledged_and_rejected_by_ingest(site: Site) -> None:
    (site.work / "opt-outs").mkdir()
    (site.work / "opt-outs" / "opted-out.txt").write_text("9434765919\n")
    with opened(site, "--opt-outs", f"{site.work}/opt-outs") as one:
        with calling(one) as association:
            assert send(association, slice_in(site.work)) == SUCCESS
        wait_for(lambda: len(site.receipts()) == 1 and not site.spooled())
    assert site.receipts() == [[("rejected", "opted-out")]]
    assert site.landed() == []


LOCKED = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    )
    .decode("ascii")
)
ANY = {"ae_title": "A", "centre": "ABC", "addresses": ["10.0.0.1"]}
PEERS = {
    "a peer without anything that could be proved": [{"ae_title": "A", "centre": "ABC"}],
    "an address that is a range": [{**ANY, "addresses": ["10.0.0.0/8"]}],
    "an address that is none": [{**ANY, "addresses": ["10.0.0.256"]}],
    "a title for anybody": [{**ANY, "ae_title": ""}],
    "a title that is a pattern's length too long": [{**ANY, "ae_title": "A" * 17}],
    "a word that is no key": [{**ANY, "anybody": True}],
    "a title twice": [ANY, {**ANY, "centre": "XYZ"}],
}
WRONG = {
    **{name: ("peers.yaml", json.dumps({"ae_title": "R", "peers": peers})) for name, peers in PEERS.items()},
    "no certificate": ("door.crt", ""),
    "a key that is locked": ("door.key", LOCKED),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_set_up_that_is_off_is_one_line(site: Site, name: str) -> None:
    file, text = WRONG[name]
    (site.work / file).chmod(0o600)
    (site.work / file).write_text(text)
    done = run(*site.command())
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert file in done.stderr


@pytest.mark.parametrize("where", ["", "2762", "127.0.0.1:", "127.0.0.1:99999"])
def test_where_to_listen_must_be_said_well(site: Site, where: str) -> None:
    assert run(*site.command("--listen", where)).returncode == 2
