"""The rules of an external table, from its file in `policies/deid/linked`: what identifies, and what columns may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from readingroom.adapters.clinical_policy import check_column, check_days
from readingroom.adapters.policy_files import Document, checked, off, resolved_of, twice
from readingroom.domain.access import POLICY
from readingroom.domain.clinical.policy import Column, policy_from
from readingroom.domain.deid.profile import normal
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.linkage.table import LINKED_BY, PATIENT, LinkedPolicy

FOLDER: Final = Path("deid", "linked")


def linked_policy(policies: Path, name: str) -> LinkedPolicy:
    """The policy of that name. Raises `WrongSetUp` naming the file and the place that is off."""
    if not POLICY.fullmatch(name):
        raise WrongSetUp(
            what="linkage policy",
            which=repr(name[:40]),
            why="it is no name of policies/deid/linked",
            next_step="give the name of a file there, without .yaml",
        )
    file = f"{name}.yaml"
    document = checked(policies / FOLDER / file, policies / "schema" / "linked-columns.schema.json")
    _check(file, document)
    resolved = resolved_of({**document, "name": name, "columns": list(map(_listed, document["columns"].items()))})
    whose = document["identifiers"]
    rules = policy_from({**resolved.document, "centres": {}, "contradictions": []}, resolved.sha256)
    if "demographics" not in document["match"]:
        return LinkedPolicy(
            name=name, sha256=resolved.sha256, by_demographics=False, number=normal(whose["number"]), cells=rules
        )
    return LinkedPolicy(
        name=name,
        sha256=resolved.sha256,
        by_demographics=True,
        number=normal(whose["number"]),
        family=normal(whose["family"]),
        born=normal(whose["born"]["field"]),
        day_first=whose["born"]["order"] == "day-first",
        sex=_sex(whose["sex"], document),
        cells=rules,
    )


def _listed(column: tuple[str, Document]) -> tuple[str, Document]:
    name, given = column
    return name, {**given, "fields": [given["field"]]}


def _sex(given: Document, document: Document) -> Column:
    """The sex of the partner's table as a column, named by its field."""
    name = normal(given["field"])
    column = {"type": "code", "meaning": "Sex.", "codes": {c: {"meaning": c, "words": given[c]} for c in ("F", "M")}}
    alone = {**document, "columns": [(name, column)], "centres": {}, "contradictions": []}
    return policy_from(alone, "").columns[0]


def _check(file: str, document: Document) -> None:
    check_days(document["window"], file)
    for name, column in document["columns"].items():
        check_column(name, column, file)
        if name in {PATIENT, LINKED_BY}:
            off(file, f"{name} is a column of every joined table")
    whose = document["identifiers"]
    if ("demographics" in document["match"]) != (set(whose) == {"number", "family", "born", "sex"}):
        off(file, "identifiers: demographics need family, born and sex, and nothing else does")
    fields = [column["field"] for column in document["columns"].values()]
    fields += [each if isinstance(each, str) else each["field"] for each in whose.values()]
    if again := twice(map(normal, fields)):
        off(file, f"the field {again!r} stands twice")
