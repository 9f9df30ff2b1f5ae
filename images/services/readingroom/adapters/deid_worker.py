"""What a bounded child of `deid` does: clinical files go one way, everything else the way of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from readingroom.adapters.clinical_worker import ClinicalWorker
from readingroom.adapters.dicom.worker import Worker

Document = Mapping[str, Any]


def factory(setup: Document) -> Callable[[Document, Sequence[int]], Document]:
    """For `adapters.bounded`: `{"do": "look", "sort"}`, `{"do": "release"}`, and `{"do": "clean", …}`."""
    images, clinical = Worker(setup), ClinicalWorker(setup)

    def answer(document: Document, descriptors: Sequence[int]) -> Document:
        if document["do"] == "clean":
            return clinical.clean(descriptors[0], document)
        if document["do"] == "look" and (found := clinical.look(descriptors[0], document["sort"])) is not None:
            return found
        return images(document, descriptors)

    return answer
