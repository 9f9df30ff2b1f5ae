"""What this machine lacks, in one line, before anything is touched."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Final

from infra import places
from infra.node import build, processes
from readingroom.contract import FRONT_DOOR_PORT
from readingroom.domain.errors import WrongSetUp

PROGRAMS: Final = {"runc": "runc", "nft": "nftables", "ip": "iproute2", "conntrack": "conntrack"}
PLUGINS: Final = ("ptp", "host-local", "loopback")
PORTS: Final = {2379: "etcd", 2380: "etcd", 10248: "kubelet", 10249: "kube-proxy", 10256: "kube-proxy",
                FRONT_DOOR_PORT: "front-door"}  # fmt: skip
FREE_COLD: Final = 18 * 10**9  # Go's caches
FREE_WARM: Final = 4 * 10**9
MEMORY: Final = 6 * 2**30


def check() -> None:
    """Raises `WrongSetUp` that names all that is missing at once."""
    missing = [*_root(), *_programs(), *_kernel(), *_disk(), *_memory(), *_ports()]
    if missing:
        raise WrongSetUp(
            what="this machine",
            why="; ".join(missing),
            next_step="mend it and repeat; `make setup` installs the Debian packages",
        )


def _root() -> list[str]:
    return [] if os.geteuid() == 0 else ["this is not root"]


def _programs() -> list[str]:
    packages = {
        package for program, package in PROGRAMS.items() if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin")
    }
    if any(not Path("/usr/lib/cni", name).exists() for name in PLUGINS):
        packages.add("containernetworking-plugins")
    return [f"Debian packages are missing: {' '.join(sorted(packages))}"] if packages else []


def _kernel() -> list[str]:
    filesystems = Path("/proc/filesystems").read_text()
    missing = [name for name in ("overlay", "cgroup") if name not in filesystems]
    missing += [f"namespace {kind}" for kind in ("net", "mnt", "pid") if not Path(f"/proc/self/ns/{kind}").exists()]
    return [f"the kernel lacks {', '.join(missing)}"] if missing else []


def _disk() -> list[str]:
    """Only what is still to be built needs Go's caches."""
    place = next(folder for folder in [places.cache(), *places.cache().parents] if folder.exists())
    needed = FREE_WARM if all(build.built(name) for name in build.FAMILIES) else FREE_COLD
    free = shutil.disk_usage(place).free
    return [] if free >= needed else [f"{free / 1e9:.0f} GB of disk free, {needed / 1e9:.0f} needed"]


def _memory() -> list[str]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [] if total >= MEMORY else [f"{total / 2**30:.0f} GiB of memory, {MEMORY / 2**30:.0f} needed"]


def _ports() -> list[str]:
    taken = []
    for port, owner in PORTS.items():
        if processes.running(owner):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(str(port))
    return [f"another program listens on 127.0.0.1 port {', '.join(taken)}"] if taken else []
