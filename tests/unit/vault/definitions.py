"""The definition as it lies in `policies/vault`, and how tests change one thing in it."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

from readingroom.adapters import vault_files
from readingroom.domain.vault_documents import Definition, Issuer
from readingroom.domain.vault_plan import Project

POLICIES = Path(__file__).resolve().parents[3] / "policies"
FOLDER, SCHEMA = POLICIES / "vault", POLICIES / "schema" / "vault-roles.schema.json"
ISSUER = Issuer(name="https://issuer.test", public_keys=("-----BEGIN PUBLIC KEY-----\nAA==\n",), algorithm="RS256")
OPEN_LUNG, OPEN_HEART = Project(id="lung-ct", phase="open"), Project(id="heart", phase="open")
CLOSED_HEART = Project(id="heart", phase="closed")


@functools.cache
def shipped() -> Definition:
    """What the repository ships."""
    return vault_files.definition(FOLDER, SCHEMA)


def changed(**parts: dict[str, Any]) -> Definition:
    """The shipped definition with entries put in, or taken out where they are None."""
    fields = {}
    for part, entries in parts.items():
        table = copy.deepcopy(dict(getattr(shipped(), part)))
        for name, entry in entries.items():
            if entry is None:
                table.pop(name)
            elif isinstance(entry, dict):
                table[name] = {**table.get(name, {}), **entry}
            else:
                table[name] = entry
        fields[part] = table
    return replace(shipped(), **fields)
