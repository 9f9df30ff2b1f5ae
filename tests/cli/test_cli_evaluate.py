"""`readingroom evaluate`: honest submissions get figures, hostile ones a word; a question is spent once, whatever happens."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from readingroom.adapters import pod_run, sealed_run
from readingroom.adapters.clinical_policy import clinical_policy
from readingroom.adapters.evaluation_files import MemoryFolder, plan_named
from readingroom.adapters.sealed_run import run_sealed
from readingroom.adapters.submission import RUNS, SubmissionRoom, run_folder
from readingroom.application.evaluate import evaluate
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.evaluation.budget import Spent
from readingroom.domain.evaluation.plan import Costs
from readingroom.domain.evaluation.predictions import Reason, Scores, Unusable
from readingroom.domain.ids import project_id
from readingroom.entrypoints.settings import policies_folder
from tests.cli import evaluations as made
from tests.cli.command import Done, one_line, run, start
from tests.mortal import mortal
from tests.unit.clinical.engine import record
from tests.unit.data.stopping import stops
from tests.unit.optout.people import UID, image

HELD = [f"{kind}{number}".encode() for number in range(made.PATIENTS) for kind in ("SECRET", "pixels of P")]
# What a stranger may not: each line fills `got` if it gets through.
TRIES = """
import ctypes, os, signal, socket, sys
got, libc = [], ctypes.CDLL(None, use_errno=True)
def tried(name, call):
    try:
        found = call()
    except BaseException:
        return
    if found not in (None, -1, False):
        got.append(name)
def there(*places):
    return [place for place in places if os.path.exists(place)]
tried("socket", lambda: socket.socket())
tried("unix socket", lambda: socket.socket(socket.AF_UNIX))
tried("labels", lambda: there("/cases/clinical.csv", "/images/../clinical.csv", "/clinical.csv", "/manifest.jsonl") or None)
tried("the host", lambda: there("/root", "/home", "/etc", "/var", "/proc", "/sys", "/run", "/old/usr") or None)
tried("parent's folder", lambda: there(*PLACES) or None)
tried("program", lambda: os.execv("/usr/bin/id", ["id"]))
tried("system", lambda: os.system("true") == 0)
for place in ("/cases/cases.csv", "/images/x", "/cases/submission/predict.py", "/x", "/usr/x", "/dev/x"):
    tried("write " + place, lambda: open(place, "ab"))
for number in (272, 308, 165, 155, 101):  # unshare, setns, mount, pivot_root, ptrace
    tried(number, lambda: libc.syscall(number, 0x10000000, 0, 0, 0, 0))
tried("memory file", lambda: os.memfd_create("x"))
tried("shared memory", lambda: libc.shmget(0, 4096, 0o1600))
tried("clone", lambda: libc.syscall(56, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0))
tried("own id", lambda: os.setuid(0))
tried("first process", lambda: os.ptrace)
os.kill(1, signal.SIGKILL); os.kill(1, signal.SIGINT); os.kill(1, signal.SIGTERM)
for other in range(3, 400):
    tried("kill", lambda: os.kill(other, 0) or True)
for descriptor in range(3, 256):
    tried("descriptor", lambda: os.fstat(descriptor))
