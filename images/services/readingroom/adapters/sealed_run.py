"""A stranger's program beside data that it may read and must not tell of: one run, sealed, on one machine.

Inside are namespaces of its own for mounts, processes, network, names and IPC, and a root of its own: the system's libraries, the
interpreter, the submission and the cases, all read-only, and one scratch folder in memory. No network, no other program, no user
that owns anything, no pipe to the outside. What it prints goes nowhere. Once its main process has ended, or a limit is passed,
all its processes are killed, and one file is read, `predictions.csv`. Its bytes are a stranger's: nothing here parses them.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import runpy
import secrets
import selectors
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from readingroom.adapters.confined import filtered
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.evaluation.plan import Costs
from readingroom.domain.evaluation.predictions import Reason, Unusable

PROGRAM, NOTEBOOK = "predict.py", "predict.ipynb"
SUBMISSION: Final = "/cases/submission"
SCRATCH: Final = "/scratch"
PREDICTIONS: Final = "predictions.csv"
CASES: Final = "cases.csv"
OPEN_FILES: Final = 256
_FAILED, _NONE, _UNSEALED = 10, 11, 12  # exit statuses of the first process inside
_PATIENCE: Final = 30.0  # seconds that the end of all processes inside may take
_PAUSE: Final = 0.05  # seconds between two looks at what a run costs
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
_DETACH, _SET_PDEATHSIG, SET_DUMPABLE = 2, 1, 4
_FIRST_USER: Final = 0x70000000  # no system gives its people numbers from here on
_DEVICES: Final = ("null", "zero", "random", "urandom")
_LINKS: Final = ("bin", "lib", "lib64")  # on a merged system; of a folder of that name it is bound instead


def run_sealed(folder: Path, images: Path, costs: Costs, largest: int) -> bytes:
    """The bytes of the predictions, at most `largest` and one more. Raises `Unusable` for a run that gave none.

    In `folder/cases` the caller has put `submission/` and `cases.csv`, which anybody may read, as well as `images`; `folder/root`
    is made here. Raises `WrongSetUp` where processes may not be sealed.
    """
    (folder / "root").mkdir(exist_ok=True)
    reading, writing = os.pipe()
    setup = {
        "folder": str(folder.resolve()),
        "images": str(images.resolve()),
        "memory": costs.memory,
        "scratch": costs.scratch,
        "processes": costs.processes,
        "seconds": costs.seconds,
        "largest": largest,
    }
    code = (
        f"from readingroom.adapters.sealed_run import outside; outside({writing}, {os.getpid()}, {json.dumps(setup)!r})"
    )
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            pass_fds=[writing],
            start_new_session=True,
        )
    finally:
        os.close(writing)
    try:
        content = _watched(process, reading, costs, largest)
    finally:
        status = _ended(process)
        os.close(reading)
    if status == _UNSEALED:
        raise WrongSetUp(
            what="evaluation",
            why="a process cannot be sealed here",
            next_step="run it as root, or where users may have namespaces",
        )
    if status == _NONE:
        raise Unusable(Reason.NO_PREDICTIONS)
    if status != 0:
        raise Unusable(Reason.FAILED)
    return content


def _ended(process: subprocess.Popen[bytes]) -> int:
    """The exit status, once nobody is left inside."""
    process.terminate()
    try:
        return process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()  # the first process inside dies with it, and all others with that one
        return process.wait()


def _watched(process: subprocess.Popen[bytes], reading: int, costs: Costs, largest: int) -> bytes:
    content = bytearray()
    deadline = time.monotonic() + costs.seconds
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        while len(content) <= largest:
            if selector.select(_PAUSE):
                piece = os.read(reading, 1 << 16)
                if not piece:
                    break
                content += piece
            if time.monotonic() > deadline:
                raise Unusable(Reason.TIME_OUT)
            if _resident(process.pid) > costs.memory + costs.scratch:
                raise Unusable(Reason.OVER_LIMIT)
    try:
        process.wait(max(_PAUSE, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise Unusable(Reason.TIME_OUT) from error
    return bytes(content)


def _resident(root: int) -> int:
    """Bytes that a process and all below it hold; what two of them share counts twice."""
    parents: dict[int, list[int]] = {}
    pages: dict[int, int] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 (names, many times a second)
        if entry.isdecimal():
            try:
                fields = (
                    Path("/proc", entry, "stat")
                    .read_text(encoding="ascii", errors="replace")
                    .rpartition(")")[2]
                    .split()
                )
            except OSError:
                continue  # gone meanwhile
            parents.setdefault(int(fields[1]), []).append(int(entry))
            pages[int(entry)] = int(fields[21])
    waiting, found = [root], 0
    while waiting:
        process = waiting.pop()
        found += pages.get(process, 0)
        waiting += parents.get(process, ())
    return found * resource.getpagesize()


def outside(writing: int, parent: int, setup: str) -> None:
    """The life of the process between: it has the namespaces made, waits for the first process in them, and says how it ended."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(_UNSEALED)
    root, user, group = os.geteuid() == 0, os.geteuid(), os.getegid()
    spaces = _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS
    if libc.unshare(spaces if root else spaces | _NEWUSER) != 0:
        raise SystemExit(_UNSEALED)
    if not root:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", name).write_text(text, encoding="ascii")
    first = os.fork()
    if first:
        os.close(writing)
        signal.signal(
            signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL)
        )  # its end is everybody's, and is waited for
        os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) & 0xFF)
    status = _UNSEALED
    try:
        status = _first(libc, writing, json.loads(setup), drop=root)
    finally:
        os._exit(status)


