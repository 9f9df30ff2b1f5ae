"""Reads what Vault must be like from files: `roles.yaml`, its schema, one `.hcl` per policy, and the list of projects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from readingroom.adapters.json_schema import fault_in
from readingroom.adapters.strict_yaml import from_yaml
from readingroom.domain.document import unique_keys
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.vault_documents import Definition
from readingroom.domain.vault_plan import Project


def definition(folder: Path, schema: Path) -> Definition:
    """The definition. Raises `WrongSetUp` naming the file and the place that is off."""
    roles = _parsed(folder / "roles.yaml")
    rules = _parsed(schema)
    if fault := fault_in(roles, rules):
        raise _wrong("roles.yaml", f"{fault.json_path}: {fault.message[:200]}")
    policies = {file.stem: _text(file) for file in sorted(folder.glob("*.hcl"))}
    return Definition(roles=roles["roles"], certificates=roles["certificates"], seeds=roles["seeds"], policies=policies)


def projects(file: Path) -> list[Project]:
    """Which projects exist: `{"projects": [{"id", "phase"}]}`, nothing else."""
    document = _parsed(file)
    try:
        found = [Project(**entry) for entry in document["projects"]]
    except (KeyError, TypeError) as error:
        raise _wrong(file.name, "it is no list of projects with id and phase") from error
    if document.keys() != {"projects"}:
        raise _wrong(file.name, "it holds another key than projects")
    return found


def _parsed(file: Path) -> dict[str, Any]:
    text, is_json = _text(file), file.suffix == ".json"
    try:
        document = json.loads(text, object_pairs_hook=unique_keys) if is_json else from_yaml(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(file.name, "it cannot be parsed, or a key stands twice in it") from error
    if not isinstance(document, dict):
        raise _wrong(file.name, "it is no table")
    return document


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(file.name, f"it cannot be read ({type(error).__name__})") from error


def _wrong(which: str, why: str) -> WrongSetUp:
    return WrongSetUp(what="Vault's settings", which=which, why=why, next_step="correct the file")
