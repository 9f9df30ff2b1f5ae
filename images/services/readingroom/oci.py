"""OCI images from files, byte for byte the same each time: used for the software images and for a project's cut.

Standard library only, imports nothing of ours, runs nothing and asks no registry. A layer is a plain tar: entries
sorted by path, owner and mode as told, one fixed time, no compression, so that neither a zlib version nor the order of
a folder changes a digest (and a layer's digest is its diff id). The result is an OCI layout in one tar, for
`ctr images import --digests`. OCI image format 1.1: `image-layout.md`, `config.md`, `layer.md`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO, Final

EPOCH: Final = 1_767_225_600  # 2026-01-01T00:00:00Z, the time of every file in every layer
CREATED: Final = "2026-01-01T00:00:00Z"
MEDIA_INDEX: Final = "application/vnd.oci.image.index.v1+json"
MEDIA_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
MEDIA_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
MEDIA_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_BLOCK: Final = 1 << 20
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Kind(Enum):
    """What an entry is; the value is tar's type flag."""

    FILE = tarfile.REGTYPE
    FOLDER = tarfile.DIRTYPE
    SYMLINK = tarfile.SYMTYPE
    HARDLINK = tarfile.LNKTYPE


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a layer. `path` is relative to the root; `content` belongs to files only, `target` to links only."""

    path: str
    mode: int = 0o644
    content: bytes | Path | None = None
    kind: Kind = Kind.FILE
    target: str = ""
    uid: int = 0
    gid: int = 0

    def __post_init__(self) -> None:
        """Raises `ValueError` for a path that could leave the root and for a field that does not belong to the kind."""
        if not _is_plain_path(self.path):
            raise ValueError(f"not a plain relative path: {self.path!r}")
        if (self.kind is Kind.FILE) != (self.content is not None):
            raise ValueError(f"content belongs to files, and only to them: {self.path!r}")
        if (self.kind in (Kind.SYMLINK, Kind.HARDLINK)) != bool(self.target):
            raise ValueError(f"a target belongs to links, and only to them: {self.path!r}")
        if self.kind is Kind.HARDLINK and not (_is_plain_path(self.target) and self.target < self.path):
            raise ValueError(f"a hard link points to a path sorted before its own: {self.path!r}")
        if not 0 <= self.mode <= 0o7777 or min(self.uid, self.gid) < 0:
            raise ValueError(f"mode or owner out of range: {self.path!r}")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer on disk. `digest` is of the stored bytes, `diff_id` of the tar in them: equal without compression."""

    digest: str
    diff_id: str
    size: int
    path: Path


def layer(entries: Iterable[Entry], out: Path) -> Layer:
    """Writes the entries as one layer to `out`, in the order of their paths whatever order they come in.

    Raises `ValueError` if a path comes twice or lies below something that is no folder, `OSError` if a file cannot be
    read, is a link, or changes its size meanwhile; `out` then does not exist.
    """
    ordered = sorted(entries, key=lambda entry: entry.path)
    _check_tree(ordered)
    with _replacing(out) as raw:
        writer = _Hashing(raw)
        with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for entry in ordered:
                _add(tar, entry)
    return Layer(digest=writer.digest, diff_id=writer.digest, size=writer.size, path=out)


def image(
    layers: Sequence[Layer], config: Mapping[str, object], out_tar: Path, annotations: Mapping[str, str] | None = None
) -> str:
    """Writes an OCI layout of one linux/amd64 image to `out_tar` and returns the digest of its manifest.

    `config` is the part that says how to run it (`Env`, `Entrypoint`, `Cmd`, `User`, `WorkingDir`): empty for data.
    Raises `ValueError` if a layer's file is not what its `Layer` says.
    """
    described = {
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED,
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
    }
    config_blob = _json(described)
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MEDIA_MANIFEST,
        "config": _descriptor(MEDIA_CONFIG, config_blob),
        "layers": [{"mediaType": MEDIA_LAYER, "digest": one.digest, "size": one.size} for one in layers],
    }
    if annotations:
        manifest["annotations"] = dict(annotations)
    manifest_blob = _json(manifest)
    top = _descriptor(MEDIA_MANIFEST, manifest_blob) | {"platform": {"architecture": "amd64", "os": "linux"}}
    index = _json({"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": [top]})
    small = {_blob_path(blob): blob for blob in (config_blob, manifest_blob)}
    with _replacing(out_tar) as raw, tarfile.open(fileobj=raw, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, Entry("oci-layout", content=_json({"imageLayoutVersion": "1.0.0"})))
        _add(tar, Entry("index.json", content=index))
        for path, blob in sorted(small.items()):
            _add(tar, Entry(path, content=blob))
        for one in {layer.digest: layer for layer in layers}.values():
            _add_layer(tar, one)
    return _digest(manifest_blob)


