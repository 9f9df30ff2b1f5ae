"""Settings of our processes: the only reader of the environment. Typed, checked on load, refused when off.

Every setting has a default that fits the pod; what is secret lies in a file, never in a variable.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from readingroom import contract
from readingroom.domain.errors import WrongSetUp

_DELIVERED: Final = "/run/delivered"  # what the sidecar `deliver` writes, in memory


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings:
    """Where PostgreSQL is and which client certificate opens it; the server must prove its name."""

    host: str  # RR_DATABASE_HOST
    port: int  # RR_DATABASE_PORT
    name: str  # RR_DATABASE_NAME: database and role alike
    certificate: Path  # RR_DATABASE_CERTIFICATE
    key: Path  # RR_DATABASE_KEY
    authority: Path  # RR_DATABASE_AUTHORITY: who may sign the server's certificate


@dataclass(frozen=True, kw_only=True)
class PortalProject:
    """A project as its people see it on the portal."""

    id: str
    title: str
    may: tuple[str, ...] = ()  # what its people may do, one plain sentence each
    ends: date | None = None  # last day of the grant, where it is known


@dataclass(frozen=True, kw_only=True)
class PortalSettings:
    """What the portal's process needs."""

    database: DatabaseSettings
    listen: str  # RR_LISTEN, address:port
    certificate: Path  # RR_TLS_CERTIFICATE: read again for each connection, so a renewed one needs no restart
    key: Path  # RR_TLS_KEY
    secrets: Path  # RR_SECRETS: folder with django_secret_key, oidc_private_key, oidc-<project>
    projects: tuple[PortalProject, ...]  # from the file RR_PROJECTS

    def secret(self, name: str) -> str:
        """The secret of that name, read when asked for. Raises `WrongSetUp` if it is absent or too short to be one."""
        value = _text(self.secrets / name, "a secret of the portal").strip()
        if len(value) < 32:
            raise WrongSetUp(
                what="a secret of the portal", which=name, why="it has fewer than 32 characters", next_step="renew it"
            )
        return value


@dataclass(frozen=True, kw_only=True)
class EnrolSettings:
    """What the Job needs that enrols people."""

    database: DatabaseSettings
    roster: Path  # RR_ROSTER
    result: Path  # RR_RESULT: gets the handles


@dataclass(frozen=True, kw_only=True)
class VaultSettings:
    """Where Vault is, who may sign its certificate, as whom we log in, and from where pods do."""

    address: str  # RR_VAULT_ADDRESS
    authority: str  # RR_VAULT_CA
    token_file: Path  # RR_VAULT_TOKEN_FILE: the projected token, read each time
    pod_range: str  # RR_POD_RANGE: logins from other addresses are refused


def vault(environment: Mapping[str, str] | None = None) -> VaultSettings:
    """The settings of whoever asks Vault; the defaults are right in a pod of the local node."""
    ask = _asker(environment)
    address = ask("RR_VAULT_ADDRESS", f"https://{contract.VAULT_SERVICE_ADDRESS}:{contract.PORT_VAULT}")
    if not address.startswith("https://"):
        raise _wrong("RR_VAULT_ADDRESS", "a token is sent over https only")
    return VaultSettings(
        address=address,
        authority=ask("RR_VAULT_CA", contract.VAULT_CA_PATH),
        token_file=Path(ask("RR_VAULT_TOKEN_FILE", contract.VAULT_TOKEN_PATH)),
        pod_range=ask("RR_POD_RANGE", contract.POD_RANGE),
    )


def database(environment: Mapping[str, str] | None = None) -> DatabaseSettings:
    """The database settings of the environment."""
    ask = _asker(environment)
    port = ask("RR_DATABASE_PORT", str(contract.PORT_DATABASE))
    if not port.isdigit():
        raise _wrong("RR_DATABASE_PORT", "it is not a number")
    return DatabaseSettings(
        host=ask("RR_DATABASE_HOST", contract.DATABASE_HOST),
        port=int(port),
        name=ask("RR_DATABASE_NAME", contract.DATABASE_NAME),
        certificate=Path(ask("RR_DATABASE_CERTIFICATE", f"{_DELIVERED}/database.crt")),
        key=Path(ask("RR_DATABASE_KEY", f"{_DELIVERED}/database.key")),
        authority=Path(ask("RR_DATABASE_AUTHORITY", f"{_DELIVERED}/ca.crt")),
    )


