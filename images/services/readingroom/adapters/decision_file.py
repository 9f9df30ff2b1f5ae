"""Decision files: what the data access committee decided, read strictly, written once, never changed.

On the operator's machine they lie as `<state>/decisions/<project>/d<N>.json`, mode 0600, since they name people; the
worker that cuts has one version mounted. A decision is not signed yet, for the reason of decision 0701.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from readingroom.adapters.versions import Kind, VersionFolder
from readingroom.domain.access import Decision, from_document

DECISION: Final = Kind(word="decision", verb="decide", letter="d", mode=0o600, from_document=from_document)


class DecisionFolder(VersionFolder[Decision]):
    """All decisions of all projects on the operator's machine."""

    def __init__(self, folder: Path, schema: Path) -> None:
        super().__init__(DECISION, folder, schema)

    def record_sha256(self, project: str, version: int | None = None) -> str:
        """What a grant and a cut name this decision by: see `record_sha256`."""
        return record_sha256(self.text(project, version))


def decision_in(path: Path, schema: Path) -> tuple[Decision, str]:
    """The decision in one file, and its `record_sha256`. Raises `WrongSetUp` when it is none."""
    text = DECISION.text_of(path)
    return DECISION.parse(text, DECISION.schema_from(schema), path.name), record_sha256(text)


def record_sha256(text: str) -> str:
    """SHA-256 of the decision's canonical JSON with nobody in it.

    The copy that a Job in the cluster reads names nobody, and who may be given access does not change which data is cut.
    """
    document = {**json.loads(text), "members": []}
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
