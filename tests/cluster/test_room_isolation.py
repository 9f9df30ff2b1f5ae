"""A workspace is sealed: each promise tried from inside one, by its researcher's own notebook, in both halves.

What should work works, so that the tool is known to be alive; what should not is refused, and who listens there heard nothing.
One workspace serves the whole module, and a colleague's beside it. `workspaces.md` sections 5 to 8 and 16.
"""

from __future__ import annotations

import json
import re
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest

from infra import places
from readingroom.contract import PORT_NOTEBOOK, QUARANTINE, hub_namespace, workspace_namespace
from tests.cluster.internet import LISTENS, METADATA, NODE, NODE_6, THERE, THERE_6, internet
from tests.cluster.kernel import Kernel
from tests.cluster.probes import ASK, HEAR, Listener, Probe, from_node, kubectl, listed
from tests.cluster.site import Person, Room, command

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

# --- who is asked -----------------------------------------------------------------------------------------------------
OWN, DEMO = "own", "demo"  # whose project
SERVICES = [
    ("rr-quarantine", "door", 2762), ("rr-quarantine", "door", 2763),
    ("rr-system", "vault", 8200), ("rr-system", "database", 5432), ("rr-system", "portal", 8443), ("rr-system", "dns", 53),
    *((f"{whose}-hub", name, port) for whose in (OWN, DEMO)
      for name, port in (("hub", 8081), ("proxy", 8000), ("proxy", 8001), ("edge", 8443))),
    (f"{DEMO}-hub", "gate", 8082),
]  # fmt: skip
PODS = [(namespace, name, 1053 if name == "dns" else port) for namespace, name, port in SERVICES]
EARED = 18021  # a port of the node, and of each workspace, where only these tests listen
NODE_ADDRESSES = ("172.30.0.1", NODE)
FIXED: dict[str, Probe] = {
    "the API server by its service": ("tcp", "10.96.0.1", 443),
    "the API server by the node's address": ("tcp", "172.30.0.1", 6443),
    "the kubelet": ("tcp", "172.30.0.1", 10250),
    "the front door": ("tcp", "127.0.0.1", 8443),
    "the names of the cluster": ("dns", "10.96.0.10", 53),
    **{f"{kind} to the node at {address}": (kind, address, EARED)
       for address in NODE_ADDRESSES for kind in ("tcp", "udp")},
    **{f"{kind} to {address} {port} outside": (kind, address, port) for kind, address, port in LISTENS},
    **{f"icmp to {address}": ("icmp", address, 0) for address in (THERE, THERE_6, METADATA, "172.30.0.1")},
}  # fmt: skip
COLLEAGUE = (("tcp", PORT_NOTEBOOK), ("tcp", EARED), ("udp", EARED), ("icmp", 0))


def at(kind: str, found: tuple[str, str, int]) -> str:
    """How a service or pod is called here."""
    return f"{kind} {found[0]}/{found[1]}:{found[2]}"


NAMES = [*FIXED, *(at("service", one) for one in SERVICES), *(at("pod", one) for one in PODS)]


@dataclass(frozen=True)
class Address:
    """A TCP port of a service or of a running pod of ours."""

    kind: str
    namespace: str
    name: str  # of the service; of a pod, its role
    address: str
    port: int

    def __str__(self) -> str:
        return at(self.kind, (self.namespace, self.name, self.port))


def there_are(room: Room) -> list[Address]:
    """All of them in the platform's namespaces, the demo's and the room's."""
    found = []
    for namespace in (
        "rr-system",
        QUARANTINE,
        *(make(p) for p in ("demo", room.project) for make in (hub_namespace, workspace_namespace)),
    ):
        for one in listed("services", "-n", namespace)["items"]:
            ports = [port["port"] for port in one["spec"]["ports"] if port["protocol"] == "TCP"]
            found += [
                Address("service", namespace, one["metadata"]["name"], one["spec"]["clusterIP"], n) for n in ports
            ]
        for one in listed("pods", "-n", namespace, "--field-selector=status.phase=Running")["items"]:
            if "deletionTimestamp" in one["metadata"]:
                continue
            ports = [
                port["containerPort"]
                for container in one["spec"]["containers"]
                for port in container.get("ports", [])
                if port["protocol"] == "TCP"
            ]
            role = one["metadata"]["labels"]["readingroom/role"]
            found += [Address("pod", namespace, role, one["status"]["podIP"], port) for port in ports]
    return found


def addresses(room: Room, known: list[Address]) -> dict[str, Probe]:
    """Every name of the table as a probe. Raises `KeyError` for what is not there."""
    real = {f"{OWN}-hub": hub_namespace(room.project), f"{DEMO}-hub": hub_namespace("demo")}
    by_name = {str(one): ("tcp", one.address, one.port) for one in known}
    table = [("service", *one) for one in SERVICES] + [("pod", *one) for one in PODS]
    return {
        **FIXED,
        **{at(kind, (where, name, port)): by_name[at(kind, (real.get(where, where), name, port))]
           for kind, where, name, port in table},
    }  # fmt: skip


# --- the workspace ----------------------------------------------------------------------------------------------------
def workspace_pod(room: Room, person: Person) -> dict[str, Any]:
    """A live workspace as the API server has it."""
    found: dict[str, Any] = listed("pod", "-n", workspace_namespace(room.project), f"ws-{person.handle}")
    return found


def outbox(room: Room, person: Person) -> Path:
    """Where a person's outbox lies on the node."""
    return places.volume(f"outbox-{room.project}-{person.handle}")


@dataclass(frozen=True)
class Inside:
    """What was asked from one workspace, and everybody's answers."""

    room: Room
    kernel: Kernel
    pod: dict[str, Any]
    probes: dict[str, Probe]
    answers: dict[str, str]  # what the workspace got
    twins: dict[str, str]  # what the node got from the same
    heard: list[str]  # by all listeners of the node and outside
    senders: set[str]  # of packets outside
    to_colleague: tuple[list[str], list[str]]  # the workspace's answers, the node's
    from_colleague: tuple[list[str], list[str]]
    colleagues_heard: dict[str, list[str]]  # name to the words heard in the workspace of that person
    swept: dict[str, list[str]]  # what it is, to the answers of workspace and node