print("SECRET on the way out", file=sys.stderr); print("SECRET on the way out")
open("predictions.csv", "w").write(",".join(map(str, got)))
"""
HOSTILE = {
    "never ends": ("while True: pass", Reason.TIME_OUT),
    "waits": ("import time; time.sleep(1000)", Reason.TIME_OUT),
    "stops itself": ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", Reason.TIME_OUT),
    "forks on": ("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", Reason.TIME_OUT),
    "takes all memory": ("import os, time\n[os.fork() for _ in 'abc']\nx = b'x' * 50000000\ntime.sleep(9)", Reason.OVER_LIMIT),
    "takes memory": ("x = bytearray(1 << 40)", Reason.FAILED),
    "fills the disk": ("f = open('x', 'wb')\nwhile True: f.write(bytes(1 << 20))", Reason.FAILED),
    "fills the names": ("for n in range(10**6): open(str(n), 'wb')", Reason.FAILED),
    "raises": ("raise ValueError('SECRET')", Reason.FAILED),
    "exits": ("raise SystemExit(3)", Reason.FAILED),
    "kills itself": ("import os; os.kill(os.getpid(), 9)", Reason.FAILED),
    "no Python": ("%matplotlib inline", Reason.FAILED),
    "writes nothing": ("pass", Reason.NO_PREDICTIONS),
    "a link": ("import os; os.symlink('/cases/cases.csv', 'predictions.csv')", Reason.NO_PREDICTIONS),
    "a second name": ("import os; open('x', 'w'); os.link('x', 'predictions.csv')", Reason.NO_PREDICTIONS),
    "a pipe": ("import os; os.mkfifo('predictions.csv')", Reason.NO_PREDICTIONS),
    "a folder": ("import os; os.mkdir('predictions.csv')", Reason.NO_PREDICTIONS),
}  # fmt: skip


def costs(**changes: int) -> Costs:
    given = {"seconds": 20, "memory": 512 << 20, "scratch": 16 << 20, "processes": 16, "submission": 4 << 20}
    return Costs(**{**given, **changes})


def sealed(folder: Path, code: str, largest: int = 10_000, **changes: int) -> bytes:
    """What comes of a program beside one image."""
    made.submission(folder / "cases/submission", code)
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / "1.dcm").write_bytes(b"image")
    (folder / "cases/cases.csv").write_text("case,image\n")
    folder.chmod(0o700)
    return run_sealed(folder, folder / "images", costs(**changes), largest)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_submission_gets_a_word_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    code, reason = HOSTILE[name]
    seconds = 2 if reason is Reason.TIME_OUT else 20
    memory = 128 << 20 if reason is Reason.OVER_LIMIT else 512 << 20
    began = time.monotonic()
    with pytest.raises(Unusable) as found:
        sealed(tmp_path, code, seconds=seconds, memory=memory)
    assert found.value.reason is reason
    assert time.monotonic() - began < seconds + 5
    assert not list((tmp_path / "root").iterdir())
    assert not [process for process in _processes() if str(tmp_path) in process]


def _processes() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                found.append((entry / "cmdline").read_text(errors="replace"))
            except OSError:
                continue
    return found


def _child_of(entry: Path, parent: int) -> bool:
    try:
        return entry.name.isdecimal() and f"\nPPid:\t{parent}\n" in (entry / "status").read_text()
    except OSError:
        return False


def test_a_stranger_reads_the_cases_and_nothing_else_gets_through(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Both halves: what it should read and write works beside it."""
    places = [str(tmp_path), str(Path(__file__).parent), str(Path(sealed_run.__file__).parent)]
    assert sealed(tmp_path, f"PLACES = {places!r}\n{TRIES}") == b""
    assert capfd.readouterr() == ("", "")
    read = "open('predictions.csv', 'wb').write(open('/images/1.dcm', 'rb').read())"
    assert sealed(tmp_path, read) == b"image"
    spread = "import multiprocessing as m\nwith m.Pool(2) as p: x = p.map(abs, [-4, -2])"
    spread += "\nopen('predictions.csv', 'w').write(str(x))"
    assert sealed(tmp_path, spread) == b"[4, 2]"
    assert (
        sealed(tmp_path, "import numpy, pydicom; open('predictions.csv','w').write(str(numpy.ones(3).sum()))") == b"3.0"
    )


def test_one_who_stays_behind_is_ended_before_the_file_is_read(tmp_path: Path) -> None:
    stays = "  os.setsid()\n  while True: open('predictions.csv', 'a').write('x')"
    code = f"import os, time\nif os.fork() == 0:\n{stays}\ntime.sleep(.2)"
    assert len(sealed(tmp_path, code, largest=100)) == 101  # cut off: one byte too many says so


def test_no_more_is_read_than_was_asked_for(tmp_path: Path) -> None:
    assert len(sealed(tmp_path, "open('predictions.csv', 'wb').truncate(15 << 20)", largest=100)) == 101


