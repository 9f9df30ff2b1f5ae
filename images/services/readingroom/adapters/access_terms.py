"""The site's access terms: `policies/access/terms.yaml`, checked against its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from readingroom.domain.errors import WrongSetUp


def terms_from(path: Path, schema: Path) -> dict[str, Any]:
    """The terms. Raises `WrongSetUp` when the file is absent, no YAML, or off its schema."""
    try:
        terms: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(terms)
    except (OSError, ValueError, yaml.YAMLError, jsonschema.ValidationError) as error:
        reason = error.message if isinstance(error, jsonschema.ValidationError) else str(error)
        raise WrongSetUp(
            what="access terms",
            which=path.name,
            why=f"they cannot be used ({reason.splitlines()[0][:160]})",
            next_step="correct the file",
        ) from error
    return terms
