"""The door, but files that begin with a deed's name do it to the child that looks at them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from readingroom.adapters.dicom.door import door
from tests.unit.deid.hostile import deeds


def rough(setup: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Sequence[int]], Any]:
    """For `adapters.bounded`."""
    look, do = door(setup), deeds(setup)

    def either(document: Mapping[str, Any], descriptors: Sequence[int]) -> Any:
        word = os.pread(descriptors[0], 20, 0).decode("ascii", "replace").split("!")[0]
        return do({"do": word}, descriptors) if word in {"die", "raise", "leave", "memory"} else look({}, descriptors)

    return either