def colleague(room: Room, address: str) -> tuple[dict[str, Any], list[str]]:
    """Ben opens his workspace, listens, and asks Ada's. His kernel goes on listening without him."""
    keep_telling = """
import time
def tell():
    while True:
        with open("/outbox/heard.new", "w") as file: json.dump(heard, file)
        import os; os.replace("/outbox/heard.new", "/outbox/heard.json"); time.sleep(0.2)
threading.Thread(target=tell, daemon=True).start()
"""
    with room.working(room.ben) as (_, kernel):
        kernel.run(HEAR + f"listen([['tcp', '0.0.0.0', {EARED}], ['udp', '0.0.0.0', {EARED}]])\n" + keep_telling)
        probes = [(kind, address, port, "ben" if port == EARED else "") for kind, port in COLLEAGUE]
        return workspace_pod(room, room.ben), kernel.ask(ASK + f"print(json.dumps(ask_all({probes!r})))")


@pytest.fixture(scope="module")
def inside(room: Room) -> Iterator[Inside]:
    """Ada at work, with every network question asked while a colleague works too; the colleague has left by then."""
    node_ears: list[Probe] = [(kind, address, EARED) for address in NODE_ADDRESSES for kind in ("tcp", "udp")]
    with internet() as far, room.working(room.ada) as (_, kernel):
        ears = Listener(node_ears)
        try:
            yield _asked(room, kernel, far, ears)
        finally:
            ears.close()
            command("workspace", "stop", room.project, room.ada.handle, check=False)
            (outbox(room, room.ben) / "heard.json").unlink(missing_ok=True)


def _asked(room: Room, kernel: Kernel, far: Listener, ears: Listener) -> Inside:
    pod = workspace_pod(room, room.ada)
    address = pod["status"]["podIP"]
    kernel.run(ASK + HEAR + f"listen([['tcp', '0.0.0.0', {EARED}], ['udp', '0.0.0.0', {EARED}]])")
    with ThreadPoolExecutor(1) as elsewhere:  # a second browser, and Playwright wants a thread for each
        his_pod, his_answers = elsewhere.submit(colleague, room, address).result()
    known = there_are(room)
    probes = addresses(room, known)
    his: list[Probe] = [(kind, his_pod["status"]["podIP"], port) for kind, port in COLLEAGUE]
    hers: list[Probe] = [(kind, address, port) for kind, port in COLLEAGUE]
    others = [one for one in known if one.name != "workspace"]
    everywhere: list[Probe] = [("tcp", one.address, one.port) for one in others]
    asked = [list(probes.values()), his, everywhere]
    questions = [said(one, "ada") for one in asked]
    got = kernel.ask(f"print(json.dumps([ask_all(one) for one in {questions!r}]))", seconds=120)
    kernel.run(EVERY_PORT, seconds=120)
    twins = [from_node(said(one, "node")) for one in asked]
    hers_by_node = from_node(said(hers, "node"))
    time.sleep(0.5)  # what was heard in a workspace is written every 0.2 s
    words, senders = far.report()
    found = Inside(
        room=room,
        kernel=kernel,
        pod=pod,
        probes=probes,
        answers=dict(zip(probes, got[0], strict=True)),
        twins=dict(zip(probes, twins[0], strict=True)),
        heard=[*words, *ears.report()[0]],
        senders=set(senders),
        to_colleague=(got[1], twins[1]),
        from_colleague=(his_answers, hers_by_node),
        colleagues_heard={
            "ada": kernel.ask("print(json.dumps(heard))"),
            "ben": json.loads((outbox(room, room.ben) / "heard.json").read_text()),
        },
        swept={str(one): pair for one, *pair in zip(others, got[2], twins[2], strict=True)},
    )
    command("workspace", "stop", room.project, room.ben.handle)
    kubectl(
        "wait", "--for=delete", "-n", workspace_namespace(room.project), f"pod/ws-{room.ben.handle}", "--timeout=30s"
    )
    return found


def said(probes: list[Probe], who: str) -> list[tuple[Any, ...]]:
    """Each probe with its word: only listeners of ours are told one, a service would take it for a request."""
    ours = (THERE, THERE_6, METADATA)
    return [
        (kind, address, port, f"{who}-{kind}-{address}-{port}" if port in (EARED, 0) or address in ours else "")
        for kind, address, port in probes
    ]


# --- network ----------------------------------------------------------------------------------------------------------
# Five thousand ports, not only those where somebody listens: connections are begun and not waited for.
EVERY_PORT = f"""
for port in [*range(1, 1024), *range(1024, 65536, 16)]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as s:
            s.setblocking(False)
            try:
                s.connect(({THERE!r}, port))
                if kind == socket.SOCK_DGRAM: s.send(b"x")
            except OSError: pass
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_workspace_does_not_reach_it_and_the_node_does(inside: Inside, name: str) -> None:
    kind, address, port = inside.probes[name]
    assert inside.answers[name] != "open"
    if (kind, address) != ("icmp", "172.30.0.1"):
        assert inside.twins[name] == "open"
    if kind != "icmp" and (port == EARED or (kind, address, port) in LISTENS):
        word = f"{kind}-{address}-{port}"
        assert (inside.heard.count(f"node-{word}"), inside.heard.count(f"ada-{word}")) == (1, 0)


def test_no_packet_to_five_thousand_ports_arrives_outside(inside: Inside) -> None:
    assert {NODE, NODE_6} <= inside.senders, "the ear hears the node"
    assert {one for one in inside.senders if not one.startswith("fe80:")} - {"::"} == {NODE, NODE_6}


def test_of_all_services_and_pods_a_workspace_reaches_its_gate_alone(inside: Inside) -> None:
    gate = {
        f"service {hub_namespace(inside.room.project)}/gate:8082",
        f"pod {hub_namespace(inside.room.project)}/gate:8082",
    }
    assert {what for what, (answer, _) in inside.swept.items() if answer == "open"} == gate
    assert {what for what, (_, twin) in inside.swept.items() if twin != "open"} == set(), (
        "what nobody answers is no test"
    )
    assert len(inside.swept) > 20


@pytest.mark.parametrize("number", range(len(COLLEAGUE)))
def test_two_workspaces_of_a_project_do_not_reach_each_other(inside: Inside, number: int) -> None:
    for answers, twins in (inside.to_colleague, inside.from_colleague):
        assert answers[number] != "open"
        assert twins[number] == "open"
    for person, other in (("ada", "ben"), ("ben", "ada")):
        heard = inside.colleagues_heard[person]
        assert not [word for word in heard if word.startswith(other)]
        assert len([word for word in heard if word.startswith("node-")]) == 2


OUTSIDE_NAMES = ("example.org", "example.com", "portal.readingroom.localhost.example.org")
CLUSTER_NAMES = ("kubernetes.default.svc", "vault.rr-system.svc.cluster.local", "gate", "portal.rr-system.svc")


def test_no_name_is_known_in_a_workspace(inside: Inside) -> None:
    look = f"""