def digest_of(image_tar: Path) -> str:
    """The digest of the image in an OCI layout tar, as its index names it.

    Raises `ValueError` if the file is no OCI layout of exactly one image. Whoever imports it checks the blobs.
    """
    with tarfile.open(image_tar, mode="r:") as tar:
        try:
            member = tar.extractfile("index.json")
        except KeyError as error:
            raise ValueError(f"no OCI layout: {image_tar.name}") from error
        index = json.loads(member.read(_BLOCK)) if member else {}
    manifests = index.get("manifests", [])
    if len(manifests) != 1 or not _DIGEST.fullmatch(str(manifests[0].get("digest"))):
        raise ValueError(f"not exactly one image: {image_tar.name}")
    return str(manifests[0]["digest"])


def _is_plain_path(path: str) -> bool:
    """Relative, no empty, `.` or `..` part, no NUL, text that UTF-8 can hold, and no `.wh.` (an unpacker deletes)."""
    if any(part in ("", ".", "..") or part.startswith(".wh.") for part in path.split("/")) or "\0" in path:
        return False
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_tree(ordered: Sequence[Entry]) -> None:
    """No path twice, and nothing below a file or a link: an unpacker would write through it."""
    kinds: dict[str, Kind] = {}
    for entry in ordered:
        if entry.path in kinds:
            raise ValueError(f"a path comes twice: {entry.path!r}")
        kinds[entry.path] = entry.kind
    for entry in ordered:
        parts = entry.path.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if kinds.get(above, Kind.FOLDER) is not Kind.FOLDER:
                raise ValueError(f"{entry.path!r} lies below {above!r}, which is no folder")
        if entry.kind is Kind.HARDLINK and kinds.get(entry.target) is not Kind.FILE:
            raise ValueError(f"a hard link to no file of this layer: {entry.path!r}")


def _add(tar: tarfile.TarFile, entry: Entry) -> None:
    """One member, with the fixed time, numeric owners and no names of accounts."""
    info = tarfile.TarInfo(entry.path)
    info.type, info.mode, info.mtime = entry.kind.value, entry.mode, EPOCH
    info.uid, info.gid, info.linkname = entry.uid, entry.gid, entry.target
    if isinstance(entry.content, Path):
        # O_NOFOLLOW: a link put where a file was must not bring in something else.
        with os.fdopen(os.open(entry.content, os.O_RDONLY | os.O_NOFOLLOW), "rb") as source:
            info.size = os.fstat(source.fileno()).st_size
            tar.addfile(info, source)
            if source.read(1):
                raise OSError(f"grew while it was read: {entry.path!r}")
        return
    content = entry.content or b""
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _add_layer(tar: tarfile.TarFile, one: Layer) -> None:
    """Copies a layer's file into the layout and checks it on the way."""
    info = tarfile.TarInfo("blobs/sha256/" + one.digest.removeprefix("sha256:"))
    info.mode, info.mtime, info.size = 0o644, EPOCH, one.size
    with one.path.open("rb") as raw:
        source = _HashingReader(raw)
        if os.fstat(raw.fileno()).st_size == one.size:
            tar.addfile(info, source)
        if source.digest != one.digest:
            raise ValueError(f"not the layer it is said to be: {one.path.name}")


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _blob_path(blob: bytes) -> str:
    return "blobs/sha256/" + hashlib.sha256(blob).hexdigest()


def _descriptor(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


@contextmanager
def _replacing(out: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name only when it is whole."""
    part = out.with_name(out.name + ".part")
    try:
        with part.open("wb") as raw:
            yield raw
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


class _Hashing(io.RawIOBase):
    """Passes on what is written, and remembers its length and SHA-256."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self._hash, self.size = raw, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, block: bytes) -> int:  # type: ignore[override]  # tarfile writes bytes only
        self._hash.update(block)
        self.size += len(block)
        return self._raw.write(block)

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()


class _HashingReader(io.RawIOBase):
    """Passes on what is read, and remembers its SHA-256."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self._hash = raw, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block = self._raw.read(size)
        self._hash.update(block)
        return block

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()