def _first(libc: ctypes.CDLL, writing: int, setup: Mapping[str, Any], *, drop: bool) -> int:
    """The first process inside: it builds the room, starts the submission, ends everything, and hands the predictions over."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what a first process handles, its neighbours could send it
    _build(libc, setup)
    if drop:
        os.setgroups([])
        nobody = _FIRST_USER + secrets.randbelow(1 << 24)
        os.setresgid(nobody, nobody, nobody)
        os.setresuid(nobody, nobody, nobody)
    _without_capabilities(libc)
    libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of user forgets it
    libc.prctl(SET_DUMPABLE, 0, 0, 0, 0)
    limit(setup)
    if run_submission(libc, writing) != 0:
        return _FAILED
    content = plain_file(Path(SCRATCH), setup["largest"])
    if content is None:
        return _NONE
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(content)
    return 0


def run_submission(libc: ctypes.CDLL, *closed: int) -> int:
    """Starts the main process of a submission, without these descriptors, and gives its status, once nobody else is left here.

    Only a first process may: what it ends is everybody.
    """
    if os.getpid() != 1:
        raise RuntimeError("not the first process of its namespace")
    main = os.fork()
    if not main:
        for descriptor in closed:
            os.close(descriptor)
        _submission(libc)
    _, status = os.waitpid(main, 0)
    _end_all()
    return status


def _build(libc: ctypes.CDLL, setup: Mapping[str, Any]) -> None:
    """A root that holds what a run needs, read-only but for the scratch folder. Raises `OSError` where it cannot be built."""
    folder = Path(setup["folder"])
    root, plain = folder / "root", _MS_NOSUID | _MS_NODEV
    _mount(libc, "", Path("/"), _MS_REC | _MS_PRIVATE)
    os.umask(0o022)
    _mount(libc, "tmpfs", root, plain, "size=1m,mode=0755")
    _bind_system(libc, root)
    (root / "dev/shm").symlink_to(SCRATCH)
    _bind(libc, folder / "cases", root / "cases", plain)
    _bind(libc, Path(setup["images"]), root / "images", plain)
    (root / "scratch").mkdir()
    _mount(libc, "tmpfs", root / "scratch", plain, f"size={setup['scratch']},nr_inodes=10000,mode=1777")
    (root / "old").mkdir()
    if libc.syscall(_PIVOT_ROOT[os.uname().machine], os.fsencode(root), os.fsencode(root / "old")) != 0:
        raise OSError(ctypes.get_errno(), "pivot_root")
    os.chdir("/")
    if libc.umount2(b"/old", _DETACH) != 0:
        raise OSError(ctypes.get_errno(), "umount")
    _mount(libc, "", Path("/"), _MS_REMOUNT | _MS_RDONLY | plain)


def _bind_system(libc: ctypes.CDLL, root: Path) -> None:
    """The interpreter and the system's libraries, at their own places, and four devices that tell and keep nothing."""
    usr = Path("/usr")
    there = {usr, *(place for place in (Path(sys.base_prefix), Path(sys.prefix)) if not place.is_relative_to(usr))}
    for place in (*there, *(Path("/", name) for name in _LINKS)):
        if place.is_symlink():
            (root / place.name).symlink_to(place.readlink())
        elif place.is_dir():
            _bind(libc, place, root / place.relative_to("/"), _MS_NOSUID | _MS_NODEV)
    for name in _DEVICES:
        _bind(libc, Path("/dev", name), root / "dev" / name, _MS_NOSUID)


