"""Grant files: read strictly, written once, never changed.

On the operator's machine they lie as `<state>/grants/<project>/v<N>.json`, mode 0444; in the cluster a hub has one
version mounted. A grant is not signed yet (decision 0701).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from readingroom.adapters.versions import Kind, VersionFolder
from readingroom.domain.grant import Grant
from readingroom.domain.grant_document import from_document

GRANT: Final = Kind(word="grant", verb="grant", letter="v", mode=0o444, from_document=from_document)
parse = GRANT.parse
schema_from = GRANT.schema_from


class MountedGrant:
    """The version that a hub was started for, read once: a change is a new version and a new hub."""

    def __init__(self, path: Path, schema: Path, project: str) -> None:
        self._path, self._schema, self._project = path, schema, project
        self._grant: Grant | None = None

    def read(self) -> Grant:
        """See the port `CurrentGrant`."""
        if self._grant is None:
            grant = parse(GRANT.text_of(self._path), schema_from(self._schema), self._path.name)
            if grant.project != self._project:
                raise GRANT.unreadable(self._path.name, f"it is a grant of {grant.project}, not of {self._project}")
            self._grant = grant
        return self._grant


class GrantFolder(VersionFolder[Grant]):
    """All versions of all projects on the operator's machine."""

    def __init__(self, folder: Path, schema: Path) -> None:
        super().__init__(GRANT, folder, schema)
