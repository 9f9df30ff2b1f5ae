"""From a folder on this machine to layer entries, and back: what is left out, who owns what, what is new.

Times never enter an entry and owners are those the packages chose, so the same packages make the same entries.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from images.recipe import Folder, source_files
from readingroom.oci import Entry, Kind

# Nothing here is needed to run a program, or it differs from machine to machine. Copyright files stay.
LEFT_OUT = (
    "dev/*", "proc/*", "sys/*", "run/*", "tmp/*", "var/tmp/*", "boot/*",
    "etc/hostname", "etc/resolv.conf", "etc/hosts", "etc/machine-id", "etc/.pwd.lock", "etc/fstab", "etc/mtab",
    "etc/shadow", "etc/gshadow", "etc/*-", "etc/apt/*", "etc/ssl/private/*", "etc/ssl/certs/ssl-cert-snakeoil.pem",
    "var/log/*", "var/cache/*", "var/backups/*", "var/lib/apt/*", "var/lib/dbus/*", "var/lib/systemd/*",
    "var/lib/dpkg/*-old", "var/lib/dpkg/lock*", "var/lib/dpkg/triggers/Lock", "var/lib/dpkg/info/*.md5sums",
    "var/lib/ucf/*", "usr/share/doc/*/[!c]*", "usr/share/doc/*/c[!o]*", "usr/share/doc/*/changelog*",
    "usr/share/man/*", "usr/share/info/*", "usr/share/locale/*", "usr/share/lintian/*", "usr/share/bug/*",
    "usr/share/doc-base/*", "usr/share/i18n/*", "usr/share/pixmaps/*", "usr/share/bash-completion/*",
    "usr/lib/systemd/*", "lib/systemd/*", "usr/share/initramfs-tools/*", "usr/lib/x86_64-linux-gnu/gconv/*",
    "usr/share/zoneinfo/right/*",
)  # fmt: skip


def scan(
    root: Path, below: Sequence[str] = (".",), leave_out: Iterable[str] = (), keep_owners: bool = False
) -> list[Entry]:
    """Everything under `root` in the named places, as entries; several names of one file become hard links.

    Sockets and devices are no content of an image and are left out. Owner 0 unless `keep_owners`.
    """
    unwanted = re.compile("|".join(fnmatch.translate(pattern) for pattern in leave_out) or r"(?!)")
    first: dict[int, str] = {}
    entries: list[Entry] = []
    for path in sorted(_walk(root, below)):
        if unwanted.match(path):
            continue
        status = (root / path).lstat()
        uid, gid = (status.st_uid, status.st_gid) if keep_owners else (0, 0)
        mode = stat.S_IMODE(status.st_mode) & 0o1777  # no program runs as another user than its caller
        if stat.S_ISDIR(status.st_mode):
            entries.append(Entry(path, mode, kind=Kind.FOLDER, uid=uid, gid=gid))
        elif stat.S_ISLNK(status.st_mode):
            target = str((root / path).readlink())
            entries.append(Entry(path, 0o777, kind=Kind.SYMLINK, target=target, uid=uid, gid=gid))
        elif stat.S_ISREG(status.st_mode):
            link = first.setdefault(status.st_ino, path)
            if link != path:
                entries.append(Entry(path, mode, kind=Kind.HARDLINK, target=link, uid=uid, gid=gid))
            else:
                entries.append(Entry(path, mode, root / path, uid=uid, gid=gid))
    return entries


def _walk(root: Path, below: Sequence[str]) -> Iterable[str]:
    """Every path below the named places, relative to the root; links are not followed."""
    for place in below:
        for folder, folders, files in os.walk(root / place):
            for name in (*folders, *files):
                yield os.path.relpath(f"{folder}/{name}", root)


def listing(entries: Iterable[Entry]) -> dict[str, str]:
    """Path → all that makes an entry what it is, for `only_new`."""
    return {entry.path: _fingerprint(entry) for entry in entries}


def only_new(entries: Iterable[Entry], before: Mapping[str, str]) -> list[Entry]:
    """What a layer on top of `before` must hold. Raises `ValueError` if something of it is gone: layers only add."""
    entries = list(entries)
    gone = set(before) - {entry.path for entry in entries}
    if gone:
        raise ValueError(f"{len(gone)} paths of the layer below are gone, for instance {min(gone)}")
    files = {entry.path: entry for entry in entries}
    new = {entry.path: entry for entry in entries if before.get(entry.path) != _fingerprint(entry)}
    return [_with_its_file(entry, files) if entry.target not in new else entry for entry in new.values()]


def _with_its_file(entry: Entry, files: Mapping[str, Entry]) -> Entry:
    """A hard link needs its file in the same layer: if that lies in the layer below, the link becomes a copy."""
    if entry.kind is not Kind.HARDLINK:
        return entry
    return Entry(entry.path, entry.mode, files[entry.target].content, uid=entry.uid, gid=entry.gid)


def _fingerprint(entry: Entry) -> str:
    content = ""
    if isinstance(entry.content, Path):
        with entry.content.open("rb") as source:
            content = hashlib.file_digest(source, "sha256").hexdigest()
    elif entry.content is not None:
        content = hashlib.sha256(entry.content).hexdigest()
    return f"{entry.kind.name} {entry.mode:o} {entry.uid}:{entry.gid} {entry.target} {content}"


def copied(target: str, source: Path) -> list[Entry]:
    """A source tree of the checkout at its place in the image: readable by all, runnable if it was, owned by root."""
    entries: dict[str, Entry] = {}
    for path in source_files(source):
        place = target if path == source else f"{target}/{path.relative_to(source)}"
        runnable = path.stat().st_mode & 0o100
        entries[place] = Entry(place, 0o755 if runnable else 0o644, path.read_bytes())
    return [*parents(entries), *entries.values()]


def parents(paths: Iterable[str]) -> list[Entry]:
    """The folders above the paths, root's and readable: left to an unpacker they would get a mode of its choice."""
    above = {str(folder) for path in paths for folder in Path(path).parents} - {"."}
    return [Entry(path, 0o755, kind=Kind.FOLDER) for path in sorted(above)]


def owned(folder: Folder) -> Entry:
    """A folder with its owner."""
    return Entry(folder.path, folder.mode, kind=Kind.FOLDER, uid=folder.owner, gid=folder.owner)
