"""From rows of files to one row for each patient: the newest wins whole, and what contradicts something is marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from readingroom.domain.clinical.cells import Value
from readingroom.domain.clinical.clean import Row
from readingroom.domain.clinical.imaged import Imaged
from readingroom.domain.clinical.policy import PRESENT, Policy
from readingroom.domain.clinical.record import Sort

AGREED = ("centre", "sex")  # what does not change from one file of a patient to the next


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One cleaned file: its sort, the day it was sent on, and a mark of its bytes, by which a tie is settled."""

    sort: Sort
    day: str
    content: str
    row: Row

    @property
    def rank(self) -> tuple[bool, str, str]:
        """The highest one wins: a positive patient's file before a negative one's, then the newest."""
        return self.sort is Sort.DATA, self.day, self.content


def winner(files: Sequence[Sent]) -> Sent:
    """The file that a patient's row is made of: no field of an older one is mixed in."""
    return max(files, key=lambda sent: sent.rank)


def row_of(files: Sequence[Sent], images: Sequence[Imaged], policy: Policy) -> dict[str, Value]:
    """A patient's row, in any order of files and images."""
    values = dict(winner(files).row.values)
    values["positive"] = any(sent.sort is Sort.DATA for sent in files)
    ages = [image.age for image in images if image.age is not None]
    sexes = {image.sex for image in images if image.sex}
    values["age_from_image"] = values["age"] is None and bool(ages)
    values["sex_from_image"] = values["sex"] is None and len(sexes) == 1
    if values["age_from_image"]:
        values["age"] = max(ages)
    if values["sex_from_image"]:
        values["sex"] = min(sexes)
    values["conflict"] = bool(values["conflict"]) or _disagree(files) or _contradicts(values, policy)
    return values


def _disagree(files: Sequence[Sent]) -> bool:
    """Whether files of one patient are of both sorts, or differ in what does not change."""
    said = [{sent.row.values[name] for sent in files} - {None} for name in AGREED]
    return len({sent.sort for sent in files}) > 1 or any(len(values) > 1 for values in said)


def _contradicts(values: Mapping[str, Value], policy: Policy) -> bool:
    return any(
        all(_holds(values[name], said) for name, said in together.items()) for together in policy.together
    ) or any(
        isinstance(first := values[before], str) and isinstance(second := values[after], str) and second < first
        for before, after in policy.order
    )


def _holds(value: Value, said: str | bool) -> bool:
    return value is not None if said == PRESENT else value is not None and value == said
