"""Reads a stranger's predictions in a bounded child. See `domain/evaluation/predictions`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from readingroom.adapters.bounded import Document, Function
from readingroom.domain.evaluation.predictions import Unusable, predictions_from


def factory(setup: Document) -> Function:
    """The function that reads them, for what was asked."""
    cases = frozenset(setup["cases"])

    def read(document: Document, descriptors: Sequence[int]) -> Document:
        content = os.pread(descriptors[0], document["bytes"], 0)
        try:
            return {"scores": predictions_from(content, setup["tasks"], cases, setup["decimals"])}
        except Unusable as error:
            return {"reason": error.reason.value}

    return read
