"""JSON Schema: whether a document follows its schema. The only module of the package that imports jsonschema.

It is imported when something is checked, not before. Where jupyter-events is installed, jsonschema would compile the
grammar of the format `iri` as it is imported: a second and a half of every command. No schema of ours names that format,
so the grammar counts as absent here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import ValidationError

sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # None is the import system's word for absent


def fault_in(document: object, schema: Mapping[str, Any]) -> ValidationError | None:
    """What tells best why a document is off its schema, the same each time; None if it follows it."""
    from jsonschema import Draft202012Validator, exceptions  # noqa: PLC0415 (slow to import)

    faults = sorted(Draft202012Validator(schema).iter_errors(document), key=lambda each: each.json_path)
    best: ValidationError | None = exceptions.best_match(faults)
    return best
