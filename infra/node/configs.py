"""The processes of the node and the files they read, as text. Why a setting is as it is stands beside it."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Final

from infra import places
from infra.node import build, pki
from infra.node.processes import Process
from readingroom import contract
from readingroom.contract import NODE_ADDRESS

RUNTIME: Final = Path("/run/readingroom")  # sockets: their paths may hold 108 bytes, and state may lie deep
SOCKET: Final = RUNTIME / "containerd.sock"
CNI_RECORDS: Final = Path("/var/lib/cni/results")  # where the CNI library writes, whatever we say
ETCD: Final = "https://127.0.0.1:2379"
_NODE: Final = Path(__file__).parent
_PACKAGE: Final = places.CHECKOUT / "images" / "services" / "readingroom"
_RESERVED: Final = {"memory": "1Gi", "cpu": "100m", "ephemeral-storage": "2Gi"}


def write_all() -> None:
    """Every configuration file, whole or not at all."""
    for folder in ("etc", "cni", "run", "log", "kubelet", "containerd", "etcd", "audit"):
        places.state(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    RUNTIME.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, text in files().items():
        pki.write_private(path, text.encode())


def files() -> dict[Path, str]:
    """Path to content. JSON is YAML."""
    return {
        etc("kubelet.yaml"): json.dumps(_kubelet(), indent=1),
        etc("kube-proxy.yaml"): json.dumps(_kube_proxy(), indent=1),
        etc("audit.yaml"): json.dumps(_audit(), indent=1),
        etc("containerd.toml"): _containerd(),
        places.state("cni", "10-readingroom.conflist"): json.dumps(_cni(), indent=1),
    }


def etc(name: str) -> Path:
    """A configuration file of ours."""
    return places.state("etc", name)


def _kubelet() -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki.certificate("cluster-ca"))},
        },
        "authorization": {"mode": "Webhook"},
        "readOnlyPort": 0,
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,  # a negative one cannot be written everywhere
        "seccompDefault": True,
        "clusterDNS": [contract.DNS_SERVICE_ADDRESS],
        "clusterDomain": contract.CLUSTER_DOMAIN,
        "resolvConf": "",  # nothing of the host's resolver reaches a pod
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "tlsCertFile": str(pki.certificate("kubelet")),
        "tlsPrivateKeyFile": str(pki.private_key("kubelet")),
        "imageGCHighThresholdPercent": 100,  # images come from no registry: a collected one is lost
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "3%", "imagefs.available": "3%"},
        "systemReserved": _RESERVED,
        "maxPods": 100,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "20s",
        "podLogsDir": str(places.state("log", "pods")),
        "volumePluginDir": str(places.state("kubelet", "volume-plugins")),
        "enableDebuggingHandlers": True,
        "shutdownGracePeriod": "0s",
        "protectKernelDefaults": False,
    }


def _kube_proxy() -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(pki.folder() / "kube-proxy.kubeconfig")},
        "clusterCIDR": contract.POD_RANGE,
        "nodePortAddresses": ["127.0.0.1/32"],
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "hostnameOverride": contract.NODE_NAME,
        "oomScoreAdj": 0,
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def _audit() -> dict[str, Any]:
    """Who changed what; never a body, for a body may hold a name."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "verbs": ["get", "list", "watch"]},
            {"level": "None", "resources": [{"group": "coordination.k8s.io"}, {"group": "", "resources": ["events"]}]},
            {"level": "Metadata"},
        ],
    }


def _containerd() -> str:
    return f"""version = 3
root = "{places.state("containerd")}"
state = "{RUNTIME}/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.tracing", "io.containerd.nri.v1.nri"]

[grpc]
  address = "{SOCKET}"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{_pause()}"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "{places.state("cni")}"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "/usr/sbin/runc"
        SystemdCgroup = false
"""


def _pause() -> str:
    try:
        return places.state("etc", "pause-image").read_text().strip()
    except OSError:
        return "rr.local/pause:none"


def _cni() -> dict[str, Any]:
    return {
        "cniVersion": "1.0.0",
        "name": "readingroom",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": contract.POD_RANGE}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(RUNTIME / "addresses"),
                },
            }
        ],
    }


def control_plane() -> list[Process]:
    """etcd, the API server and the two that act on what it holds, in the order of their need."""
    kube = str(build.binary("kube"))
    return [
        Process("etcd", _etcd()),
        Process("kube-apiserver", [kube, "kube-apiserver", *_apiserver()], files=[etc("audit.yaml")]),
        Process("kube-controller-manager", [kube, "kube-controller-manager", *_controller_manager()]),
        Process("kube-scheduler", [kube, "kube-scheduler", *_client("scheduler"), "--leader-elect=false",
                                   "--bind-address=127.0.0.1", "--profiling=false"]),
    ]  # fmt: skip


def runtime() -> Process:
    """containerd; its shims are found beside it."""
    path = f"{build.binary('containerd').parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return Process(
        "containerd",
        [str(build.binary("containerd")), "--config", str(etc("containerd.toml"))],
        {"PATH": path},
        files=[etc("containerd.toml")],
    )


