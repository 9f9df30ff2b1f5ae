"""The only reader of `policies/`, decisions and grants for infrastructure: an unknown key is an error."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jsonschema
import yaml

from infra import places
from infra.facts import Flow, Peer, Senders
from infra.jobs import OPT_OUTS_CLAIM
from readingroom import contract
from readingroom.domain.errors import WrongSetUp

POLICIES: Final = places.CHECKOUT / "policies"
_PEER: Final = re.compile(r"(system|quarantine|hub|workspace)/([a-z][a-z0-9-]{0,40})")
_PORT: Final = re.compile(r"(tcp|udp)/([1-9][0-9]{0,4})")
_VERSIONS: Final = {"grants": re.compile(r"v(\d+)\.json"), "decisions": re.compile(r"d(\d+)\.json")}
_PROJECT_SIDES: Final = ("hub", "workspace")


def flows(file: Path = POLICIES / "network" / "flows.yaml") -> tuple[Flow, ...]:
    """The allowed flows. Raises `WrongSetUp` with the entry's number for a word, key or port that is not known."""
    document = _document(file, {"flows"})
    return tuple(_flow(entry, f"{file.name}, flow {number}") for number, entry in enumerate(document["flows"], 1))


def admission(folder: Path = POLICIES / "admission") -> Mapping[str, Mapping[str, Any]]:
    """Name of each ValidatingAdmissionPolicy to its `spec`, one file per rule of `policies/admission`."""
    return {file.stem: _document(file, {"sentence", "parameters", "spec"}) for file in sorted(folder.glob("*.yaml"))}


def shard_workers(file: Path = POLICIES / "deid" / "shards.yaml") -> int:
    """How many shards of a de-identification are worked on at a time."""
    workers = _document(file, {"instances", "bytes", "workers"})["workers"]
    if not isinstance(workers, int) or workers < 1:
        raise _wrong(file.name, "workers is no number from 1")
    return workers


def senders() -> Senders | None:
    """Who may send to the network door; None where the site has no folder `door` in its state, and so no such door.

    Raises `WrongSetUp` for a file that is missing or off, and for a peer without an address: the door is opened to addresses.
    """
    folder = places.state("door")
    if not folder.is_dir():
        return None
    peers, authority = (_own(folder / name) for name in ("peers.yaml", "authority.pem"))
    try:
        document = yaml.safe_load(peers)
        jsonschema.validate(document, json.loads(text("schema", "door-peers.schema.json")))
        found = {str(ipaddress.ip_address(word)) for each in document["peers"] for word in each["addresses"]}
    except KeyError:
        raise _wrong("peers.yaml", "a peer has no address, and the door is opened to addresses") from None
    except (ValueError, RecursionError, yaml.YAMLError, jsonschema.ValidationError) as error:
        raise _wrong("peers.yaml", f"it is not as policies/schema/door-peers.schema.json says ({_at(error)})") from None
    if not found:
        raise _wrong("peers.yaml", "nobody may send; without the folder, there is no door")
    return Senders(peers=peers, authority=authority, addresses=tuple(sorted(found)))


def _own(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise _wrong(f"{file.parent.name}/{file.name}", f"it cannot be read ({type(error).__name__})") from error


def _at(error: Exception) -> str:
    return error.json_path if isinstance(error, jsonschema.ValidationError) else type(error).__name__


def asks_opt_outs() -> bool:
    """Whether the site keeps opt-outs: an empty folder means that it asks nobody."""
    folder = places.volume(OPT_OUTS_CLAIM)
    return folder.is_dir() and any(not file.name.startswith(".") for file in folder.iterdir())


def evaluation_costs(name: str, folder: Path = POLICIES / "evaluation") -> dict[str, int]:
    """What a run of a submission may cost by a plan: seconds, and memory and scratch space in MiB."""
    keys = {"plan", "version", "question", "projects", "decimals", "tasks", "telling", "budget", "costs"}
    given = _document(folder / f"{name}.yaml", keys, frozenset({"groups"}))["costs"]
    try:
        return {key: int(given[key]) for key in ("seconds", "memory_mib", "scratch_mib")}
    except (KeyError, TypeError, ValueError) as error:
        raise _wrong(f"{name}.yaml", "costs are no numbers") from error


def text(*parts: str) -> str:
    """A file of `policies/`, as it is."""
    return POLICIES.joinpath(*parts).read_text(encoding="utf-8")


def grants() -> dict[str, Path]:
    """The grant file in force of each project: the highest version."""
    return _highest("grants")


def decisions() -> dict[str, Path]:
    """The decision file in force of each project that the committee approved: the highest version."""
    return _highest("decisions")


def _highest(kind: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in sorted(places.state(kind).glob("*/")):
        versions = {int(match[1]): file for file in folder.iterdir() if (match := _VERSIONS[kind].fullmatch(file.name))}
        if versions:
            found[folder.name] = versions[max(versions)]
    return found


def _flow(entry: Any, where: str) -> Flow:
    if not isinstance(entry, dict) or entry.keys() != {"from", "to", "ports", "reason"}:
        raise _wrong(where, "it needs exactly from, to, ports, reason")
    source, destination = _peer(entry["from"], where), _peer(entry["to"], where)
    if source.cidr:
        raise _wrong(where, "only pods open connections")
    if "workspace" in (source.namespace, destination.namespace) and {source.namespace, destination.namespace} - {
        *_PROJECT_SIDES
    }:
        raise _wrong(where, "a workspace speaks with its own project's hub namespace only")
    ports = []
    for port in entry["ports"]:
        found = _PORT.fullmatch(str(port))
        if not found or int(found[2]) > 65535:
            raise _wrong(where, f"port {port!r} is not written as tcp/N or udp/N")
        ports.append((found[1].upper(), int(found[2])))
    if not ports or not str(entry["reason"]).strip():
        raise _wrong(where, "it names no port or no reason")
    return Flow(source=source, destination=destination, ports=tuple(ports), reason=str(entry["reason"]))


def _peer(word: Any, where: str) -> Peer:
    if word == "api":
        return Peer(namespace="", role="", cidr=f"{contract.NODE_ADDRESS}/32")
    found = _PEER.fullmatch(str(word))
    if not found:
        raise _wrong(where, f"{word!r} is no peer; write <namespace>/<role> or api")
    return Peer(namespace=found[1], role=found[2])


def _document(file: Path, keys: set[str], optional: frozenset[str] = frozenset()) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise _wrong(file.name, f"it cannot be read ({type(error).__name__})") from error
    if not isinstance(document, dict) or document.keys() - optional != keys:
        raise _wrong(file.name, f"its keys are not exactly {', '.join(sorted(keys))}")
    return document


def _wrong(which: str, why: str) -> WrongSetUp:
    return WrongSetUp(what="policies", which=which, why=why, next_step="correct the file")