def known(name):
    try: return bool(socket.getaddrinfo(name, 443))
    except OSError: return False
print(json.dumps([[known(one) for one in names] for names in {(OUTSIDE_NAMES + CLUSTER_NAMES, ("localhost",))!r}]))
"""
    unknown, local = inside.kernel.ask(look)
    assert local == [True], "the look-up works"
    assert not any(unknown)
    assert inside.kernel.ask("print(json.dumps(open('/etc/resolv.conf').read().split()))")[:2] == [
        "nameserver",
        "127.0.0.1",
    ]


def test_a_workspace_makes_no_raw_packets_and_no_interface(inside: Inside) -> None:
    tries = """
def outcome(do):
    try: do(); return "done"
    except OSError as e: return errno.errorcode[e.errno]
def link():
    import struct
    kind = struct.pack("HH", 9, 1) + b"dummy" + bytes(3)
    body = struct.pack("BxHiII", 0, 0, 0, 0, 0) + struct.pack("HH", 4 + len(kind), 18) + kind
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        s.send(struct.pack("IHHII", 16 + len(body), 16, 0x605, 1, 0) + body)
        code = struct.unpack("i", s.recv(200)[16:20])[0]
        if code: raise OSError(-code, "netlink")
print(json.dumps({
    "raw": outcome(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 255).close()),
    "packet": outcome(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).close()),
    "ordinary": outcome(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()),
    "interface": outcome(link),
    "interfaces": sorted(name for _, name in socket.if_nameindex()),
}))
"""
    found = inside.kernel.ask(tries)
    assert found == {
        "raw": "EPERM", "packet": "EPERM", "ordinary": "done", "interface": "EPERM", "interfaces": ["eth0", "lo"],
    }  # fmt: skip


# --- data -------------------------------------------------------------------------------------------------------------
LOOK = """
import hashlib, os, re
found = {}
for folder, folders, files in os.walk("/data", onerror=lambda e: (_ for _ in ()).throw(e)):
    for name in folders + files:
        path = os.path.join(folder, name)
        if name in files or os.path.islink(path):
            plain = not os.path.islink(path) and os.path.isfile(path)
            found[path] = hashlib.sha256(open(path, "rb").read()).hexdigest() if plain else "odd"
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def data(inside: Inside) -> dict[str, str]:
    """Everything that lies below /data, and its SHA-256 as the workspace reads it."""
    found: dict[str, str] = inside.kernel.ask(LOOK)
    return found


@pytest.fixture(scope="module")
def manifest(inside: Inside) -> dict[str, Any]:
    """The manifest as the workspace reads it."""
    found: dict[str, Any] = json.loads(inside.kernel.run("print(open('/data/MANIFEST.json').read())"))
    return found


def granted(room: Room) -> dict[str, Any]:
    """The cut, as the grant file says."""
    found: dict[str, Any] = json.loads(Path(room.grant["file"]).read_text())["data"]
    return found


def released(project: str) -> list[dict[str, Any]]:
    """What a project's warehouse holds, from the node."""
    lines = (places.volume(f"warehouse-{project}") / "manifest.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_every_granted_file_is_there_as_the_manifest_says_and_nothing_else(
    inside: Inside, data: dict[str, str], manifest: dict[str, Any]
) -> None:
    assert data["/data/MANIFEST.json"] == granted(inside.room)["manifest_sha256"]
    listed_files = {f"/data/{one['path']}": one["sha256"] for one in manifest["files"]}
    assert listed_files
    assert {path: found for path, found in data.items() if path != "/data/MANIFEST.json"} == listed_files


def test_only_the_granted_modality_is_there(inside: Inside, data: dict[str, str]) -> None:
    all_of_it = released(inside.room.project)
    other = {one["sha256"] for one in all_of_it if one["modality"] != "CT"}
    assert other, "the warehouse holds another modality"
    wanted = {one["sha256"] for one in all_of_it if one["modality"] == "CT"}
    assert {found for path, found in data.items() if path.endswith(".dcm")} == wanted
    images = [path for path in data if path.endswith(".dcm")]
    read = f"{{pydicom.dcmread(path, stop_before_pixels=True).Modality for path in {images!r}}}"
    assert inside.kernel.ask(f"import pydicom; print(json.dumps(sorted({read})))") == ["CT"]


def test_another_projects_pseudonyms_are_not_these(data: dict[str, str]) -> None:
    theirs = {part for one in released("demo") for part in Path(one["path"]).parts[1:]}
    ours = {part for path in data for part in Path(path).parts[3:]}
    assert len(theirs) > 5
    assert len(ours) > 5
    assert not ours & theirs


def original_identifiers() -> list[str]:
    """Names, numbers and UIDs of the people and images that hospitals sent, from the files as they came."""
    found: set[str] = set()
    for path in places.volume("inbox").rglob("*"):
        if not path.is_file():
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd files are what the inbox is for
            try:
                sent = pydicom.dcmread(path, stop_before_pixels=True)
                named = [str(sent.get(word, "")) for word in ("PatientID", "PatientName", "AccessionNumber")]
                uids = [str(sent.get(f"{level}InstanceUID", "")) for level in ("Study", "Series", "SOP")]
            except (pydicom.errors.InvalidDicomError, ValueError, NotImplementedError):
                continue
        # Shorter ones stand in any file by chance, and words that name nobody are left where they are.
        found |= {word for word in named if len(word) > 5 and not re.fullmatch("(?i)anonym.*", word)}
        found |= {uid for uid in [*uids, str(sent.get("FrameOfReferenceUID", ""))] if len(uid) > 15}
    return sorted(found)


def test_no_original_identifier_is_in_any_byte_of_the_data(inside: Inside) -> None:
    words = original_identifiers()
    assert len(words) > 200
    find = f"""
words = [word.encode() for word in {words!r}]
def holds(path):
    content = open(path, "rb").read()
    return [word.decode() for word in words if word in content or word in path.encode()]
open("/tmp/planted", "wb").write(b"\\1\\2" + words[7] + b"\\3")
paths = [os.path.join(folder, name) for folder, _, names in os.walk("/data") for name in names]
print(json.dumps([len(paths), holds("/tmp/planted"), [found for path in paths for found in holds(path)]]))
"""
    count, planted, found = inside.kernel.ask(find)
    assert count > 5
    assert words[7] in planted, "what is there is found"
    assert found == []


