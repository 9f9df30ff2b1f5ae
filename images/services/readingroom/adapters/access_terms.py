"""The site's access terms: `policies/access/terms.yaml`, checked against its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from readingroom.adapters.json_schema import fault_in
from readingroom.adapters.strict_yaml import from_yaml
from readingroom.domain.errors import WrongSetUp


def terms_from(path: Path, schema: Path) -> dict[str, Any]:
    """The terms. Raises `WrongSetUp` when the file is absent, no YAML, or off its schema."""
    try:
        terms: dict[str, Any] = from_yaml(path.read_text(encoding="utf-8"))
        rules = json.loads(schema.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unusable(path.name, str(error)) from error
    if fault := fault_in(terms, rules):
        raise _unusable(path.name, fault.message)
    return terms


def _unusable(name: str, reason: str) -> WrongSetUp:
    return WrongSetUp(
        what="access terms",
        which=name,
        why=f"they cannot be used ({reason.splitlines()[0][:160]})",
        next_step="correct the file",
    )
