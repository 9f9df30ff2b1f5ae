"""The engine of one child, called here without the child: for tests that need hundreds of files."""

from __future__ import annotations

import base64
import functools
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from readingroom.adapters.dicom import dictionary
from readingroom.adapters.dicom.worker import Worker
from readingroom.adapters.policy_files import PolicyFiles
from readingroom.application.ports_deid import Resolved
from readingroom.domain.deid.keys import PurposeKeys

POLICIES = Path(__file__).parents[3] / "policies"
KEY = bytes(range(32))


@functools.cache
def resolved(name: str = "nccid") -> Resolved:
    return PolicyFiles(POLICIES, dictionary).profile(name)


@functools.cache
def worker(project: str = "demo", *, explain: bool = False, key: bytes = KEY, gated: bool = True) -> Worker:
    """`gated`: films are held, as they are. Without it they pass, so that a judge sees what would be written."""
    document = resolved().document
    if not gated:
        document = {**document, "profiles": [{**each, "text_gate": "suspect"} for each in document["profiles"]]}
    keys = PurposeKeys.from_secret(key).reveal()
    return Worker(
        {
            "profile": document,
            "profile_sha256": resolved().sha256,
            "project": project,
            "keys": {purpose: base64.b64encode(each).decode() for purpose, each in keys.items()},
            "explain": explain,
        }
    )


@dataclass(frozen=True)
class Result:
    """The answer, and the bytes that were written (empty unless released)."""

    answer: dict[str, Any]
    data: bytes

    @property
    def outcome(self) -> str:
        return f"{self.answer['outcome']} {self.answer.get('reason') or ''}".strip()

    @property
    def dataset(self) -> pydicom.Dataset:
        """The output as pydicom reads it."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.data)
            file.flush()
            found = pydicom.dcmread(file.name)
            found.decode()
            return found


def run(data: bytes, *, project: str = "demo", explain: bool = False, key: bytes = KEY, gated: bool = True) -> Result:
    """One file through the engine."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out:
        given.write(data)
        given.flush()
        engine = worker(project, explain=explain, key=key, gated=gated)
        answer = dict(engine({"do": "release"}, [given.fileno(), out.fileno()]))
        written = os.pread(out.fileno(), os.fstat(out.fileno()).st_size, 0)
    return Result(answer, written if answer["outcome"] == "released" else b"")
