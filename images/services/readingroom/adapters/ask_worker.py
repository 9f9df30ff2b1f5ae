"""What a bounded child does when somebody asks who opted out: it gives the NHS numbers of one file's patient.

The only child that lets a value of a file out, and it lets out nothing else. What it gives stays on the identified side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from readingroom.adapters.clinical_json import record_in
from readingroom.adapters.dicom.door import looked_at, names_given
from readingroom.domain.clinical.policy import policy_from
from readingroom.domain.deid.outcome import FileHeld, FileRejected
from readingroom.domain.opt_out import names_of

Document = Mapping[str, Any]


def factory(setup: Document) -> Callable[[Document, Sequence[int]], Document]:
    """For `adapters.bounded`. A file that the door would turn away gives what it can."""
    policy = policy_from(setup["clinical"], "")

    def look(document: Document, descriptors: Sequence[int]) -> Document:
        try:
            found = record_in(descriptors[0], document["sort"], policy)
            names = names_of(found[0].pseudonym) if found else names_given(looked_at(descriptors[0]))
        except (FileRejected, FileHeld):
            return {"numbers": []}
        return {"numbers": sorted(name.removeprefix("nhs:") for name in names.numbers)}

    return look