def test_the_run_ends_with_who_asked_for_it(tmp_path: Path) -> None:
    made.submission(tmp_path / "cases/submission", "import time; time.sleep(100)")
    (tmp_path / "images").mkdir()
    code = f"""
from pathlib import Path
from readingroom.adapters.sealed_run import run_sealed
from readingroom.domain.evaluation.plan import Costs
run_sealed(Path({str(tmp_path)!r}), Path({str(tmp_path / "images")!r}), {costs(seconds=100)!r}, 10)
"""
    deadline = time.monotonic() + 20

    def inside() -> int:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        return sum("outside(" in each and str(tmp_path) in each for each in _processes())

    with subprocess.Popen([sys.executable, "-c", code]) as asker:
        try:
            while inside() < 3:  # between, first, and the submission's own
                pass
            between = next(entry for entry in Path("/proc").iterdir() if _child_of(entry, asker.pid))
            for space in ("net", "mnt", "ipc", "uts", "pid_for_children"):
                assert (between / "ns" / space).readlink() != (Path("/proc/self/ns") / space).readlink(), space
        finally:
            asker.kill()
    while inside():
        pass


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hold-out and a plan."""
    made.storage(tmp_path / "h")
    monkeypatch.setenv("RR_POLICIES", str(made.policies(tmp_path / "policies")))
    return tmp_path


def asking(work: Path, *more: object, code: str = made.HONEST, out: str = "out", by: Any = run, **given: Any) -> Done:
    submission = made.submission(work / "s", code, given.get("name", "predict.py"))
    words = ("--project", given.get("project", "demo"), "--plan", given.get("plan", "small"), "--holdout", work / "h")
    done: Done = by("evaluate", given.get("submission", submission), *words, "--out", work / out, *more)
    return done


def told(done: Done) -> Mapping[str, Any]:
    assert done.returncode == 0, done.stderr
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def test_an_honest_submission_gets_figures_a_page_and_a_receipt_once(asked: Path) -> None:
    done = asking(asked, by=start)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "covid"
    assert done.stdout.splitlines()[-1] == "one question is spent; left: 1 now, 1 in all"
    report = json.loads((asked / "out/report.json").read_text())
    overall = report["tasks"]["covid"]["overall"]
    assert (overall["cases"], overall["positives"], overall["negatives"]) == (60, 30, 30)
    assert 0.6 <= overall["auroc"]["low"] <= overall["auroc"]["value"] <= overall["auroc"]["high"] <= 1
    receipt = json.loads((asked / "out/receipt.json").read_text())
    assert receipt["submission_sha256"] == report["submission_sha256"]
    text = (asked / "out/report.html").read_text()
    assert "<script" not in text
    assert receipt["submission_sha256"] in text
    every = b"".join(path.read_bytes() for path in (asked / "out").iterdir()) + done.stdout.encode()
    assert not [secret for secret in [*HELD, b"P000"] if secret in every]
    assert not list((asked / "h/evaluations" / RUNS).iterdir())

    again = told(asking(asked, "--json", out="second"))
    assert (again["again"], again["left_now"], again["report"]) == (True, 1, report)
    assert (asked / "second/report.html").read_bytes() == (asked / "out/report.html").read_bytes()


def test_a_notebook_is_a_submission_and_its_digest_is_its_own(asked: Path) -> None:
    half = made.HONEST.index("with open")
    shutil.rmtree(asked / "s", ignore_errors=True)
    cells = made.notebook(made.HONEST[:half], made.HONEST[half:])
    by_notebook = told(asking(asked, "--json", code=cells, name="predict.ipynb"))["report"]
    shutil.rmtree(asked / "s")
    by_program = told(asking(asked, "--json", out="second"))["report"]
    assert by_notebook["tasks"] == by_program["tasks"]
    assert by_notebook["submission_sha256"] != by_program["submission_sha256"]


def test_a_run_that_fails_is_spent_and_says_one_word(asked: Path) -> None:
    code = "import sys; sys.stderr.write('SECRET1'); print('SECRET2'); raise ValueError('SECRET3')"
    done = asking(asked, code=code, by=start)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["no figures: failed", "one question is spent; left: 1 now, 1 in all"]
    assert b"SECRET" not in b"".join(path.read_bytes() for path in (asked / "out").iterdir())
    assert "failed" in (asked / "out/report.html").read_text()


def test_predictions_that_are_not_as_asked_are_told_of_by_a_word(asked: Path) -> None:
    late = made.HONEST + "\nopen('predictions.csv', 'a').write('SECRET,1\\n')"
    assert told(asking(asked, "--json", code=late))["report"]["reason"] == "predictions-malformed"
    few = "open('predictions.csv', 'w').write('case,covid\\n')"
    assert told(asking(asked, "--json", code=few, out="second"))["report"]["reason"] == "predictions-incomplete"


def test_cases_have_other_names_in_each_run_and_no_order(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def scores(_: object, cases: Mapping[str, Any]) -> Scores:
        seen.append({name: tuple(places) for name, places in cases.items()})
        raise Unusable(Reason.FAILED)

    monkeypatch.setattr(SubmissionRoom, "scores", scores)
    for number in range(2):
        asking(asked, code=f"# {number}", out=f"out{number}")
    assert sorted(seen[0].values()) == sorted(seen[1].values())
    assert not seen[0].keys() & seen[1].keys()
    assert list(seen[0]) == sorted(seen[0])
    assert list(seen[0].values()) != list(seen[1].values())


class Few:
    """A hold-out in memory."""

    sha256 = "3" * 64

    def images(self) -> Mapping[str, Any]:
        return {f"P{number}": [f"images/P{number}/1.dcm"] for number in range(60)}

    def rows(self) -> Mapping[str, Mapping[str, str]]:
        return {f"P{number}": {"final_covid_status": str(number % 2)} for number in range(70)}

    def check(self, patients: Set[str]) -> None:
        assert patients == self.images().keys()


def _use_case(work: Path, room: Any, key: bytes = b"k") -> Any:
    plan, memory = plan_named(work / "policies", "small"), MemoryFolder(work / "h", "demo")

    def names(patient: str) -> str:
        return hashlib.sha256(key + patient.encode()).hexdigest()[:16]

    now = datetime(2026, 3, 1, tzinfo=UTC)
    return evaluate(project_id("demo"), plan, Few(), room, memory, names=names, now=now)


class OneAnswer:
    """A room whose answer differs each time it is asked: two answers to one question would show."""

    sha256 = "5" * 64

    def __init__(self, work: Path) -> None:
        self._runs = work / "runs"

    def scores(self, cases: Mapping[str, Any]) -> Scores:
        runs = len(list(self._runs.iterdir())) if self._runs.is_dir() else 0
        self._runs.mkdir(exist_ok=True)
        descriptor = os.open(self._runs / str(runs), os.O_RDONLY | os.O_CREAT)
        os.close(descriptor)
        return {case: [runs / 10] for case in cases}


def test_killed_at_any_point_a_question_is_spent_once_and_answered_once(asked: Path) -> None:
    memory, seen = MemoryFolder(asked / "h", "demo"), set()
    for _ in stops(lambda: _use_case(asked, OneAnswer(asked))):
        spent = memory.spent()
        answers = [path.read_bytes() for path in memory.folder.glob("*.report.json")]
        assert not (asked / "runs").exists() or len(spent) == 1  # spent before it runs
        seen.add((len(spent), len(answers)))
        found = _use_case(asked, OneAnswer(asked))
        assert memory.spent()[len(spent) :] == memory.spent()[:1][len(spent) :]
        kept = [path.read_bytes() for path in memory.folder.glob("*.report.json")]
        assert len(kept) == 1
        assert found.again is (kept == answers)
        assert json.loads(kept[0]) == json.loads(json.dumps(found.report))
        shutil.rmtree(asked / "h/evaluations")
        shutil.rmtree(asked / "runs", ignore_errors=True)
    assert seen == {(0, 0), (1, 0), (1, 1)}


def test_a_question_is_begun_three_times_and_no_more(asked: Path) -> None:
    memory = MemoryFolder(asked / "h", "demo")

    class Dies:
        sha256 = "6" * 64

        def scores(self, cases: Mapping[str, Any]) -> Scores:
            raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            _use_case(asked, Dies())
    found = _use_case(asked, Dies())
    assert found.report["reason"] == "over-limit"
    assert len(memory.spent()) == 1


def test_who_has_asked_enough_is_refused_and_gets_old_answers_still(asked: Path) -> None:
    memory = MemoryFolder(asked / "h", "demo")
    first = told(asking(asked, "--json"))
    memory.folder.mkdir(parents=True, exist_ok=True)
    memory.spend(Spent(question="7" * 64, at=datetime.now(UTC), bits=1))
    done = asking(asked, code=f"{made.HONEST}\n# another", out="second")
    assert done.returncode == 3
    assert re.search(r"refused: evaluation: 2 questions were asked; .*none is left for now", one_line(done))
    assert not (asked / "second").exists()
    assert told(asking(asked, "--json", out="third"))["report"] == first["report"]


def test_a_new_version_of_the_hold_out_is_a_new_question(asked: Path) -> None:
    before = told(asking(asked, "--json"))
    lines = [json.loads(line) for line in (asked / "h/warehouse/manifest.jsonl").read_text().splitlines()]
    made.write_manifest(asked / "h", lines[:-1])
    after = told(asking(asked, "--json", out="second"))
    assert (after["again"], after["left_now"]) == (False, 0)
    assert before["report"]["holdout_sha256"] != after["report"]["holdout_sha256"]


def _altered(work: Path) -> None:
    image = next((work / "h/warehouse/images").rglob("*.dcm"))
    image.write_bytes(image.read_bytes()[:-1] + b"!")


def _other_table(work: Path) -> None:
    table = work / "h/warehouse/clinical.csv"
    table.write_bytes(table.read_bytes().replace(b",1,", b",0,", 1))


def _projects(work: Path) -> None:
    lines = [json.loads(line) for line in (work / "h/warehouse/manifest.jsonl").read_text().splitlines()]
    made.write_manifest(work / "h", [{**line, "project": "demo"} for line in lines])


def _unreadable(work: Path) -> None:
    next((work / "h/warehouse/images").rglob("*.dcm")).chmod(0o600)


OFF = {
    "another project": ({"project": "other"}, None, 3, "the plan small does not name it"),
    "hold-out as a project": ({"project": "holdout"}, None, 3, "reserved"),
    "no such plan": ({"plan": "large"}, None, 1, "cannot be read"),
    "a plan elsewhere": ({"plan": "../small"}, None, 1, "its name"),
    "an altered image": ({}, _altered, 1, "not what the manifest names"),
    "an altered table": ({}, _other_table, 1, "not what the manifest names"),
    "a project's warehouse": ({}, _projects, 3, "a project's warehouse"),
    "images for root alone": ({}, _unreadable, 1, "others may not read it"),
    "no hold-out": ({}, lambda work: shutil.rmtree(work / "h"), 1, "manifest.jsonl cannot be read"),
    "no submission": ({"submission": "/nowhere"}, None, 3, "neither a file nor a folder"),
}  # fmt: skip


@pytest.mark.parametrize("name", OFF)
def test_what_is_off_is_said_in_a_line_and_spends_nothing(asked: Path, name: str) -> None:
    given, change, status, why = OFF[name]
    if change:
        change(asked)
    done = asking(asked, **given)
    assert done.returncode == status, done.stderr
    assert why in one_line(done)
    assert not list((asked / "h").glob("evaluations/*/*.spent.json"))
    assert not (asked / "out").exists()


@pytest.mark.parametrize("name", ["link", "pipe", "two", "none", "large", "many"])
def test_what_is_no_submission_is_refused(asked: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made.submission(asked / "s")
    if name == "link":
        (folder / "labels").symlink_to(asked / "h/warehouse/clinical.csv")
    elif name == "pipe":
        os.mkfifo(folder / "pipe")
    elif name == "two":
        made.submission(folder, "{}", "predict.ipynb")
    elif name == "none":
        (folder / "predict.py").rename(folder / "main.py")
    elif name == "large":
        (folder / "weights").write_bytes(bytes(5 << 20))
    else:
        monkeypatch.setattr("readingroom.adapters.submission.MOST_FILES", 1)
        (folder / "second").touch()
    words = ("--project", "demo", "--plan", "small", "--holdout", asked / "h", "--out", asked / "out")
    done = run("evaluate", folder, *words)
    assert (done.returncode, one_line(done)[:20]) == (3, "refused: submission;")


def test_a_hold_out_that_is_too_small_is_asked_nothing(asked: Path) -> None:
    lines = [json.loads(line) for line in (asked / "h/warehouse/manifest.jsonl").read_text().splitlines()]
    few = [line for line in lines if line["path"] < f"images/P{18:019d}"]
    made.write_manifest(asked / "h", few)
    done = asking(asked)
    assert (done.returncode, "fewer than 10 cases of a kind" in one_line(done)) == (3, True)


def test_two_evaluations_of_a_project_do_not_run_at_once(asked: Path) -> None:
    with MemoryFolder(asked / "h", "demo").alone():
        done = asking(asked)
    assert (done.returncode, "another one of this project is running" in one_line(done)) == (1, True)


def test_what_a_killed_run_left_goes_and_what_runs_stays(tmp_path: Path) -> None:
    (tmp_path / RUNS / "left" / "submission").mkdir(parents=True)
    with run_folder(tmp_path) as first, run_folder(tmp_path) as second:
        assert {path.name for path in (tmp_path / RUNS).iterdir()} == {first.name, second.name}


def test_a_report_is_put_beside_no_other(asked: Path) -> None:
    assert asking(asked).returncode == 0
    done = asking(asked, code="raise ValueError")
    assert (done.returncode, "another report is there" in one_line(done)) == (1, True)
    inside = run(
        "evaluate",
        asked / "s",
        "--project",
        "demo",
        "--plan",
        "small",
        "--holdout",
        asked / "h",
        "--out",
        asked / "h/x",
    )
    assert inside.returncode == 2


def test_from_a_hospitals_files_to_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ingest, split, de-identification under the hold-out's own key, and a submission that reads DICOM."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})  # one child each
    (tmp_path / "inbox").mkdir()
    (tmp_path / "centres").write_text("XYZ\n")
    for name in ("split", "deid"):
        (tmp_path / name).write_bytes(name.encode().ljust(32))
    for number in range(24):
        patient = f"RXH{number:07}"
        (tmp_path / "inbox" / f"{number}.dcm").write_bytes(image(patient, study=f"{UID}.{number + 1}"))
        told_of = record(patient, Sex="F", **{"Final COVID Status": str(number % 2)})
        (tmp_path / "inbox" / f"{patient}_data.json").write_bytes(b" " * 200 + told_of)
    landing, held, key = tmp_path / "landing", tmp_path / "h", ("--key-file", tmp_path / "split")
    given = ("--landing", landing, "--holdout", held, *key, "--centre-file", tmp_path / "centres", "--share", 0)
    kept = held / "receipts"
    step = (
        "deid",
        held / "landing",
        held / "warehouse",
        "--landing",
        "--project",
        "holdout",
        "--staging",
        kept / "deid",
    )
    secret = ("--key-file", tmp_path / "deid", "--jobs", 1)
    for words in (
        ("ingest", tmp_path / "inbox", "--centre", "XYZ", "--landing", landing),
        ("holdout", "split", *given, "--nothing-released", "--confirm"),
        (*step, *secret, "--step", "plan", "--shards", 1),  # as its Jobs do
    ):
        assert run(*words).returncode == 0
    plan = ("--plan", json.loads((kept / "deid/plan.json").read_text())["plan"])
    assert run(*step, *secret, "--step", "work", "--shard", 0, *plan).returncode == 0
    assert run(*step, "--step", "finish", *plan, "--receipt", kept / "deid.jsonl").returncode == 0
    monkeypatch.setenv(
        "RR_POLICIES", str(made.policies(tmp_path / "policies", telling={"smallest": 10, "blur": 5, "step": 0.5}))
    )
    code = made.HONEST.replace(
        'open(line["image"], "rb").read()[0] / 255',
        'pydicom.dcmread(line["image"]).Rows / 65536',
    )
    found = told(asking(tmp_path, "--json", code=f"import pydicom\n{code}"))["report"]
    assert found["tasks"]["covid"]["overall"]["positives"] == 10
    assert found["tasks"]["covid"]["overall"]["auroc"]["value"] == 0.5
    assert b"RXH" not in b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())


BESIDE = """
from pathlib import Path
from readingroom.adapters import pod_run, sealed_run
sealed_run.SUBMISSION, sealed_run.SCRATCH = {cases!r} + "/submission", {scratch!r}
pod_run.serve(Path({cases!r}), Path({scratch!r}))
"""


@contextlib.contextmanager
def beside(folder: Path) -> Iterator[None]:
    """The other container's first process, in a process namespace as a container has one, until the block ends."""
    code = BESIDE.format(cases=str(folder / "cases"), scratch=str(folder / "scratch"))
    words = mortal(["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", code])
    with (folder / "said").open("wb") as said, subprocess.Popen(words, stdout=said, stderr=said) as other:
        try:
            yield
        finally:
            other.kill()


