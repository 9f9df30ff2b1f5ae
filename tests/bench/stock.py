"""The common way: stock JupyterHub and stock KubeSpawner, in the same images as ours, with their default settings.

Hub and proxy run in a pod, as everywhere else: a pod of this node reaches no port of the node but the API server's, so a
hub beside the node could not be asked by its servers. Its namespace has none of our policies. What is not default is
image, pull policy and limits. Nobody can log in: the bench has a service's token that starts, ends and enters the bench's
own users' servers and nothing else. In one thing it is better off than ours: its servers mount neither a cut nor a home.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from images import build
from infra.node.images import import_image
from tests.bench.arms import Pods, apply, namespace
from tests.bench.web import Client, until

SPACE = "bench-stock"
PROXY = "/opt/readingroom/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
CONFIGURATION = """
import os
c = get_config()
users = os.environ["BENCH_USERS"].split()
c.JupyterHub.hub_ip = "0.0.0.0"
c.JupyterHub.hub_connect_url = "http://" + os.environ["POD_ADDRESS"] + ":8081"
c.JupyterHub.db_url = "sqlite:////tmp/stock.sqlite"
c.JupyterHub.cookie_secret_file = "/tmp/cookie_secret"
c.JupyterHub.authenticator_class = "null"
c.Authenticator.allowed_users = set(users)
c.JupyterHub.services = [{"name": "bench", "api_token": os.environ["BENCH_TOKEN"]}]
scopes = [f"{scope}!user={user}" for user in users for scope in ("servers", "access:servers")]
c.JupyterHub.load_roles = [{"name": "bench", "services": ["bench"], "scopes": scopes}]
c.ConfigurableHTTPProxy.should_start = False
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.image = os.environ["BENCH_IMAGE"]
c.KubeSpawner.image_pull_policy = "Never"
c.KubeSpawner.cpu_limit, c.KubeSpawner.cpu_guarantee = 1, 0.1
c.KubeSpawner.mem_limit = c.KubeSpawner.mem_guarantee = "2G"
"""
RIGHTS = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "watch", "list", "create", "delete"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "watch", "list"]},
]


class Stock:
    """Usable when the server answers through the stock proxy."""

    name = "stock"

    def __init__(self, address: str, token: str, pods: Pods) -> None:
        self._client = Client(f"http://{address}:8000", {"Authorization": f"token {token}"})
        self._pods = pods

    def start(self, number: int) -> Mapping[str, float]:
        api = f"/hub/api/users/{_user(number)}/server"
        since = time.monotonic()
        asked = self._client.ask("POST", api, b"{}")
        assert asked.status in {201, 202}, f"status {asked.status}: {asked.text[:300]}"
        if asked.status == 202:  # slower than the hub's patience with one request
            self._client.until_ready(f"{api}/progress")
        hub_ready = time.monotonic() - since
        self._client.until_usable(f"/user/{_user(number)}/api")
        usable = time.monotonic() - since
        return {"hub ready": hub_ready, "usable": usable, **self._pods.stages(_pod(number), since)}

    def end(self, number: int) -> None:
        api = f"/hub/api/users/{_user(number)}/server"
        until(lambda: self._client.ask("DELETE", api).status in {204, 404}, f"the end of {_user(number)}", pause=0.2)
        self._pods.wait_until_gone(_pod(number))


def _user(number: int) -> str:
    return f"bench{number}"


def _pod(number: int) -> str:
    return f"jupyter-{_user(number)}"


@contextmanager
def stock(image: str, people: int) -> Iterator[Stock]:
    """A hub of its own in a namespace of its own, for as long as this lasts."""
    token = secrets.token_hex(32)
    with namespace(SPACE, {}):
        apply(*_objects(image, people, token))
        with Pods(SPACE).watching() as pods:
            address = pods.wait_for_address("hub")
            client = Client(f"http://{address}:8000", {"Authorization": f"token {token}"})
            until(lambda: _answers(client), "the stock hub", 90, 0.5)
            yield Stock(address, token, pods)


def _answers(client: Client) -> bool:
    try:
        return client.ask("GET", "/hub/api/").status == 200
    except OSError:
        return False


def _objects(image: str, people: int, token: str) -> Iterator[dict[str, object]]:
    here = {"name": "hub", "namespace": SPACE}
    who = {"kind": "ServiceAccount", **here}
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": here}
    yield {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": here, "rules": RIGHTS}
    yield {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": here, "subjects": [who],
           "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "hub"}}  # fmt: skip
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": here, "data": {"jupyterhub_config.py": CONFIGURATION}}
    proxy_token = secrets.token_hex(32)
    told = {
        "CONFIGPROXY_AUTH_TOKEN": proxy_token,
        "BENCH_TOKEN": token,
        "BENCH_IMAGE": image,
        "BENCH_USERS": " ".join(map(_user, range(people))),
    }
    env: list[dict[str, object]] = [{"name": name, "value": value} for name, value in told.items()]
    env.append({"name": "POD_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
    hub = {
        "name": "hub",
        "image": _image("hub"),
        "imagePullPolicy": "Never",
        "command": ["jupyterhub", "-f", "/etc/jupyterhub/jupyterhub_config.py"],
        "env": env,
        "volumeMounts": [{"name": "configuration", "mountPath": "/etc/jupyterhub"}],
    }
    proxy = {
        "name": "proxy",
        "image": _image("proxy"),
        "imagePullPolicy": "Never",
        "command": ["node", PROXY, "--ip=0.0.0.0", "--port=8000", "--api-ip=127.0.0.1", "--api-port=8001",
                    "--default-target=http://127.0.0.1:8081", "--error-target=http://127.0.0.1:8081/hub/error"],
        "env": [{"name": "CONFIGPROXY_AUTH_TOKEN", "value": proxy_token}],
    }  # fmt: skip
    volume = {"name": "configuration", "configMap": {"name": "hub"}}
    spec = {"serviceAccountName": "hub", "enableServiceLinks": True, "terminationGracePeriodSeconds": 1,
            "containers": [hub, proxy], "volumes": [volume]}  # fmt: skip
    yield {"apiVersion": "v1", "kind": "Pod", "metadata": {**here, "labels": {"app": "hub"}}, "spec": spec}


def _image(name: str) -> str:
    built = build.build(name)
    return import_image(built.tar, name, built.digest)
