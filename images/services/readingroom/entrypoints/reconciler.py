"""The process that ends workspaces. It compares pods with grants every 5 s and on every change of a pod; it creates
nothing.

One thread per project watches and only wakes the main loop; the loop alone decides and acts. A round that fails is
said aloud and tried again: a reconciler that cannot read closes nothing, and the pods' own deadlines still hold.
"""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path

from readingroom.adapters.clock import SystemClock
from readingroom.adapters.cluster import KubernetesWorkspaces, in_cluster
from readingroom.application.reconcile import Ended, reconcile_project
from readingroom.domain.errors import ReadingRoomError
from readingroom.domain.ids import ProjectId

EVERY_SECONDS = 5.0
WATCH_SECONDS = 60
ALIVE = Path("/tmp/alive")  # noqa: S108 (an emptyDir of this pod: its age is the liveness probe)
log = logging.getLogger("reconciler")


class Reconciler:
    """The loop and its watches."""

    def __init__(self, workspaces: KubernetesWorkspaces, alive: Path = ALIVE) -> None:
        self._workspaces, self._alive = workspaces, alive
        self._clock = SystemClock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._watched: dict[ProjectId, threading.Thread] = {}

    def stop(self) -> None:
        """Finish the round and return from `run`."""
        self._stop.set()
        self._wake.set()

    def run(self) -> None:
        """Rounds until `stop`: at once after a change, otherwise every 5 s."""
        while not self._stop.is_set():
            self._wake.clear()
            if self.round():
                self._alive.touch()
            self._wake.wait(EVERY_SECONDS)

    def round(self) -> bool:
        """One round over all projects; one that fails does not stop the others.

        Says whether the cluster answered at all.
        """
        try:
            projects = self._workspaces.projects()
        except ReadingRoomError as error:
            log.error("%s", error)
            return False
        for project in projects:
            self._watch(project)
            try:
                for ended in reconcile_project(self._workspaces, self._clock, project):
                    _say(ended)
            except ReadingRoomError as error:
                log.error("%s", error)
        return True

    def _watch(self, project: ProjectId) -> None:
        thread = self._watched.get(project)
        if thread is None or not thread.is_alive():
            thread = threading.Thread(target=self._follow, args=(project,), name=f"watch-{project}", daemon=True)
            self._watched[project] = thread
            thread.start()

    def _follow(self, project: ProjectId) -> None:
        try:
            self._workspaces.watch(project, self._wake.set, WATCH_SECONDS)
        except ReadingRoomError as error:
            log.warning("watch ended, the next round begins another: %s", error)


def _say(ended: Ended) -> None:
    pod = ended.close.pod
    level = logging.ERROR if ended.problem else logging.INFO
    log.log(level, "closed %s of %s: %s %s", pod.name, pod.project, ended.close.reason, ended.problem)


def main() -> None:
    """Run until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    reconciler = Reconciler(KubernetesWorkspaces(in_cluster()))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: reconciler.stop())
    reconciler.run()


if __name__ == "__main__":
    main()