@pytest.mark.root
@pytest.mark.parametrize(
    ("code", "came"),
    [
        ("open('predictions.csv', 'w').write('fine')", b"fine"),
        ("raise ValueError", Reason.FAILED),
        ("pass", Reason.NO_PREDICTIONS),
        ("import os; os.mkfifo('predictions.csv')", Reason.NO_PREDICTIONS),
        ("import os; os.symlink('/etc/passwd', 'predictions.csv')", Reason.NO_PREDICTIONS),
        ("import socket; socket.socket()", Reason.FAILED),
        ("import os; os.execv('/usr/bin/id', ['id'])", Reason.FAILED),
        ("print('SECRET'); open('.ended', 'w').write('1'); import time; time.sleep(99)", Reason.FAILED),
        ("import os; os.mkfifo('.ended'); import time; time.sleep(99)", Reason.TIME_OUT),
        ("import os, time; os.kill(1, 15); time.sleep(99)", Reason.TIME_OUT),
        ("while True: pass", Reason.TIME_OUT),
    ],
)
def test_beside_it_in_a_pod_the_words_are_the_same(tmp_path: Path, code: str, came: object) -> None:
    """The other container's first process, in a process namespace as a container has one."""
    cases, scratch = tmp_path / "cases", tmp_path / "scratch"
    made.submission(cases / "submission", code)
    scratch.mkdir()
    with beside(tmp_path):
        try:
            found: object = pod_run.run_beside(tmp_path, tmp_path, costs(seconds=3, memory=2 << 30), 100, scratch)
        except Unusable as error:
            found = error.reason
    assert (found, (tmp_path / "said").read_bytes()) == (came, b"")