def network() -> list[Process]:
    """Services, and the enforcer of NetworkPolicies."""
    proxy = [str(build.binary("kube")), "kube-proxy", f"--config={etc('kube-proxy.yaml')}"]
    enforcer = ["infra.node.netpol", "--kubeconfig", str(pki.folder() / "netpol.kubeconfig"), "--sandboxes",
                str(CNI_RECORDS)]  # fmt: skip
    return [Process("kube-proxy", proxy, files=[etc("kube-proxy.yaml")]), _python("netpol", enforcer, _NODE)]


def kubelet() -> Process:
    """The kubelet."""
    return Process(
        "kubelet",
        [
            str(build.binary("kube")),
            "kubelet",
            f"--config={etc('kubelet.yaml')}",
            f"--kubeconfig={pki.folder() / 'kubelet.kubeconfig'}",
            f"--root-dir={places.state('kubelet')}",
            f"--hostname-override={contract.NODE_NAME}",
            f"--node-ip={NODE_ADDRESS}",
        ],
        files=[etc("kubelet.yaml"), pki.certificate("kubelet")],
    )


def helpers() -> list[Process]:
    """What serves the platform from the node: the keeper of Vault's key, and the way in for browsers."""
    keeper = ["readingroom.entrypoints.vault_keeper", "--state", str(places.state())]
    door = ["infra.node.front_door", "--kubeconfig", str(pki.folder() / "front-door.kubeconfig")]
    return [_python("vault-keeper", keeper, _PACKAGE), _python("front-door", door, _NODE)]


def own_code() -> list[Path]:
    """What our own processes of the node are made of."""
    return sorted([*_NODE.rglob("*.py"), *_PACKAGE.rglob("*.py")])


def _python(name: str, words: list[str], code: Path) -> Process:
    """A program of ours. With other code it is another process, from the next `node up` on and not while somebody edits."""
    environment = {"READINGROOM_CODE": _digest(code)}
    return Process(name, [sys.executable, "-m", *words], environment, folder=places.CHECKOUT)


@functools.cache
def _digest(code: Path) -> str:
    whole = hashlib.sha256()
    for file in sorted(code.rglob("*.py")):
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:16]


def _etcd() -> list[str]:
    leaf = [f"--cert-file={pki.certificate('etcd')}", f"--key-file={pki.private_key('etcd')}",
            "--client-cert-auth", f"--trusted-ca-file={pki.certificate('etcd-ca')}"]  # fmt: skip
    return [
        str(build.binary("etcd")),
        "--name=node",
        f"--data-dir={places.state('etcd')}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=node=http://127.0.0.1:2380",
        "--auto-compaction-retention=1",
        "--logger=zap",
        "--log-level=warn",
        *leaf,
    ]


def _apiserver() -> list[str]:
    service_account = pki.folder() / "service-account"
    return [
        f"--advertise-address={NODE_ADDRESS}",
        f"--bind-address={NODE_ADDRESS}",
        "--secure-port=6443",
        f"--etcd-servers={ETCD}",
        f"--etcd-cafile={pki.certificate('etcd-ca')}",
        f"--etcd-certfile={pki.certificate('etcd-client')}",
        f"--etcd-keyfile={pki.private_key('etcd-client')}",
        f"--client-ca-file={pki.certificate('cluster-ca')}",
        f"--tls-cert-file={pki.certificate('apiserver')}",
        f"--tls-private-key-file={pki.private_key('apiserver')}",
        "--tls-min-version=VersionTLS12",
        f"--kubelet-client-certificate={pki.certificate('apiserver-kubelet-client')}",
        f"--kubelet-client-key={pki.private_key('apiserver-kubelet-client')}",
        f"--kubelet-certificate-authority={pki.certificate('cluster-ca')}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer={contract.SERVICE_ACCOUNT_ISSUER}",
        f"--service-account-key-file={service_account}.pub",
        f"--service-account-signing-key-file={service_account}.key",
        "--service-account-extend-token-expiration=false",
        f"--service-cluster-ip-range={contract.SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--anonymous-auth=false",
        "--allow-privileged=false",
        "--profiling=false",
        f"--audit-policy-file={etc('audit.yaml')}",
        f"--audit-log-path={places.state('audit', 'apiserver.log')}",
        "--audit-log-maxsize=50",
        "--audit-log-maxbackup=3",
        "--audit-log-maxage=30",
    ]


def _controller_manager() -> list[str]:
    return [
        *_client("controller-manager"),
        "--controllers=*,-certificatesigningrequest-signing-controller,-certificatesigningrequest-approving-controller",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={pki.folder() / 'service-account.key'}",
        f"--root-ca-file={pki.certificate('cluster-ca')}",
        f"--cluster-cidr={contract.POD_RANGE}",
        f"--service-cluster-ip-range={contract.SERVICE_RANGE}",
        "--allocate-node-cidrs=false",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        "--profiling=false",
        "--terminated-pod-gc-threshold=50",
    ]


def _client(name: str) -> list[str]:
    file = pki.folder() / f"{name}.kubeconfig"
    return [f"--{kind}={file}" for kind in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")]