def test_nothing_identified_is_mounted(inside: Inside) -> None:
    mounted = inside.kernel.ask("print(json.dumps([line.split()[4] for line in open('/proc/self/mountinfo')]))")
    ours = {path for path in mounted if not path.startswith(("/proc", "/sys", "/dev/"))}
    assert ours == {
        "/", "/data", "/home/researcher", "/outbox", "/tmp", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf",
    }  # fmt: skip
    tried = [
        *("landing", "warehouse", "inbox", "receipts", "cuts"),
        str(places.state()).lstrip("/"),
        "host",
        "mnt/host",
    ]
    there = inside.kernel.ask(f"print(json.dumps([os.path.exists('/' + one) for one in {tried!r} + ['data']]))")
    assert there == [False] * len(tried) + [True]


WRITE = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def outcome(do):
    try: do(); return "done"
    except OSError as e: return errno.errorcode[e.errno]
def call(name, *arguments):
    ctypes.set_errno(0)
    if getattr(libc, name)(*arguments) != 0: raise OSError(ctypes.get_errno(), name)
some = sorted(os.path.join(folder, name) for folder, _, names in os.walk("/data") for name in names)[0]
print(json.dumps({
    "new file": outcome(lambda: open("/data/new", "w")),
    "written over": outcome(lambda: open(some, "r+b")),
    "removed": outcome(lambda: os.unlink(some)),
    "renamed": outcome(lambda: os.rename(some, some + "x")),
    "mode": outcome(lambda: os.chmod(some, 0o777)),
    "mode of the folder": outcome(lambda: os.chmod("/data", 0o777)),
    "folder": outcome(lambda: os.mkdir("/data/new")),
    "link": outcome(lambda: os.symlink("/tmp", "/data/new")),
    "remounted": outcome(lambda: call("mount", None, b"/data", None, 32 | 4096, None)),
    "unmounted": outcome(lambda: call("umount2", b"/data", 2)),
}))
"""


def test_the_data_cannot_be_changed(inside: Inside, data: dict[str, str]) -> None:
    found = inside.kernel.ask(WRITE)
    assert set(found.values()) <= {"EROFS", "EPERM", "EACCES"}, found
    assert len(found) == 10
    read_only = inside.kernel.ask(
        "print(json.dumps([line.split()[5].split(',') for line in open('/proc/self/mountinfo') if line.split()[4] == '/data']))"
    )
    assert len(read_only) == 1
    assert "ro" in read_only[0]
    assert inside.kernel.ask(LOOK) == data


def test_home_and_outbox_take_what_is_written_and_keep_it_on_the_node(inside: Inside) -> None:
    for folder, volume in (("/home/researcher", "home"), ("/outbox", "outbox")):
        inside.kernel.run(f"open('{folder}/kept-{volume}', 'w').write('by {inside.room.ada.handle}')")
        kept = places.volume(f"{volume}-{inside.room.project}-{inside.room.ada.handle}") / f"kept-{volume}"
        assert kept.read_text() == f"by {inside.room.ada.handle}"
        inside.kernel.run(f"import os; os.unlink('{folder}/kept-{volume}')")
        assert not kept.exists()


def test_the_data_is_an_image_volume_by_the_granted_digest(inside: Inside) -> None:
    volumes = {one["name"]: one for one in inside.pod["spec"]["volumes"]}
    assert volumes["data"]["image"]["reference"] == granted(inside.room)["image"]
    assert volumes["data"]["image"]["pullPolicy"] == "Never"
    claims = {one["persistentVolumeClaim"]["claimName"] for one in volumes.values() if "persistentVolumeClaim" in one}
    assert claims == {f"home-{inside.room.ada.handle}", f"outbox-{inside.room.ada.handle}"}
    assert all({"image", "persistentVolumeClaim", "emptyDir"} & set(one) for one in volumes.values())


# --- the gate ---------------------------------------------------------------------------------------------------------
GATE = """
import os, urllib.parse
gate = urllib.parse.urlsplit(os.environ["JUPYTERHUB_API_URL"])
def say(line, headers=(), body=""):
    lines = [line, "Host: gate", "Authorization: token " + os.environ["JUPYTERHUB_API_TOKEN"], "Connection: close", *headers]
    if body: lines.append("Content-Length: %d" % len(body))
    with socket.create_connection((gate.hostname, gate.port), 5) as s:
        s.sendall(("\\r\\n".join(lines) + "\\r\\n\\r\\n" + body).encode()); s.settimeout(10)
        answer = b""
        try:
            while part := s.recv(65536): answer += part
        except ConnectionResetError: pass
    head, _, rest = answer.partition(b"\\r\\n\\r\\n")
    return [int(head.split()[1]), rest.decode()]
"""
FORM = ("Content-Type: application/x-www-form-urlencoded",)
REFUSED_LINES: list[tuple[str, tuple[str, ...], str]] = [
    *((f"GET {path} HTTP/1.1", (), "") for path in (
        "/", "/hub", "/hub/", "/hub/home", "/hub/admin", "/hub/token", "/hub/metrics", "/hub/health", "/hub/api/",
        "/hub/api/users", "/hub/api/users/ME", "/hub/api/users/ME/tokens", "/hub/api/proxy", "/hub/api/info",
        "/hub/api/services", "/hub/api/groups", "/hub/api/user/", "/hub/api/user?x=1", "/hub/api/user#x",
        "//hub/api/user", "/hub//api/user", "/hub/./api/user", "/hub/x/../api/user", "/hub/api/%75ser", "/hub%2fapi/user",
        "/hub/api/user%00", "/hub/api/oauth2/authorize?client_id=x", "http://hub:8081/hub/api/user", "/user/ME/api/contents",
    )),
    *((f"{method} /hub/api/user HTTP/1.1", (), "") for method in ("HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT")),
    ("GET /hub/api/user HTTP/1.0", (), ""),
    ("GET /hub/api/user HTTP/1.1", ("Upgrade: websocket",), ""),
    ("GET /hub/api/user HTTP/1.1", (), "a body"),
    ("POST /hub/api/user HTTP/1.1", FORM, "a=b"),
    ("POST /hub/api/users/ME/activity HTTP/1.1", ("Content-Type: application/json",), "{}"),
    ("POST /hub/api/users/ME/server HTTP/1.1", ("Content-Type: application/json",), "{}"),
    ("DELETE /hub/api/users/ME/server HTTP/1.1", (), ""),
    ("POST /hub/api/oauth2/token?x=1 HTTP/1.1", FORM, "a=b"),
    ("POST /hub/api/oauth2/token HTTP/1.1", ("Content-Type: application/json",), "{}"),
    ("POST /hub/api/oauth2/token HTTP/1.1", (*FORM, "Transfer-Encoding: chunked"), "0"),
]  # fmt: skip


@pytest.fixture(scope="module")
def gate(inside: Inside) -> list[list[Any]]:
    """Status and body of each refused request, asked with the workspace's own token, slower than the gate's limit."""
    asked = [(line.replace("ME", inside.room.ada.handle), headers, body) for line, headers, body in REFUSED_LINES]
    code = f"""{GATE}
