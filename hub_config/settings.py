"""What one hub is told, from one mounted file: where its project lives and whom it may ask. An unknown key is an error.

Nothing secret stands here; secrets lie in the folder `secrets`, delivered into memory.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from readingroom.domain.errors import WrongSetUp

DEFAULT = "/etc/readingroom/hub/settings.json"


@dataclass(frozen=True, kw_only=True)
class HubSettings:
    """One hub's surroundings."""

    project: str
    public_url: str  # where browsers find this hub
    portal_url: str  # where browsers sign in
    portal_inside: str  # where the hub asks about a person
    portal_ca: str  # file: who may sign the portal's certificate
    listen: str  # where the hub listens
    hub_url: str  # where proxy and gate find the hub
    proxy_api_url: str
    gate_host: str  # the only name that a workspace is told; resolved at each start
    gate_port: int
    grant: str  # file
    grant_schema: str  # file
    secrets: str  # folder with cookie_secret, auth_state_key, proxy_token, client_secret
    database: str  # file
    image_pull_policy: str
    user_namespaces: bool  # kernel and runtime of the node can map users

    def secret(self, name: str) -> str:
        """A delivered secret. Raises `WrongSetUp` when it is absent or too short to be one."""
        try:
            value = (Path(self.secrets) / name).read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise _wrong(name, "the secret was not delivered") from error
        if len(value) < 64:
            raise _wrong(name, "the secret is too short to be one")
        return value


def load(path: Path | None = None) -> HubSettings:
    """The settings from their file. Raises `WrongSetUp` for a missing, unknown or mistyped entry."""
    found = path or Path(os.environ.get("RR_HUB_SETTINGS", DEFAULT))
    try:
        values: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong(found.name, "it cannot be read") from error
    expected = {field.name: field.type for field in fields(HubSettings)}
    odd = set(values) ^ set(expected)
    if odd:
        raise _wrong(found.name, f"these keys are unknown or missing: {', '.join(sorted(odd))}")
    kinds = {"str": str, "int": int, "bool": bool}
    mistyped = [name for name, kind in expected.items() if type(values[name]) is not kinds[str(kind)]]
    if mistyped:
        raise _wrong(found.name, f"these are of the wrong type: {', '.join(mistyped)}")
    return HubSettings(**values)


def _wrong(which: str, why: str) -> WrongSetUp:
    return WrongSetUp(what="hub settings", which=which, why=why, next_step="correct them and start the hub again")
