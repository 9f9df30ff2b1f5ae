"""What the node changes on its host and takes back, in namespaces of our own: mounts, links, processes and packet filter.

Nothing of the machine's is visible there: not its processes, links or control groups, so that nothing of it can be swept.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra import places

pytestmark = pytest.mark.root
APART = """
mount --make-rprivate /
while read -r point; do umount -l "$point"; done <<< "$(awk '$5 ~ "^/run/" { print $5 }' /proc/self/mountinfo | tac)"
mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib && exec "$0" -
"""
HEAD = """
import json, os, subprocess, sys, time
from pathlib import Path
assert os.getpid() == 1 and not list(Path("/sys/fs/cgroup").glob("*")), "not in namespaces of our own"
from infra import places
from infra.node import configs, edge_table, host
NETNS = Path("/run/netns")
def sh(*words):
    subprocess.run(words, check=True, capture_output=True)
def links():
    return sorted(path.name for path in Path("/sys/class/net").iterdir() if path.name != "lo")
def mounts(under):
    return [point for point in host._mount_points() if point.startswith(str(under))]
def tables():
    return sorted(subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout.split("\\n")[:-1])
def mount(folder):
    folder.mkdir(parents=True, exist_ok=True); sh("mount", "-t", "tmpfs", "tmpfs", str(folder))
"""


def inside(program: str, state: Path) -> Any:
    """What the program printed, in a world of its own."""
    done = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "bash", "-c", APART, sys.executable],
        input=HEAD + program, capture_output=True, text=True, timeout=60, check=False, cwd=places.CHECKOUT,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "XDG_STATE_HOME": str(state), "PYTHONPATH": str(places.CHECKOUT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_namespace_of_a_pod_is_mounted_once_whoever_adds_another(tmp_path: Path) -> None:
    add = 'sh("ip", "netns", "add", "cni-a"); sh("ip", "netns", "add", "somebody")\n'
    count = 'print(json.dumps([mounts(NETNS).count("/run/netns"), mounts(NETNS).count("/run/netns/cni-a")]))\n'
    assert inside("host._share_namespaces(); host._share_namespaces()\n" + add + count, tmp_path) == [1, 1]
    by_hand = (
        'NETNS.mkdir(); (NETNS / "cni-a").touch(); sh("mount", "--bind", "/proc/self/ns/net", "/run/netns/cni-a")\n'
    )
    assert inside(by_hand + add.partition(";")[2].strip() + "\n" + count, tmp_path) == [1, 2], "the trap itself"


SWEEP = """
host._share_namespaces()
for name in ("cni-a", "cni-b", "somebody"):
    sh("ip", "netns", "add", name)
sh("mount", "--bind", "/run/netns/cni-a", "/run/netns/cni-a")
for name in ("veth0a1b2c3d", "veth0a1b2c3", "vethmine", "lan0"):
    sh("ip", "link", "add", name, "type", "veth", "peer", "name", "p" + name[-7:])
ours = [configs.RUNTIME / "containerd" / "x", places.state("kubelet", "pods", "y"), places.state("containerd", "z")]
theirs = [Path("/run/others"), places.state("volumes", "home-a")]
for folder in ours + theirs: mount(folder)
mount(ours[0])
(configs.RUNTIME / "addresses").mkdir(); configs.CNI_RECORDS.mkdir(parents=True)
wait = "import time; time.sleep(60)"
def shim(socket):
    return subprocess.Popen(["/x/containerd-shim-runc-v2", "-c", wait, socket], executable=sys.executable)
mine, foreign = shim(str(configs.SOCKET)), shim("/run/containerd/containerd.sock")
time.sleep(0.3)
host.sweep()
print(json.dumps({
    "links": links(), "namespaces": sorted(p.name for p in NETNS.iterdir()), "netns": mounts(NETNS),
    "ours": [str(f) for f in ours if mounts(f)], "theirs": [str(f) for f in theirs if mounts(f)],
    "left": [f.exists() for f in (configs.RUNTIME / "containerd", configs.RUNTIME / "addresses", configs.CNI_RECORDS)],
    "mine": mine.wait(5), "foreign": foreign.poll(),
}))
"""


def test_a_sweep_ends_what_the_dead_runtime_left_and_nothing_of_anybody_else(tmp_path: Path) -> None:
    found = inside(SWEEP, tmp_path)
    assert (found["mine"], found["foreign"]) == (-9, None)
    assert [name for name in found["links"] if not name.startswith("p")] == ["lan0", "veth0a1b2c3", "vethmine"]
    assert found["namespaces"] == ["somebody"]
    assert found["netns"] == ["/run/netns", "/run/netns/somebody"]
    assert found["ours"] == []
    assert len(found["theirs"]) == 2
    assert found["left"] == [False, False, False]


LIFE = """
sh("nft", "add", "table", "inet", "somebody")
def routes(): return subprocess.run(["ip", "route", "show", "type", "unreachable"], capture_output=True, text=True).stdout.split()
before = [links(), tables(), sorted(host._mount_points()), routes()]
host.prepare()
there = [links(), tables()]
nobody = routes()
netns = mounts(NETNS)
address = subprocess.run(["ip", "-brief", "address", "show", host.LINK], capture_output=True, text=True).stdout
sysctls = {name: Path("/proc/sys", name).read_text().strip() for name in host.SYSCTLS if Path("/proc/sys", name).exists()}
host.prepare()
again = [links(), tables()]
sh("ip", "netns", "add", "cni-a"); mount(configs.RUNTIME / "containerd" / "x"); mount(places.state("kubelet", "y"))
sh("nft", "add", "table", "ip", "kube-proxy"); sh("nft", "add", "table", "ip6", "kube-proxy")
host.withdraw(); host.withdraw()
after = [links(), tables(), sorted(host._mount_points()), routes()]
print(json.dumps({"before": before, "there": there, "again": again, "after": after, "address": address,
                  "sysctls": sysctls, "netns": netns, "nobody": nobody,
                  "wanted": host.SYSCTLS, "runtime": configs.RUNTIME.exists()}))
"""


def test_the_host_gets_its_address_and_both_closed_tables_and_loses_them_again(tmp_path: Path) -> None:
    found = inside(LIFE, tmp_path)
    ours = ["table inet readingroom_edge", "table inet readingroom_policy"]
    assert found["there"] == [["rr0"], sorted([*ours, "table inet somebody"])]
    assert found["again"] == found["there"]
    assert found["netns"] == ["/run/netns"]
    assert found["nobody"] == ["unreachable", "10.244.0.0/24"]
    assert "172.30.0.1/32" in found["address"]
    assert found["sysctls"].items() <= found["wanted"].items()
    assert len(found["sysctls"]) >= 3
    assert found["after"] == found["before"]
    assert found["runtime"] is False


MEMORY = """
def hold(size):
    code = f"import time; held = bytearray(b'x') * {size}; print('held', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE); child.stdout.readline()
    return child
little, big = hold(1), hold(64 * 2**20)
print(json.dumps([host.memory([]), host.memory([little.pid]), host.memory([little.pid, big.pid]), host.memory([999999])]))
"""


def test_memory_counts_what_the_processes_hold(tmp_path: Path) -> None:
    nothing, little, both, gone = inside(MEMORY, tmp_path)
    assert nothing == gone == 0
    assert little > 2**20
    assert 64 * 2**20 < both - little < 96 * 2**20
