"""What the node changes on its host, and takes back: address, route, sysctls, packet filter, mounts, links.

Only what carries our mark is ever removed: mounts below our folders, network namespaces that containerd made
(`cni-…`), links named as the CNI plugin names them whose pods are gone, our tables and kube-proxy's.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from infra import places
from infra.node import configs, edge_table
from infra.node.netpol import apply as netpol
from readingroom.contract import NODE_ADDRESS, POD_RANGE
from readingroom.domain.errors import WrongSetUp

LINK: Final = "rr0"
NOBODY: Final = (
    "unreachable",
    POD_RANGE,
)  # a pod's own route is narrower: who speaks to one that is gone hears so at once
SYSCTLS: Final = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "1",  # before the first pod's link is made: each takes it from `default`
    "net/ipv4/conf/default/rp_filter": "1",
    "net/ipv6/conf/all/forwarding": "0",
}
_NETNS: Final = Path("/run/netns")
_POD_LINK: Final = re.compile(r"veth[0-9a-f]{8}")  # as the CNI plugin names them; other runtimes name theirs otherwise


def prepare() -> None:
    """Address, sysctls and both tables, closed: from here on no pod reaches anything it may not."""
    for name, value in SYSCTLS.items():
        path = Path("/proc/sys", name)
        if path.exists() and path.read_text().strip() != value:
            path.write_text(value)
    if not Path("/sys/class/net", LINK).exists():
        _ip("link", "add", LINK, "type", "bridge")
    _ip("address", "replace", f"{NODE_ADDRESS}/32", "dev", LINK)
    _ip("link", "set", LINK, "up")
    _ip("route", "replace", *NOBODY)
    _share_namespaces()
    if not edge_table.loaded():
        edge_table.load()
    if subprocess.run(["nft", "list", "table", *netpol.TABLE.split()], capture_output=True, check=False).returncode:
        netpol.load(netpol.empty_table())


def sweep() -> None:
    """After everything died at once: end what the dead runtime left, so that the next start finds an empty place."""
    for pid in shims():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _end_pod_processes()
    _unmount([configs.RUNTIME, places.state("kubelet"), places.state("containerd")])
    _drop_namespaces()
    for link in sorted(path for path in Path("/sys/class/net").glob("veth*") if _POD_LINK.fullmatch(path.name)):
        subprocess.run(["ip", "link", "delete", link.name], capture_output=True, check=False)
    for folder in (configs.RUNTIME / "containerd", configs.RUNTIME / "addresses", configs.CNI_RECORDS):
        shutil.rmtree(folder, ignore_errors=True)


def withdraw() -> None:
    """Take back all that `prepare` and the running node brought; the closed tables go last."""
    sweep()
    for family in ("ip", "ip6"):
        subprocess.run(["nft", "delete", "table", family, "kube-proxy"], capture_output=True, check=False)
    if Path("/sys/class/net", LINK).exists():
        _ip("link", "delete", LINK)
    subprocess.run(["ip", "route", "delete", *NOBODY], capture_output=True, check=False)
    _unmount([places.state()])
    shutil.rmtree(configs.RUNTIME, ignore_errors=True)
    _remove_cgroups()
    subprocess.run(["nft", "delete", "table", *netpol.TABLE.split()], capture_output=True, check=False)
    edge_table.unload()


def _share_namespaces() -> None:
    """The folder of named network namespaces is a shared mount before the first pod's is in it, as `ip netns` wants it.

    Otherwise the first `ip netns add` of anybody mounts the folder over itself, every pod's namespace is then mounted twice,
    and no pod can end any more.
    """
    _NETNS.mkdir(mode=0o755, exist_ok=True)
    if str(_NETNS) not in _mount_points():
        subprocess.run(["mount", "--bind", _NETNS, _NETNS], capture_output=True, check=True)
        subprocess.run(["mount", "--make-shared", _NETNS], capture_output=True, check=True)


def _drop_namespaces() -> None:
    """Those that the runtime made, however often they are mounted; the folder's own mount too, when nobody else's is in it."""
    found = sorted(_NETNS.glob("cni-*"))
    others = {path.name for path in _NETNS.glob("*")} - {path.name for path in found}
    _unmount(found if others else [_NETNS])
    for namespace in sorted(_NETNS.glob("cni-*")):
        namespace.unlink(missing_ok=True)


def memory(pids: Iterable[int]) -> int:
    """Bytes held by these processes, the shims, and all that runs in pods."""
    pods = {int(pid) for file in _pod_groups("cgroup.procs") for pid in _read(file).split()}
    return sum(_held(pid) for pid in {*pids, *shims(), *pods})


def _held(pid: int) -> int:
    for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def shims() -> Iterator[int]:
    """Process ids of the runtime's shims that use our socket."""
    for pid, words in _commands():
        if words and words[0].endswith("containerd-shim-runc-v2") and str(configs.SOCKET) in words:
            yield pid


def _end_pod_processes() -> None:
    """Whoever still sits in a pod's control group: those of ours are under `kubepods`, nobody else makes one."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        found = {int(pid) for file in _pod_groups("cgroup.procs") for pid in _read(file).split()}
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def _pod_groups(file: str) -> Iterator[Path]:
    """Groups come and go meanwhile: one that is gone is passed over."""
    for root in _kubepods():
        yield from (Path(folder, file) for folder, _, files in os.walk(root) if file in files)


def _kubepods() -> Iterator[Path]:
    yield from Path("/sys/fs/cgroup").glob("*/kubepods")
    if Path("/sys/fs/cgroup/kubepods").is_dir():
        yield Path("/sys/fs/cgroup/kubepods")


def _remove_cgroups() -> None:
    for root in _kubepods():
        folders = sorted((path for path in root.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
        for folder in [*folders, root]:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _unmount(folders: list[Path]) -> None:
    for point in reversed(_mount_points()):
        if any(Path(point).is_relative_to(folder) for folder in folders):
            subprocess.run(["umount", "-l", point], capture_output=True, check=False)


def _mount_points() -> list[str]:
    """In the order of mounting; one that is mounted over appears once for each time."""
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def _commands() -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield int(folder.name), (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongSetUp(
            what="the node's address",
            which=" ".join(words),
            why=" ".join(done.stderr.split())[:300],
            next_step="see that this runs as root and the kernel has bridges",
        )
