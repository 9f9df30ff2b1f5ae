"""Which adapter fills which port of `deid`: the command line and the worker in the cluster start the same run."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import readingroom
from readingroom.adapters.bounded import Answer, Call, Limits, Pool
from readingroom.adapters.clinical_policy import clinical_policy
from readingroom.adapters.policy_files import PolicyFiles
from readingroom.adapters.tree import Tree
from readingroom.adapters.warehouse import FolderWarehouse
from readingroom.application.ports_deid import Done, Resolved, Task
from readingroom.domain.deid.keys import Pseudonyms, PurposeKeys
from readingroom.domain.deid.outcome import Outcome, Reason
from readingroom.domain.errors import WrongSetUp

FACTORY: Final = "readingroom.adapters.deid_worker:factory"
LARGEST_KEY_FILE: Final = 4096


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules of a run: for images, and for the clinical table."""

    profile: Resolved
    clinical: Resolved


def rules_of(policies: Path, profile: str) -> Rules:
    """The profile of that name and the table's rules. Raises `WrongSetUp` when they, or the list of reasons, are off."""
    from readingroom.adapters.dicom import dictionary  # noqa: PLC0415 (pydicom is slow to import)

    files = PolicyFiles(policies, dictionary)
    files.reasons()
    return Rules(profile=files.profile(profile), clinical=clinical_policy(policies))


def keys_from_file(path: Path) -> PurposeKeys:
    """The purpose keys that a file of 32 random bytes gives. Raises `WrongSetUp` otherwise."""
    return PurposeKeys.from_secret(secret_in(path))


def secret_in(path: Path) -> bytes:
    """What a key file holds. Raises `WrongSetUp` when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_KEY_FILE)
    except OSError as error:
        raise WrongSetUp(
            what="key file",
            why=f"it cannot be read ({type(error).__name__})",
            next_step="make one with: head -c 32 /dev/urandom > FILE",
        ) from error


def setup_document(rules: Rules, project: str, keys: PurposeKeys, *, explain: bool) -> Mapping[str, Any]:
    """What a child needs to know. It travels through a socket and nowhere else: it holds the keys."""
    return {
        "profile": rules.profile.document,
        "profile_sha256": rules.profile.sha256,
        "clinical": rules.clinical.document,
        "clinical_sha256": rules.clinical.sha256,
        "project": project,
        "keys": {purpose: base64.b64encode(key).decode("ascii") for purpose, key in keys.reveal().items()},
        "explain": explain,
    }


def terms_of(setup: Mapping[str, Any]) -> Mapping[str, Any]:
    """What all workers of a run in shards must agree on: project, rules, engine, and the keys, which it does not tell."""
    keys = Pseudonyms(PurposeKeys.from_document(setup["keys"]), setup["project"])
    names = ("project", "profile_sha256", "clinical_sha256", "explain")
    return {**{name: setup[name] for name in names}, "engine": engine_version(), "keys": keys.mark("keys", "")}


def engine_version() -> str:
    """The hash of the package's own modules: another engine may give other bytes, whatever number it bears."""
    root = Path(readingroom.__file__).parent
    modules = sorted((path.relative_to(root).as_posix(), path.read_bytes()) for path in root.rglob("*.py"))
    sums = [f"{hashlib.sha256(content).hexdigest()} {name}\n" for name, content in modules]
    return hashlib.sha256("".join(sums).encode()).hexdigest()


class ChildWorkers:
    """The port `Workers`, by bounded children that get open descriptors and nothing else of the file system."""

    def __init__(self, pool: Pool, tree: Tree, warehouse: FolderWarehouse) -> None:
        self._pool, self._tree, self._warehouse = pool, tree, warehouse

    def run(self, tasks: Iterable[Task]) -> Iterator[Done]:
        """See the port."""
        unread: list[Done] = []
        for answer in self._pool.run(self._calls(tasks, unread)):
            yield _done(answer)
            while unread:
                yield unread.pop()
        yield from unread

    def _calls(self, tasks: Iterable[Task], unread: list[Done]) -> Iterator[Call[Task]]:
        for task in tasks:
            try:
                given = self._tree.open(task.path)
            except OSError:
                unread.append(Done(task=task, answer={"outcome": Outcome.REJECTED, "reason": Reason.UNREADABLE}))
                continue
            if task.staged is None:
                yield Call(key=task, document=task.ask, descriptors=(given,))
                continue
            try:
                staged = self._warehouse.open_staged(task.staged)
            except OSError as error:
                os.close(given)
                raise WrongSetUp(
                    what="the output folder",
                    why=f"it cannot be written ({type(error).__name__})",
                    next_step="give a folder with room that can be written",
                ) from error
            yield Call(key=task, document=task.ask, descriptors=(given, staged))


def _done(answer: Answer[Task]) -> Done:
    if answer.fault is not None:
        return Done(task=answer.key, answer={"outcome": Outcome.REJECTED, "reason": Reason(answer.fault)})
    return Done(task=answer.key, answer=answer.document)


@contextlib.contextmanager
def workers(
    setup: Mapping[str, Any], tree: Tree, warehouse: FolderWarehouse, jobs: int, limits: Limits | None = None
) -> Iterator[ChildWorkers]:
    """Workers, ended afterwards."""
    with Pool(FACTORY, setup, jobs=jobs, limits=limits) as pool:
        yield ChildWorkers(pool, tree, warehouse)
