"""The other tools, each as its makers ship it and each as well set up as we can: whole processes that take a folder and fill
one, measured alike.

Set up means: what its documentation offers against leaks, switched on, and, where it takes a list of elements to remove, told
every public element that stands in the input and that no profile of ours keeps, and to empty what ours empty or replace.

They are for the bench alone: an environment of their own in the cache, pinned by hash (`peers.txt`, made from `peers.in`
with `uv pip compile --generate-hashes`), and two Debian packages. None is ever part of the product. A tool that is not to
be had here is named with the reason.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom

from infra import places
from tests.unit.deid.engine import resolved

PINNED = Path(__file__).with_name("peers.txt")
CORE = max(os.sched_getaffinity(0))  # all tools on one, the bench beside them
PATIENCE = 900  # seconds for a pass
ONE_FILE = 5  # and for one file, where a tool gets them one by one
# The Python tools stop at the first file that they cannot take. So that one bad file does not count for all: again, file by file.
ONE_BY_ONE = """
import pathlib, sys
{load}
source, target, work = map(pathlib.Path, sys.argv[1:])
for path in sorted(source.iterdir()):
    try:
        {call}
    except (Exception, SystemExit):
        pass
"""
PYTHON = {
    "dicognito": (
        ["-m", "dicognito", "{in}", "-o", "{out}", "-q"],
        "from dicognito.__main__ import main",
        'main([str(path), "-o", str(target), "-q", "--seed", "bench"])',
    ),
    "dicom-anonymizer": (
        ["-m", "dicomanonymizer.anonymizer", "{in}", "{out}"],
        "from dicomanonymizer.anonymizer import anonymize",
        "anonymize(str(path), str(target), {}, True)",
    ),
    "deid": (
        [
            "-c",
            "from deid.main import main; main()",
            "--quiet",
            "-o",
            "{out}",
            "identifiers",
            "--input",
            "{in}",
            "--action",
            "all",
        ],
        "from deid.dicom import get_identifiers as ids, replace_identifiers as put",
        "put([str(path)], ids=ids([str(path)]), save=True, output_folder=str(target), overwrite=True)",
    ),
}

GUARDED = ["--assume-burned-in-annotation", "if-yes", "--on-burned-in-annotation", "fail"]
SET_UP = {
    "dicognito": (
        [*PYTHON["dicognito"][0], *GUARDED],
        PYTHON["dicognito"][1],
        f'main([str(path), "-o", str(target), "-q", "--seed", "bench", *{GUARDED}])',
    ),
    "dicom-anonymizer": (
        [*PYTHON["dicom-anonymizer"][0], "--dictionary", "{work}/rules.json"],
        "from dicomanonymizer.anonymizer import main",
        'sys.argv = ["", str(path), str(target), "--dictionary", str(work / "rules.json")]; main()',
    ),
    "deid": (
        [],  # its command knows none of these
        "from deid.dicom import DicomCleaner, replace_identifiers as put",
        'DicomCleaner().detect(str(path))["flagged"] or put([str(path)], deid=str(work / "recipe.deid"), save=True, '
        "output_folder=str(target), overwrite=True, strip_sequences=True, remove_private=True)",
    ),
}
DEID_RECIPE = """FORMAT dicom

%header