import time
answers = []
for one in {asked!r}:
    answers.append(say(*one)); time.sleep(0.05)
print(json.dumps(answers))
"""
    found: list[list[Any]] = inside.kernel.ask(code)
    return found


def test_the_gate_lets_a_server_ask_its_version_its_person_and_for_a_login(inside: Inside) -> None:
    form = "grant_type=authorization_code&code=none&redirect_uri=none"
    code = f"""{GATE}
print(json.dumps([say("GET /hub/api HTTP/1.1"), say("GET /hub/api/user HTTP/1.1"),
                  say("POST /hub/api/oauth2/token HTTP/1.1", {FORM!r}, {form!r})]))
"""
    version, user, token = inside.kernel.ask(code)
    assert version[0] == 200
    assert json.loads(version[1])["version"].startswith("6.")
    assert user[0] == 200
    assert json.loads(user[1])["name"] == inside.room.ada.handle
    assert token[0] in (400, 401), "the hub itself has read the form and does not know the code"
    assert "error" in token[1]


@pytest.mark.parametrize("number", range(len(REFUSED_LINES)), ids=[" ".join([a, *b]) for a, b, _ in REFUSED_LINES])
def test_the_gate_answers_anything_else_with_an_empty_403(gate: list[list[Any]], number: int) -> None:
    assert gate[number] == [403, ""]


# --- the pod ----------------------------------------------------------------------------------------------------------
STATE = """
import ctypes, os, stat
libc = ctypes.CDLL(None, use_errno=True)
def outcome(do):
    try: do(); return "done"
    except OSError as e: return errno.errorcode[e.errno]
def call(name, *arguments):
    ctypes.set_errno(0)
    if getattr(libc, name)(*arguments) == -1: raise OSError(ctypes.get_errno(), name)
status = dict(line.rstrip().split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]
mounts = [line.split() for line in open("/proc/self/mountinfo")]
print(json.dumps({
    "status": {name: status[name] for name in
               ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid")},
    "token": [os.path.exists(one) for one in ("/var/run/secrets", "/run/secrets")],
    "first": open("/proc/1/cmdline").read().split("\\0")[1:2],
    "owners": sorted({os.stat("/proc/%d" % one).st_uid for one in processes}),
    "processes": len(processes),
    "environment": sorted(os.environ),
    "root": [one[5].split(",")[0] for one in mounts if one[4] == "/"],
    "scratch": outcome(lambda: open("/tmp/new", "w").close()),
    "written": {one: outcome(lambda: open(one + "/new", "w").close())
                for one in ("", "/etc", "/opt/readingroom/bin", "/usr/local/bin", "/var/tmp", "/proc/sys/kernel", "/sys")},
    "devices": sorted(name for name in os.listdir("/dev") if stat.S_ISBLK(os.stat("/dev/" + name).st_mode)),
    "ordinary call": outcome(lambda: call("getppid")),
    "mount": outcome(lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None)),
    "root changed": outcome(lambda: call("chroot", b"/tmp")),
    "user namespace": outcome(lambda: call("unshare", 0x10000000)),
    "network namespace": outcome(lambda: call("unshare", 0x40000000)),
    "other user": outcome(lambda: os.setuid(0)),
    "device made": outcome(lambda: os.mknod("/tmp/disk", stat.S_IFBLK | 0o600, os.makedev(254, 0))),
    "host name": outcome(lambda: call("sethostname", b"x", 1)),
    "keys": outcome(lambda: call("syscall", 250, 0, -3, 1)),
    "kernel log": outcome(lambda: call("klogctl", 3, ctypes.create_string_buffer(100), 100)),
    "hidden": [outcome(lambda: open(one).read(1)) for one in ("/proc/kcore", "/proc/keys")],
    "set-user-id": [path for folder, folders, names in os.walk("/usr") for path in (os.path.join(folder, n) for n in names)
                    if not os.path.islink(path) and os.stat(path).st_mode & 0o6000],
}))
"""
TOLD = {
    "JUPYTERHUB_API_TOKEN", "JUPYTERHUB_CLIENT_ID", "JUPYTERHUB_HOST", "JUPYTERHUB_OAUTH_CALLBACK_URL",
    "JUPYTERHUB_OAUTH_ACCESS_SCOPES", "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", "JUPYTERHUB_COOKIE_OPTIONS",
    "JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", "JUPYTERHUB_USER", "JUPYTERHUB_SERVER_NAME", "JUPYTERHUB_BASE_URL",
    "JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_SERVICE_URL", "JUPYTERHUB_DEFAULT_URL", "JUPYTERHUB_PUBLIC_URL",
    "JUPYTERHUB_PUBLIC_HUB_URL", "JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_INTERVAL", "READINGROOM_PROJECT",
    "READINGROOM_TITLE", "READINGROOM_CUT", "READINGROOM_ENDS", "HOME", "JUPYTER_RUNTIME_DIR", "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
}  # fmt: skip


@pytest.fixture(scope="module")
def state(inside: Inside) -> dict[str, Any]:
    """What the workspace's own process sees of itself."""
    found: dict[str, Any] = inside.kernel.ask(STATE)
    return found


def test_a_workspace_has_an_ordinary_person_and_no_privilege(state: dict[str, Any]) -> None:
    nothing = "0" * 16
    assert state["status"] == {
        **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), nothing),
        "NoNewPrivs": "1", "Seccomp": "2", "Uid": "\t".join(["1000"] * 4), "Gid": "\t".join(["1000"] * 4),
    }  # fmt: skip
    assert state["ordinary call"] == "done"
    for name in (
        "mount",
        "root changed",
        "user namespace",
        "network namespace",
        "other user",
        "host name",
        "kernel log",
    ):
        assert state[name] == "EPERM", name
    assert state["device made"] in ("EPERM", "EACCES")
    assert state["keys"] in ("EPERM", "ENOSYS")
    assert state["set-user-id"] == [] or state["status"]["NoNewPrivs"] == "1"