@pytest.mark.root
def test_in_a_pod_nobody_stays_behind_and_what_was_killed_for_its_memory_is_not_run_again(tmp_path: Path) -> None:
    cases, scratch = tmp_path / "cases", tmp_path / "scratch"
    stays = "import os\nif os.fork() == 0:\n  os.setsid()\n  while True: open('alive', 'a').write('x')\n"
    made.submission(cases / "submission", f"{stays}import time; time.sleep(.2); open('predictions.csv', 'w')")
    scratch.mkdir()
    with beside(tmp_path):
        assert pod_run.run_beside(tmp_path, tmp_path, costs(seconds=20, memory=2 << 30), 100, scratch) == b""
        before = (scratch / "alive").stat().st_size
        time.sleep(0.3)
        assert (scratch / "alive").stat().st_size == before > 0
    for name in (".ended", "alive"):
        (scratch / name).unlink()
    with beside(tmp_path), pytest.raises(Unusable) as found:
        pod_run.run_beside(tmp_path, tmp_path, costs(seconds=2), 100, scratch)
    assert found.value.reason is Reason.TIME_OUT
    assert not (scratch / "alive").exists()


def test_a_submission_is_never_started_where_its_end_would_be_everybodys() -> None:
    with pytest.raises(RuntimeError, match="not the first process"):
        sealed_run.run_submission(ctypes.CDLL(None))