{lines}
BLANK PatientName
REPLACE PatientID deid_func:pydicom_uuid
REPLACE StudyInstanceUID deid_func:pydicom_uuid
REPLACE SeriesInstanceUID deid_func:pydicom_uuid
REPLACE SOPInstanceUID deid_func:pydicom_uuid
REPLACE MediaStorageSOPInstanceUID deid_func:pydicom_uuid
REPLACE FrameOfReferenceUID deid_func:pydicom_uuid
JITTER StudyDate -1000
JITTER SeriesDate -1000
JITTER AcquisitionDate -1000
JITTER ContentDate -1000
"""


@dataclass(frozen=True)
class Cost:
    """What one pass took: processor seconds of all its processes, seconds by the clock, and the largest process."""

    cpu: float
    seconds: float
    peak: int  # bytes


@dataclass(frozen=True)
class Tool:
    """A tool, which of it, and one pass over a folder. Raises `AssertionError` when it ends badly."""

    name: str
    version: str
    run: Callable[[Path, Path, Path], Cost]  # from, to, a folder to work in


class AbsentError(Exception):
    """Why a tool is not to be had."""


def tools() -> tuple[list[Tool], list[Tool], dict[str, str]]:
    """Ours first, then all that can be had, as shipped; the same set up; and why the others cannot be had."""
    python, why = environment()
    shipped, absent = _had(
        {
            "ours": ours,
            **{name: lambda name=name: _python(python, why, name, PYTHON[name]) for name in PYTHON},
            "gdcmanon": gdcmanon,
            "Orthanc": orthanc,
        }
    )
    prepared, _ = _had(
        {
            **{name: lambda name=name: _python(python, why, name, SET_UP[name]) for name in PYTHON},
            "gdcmanon": gdcmanon_set_up,
            "Orthanc": lambda: orthanc(set_up=True),
        }
    )
    return shipped, [replace(tool, name=f"{tool.name}, set up") for tool in prepared], absent


def _had(makers: Mapping[str, Callable[[], Tool]]) -> tuple[list[Tool], dict[str, str]]:
    found: list[Tool] = []
    absent: dict[str, str] = {}
    for name, make in makers.items():
        try:
            found.append(make())
        except AbsentError as error:
            absent[name] = str(error)
    return found, absent


def unwanted(source: Path) -> tuple[list[int], list[int]]:
    """Public elements at the top of any input: to remove, because no profile of ours keeps them, and to empty.

    The patient's name and number are left to the tool.
    """
    profiles = resolved().document["profiles"]
    rules = {int(tag, 16): rule["do"] for profile in profiles for tag, rule in profile["elements"].items()}
    found: set[int] = set()
    for path in source.iterdir():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found.update(map(int, pydicom.dcmread(path, stop_before_pixels=True, force=True).keys()))
            except Exception:  # noqa: BLE001, S112 (damaged files are a part of the tree)
                continue
    public = sorted(tag for tag in found - {0x7FE00010, 0x00100010, 0x00100020} if not tag >> 16 & 1)
    removed = [tag for tag in public if tag not in rules]
    return removed, [tag for tag in public if rules.get(tag) in {"empty", "pseudonym"}]


def _rules(source: Path, work: Path) -> None:
    removed, emptied = unwanted(source)
    actions = {**dict.fromkeys(removed, "delete"), **dict.fromkeys(emptied, "empty")}
    rules = {f"(0x{tag >> 16:04x}, 0x{tag & 0xFFFF:04x})": action for tag, action in actions.items()}
    (work / "rules.json").write_text(json.dumps(rules))
    lines = [f"REMOVE {tag:08x}" for tag in removed] + [f"BLANK {tag:08x}" for tag in emptied]
    (work / "recipe.deid").write_text(DEID_RECIPE.format(lines="\n".join(lines)))


def environment() -> tuple[Path, str]:
    """The Python of the pinned peers, made once in the cache, and why there is none."""
    folder = places.cache("bench-peers") / hashlib.sha256(PINNED.read_bytes()).hexdigest()[:16]
    python, uv = folder / "bin" / "python", str(Path(sys.executable).with_name("uv"))
    if python.exists():
        return python, ""
    shutil.rmtree(folder, ignore_errors=True)
    draft = folder.with_name(f"{folder.name}.{os.getpid()}")
    install = [uv, "pip", "install", "-q", "--require-hashes", "--only-binary", ":all:", "-r", str(PINNED), "--python"]
    for command in ([uv, "venv", "-q", "--python", "/usr/bin/python3", str(draft)], [*install, str(draft)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        if done.returncode:
            shutil.rmtree(draft, ignore_errors=True)
            return python, f"the pinned packages cannot be installed: {done.stderr.strip()[-200:]}"
    draft.rename(folder)
    return python, ""


def _python(python: Path, why: str, package: str, how: tuple[list[str], str, str]) -> Tool:
    if why:
        raise AbsentError(why)
    version = _said(str(python), "-c", f"from importlib.metadata import version; print(version({package!r}))")
    arguments, load, call = how
    one_by_one = ONE_BY_ONE.replace("{load}", load).replace("{call}", call)

    def run(source: Path, target: Path, work: Path) -> Cost:
        if how is SET_UP[package]:
            _rules(source, work)
        places_of = {"{in}": str(source), "{out}": str(target), "{work}/rules.json": str(work / "rules.json")}
        try:
            assert arguments
            return spent([str(python), *(places_of.get(each, each) for each in arguments)])
        except AssertionError:
            return spent([str(python), "-c", one_by_one, str(source), str(target), str(work)])

    return Tool(package, version, run)


def ours() -> Tool:
    """`readingroom deid --jobs 1`: with its verifier, its pixel gate and its manifest, because there is no other way."""
    command = str(Path(sys.executable).with_name("readingroom"))

    def run(source: Path, target: Path, work: Path) -> Cost:
        (work / "key").write_bytes(bytes(range(32)))
        return spent(
            [
                command,
                "deid",
                str(source),
                str(target),
                "--project",
                "bench",
                "--key-file",
                str(work / "key"),
                "--jobs",
                "1",
            ]
        )

    return Tool("ours", "this checkout", run)


def gdcmanon() -> Tool:
    """GDCM's command, with a certificate, which it wants even to forget. On some damaged files it does not end."""
    program = shutil.which("gdcmanon") or _debian("libgdcm-tools", "gdcmanon")

    def run(source: Path, target: Path, work: Path) -> Cost:
        key, certificate = work / "key.pem", work / "certificate.pem"
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bench", "-days", "1"]
        _said(*request, "-keyout", str(key), "-out", str(certificate))
        command = [program, "-e", "-k", str(key), "-c", str(certificate)]
        try:
            return spent([*command, "-i", str(source), "-o", str(target), "-r", "--continue"], seconds=60)
        except AssertionError:
            return _one_by_one(command, source, target)

    return Tool("gdcmanon", _debian_version("libgdcm-tools"), run)