def test_a_workspace_sees_itself_and_nobody_else(state: dict[str, Any]) -> None:
    assert state["token"] == [False, False]
    assert state["owners"] == [1000]
    assert 1 < state["processes"] < 40
    assert "jupyterhub-singleuser" in state["first"][0]
    assert state["devices"] == []


def test_only_scratch_home_and_outbox_can_be_written(state: dict[str, Any]) -> None:
    assert state["scratch"] == "done"
    assert state["root"] == ["ro"]
    assert set(state["written"].values()) <= {"EROFS", "EACCES", "EPERM", "ENOENT"}, state["written"]


def test_the_environment_holds_what_the_hub_may_tell_and_no_secret_but_its_own_token(
    inside: Inside, state: dict[str, Any]
) -> None:
    given = {one["name"] for one in inside.pod["spec"]["containers"][0]["env"]}
    assert given <= TOLD
    assert {"JUPYTERHUB_API_TOKEN", "READINGROOM_PROJECT", "JUPYTERHUB_API_URL"} <= given
    of_the_image = {"PATH", "LANG", "SHELL", "HOSTNAME"}
    of_jupyter = {"PWD", "OLDPWD", "SHLVL", "_"}
    others = {
        name for name in set(state["environment"]) - TOLD - of_the_image - of_jupyter if not name.startswith(OF_KERNELS)
    }
    assert others == set()


OF_KERNELS = (
    "KUBERNETES_",
    "JPY_",
    "PYDEVD_",
    "MPL",
    "CLICOLOR",
    "FORCE_COLOR",
    "GIT_PAGER",
    "PAGER",
    "TERM",
    "JUPYTER_SERVER_",
)