def test_in_a_pod_the_command_shares_the_cases_and_nothing_else(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (asked / "room/cases").mkdir(parents=True)
    shared = []

    def sharing(folder: Path, images: Path, costs: Costs, largest: int) -> bytes:
        shared.extend(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))
        return b"case,covid\n"

    monkeypatch.setattr("readingroom.entrypoints.cli.evaluate.run_beside", sharing)
    found = told(asking(asked, "--json", "--beside", asked / "room"))
    assert found["report"]["reason"] == "predictions-incomplete"
    assert shared == ["cases/cases.csv", "cases/submission/predict.py"]


def test_the_shipped_plan_asks_for_columns_and_codes_that_the_clinical_table_has() -> None:
    plan = plan_named(policies_folder(), "nccid-status")
    columns = dict(clinical_policy(policies_folder()).document["columns"])
    (task,) = plan.tasks
    assert task.positive | task.negative == set(columns[task.column]["codes"])
    sex, age = plan.groupings
    assert set(sex.values) == set(columns[sex.column]["codes"])
    assert columns[age.column]["type"] == "age"


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"more": 1}, "more"), ({"plan": "other"}, "names itself otherwise"), ({"budget": {"queries": 1}}, "days"),
     ({"telling": {"smallest": 5, "blur": 5, "step": 0.05}}, "smallest"),
     ({"groups": {"age": {"column": "age", "bounds": [60, 40]}}}, "do not rise")],
)  # fmt: skip
def test_a_plan_that_cannot_be_obeyed_is_named(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(WrongSetUp, match=why):
        plan_named(made.policies(tmp_path, **changes), "small")
