"""Small generated worlds: few names, labels, addresses and ports, so that rules and packets meet often."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.unit.netpol.oracle import Json, Opening, World

NAMESPACES = ("red", "green")
KEYS, VALUES = ("app", "tier"), ("a", "b")
PORT_NAMES = ("web", "dns")
PORTS = (53, 80, 81, 8080)
INSIDE = [f"10.244.0.{number}" for number in (2, 3, 4, 5, 6, 7)] + [f"fd00::{number}" for number in (2, 3, 4)]
OUTSIDE = ["10.244.0.200", "10.96.0.1", "172.30.0.1", "203.0.113.7", "fd00::c8", "2001:db8::1"]
BLOCKS = (
    ("0.0.0.0/0", ("10.244.0.0/29", "172.30.0.1/32")),
    ("10.244.0.0/24", ("10.244.0.4/30", "10.244.0.3/32")),
    ("203.0.113.0/24", ()),
    ("172.30.0.1/32", ()),
    ("::/0", ("fd00::/126", "2001:db8::/32")),
    ("fd00::/64", ("fd00::4/128",)),
)

labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
protocols = st.sampled_from(["TCP", "UDP"])


@st.composite
def selectors(draw: st.DrawFn) -> Json:
    selector: Json = {}
    if draw(st.booleans()):
        selector["matchLabels"] = draw(labels)
    expressions = []
    for _ in range(draw(st.integers(0, 2))):
        operator = draw(st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]))
        expression: Json = {"key": draw(st.sampled_from(KEYS)), "operator": operator}
        if operator in {"In", "NotIn"}:
            expression["values"] = draw(st.lists(st.sampled_from(VALUES), min_size=1, unique=True))
        expressions.append(expression)
    if expressions:
        selector["matchExpressions"] = expressions
    return selector


@st.composite
def peers(draw: st.DrawFn) -> Json:
    kind = draw(st.sampled_from(["pod", "namespace", "both", "block"]))
    if kind == "block":
        cidr, holes = draw(st.sampled_from(BLOCKS))
        block: Json = {"cidr": cidr}
        with_holes: bool = draw(st.booleans())
        if holes and with_holes:
            block["except"] = draw(st.lists(st.sampled_from(holes), min_size=1, unique=True))
        return {"ipBlock": block}
    peer: Json = {}
    if kind in {"pod", "both"}:
        peer["podSelector"] = draw(selectors())
    if kind in {"namespace", "both"}:
        peer["namespaceSelector"] = draw(selectors())
    return peer


@st.composite
def ports(draw: st.DrawFn) -> Json:
    port: Json = {}
    if draw(st.booleans()):
        port["protocol"] = draw(protocols)
    match draw(st.sampled_from(["any", "number", "range", "name"])):
        case "number":
            port["port"] = draw(st.sampled_from(PORTS))
        case "range":
            port["port"] = draw(st.sampled_from(PORTS))
            port["endPort"] = port["port"] + draw(st.integers(0, 30))
        case "name":
            port["port"] = draw(st.sampled_from(PORT_NAMES))
    return port


@st.composite
def policies(draw: st.DrawFn, name: str) -> Json:
    spec: Json = {"podSelector": draw(selectors())}
    for direction, end in (("ingress", "from"), ("egress", "to")):
        present: bool = draw(st.booleans())
        if present:
            spec[direction] = [
                {
                    **({end: draw(st.lists(peers(), max_size=2))} if draw(st.booleans()) else {}),
                    **({"ports": draw(st.lists(ports(), max_size=2))} if draw(st.booleans()) else {}),
                }
                for _ in range(draw(st.integers(0, 2)))
            ]
    if draw(st.booleans()):
        spec["policyTypes"] = draw(
            st.lists(st.sampled_from(["Ingress", "Egress"]), min_size=1, max_size=2, unique=True)
        )
    return {"metadata": {"name": name, "namespace": draw(st.sampled_from(NAMESPACES))}, "spec": spec}


@st.composite
def pods(draw: st.DrawFn, name: str, addresses: list[str]) -> Json:
    named = draw(st.dictionaries(st.sampled_from(PORT_NAMES), st.tuples(st.sampled_from(PORTS), protocols)))
    return pod(
        name,
        draw(st.sampled_from(NAMESPACES)),
        addresses,
        labels=draw(labels),
        ports=[{"name": n, "containerPort": number, "protocol": p} for n, (number, p) in named.items()],
    )


def pod(
    name: str, namespace: str, addresses: list[str], labels: Json | None = None, ports: list[Json] | None = None
) -> Json:
    """A running pod of the API."""
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": labels or {}},
        "spec": {"containers": [{"name": "main", "ports": ports or []}]},
        "status": {"phase": "Running", "podIPs": [{"ip": a} for a in addresses]},
    }


def namespace(name: str, labels: Json | None = None) -> Json:
    return {"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name, **(labels or {})}}}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    taken = draw(st.lists(st.sampled_from(INSIDE), unique=True, min_size=1, max_size=5))
    return World(
        namespaces=[namespace(name, draw(labels)) for name in NAMESPACES],
        pods=[draw(pods(f"p{n}", [address])) for n, address in enumerate(taken)],
        policies=[draw(policies(f"n{n}")) for n in range(draw(st.integers(0, 4)))],
    )


@st.composite
def openings(draw: st.DrawFn, world: World) -> Opening:
    """A packet of one family with at least one end in a pod of that world."""
    inside = [entry["ip"] for p in world.pods for entry in p["status"]["podIPs"]]
    one = draw(st.sampled_from(inside))
    others = [a for a in [*inside, *OUTSIDE] if (":" in a) == (":" in one)]
    other = draw(st.sampled_from(others))
    source, destination = draw(st.permutations([one, other]))
    protocol: Any = draw(st.sampled_from([6, 17, 1]))
    port = None if protocol == 1 else draw(st.sampled_from([*PORTS, 79, 82, 110, 65535]))
    return Opening(source, destination, protocol, port)