def test_the_pod_is_what_the_kubelet_was_told(inside: Inside) -> None:
    spec = inside.pod["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (
        "workspace", False, False,
    )  # fmt: skip
    assert (spec["restartPolicy"], spec["dnsPolicy"]) == ("Never", "None")
    assert not any(
        spec.get(one) for one in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "initContainers")
    )
    assert 0 < spec["activeDeadlineSeconds"] <= 12 * 3600
    (container,) = spec["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]


# --- a stolen hub account ---------------------------------------------------------------------------------------------
Pod = dict[str, Any]


def right_pod(inside: Inside) -> Pod:
    """The workspace that the hub would make for the colleague, who has none now: hers, under his handle."""
    hers, his = inside.room.ada.handle, inside.room.ben.handle
    wanted = (
        "serviceAccountName", "automountServiceAccountToken", "enableServiceLinks", "restartPolicy", "activeDeadlineSeconds",
        "terminationGracePeriodSeconds", "dnsPolicy", "dnsConfig", "securityContext", "containers", "volumes", "hostUsers",
    )  # fmt: skip
    spec = {key: value for key, value in inside.pod["spec"].items() if key in wanted}
    metadata = {key: inside.pod["metadata"][key] for key in ("name", "namespace", "labels")}
    text = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    found: Pod = json.loads(text.replace(hers, his))
    return found


def create(inside: Inside, found: Any, as_account: str) -> tuple[int, str]:
    """What the API server would say to this account about this object."""
    return kubectl("create", "--dry-run=server", "-f", "-", given=json.dumps(found), as_account=as_account)


def hub_of(inside: Inside) -> str:
    """The account of the project's hub."""
    return f"{hub_namespace(inside.room.project)}:hub"


def changed(path: str, value: Any) -> Callable[[Pod], None]:
    """The pod's spec with another value there; `c` is its container, `c.s` that one's security context."""

    def change(pod: Pod) -> None:
        *way, last = path.split(".")
        there = pod["spec"]
        for step in way:
            there = {"c": pod["spec"]["containers"][0], "s": there.get("securityContext", {})}.get(step) or there[step]
        there[last] = value

    return change


def added(path: str, value: Any) -> Callable[[Pod], None]:
    """The pod's spec with one more in that list."""

    def change(pod: Pod) -> None:
        there = pod["spec"]["containers"][0] if path.startswith("c.") else pod["spec"]
        there.setdefault(path.removeprefix("c."), []).append(value)

    return change


def labelled(name: str, value: str) -> Callable[[Pod], None]:
    """The pod with another label."""
    return lambda pod: pod["metadata"]["labels"].update({name: value})


def another_cut(pod: Pod) -> None:
    """The demo's data instead of the project's."""
    demo = json.loads((places.volume("cuts-demo") / "cut.json").read_text())
    next(one for one in pod["spec"]["volumes"] if one["name"] == "data")["image"]["reference"] = demo["image"]


def another_home(pod: Pod) -> None:
    """Hers instead of his: the one that lies beside it."""
    homes = [one["persistentVolumeClaim"] for one in pod["spec"]["volumes"] if "persistentVolumeClaim" in one]
    names = [one["metadata"]["name"] for one in listed("pvc", "-n", pod["metadata"]["namespace"])["items"]]
    mine = {one["claimName"] for one in homes}
    homes[0]["claimName"] = next(name for name in names if name not in mine)


def another_name(pod: Pod) -> None:
    """A second workspace of one person."""
    pod["metadata"]["name"] += "-2"


def other_image(pod: Pod) -> None:
    """Another image of ours."""
    hub = listed("pods", "-n", pod["metadata"]["namespace"].removesuffix("-ws") + "-hub", "-l", "readingroom/role=hub")
    pod["spec"]["containers"][0]["image"] = hub["items"][0]["spec"]["containers"][0]["image"]


def stranger(pod: Pod) -> None:
    """Somebody's who is not in the grant."""
    pod["metadata"]["name"] = "ws-rzzzzzzz"
    pod["metadata"]["labels"]["readingroom/handle"] = "rzzzzzzz"


def before_it(pod: Pod) -> None:
    """Something that runs first."""
    first = {key: pod["spec"]["containers"][0][key] for key in ("image", "command", "resources", "securityContext")}
    pod["spec"]["initContainers"] = [{**first, "name": "first", "imagePullPolicy": "Never"}]


def no_limits(pod: Pod) -> None:
    """Scratch without end."""
    for one in pod["spec"]["volumes"]:
        if "emptyDir" in one:
            one["emptyDir"] = {}


def writable_data(pod: Pod) -> None:
    """The cut's mount without read-only."""
    next(one for one in pod["spec"]["containers"][0]["volumeMounts"] if one["name"] == "data")["readOnly"] = False


DIGEST = "sha256:" + "0" * 64
WRONG_PODS: dict[str, Callable[[Pod], None]] = {
    "privileged": lambda pod: (changed("c.s.privileged", True)(pod), changed("c.s.allowPrivilegeEscalation", True)(pod))[-1],
    "with a capability": changed("c.s.capabilities", {"drop": ["ALL"], "add": ["NET_RAW"]}),
    "that may gain privileges": changed("c.s.allowPrivilegeEscalation", True),
    "with a root that can be written": changed("c.s.readOnlyRootFilesystem", False),
    "as root": changed("securityContext.runAsUser", 0),
    "as another person": changed("securityContext.runAsUser", 10001),
    "with any group": changed("securityContext.supplementalGroups", [0, 10001]),
    "with all of /proc": lambda pod: (changed("hostUsers", False)(pod), changed("c.s.procMount", "Unmasked")(pod))[-1],
    "as root in its container": changed("c.s.runAsUser", 0),
    "with a probe of another address": changed("c.readinessProbe", {"tcpSocket": {"port": 80, "host": "203.0.113.66"}}),
    "in a user namespace as root": lambda pod: (
        changed("hostUsers", False)(pod), changed("securityContext.runAsUser", 0)(pod),
        changed("securityContext.runAsNonRoot", False)(pod), changed("c.s.runAsNonRoot", False)(pod),
    )[-1],
    "without seccomp": changed("c.s.seccompProfile", {"type": "Unconfined"}),
    "in the node's network": changed("hostNetwork", True),
    "among the node's processes": changed("hostPID", True),
    "on a port of the node": added("c.ports", {"containerPort": 9999, "hostPort": 9999}),
    "with a path of the node": added("volumes", {"name": "x", "hostPath": {"path": "/"}}),
    "with a Secret": added("volumes", {"name": "x", "secret": {"secretName": "x"}}),
    "with a ConfigMap": added("volumes", {"name": "x", "configMap": {"name": "admission"}}),
    "with a token": added("volumes", {"name": "x", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}),
    "with its account's token": changed("automountServiceAccountToken", True),
    "with another account": changed("serviceAccountName", "default"),
    "with a claim of the identified data": added("volumes", {"name": "x", "persistentVolumeClaim": {"claimName": "inbox"}}),
    "with somebody else's home": another_home,
    "with another project's cut": another_cut,
    "with a cut that can be written": writable_data,
    "with scratch without end": no_limits,
    "with another image of ours": other_image,
    "with an image by its tag": changed("c.image", "rr.local/workspace-cpu:latest"),
    "with an image from elsewhere": changed("c.image", f"example.org/workspace-cpu@{DIGEST}"),
    "with another command": changed("c.command", ["sh", "-c", "sleep 1"]),
    "with arguments": changed("c.args", ["--allow-root"]),
    "with a hook": changed("c.lifecycle", {"postStart": {"exec": {"command": ["true"]}}}),
    "with a probe that runs something": changed("c.readinessProbe", {"exec": {"command": ["true"]}}),
    "with a second container": lambda pod: pod["spec"]["containers"].append({**pod["spec"]["containers"][0], "name": "x"}),
    "with an init container": before_it,
    "with a value from elsewhere": added("c.env", {"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}),
    "with all values of a Secret": changed("c.envFrom", [{"secretRef": {"name": "x"}}]),
    "with names": changed("dnsPolicy", "ClusterFirst"),
    "with another name server": changed("dnsConfig", {"nameservers": ["10.96.0.10"]}),
    "with names of its own": changed("hostAliases", [{"ip": "10.96.0.20", "hostnames": ["vault"]}]),
    "with the services' addresses": changed("enableServiceLinks", True),
    "without an end": lambda pod: pod["spec"].pop("activeDeadlineSeconds"),
    "that outlives the grant": changed("activeDeadlineSeconds", 13 * 3600),
    "that is started again": changed("restartPolicy", "Always"),
    "on a node of its choice": changed("nodeName", "reading-room"),
    "before all others": changed("priorityClassName", "system-node-critical"),
    "larger than the grant's sizes": changed("c.resources.limits.memory", "100Gi"),
    "for somebody who is not in the grant": stranger,
    "under another name": another_name,
    "of another project": labelled("readingroom/project", "demo"),
    "in another role": labelled("readingroom/role", "gate"),
    "that cannot be removed": lambda pod: pod["metadata"].update(finalizers=["example.org/never"]),
}  # fmt: skip


def test_a_hub_can_make_exactly_its_projects_workspace(inside: Inside) -> None:
    status, text = create(inside, right_pod(inside), hub_of(inside))
    assert status == 0, text


@pytest.fixture(scope="module")
def verdicts(inside: Inside) -> dict[str, str]:
    """What the API server says to the hub's account about each wrong pod, all asked in one call."""
    pods = []
    for change in WRONG_PODS.values():
        pods.append(right_pod(inside))
        change(pods[-1])
        assert pods[-1] != right_pod(inside)
    _, text = create(inside, {"apiVersion": "v1", "kind": "List", "items": pods}, hub_of(inside))
    answers = re.split("^(?=Error from server)", text, flags=re.MULTILINE)[1:]
    if len(answers) != len(pods):  # somebody got through, and it is asked one by one who
        answers = [create(inside, pod, hub_of(inside))[1] for pod in pods]
    return dict(zip(WRONG_PODS, answers, strict=True))


@pytest.mark.parametrize("name", WRONG_PODS)
def test_a_stolen_hub_account_makes_no_pod(verdicts: dict[str, str], name: str) -> None:
    assert verdicts[name].startswith("Error from server")
    assert "forbidden" in verdicts[name].lower(), verdicts[name]


@pytest.mark.parametrize(
    "account", ["p-demo-hub:hub", "own:workspace", "own-hub:gate", "own-hub:edge", "rr-system:reconciler"]
)
def test_nobody_but_its_own_hub_makes_a_workspace(inside: Inside, account: str) -> None:
    own = {"own": workspace_namespace(inside.room.project), "own-hub": hub_namespace(inside.room.project)}
    namespace, _, name = account.partition(":")
    status, text = create(inside, right_pod(inside), f"{own.get(namespace, namespace)}:{name}")
    assert status != 0
    assert "forbidden" in text.lower(), text


def test_the_deployer_makes_no_workspace_either(inside: Inside) -> None:
    status, text = kubectl("create", "--dry-run=server", "-f", "-", given=json.dumps(right_pod(inside)), deployer=True)
    assert status != 0
    assert "only the project's own hub opens workspaces" in text


def test_a_stolen_hub_account_enters_no_workspace_and_opens_no_network(inside: Inside) -> None:
    rooms, name = workspace_namespace(inside.room.project), inside.pod["metadata"]["name"]
    inner = ("exec", "-n", rooms, name, "--", "true")
    assert kubectl(*inner)[0] == 0, "break-glass can"
    assert "forbidden" in kubectl(*inner, as_account=hub_of(inside))[1]
    assert "forbidden" in kubectl(*inner, deployer=True)[1]
    for words in (("logs", "-n", rooms, name), ("get", "pod", "-n", rooms, name), ("get", "secrets", "-n", rooms)):
        assert "forbidden" in kubectl(*words, as_account=hub_of(inside))[1]
    assert kubectl("get", "pods", "-n", rooms, as_account=hub_of(inside))[0] == 0, "its own list it may read"
    for namespace in (rooms, hub_namespace(inside.room.project)):
        metadata = {"name": "open", "namespace": namespace}
        spec = {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}],
        }
        opening = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
        assert create(inside, opening, "")[0] == 0, "the object itself is a good one"
        status, text = create(inside, opening, hub_of(inside))
        assert (status, "forbidden" in text) == (1, True)


# --- rights -----------------------------------------------------------------------------------------------------------
# Restated by hand: what each account may, beside what every account of any cluster may. Account, namespace, kind, verbs.
ANYBODY = {
    ("clustertrustbundles", "get list watch"), ("selfsubjectaccessreviews", "create"), ("selfsubjectrulesreviews", "create"),
    ("selfsubjectreviews", "create"),
}  # fmt: skip
RIGHTS: dict[str, dict[str, set[tuple[str, str]]]] = {
    "own-hub:hub": {"own-ws": {("pods", "create delete list watch")}},
    "own-hub:edge": {},
    "own-hub:gate": {},
    "own-hub:default": {},
    "own-ws:workspace": {},
    "own-ws:default": {},
    "rr-system:reconciler": {
        "": {("namespaces", "list")},
        "own-hub": {("configmaps", "list")},
        "own-ws": {("pods", "delete list patch watch")},
        "demo-hub": {("configmaps", "list")},
        "demo-ws": {("pods", "delete list patch watch")},
    },
}
SEEN_FROM = ("own-hub", "own-ws", "demo-hub", "demo-ws", "rr-system", "rr-quarantine", "kube-system", "default")


@pytest.mark.parametrize("account", RIGHTS)
def test_an_account_may_what_this_table_says(room: Room, account: str) -> None:
    whose = {"own-hub": hub_namespace(room.project), "own-ws": workspace_namespace(room.project),
             "demo-hub": hub_namespace("demo"), "demo-ws": workspace_namespace("demo")}  # fmt: skip
    namespace, _, name = account.partition(":")
    reviews = [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": whose.get(one, one)},
        }
        for one in SEEN_FROM
    ]
    status, text = kubectl(
        "create", "-f", "-", "-o", "json",
        given=json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews}),
        as_account=f"{whose.get(namespace, namespace)}:{name}",
    )  # fmt: skip
    assert status == 0, text
    answers = [json.loads(one)["status"] for one in re.split(r"(?<=^}\n)", text, flags=re.MULTILINE) if one]
    for where, answer in zip(SEEN_FROM, answers, strict=True):
        may = {
            (resource, " ".join(sorted(rule["verbs"])))
            for rule in answer["resourceRules"] for resource in rule["resources"]
        }  # fmt: skip
        assert not answer["incomplete"]
        assert may == ANYBODY | RIGHTS[account].get(where, set()) | RIGHTS[account].get("", set()), where
        verbs = {verb for rule in answer["nonResourceRules"] for verb in rule["verbs"]}
        assert verbs == {"get"}