def portal(environment: Mapping[str, str] | None = None) -> PortalSettings:
    """The portal's settings of the environment."""
    ask = _asker(environment)
    return PortalSettings(
        database=database(environment),
        listen=ask("RR_LISTEN", f"0.0.0.0:{contract.PORT_PORTAL}"),
        certificate=Path(ask("RR_TLS_CERTIFICATE", f"{_DELIVERED}/tls.crt")),
        key=Path(ask("RR_TLS_KEY", f"{_DELIVERED}/tls.key")),
        secrets=Path(ask("RR_SECRETS", _DELIVERED)),
        projects=projects_from(
            _text(Path(ask("RR_PROJECTS", "/etc/readingroom/projects.json")), "the list of projects")
        ),
    )


def enrol(environment: Mapping[str, str] | None = None) -> EnrolSettings:
    """The settings of the Job that enrols people."""
    ask = _asker(environment)
    return EnrolSettings(
        database=database(environment),
        roster=Path(ask("RR_ROSTER", "/etc/readingroom/roster/roster.json")),
        result=Path(ask("RR_RESULT", "/dev/termination-log")),
    )


def state_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where this machine keeps grants and kubeconfigs: `${XDG_STATE_HOME:-~/.local/state}/readingroom`."""
    return Path(_asker(environment)("XDG_STATE_HOME", str(Path.home() / ".local" / "state"))) / "readingroom"


def policies_folder(environment: Mapping[str, str] | None = None) -> Path:
    """The folder `policies` of the checkout, or RR_POLICIES where the package lies elsewhere."""
    return Path(_asker(environment)("RR_POLICIES", str(Path(__file__).parents[4] / "policies")))


def completion_index(environment: Mapping[str, str] | None = None) -> int | None:
    """Which shard this pod of an Indexed Job does: JOB_COMPLETION_INDEX, set by Kubernetes. None elsewhere."""
    index = _asker(environment)("JOB_COMPLETION_INDEX", "")
    if index and not index.isdecimal():
        raise _wrong("JOB_COMPLETION_INDEX", "it is not a number")
    return int(index) if index else None


def projects_from(text: str) -> tuple[PortalProject, ...]:
    """Projects from `{"projects": [{"id", "title", "may"?, "ends"?}]}`; an unknown key is an error."""
    try:
        return tuple(_project(entry) for entry in _only(json.loads(text), {"projects"})["projects"])
    except (ValueError, KeyError, TypeError) as error:
        raise _wrong("RR_PROJECTS", f"the list of projects cannot be read ({type(error).__name__})") from error


def _project(entry: Any) -> PortalProject:
    found = _only(entry, {"id", "title", "may", "ends"})
    if not contract.PROJECT_ID.fullmatch(found["id"]):
        raise ValueError("project id off the pattern")
    return PortalProject(
        id=found["id"],
        title=str(found["title"]),
        may=tuple(str(sentence) for sentence in found.get("may", ())),
        ends=date.fromisoformat(found["ends"]) if found.get("ends") else None,
    )


def _only(entry: Any, allowed: set[str]) -> dict[str, Any]:
    if not isinstance(entry, dict) or entry.keys() - allowed:
        raise ValueError("unknown key")
    return entry


def _asker(environment: Mapping[str, str] | None) -> Callable[[str, str], str]:
    variables = os.environ if environment is None else environment
    return lambda name, default: variables.get(name) or default


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise WrongSetUp(
            what=what, which=path.name, why=f"the file cannot be read ({error.strerror})", next_step="deliver it again"
        ) from error


def _wrong(name: str, why: str) -> WrongSetUp:
    return WrongSetUp(what="a setting", which=name, why=why, next_step="correct it and start again")
