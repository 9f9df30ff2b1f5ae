"""Vault sealed, unsealed and restarted: workspaces run and open meanwhile, what needs a key waits, and nothing is lost."""

from __future__ import annotations

import itertools
import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page

from infra import cli_jobs, job_runner, places, settings
from infra.jobs import Work, manifest
from readingroom.contract import QUARANTINE, SYSTEM
from readingroom.domain.errors import ReadingRoomError
from tests.cluster.probes import kubectl, listed
from tests.cluster.site import Person, Room

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
UNSEALED_SECONDS = 25.0  # the pod's own start, and ten for the keeper


def keeper(*words: str) -> None:
    state = str(places.state())
    command = [sys.executable, "-m", "readingroom.entrypoints.vault_keeper", "--state", state, *words]
    subprocess.run(command, check=True, timeout=60, capture_output=True)


def seen() -> str:
    """What the keeper says of Vault; written every two seconds."""
    return str(json.loads(places.state("run", "vault-status.json").read_text())["seen"])


def until(word: str, seconds: float) -> float:
    since = time.monotonic()
    while (found := seen()) != word:
        assert time.monotonic() - since < seconds, f"{found} after {seconds} s, not {word}"
        time.sleep(0.2)
    return time.monotonic() - since


@contextmanager
def sealed() -> Iterator[None]:
    keeper("--seal")
    try:
        until("sealed-on-purpose", 10)
        yield
    finally:
        keeper("--unseal")
        until("unsealed", 15)


def stop(page: Page, person: Person) -> None:
    """As its owner, through the hub; returns when it is gone."""
    page.goto(page.url.partition("/user/")[0] + "/hub/home")
    page.get_by_role("button", name="End it").click()
    end = time.monotonic() + 60
    while running(person):
        assert time.monotonic() < end, "the workspace does not end"
        time.sleep(0.5)


def running(person: Person) -> bool:
    return bool(listed("pod", "-A", "-l", f"readingroom/handle={person.handle}")["items"])


def opened_and_ended(room: Room) -> str:
    """Ben's workspace, from the login to its end: what it printed."""
    with room.working(room.ben) as (page, kernel):
        said = kernel.run("print('open')").strip()
        stop(page, room.ben)
    return said


def elsewhere(work: Callable[[], str]) -> str:
    """In a thread of its own: there is one browser per thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def warehouse(project: str) -> list[tuple[str, int]]:
    folder = places.volume(f"warehouse-{project}")
    return sorted((str(file), file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file())


class Deid:
    """A de-identification over what was received, under a stamp of its own, watched as the command watches it."""

    def __init__(self, project: str) -> None:
        reconciler = listed("deployment", "-n", SYSTEM, "reconciler")
        image = reconciler["spec"]["template"]["spec"]["containers"][0]["image"]  # that of the platform as it is
        steps = cli_jobs.deid_steps(project, f"test {secrets.token_hex(4)}", image, settings.shard_workers())
        plan = next(steps)
        self.name, self.lines = plan.name, list[str]()  # the first of its Jobs: that one waits for Vault
        self._ended: list[object] = []
        self._thread = threading.Thread(target=self._run, args=(itertools.chain([plan], steps),), daemon=True)
        self._thread.start()

    def _run(self, steps: Iterable[Work]) -> None:
        try:
            self._ended.append([job_runner.run(manifest(work), self.lines.append) for work in steps])
        except ReadingRoomError as error:  # told where the test looks
            self._ended.append(error)

    def wait_for(self, words: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not any(words in line for line in self.lines):
            assert self._thread.is_alive(), f"it ended: {self._ended}, {self.lines}"
            assert time.monotonic() < end, self.lines
            time.sleep(0.2)

    def end(self, seconds: float = 120) -> object:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), self.lines
        return self._ended[0]


def test_a_vault_whose_pod_is_gone_is_unsealed_again_and_answers(room: Room) -> None:
    before = listed("pod", "-n", SYSTEM, "-l", "readingroom/role=vault")["items"]
    status, said = kubectl("delete", "pod", "-n", SYSTEM, "-l", "readingroom/role=vault", "--wait=false")
    assert status == 0, said
    end = time.monotonic() + UNSEALED_SECONDS
    while True:
        now = listed("pod", "-n", SYSTEM, "-l", "readingroom/role=vault")["items"]
        fresh = [one for one in now if one["metadata"]["uid"] != before[0]["metadata"]["uid"]]
        ready = [
            one for pod in fresh for one in pod["status"].get("conditions", ())
            if (one["type"], one["status"]) == ("Ready", "True")
        ]  # fmt: skip
        if ready and seen() == "unsealed":
            break
        assert time.monotonic() < end, f"vault: {seen()}, {len(fresh)} new pods, {len(ready)} ready"
        time.sleep(0.3)
    assert not isinstance(Deid(room.project).end(), BaseException)


def test_while_vault_is_sealed_people_work_a_workspace_opens_and_de_identification_waits(room: Room) -> None:
    with room.working(room.ada) as (_page, kernel):
        kernel.run("mark = 'before'")
        if running(room.ben):
            elsewhere(lambda: opened_and_ended(room))
        before = warehouse(room.project)
        with sealed():
            deid = Deid(room.project)
            deid.wait_for("waiting-for-vault")
            assert kernel.run("print(mark)").strip() == "before"
            assert elsewhere(lambda: opened_and_ended(room)) == "open"
            job = listed("job", "-n", QUARANTINE, deid.name)
            assert job["status"].get("active") == 1
            assert warehouse(room.project) == before
            assert sum("waiting-for-vault" in line for line in deid.lines) < 20, "it says so too often"
        assert not isinstance(deid.end(), BaseException)
        job = listed("job", "-n", QUARANTINE, deid.name)
        assert (job["status"].get("succeeded"), job["status"].get("failed", 0)) == (1, 0)
        assert kernel.run("print(mark)").strip() == "before"