def _bind(libc: ctypes.CDLL, source: Path, target: Path, flags: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    _mount(libc, str(source), target, _MS_BIND)
    _mount(libc, "", target, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | flags)


def _mount(libc: ctypes.CDLL, source: str, target: Path, flags: int, options: str = "") -> None:
    kind, given = (source if options else "").encode(), options.encode()
    if libc.mount(source.encode(), os.fsencode(target), kind, ctypes.c_ulong(flags), given) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def _without_capabilities(libc: ctypes.CDLL) -> None:
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if libc.capset(head, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def limit(setup: Mapping[str, Any]) -> None:
    """What each process from here on may take."""
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, setup["memory"]),
        (resource.RLIMIT_CPU, setup["seconds"] * 64),
        (resource.RLIMIT_FSIZE, setup["scratch"]),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_NPROC, setup["processes"] + 1),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(what, (most, most))


def _submission(libc: ctypes.CDLL) -> None:
    """The main process of the submission; it does not come back."""
    status = 1
    try:
        os.setsid()
        os.nice(10)
        os.chdir(SCRATCH)
        os.environ.clear()
        os.environ.update(HOME=SCRATCH, TMPDIR=SCRATCH, LANG="C.UTF-8", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
        program = f"{SUBMISSION}/{PROGRAM}"
        sys.argv, sys.path = [program], [SUBMISSION, *sys.path]
        if filtered(libc, stranger=True):
            if os.path.exists(program):  # noqa: PTH110 (one call less that a stranger could have replaced)
                runpy.run_path(program, run_name="__main__")
            else:
                exec(compile(_cells(), NOTEBOOK, "exec"), {"__name__": "__main__"})  # noqa: S102 (sealed: this is what it is for)
            status = 0
    except SystemExit as end:
        status = 0 if end.code in (None, 0) else 1
    except BaseException:  # noqa: BLE001 (the process edge: whatever a stranger's program raises, it says nothing)
        status = 1
    finally:
        os._exit(status)


def _cells() -> str:
    """The code of a notebook, from top to bottom. A line of IPython's own is no Python, and ends the run."""
    cells = json.loads(Path(f"{SUBMISSION}/{NOTEBOOK}").read_bytes())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def _end_all() -> None:
    """Nobody else is left inside."""
    try:
        os.kill(-1, signal.SIGKILL)
        while True:
            os.waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def plain_file(scratch: Path, largest: int, name: str = PREDICTIONS) -> bytes | None:
    """The bytes of the predictions, never more than one too many; None for whatever is no plain file."""
    try:
        descriptor = os.open(scratch / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(largest + 1)
