"""What a retraction from a warehouse takes, and which cuts it reaches. `data.md` section 11.

A cut is kept only where it is certain that it holds nothing of what is taken back: one that does not say how its files were
made is reached by every retraction of a profile or an engine.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from readingroom.domain.access import Released
from readingroom.domain.ids import Digest


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a cut holds, as its own manifest says it."""

    digest: Digest
    images: frozenset[str]  # their paths
    made_by: frozenset[tuple[str, str]] | None  # profile hash and engine of all that it holds; None: it does not say


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What is taken back: by pseudonyms of patients and studies, by a profile, by an engine; or what is gone already."""

    names: frozenset[str] = frozenset()
    profile: str = ""
    engine: str = ""
    gone: bool = False

    def takes(self, line: Released) -> bool:
        """Whether a file of the warehouse is taken: a table only as a whole, by how it was made."""
        return (
            line.profile_sha256 == self.profile
            or line.engine == self.engine
            or not self.names.isdisjoint(_names(line.path))
        )

    def reaches(self, cut: Held, left: Set[str]) -> bool:
        """Whether a cut holds what is taken back. `left` are the paths of the warehouse without it."""
        if self.profile or self.engine:
            return cut.made_by is None or any(
                profile == self.profile or engine == self.engine for profile, engine in cut.made_by
            )
        if self.gone:
            return not cut.images <= left
        return any(not self.names.isdisjoint(_names(path)) for path in cut.images)


def _names(path: str) -> list[str]:
    """Patient and study of an image."""
    return path.split("/")[1:3]
