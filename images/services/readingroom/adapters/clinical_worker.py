"""What a bounded child does with one clinical file: look whose it is (pass 1), and clean it (pass 2).

What comes back holds stand-ins, shifted dates, numbers and codes: no text of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from readingroom.adapters.clinical_json import record_in
from readingroom.domain.clinical.clean import Person, clean
from readingroom.domain.clinical.policy import policy_from
from readingroom.domain.clinical.record import Sort, sort_of
from readingroom.domain.deid.identity import identity_from
from readingroom.domain.deid.keys import Pseudonyms, PurposeKeys
from readingroom.domain.deid.outcome import FileHeld, FileRejected, Outcome, Reason
from readingroom.domain.opt_out import names_of_record

Document = Mapping[str, Any]


class ClinicalWorker:
    """Set up like the worker for images; `setup["clinical"]` is the resolved policy of the table."""

    def __init__(self, setup: Document) -> None:
        self._pseudonyms = Pseudonyms(PurposeKeys.from_document(setup["keys"]), setup["project"])
        self._policy = policy_from(setup["clinical"], setup["clinical_sha256"])

    def look(self, descriptor: int, sort: str | None) -> Document | None:
        """Whose the record is, or why it goes no further; None for a file that is none: see `record_in`."""
        try:
            found = record_in(descriptor, sort, self._policy)
            if found is None:
                return None
            record, sha256 = found
            identity = identity_from(record.pseudonym, "")
        except (FileRejected, FileHeld) as error:
            return {"outcome": error.outcome, "reason": error.reason}
        return {
            "outcome": Outcome.RELEASED,
            "sort": sort or sort_of(record),
            "sha256": self._pseudonyms.mark("bytes", sha256),
            "patient": self._pseudonyms.patient(identity),
            "days": self._pseudonyms.days(identity),
            "names": names_of_record(record.pseudonym).known_as(self._pseudonyms.name).to_document(),
        }

    def clean(self, descriptor: int, ask: Document) -> Document:
        """The row, for the patient whom the images know, and how each column came about.

        A file whose bytes are not those that were looked at is rejected: nobody knows whose it is now.
        """
        try:
            found = record_in(descriptor, Sort.DATA, self._policy)
        except (FileRejected, FileHeld) as error:
            return {"outcome": error.outcome, "reason": error.reason}
        if found is None or self._pseudonyms.mark("bytes", found[1]) != ask["sha256"]:
            return {"outcome": Outcome.REJECTED, "reason": Reason.UNREADABLE}
        row = clean(found[0], Person(patient=ask["patient"], days=ask["days"]), self._policy, self._pseudonyms)
        return {"outcome": Outcome.RELEASED, "values": row.values, "how": row.how, "unknown": row.unknown}
