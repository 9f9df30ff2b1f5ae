"""What a bounded child of the door does: a clinical record is read as strictly as `deid` does, everything else is an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from readingroom.adapters.clinical_json import record_in
from readingroom.adapters.dicom.door import door
from readingroom.domain.clinical.policy import policy_from
from readingroom.domain.clinical.record import sort_of
from readingroom.domain.deid.identity import identity_from
from readingroom.domain.deid.outcome import FileHeld, FileRejected
from readingroom.domain.door import token
from readingroom.domain.opt_out import names_of_record

Document = Mapping[str, Any]


def factory(setup: Document) -> Callable[[Document, Sequence[int]], Document]:
    """For `adapters.bounded`. An answer is the sort of a record, the tokens of an image, or the reason against either."""
    images, key = door(setup), bytes.fromhex(setup["key"])
    policy = policy_from(setup["clinical"], "") if setup["clinical"] else None

    def look(document: Document, descriptors: Sequence[int]) -> Document:
        try:
            found = record_in(descriptors[0], document["sort"], policy) if policy else None
            if found is None:
                return images(document, descriptors)
            record, _ = found
            identity_from(record.pseudonym, "")
            names = names_of_record(record.pseudonym).known_as(lambda name: token(name, key))
            return {"sort": document["sort"] or sort_of(record), "names": names.to_document()}
        except (FileRejected, FileHeld) as error:
            return {"reason": error.reason}

    return look