# --- identified data --------------------------------------------------------------------------------------------------
def test_the_volumes_of_identified_data_belong_to_the_quarantine_alone(inside: Inside) -> None:
    """A claim is used in its own namespace only, and each of these volumes is bound, by uid, to one claim of `rr-quarantine`."""
    volumes = listed("pv")["items"]
    claims = {one["metadata"]["name"]: one for one in listed("pvc", "-n", QUARANTINE)["items"]}
    assert {"inbox", "landing", "receipts", f"warehouse-{inside.room.project}"} <= set(claims)
    by_folder: dict[str, set[str]] = {}
    for one in volumes:
        assert "local" in one["spec"], "no other kind of volume exists"
        by_folder.setdefault(one["spec"]["local"]["path"], set()).add(one["metadata"]["name"])
    for name, claim in claims.items():
        (bound,) = [one for one in volumes if one["metadata"]["name"] == claim["spec"]["volumeName"]]
        assert by_folder[bound["spec"]["local"]["path"]] == {bound["metadata"]["name"]}, "one volume for each folder"
        assert bound["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"], name
    everywhere = listed("pvc", "-A")["items"]
    taken = {one["spec"]["volumeName"] for one in claims.values()}
    assert not [
        one for one in everywhere if one["metadata"]["namespace"] != QUARANTINE and one["spec"]["volumeName"] in taken
    ]


@pytest.mark.parametrize("where", ["own-hub", "own-ws", "rr-system", "rr-quarantine"])
def test_not_even_the_deployer_mounts_the_folder_itself(inside: Inside, where: str) -> None:
    """The twin is the same pod without that volume: refused for nothing, but in `p-…-ws`, where it is no workspace."""
    whose = {"own-hub": hub_namespace(inside.room.project), "own-ws": workspace_namespace(inside.room.project)}
    pod = right_pod(inside)
    pod["metadata"] = {"name": "plain", "namespace": whose.get(where, where)}
    pod["spec"].update(volumes=[], serviceAccountName="default")
    pod["spec"]["containers"][0]["volumeMounts"] = []

    def say() -> tuple[int, str]:
        return kubectl("create", "--dry-run=server", "-f", "-", given=json.dumps(pod), deployer=True)

    if where != "own-ws":
        assert say()[0] == 0, say()[1]
    pod["spec"]["volumes"] = [{"name": "x", "hostPath": {"path": str(places.volume("inbox"))}}]
    status, text = say()
    assert status == 1
    assert "hostPath" in text or "host path" in text
