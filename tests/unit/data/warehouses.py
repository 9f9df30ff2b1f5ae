"""Warehouses for tests, as `deid` leaves them, and decisions over them; archives read by Python's tarfile alone."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from readingroom.domain.access import Decision, from_document
from tests.unit.data.instances import element, part10

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
CT, DX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1.1"


@dataclass(frozen=True)
class File:
    """One released file, by its place and what its pixels are to hold; `content` becomes a DICOM file around them."""

    patient: str
    study: str
    series: str
    instance: str
    modality: str = "CT"
    content: bytes = b"pixels"
    header: Mapping[int, bytes] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        pixels = element(0x7FE00010, "OW", self.content)
        object.__setattr__(self, "content", part10({**self.header, 0x7FE00010: pixels}))

    @property
    def path(self) -> str:
        return f"images/{self.patient}/{self.study}/{self.series}/{self.instance}.dcm"

    def line(self, project: str = "demo") -> dict[str, Any]:
        return {
            "path": self.path,
            "sha256": hashlib.sha256(self.content).hexdigest(),
            "sop_class_uid": CT if self.modality == "CT" else DX,
            "modality": self.modality,
            "profile": "nccid",
            "profile_sha256": "9" * 64,
            "actions": {"kept": 3},
            "project": project,
            "engine": "1",
        }


FILES = (
    File("PA", "1.1", "1.1.1", "1.1.1.1", content=b"a" * 3000),
    File("PA", "1.1", "1.1.1", "1.1.1.2", content=b"b" * 10),
    File("PA", "1.2", "1.2.1", "1.2.1.1", "DX", b"film"),
    File("PB", "2.1", "2.1.1", "2.1.1.1", content=b"c" * 700),
    File("PB", "2.1", "2.1.2", "2.1.2.1", "DX", b"scout"),
    File("PC", "3.1", "3.1.1", "3.1.1.1", "MR", b"brain"),
)


def build(folder: Path, files: Sequence[File] = FILES, *, project: str = "demo", chance: int | None = None) -> Path:
    """A warehouse of these files; with `chance`, files and lines come in another order for each number."""
    order = list(files)
    if chance is not None:
        order.sort(key=lambda file: hashlib.sha256(f"{chance} {file.path}".encode()).digest())
    for file in order:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    write_lines(folder, [file.line(project) for file in order])
    return folder


def write_lines(folder: Path, lines: Sequence[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def decision_document(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "schema": "readingroom/decision/v1",
        "project": "demo",
        "version": 1,
        "title": "Lungs & ribs",
        "request": "rq-0042",
        "from": "2026-11-01T00:00:00Z",
        "until": "2036-05-22T00:00:00Z",
        "members": [{"username": "ada"}],
        "data": {"modalities": ["CT"]},
    }
    return {**found, **changes}


def decision(*modalities: str) -> Decision:
    return from_document(decision_document(data={"modalities": list(modalities)}))


def unpacked(archive: Path) -> dict[str, tarfile.TarInfo | bytes]:
    """What a node would see of an OCI layout: each file's bytes and, under `path + ':'`, its entry. Blobs keep their names."""
    found: dict[str, tarfile.TarInfo | bytes] = {}
    with tarfile.open(archive, "r:") as layout:

        def blob(digest: str) -> bytes:
            member = layout.extractfile("blobs/sha256/" + digest.removeprefix("sha256:"))
            assert member is not None
            content = member.read()
            assert hashlib.sha256(content).hexdigest() == digest.removeprefix("sha256:")
            return content

        index = layout.extractfile("index.json")
        assert index is not None
        [top] = json.loads(index.read())["manifests"]
        assert top["digest"].removeprefix("sha256:") == archive.stem
        for one in json.loads(blob(top["digest"]))["layers"]:
            with tarfile.open(fileobj=io.BytesIO(blob(one["digest"])), mode="r:") as layer:
                for member in layer:
                    found[member.name + ":"] = member
                    if member.isreg():
                        source = layer.extractfile(member)
                        assert source is not None
                        assert member.name not in found
                        found[member.name] = source.read()
    return found