def gdcmanon_set_up() -> Tool:
    """Its two modes one after the other: the profile, then a list of elements to remove."""
    shipped = gdcmanon()
    program = shutil.which("gdcmanon") or "gdcmanon"

    def run(source: Path, target: Path, work: Path) -> Cost:
        between = work / "between"
        between.mkdir()
        first = shipped.run(source, between, work)
        both = zip(("--remove", "--empty"), unwanted(source), strict=True)
        words = [word for what, tags in both for tag in tags for word in (what, f"{tag >> 16:x},{tag & 0xFFFF:x}")]
        second = _one_by_one([program, "--dumb", *words], between, target)
        return Cost(first.cpu + second.cpu, first.seconds + second.seconds, max(first.peak, second.peak))

    return replace(shipped, run=run)


def _one_by_one(command: Sequence[str], source: Path, target: Path) -> Cost:
    costs = [Cost(0, 0, 0)]
    for path in sorted(source.iterdir()):
        try:
            costs.append(spent([*command, "-i", str(path), "-o", str(target / path.name)], seconds=ONE_FILE))
        except AssertionError:
            (target / path.name).unlink(missing_ok=True)
    return Cost(sum(each.cpu for each in costs), sum(each.seconds for each in costs), max(each.peak for each in costs))


def orthanc(*, set_up: bool = False) -> Tool:
    """Orthanc on loopback: each file sent, anonymised by its REST call, written and deleted. Counted is the server alone."""
    program = shutil.which("Orthanc") or _debian("orthanc", "Orthanc")

    def run(source: Path, target: Path, work: Path) -> Cost:
        removed, emptied = ([f"{tag >> 16:04x}-{tag & 0xFFFF:04x}" for tag in tags] for tags in unwanted(source))
        told = {**dict.fromkeys(emptied, ""), "DeidentificationMethod": "PS3.15 basic profile and a list"}
        wish = {"Remove": removed, "Replace": told} if set_up else {}
        return _served(program, source, target, work, json.dumps(wish).encode())

    return Tool("Orthanc", _debian_version("orthanc"), run)


def _served(program: str, source: Path, target: Path, work: Path, wish: bytes) -> Cost:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "Name": "bench",
        "StorageDirectory": str(work / "db"),
        "IndexDirectory": str(work / "db"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [],
        "OverwriteInstances": True,
        "HttpBindAddresses": ["127.0.0.1"],
    }
    (work / "orthanc.json").write_text(json.dumps(settings))
    started = subprocess.Popen(
        [*_pinned(), program, str(work / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    base, since = f"http://127.0.0.1:{port}", 0.0
    try:
        _until_up(f"{base}/system")
        since = time.monotonic()
        for number, path in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
            _one(base, path.read_bytes(), target / f"{number:06d}.dcm", wish)
        seconds = time.monotonic() - since
    finally:
        started.terminate()
        _, _, used = os.wait4(started.pid, 0)
        started.returncode = 0
    return Cost(used.ru_utime + used.ru_stime, seconds, used.ru_maxrss << 10)


def _one(base: str, data: bytes, target: Path, wish: bytes) -> None:
    """One file through the server; what it refuses is not written."""
    try:
        stored = json.loads(_ask("POST", f"{base}/instances", data))
        target.write_bytes(_ask("POST", f"{base}/instances/{stored['ID']}/anonymize", wish))
        _ask("DELETE", f"{base}/instances/{stored['ID']}", None)
    except (OSError, KeyError):
        target.unlink(missing_ok=True)


def _ask(method: str, url: str, body: bytes | None) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, data=body, method=method), timeout=PATIENCE) as answer:  # noqa: S310
        return bytes(answer.read())


def _until_up(url: str) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            _ask("GET", url, None)
        except OSError:
            assert time.monotonic() < end, "Orthanc does not answer"
            time.sleep(0.1)
        else:
            return


def spent(command: Sequence[str], seconds: float = PATIENCE) -> Cost:
    """A command on the one core, to its end, with the processes that it waits for."""
    since = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([*_pinned(), *command], stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        late = threading.Timer(seconds, process.kill)
        late.start()
        _, status, used = os.wait4(process.pid, 0)
        late.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        assert process.returncode == 0, f"{command[0]}: status {process.returncode}: {said.read()[-300:]!r}"
    return Cost(used.ru_utime + used.ru_stime, time.monotonic() - since, used.ru_maxrss << 10)


def _pinned() -> list[str]:
    return ["taskset", "-c", str(CORE)]


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, f"{command[0]}: {done.stderr[-300:]}"
    return done.stdout.strip()


def _debian(package: str, program: str) -> str:
    """Installs a Debian package without starting what it would start by itself."""
    if os.getuid():
        raise AbsentError(f"Debian's {package} is not installed, and this is not root")
    command = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", package]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False, timeout=PATIENCE)
    if done.returncode or not (found := shutil.which(program)):
        raise AbsentError(f"Debian's {package} cannot be installed: {done.stderr.strip()[-200:]}")
    return found


def _debian_version(package: str) -> str:
    return _said("dpkg-query", "-W", "-f=${Version}", package)
