"""What a bounded child does for a link: one image in, tokens of its patient out. No value of a file leaves it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from readingroom.adapters.bounded import Call, Pool
from readingroom.adapters.dicom.demographics import demographics_given
from readingroom.adapters.dicom.door import looked_at, names_given
from readingroom.adapters.landing import INSTANCES, CommittedBatches
from readingroom.adapters.tree import Tree
from readingroom.application.link import Link
from readingroom.application.ports_link import Looked
from readingroom.domain.deid.identity import identity_of
from readingroom.domain.deid.keys import Pseudonyms, PurposeKeys
from readingroom.domain.deid.outcome import FileRejected
from readingroom.domain.linkage.tokens import LinkKey
from readingroom.domain.opt_out import names_from

FACTORY: Final = "readingroom.adapters.link_worker:factory"
Document = Mapping[str, Any]


def factory(setup: Document) -> Callable[[Document, Sequence[int]], Document]:
    """For `adapters.bounded`. The set-up holds the project's keys and the link's."""
    pseudonyms = Pseudonyms(PurposeKeys.from_document(setup["keys"]), setup["project"])
    key = LinkKey(base64.b64decode(setup["secret"]), setup["link"])

    def look(_: Document, descriptors: Sequence[int]) -> Document:
        try:
            scan = looked_at(descriptors[0])
            identity, names = identity_of(scan.elements), names_given(scan)
            said = demographics_given(scan) if setup["demographics"] else None
        except FileRejected:
            return {}
        return {
            "patient": pseudonyms.patient(identity),
            "days": pseudonyms.days(identity),
            "numbers": sorted(key.number(name.removeprefix("nhs:")) for name in names.numbers),
            "demographics": key.demographics(said) if said else None,
            "names": names.known_as(pseudonyms.name).to_document(),
        }

    return look


class LandedImages:
    """See the port `Landed`: the images of committed batches."""

    def __init__(self, tree: Tree, keys: PurposeKeys, link: Link, *, jobs: int) -> None:
        """Raises `WrongSetUp` for a folder that is no landing."""
        self._tree, self._jobs = tree, jobs
        self._files = [name for name in CommittedBatches(tree).files() if name.split("/")[3] == INSTANCES]
        self._setup = {
            "keys": {purpose: _text(key) for purpose, key in keys.reveal().items()},
            "project": link.project,
            "secret": _text(link.key.reveal()),
            "link": link.key.link,
            "demographics": link.policy.by_demographics,
        }

    def looked(self) -> Iterator[Looked | None]:
        """See the port."""
        with Pool(FACTORY, self._setup, jobs=self._jobs) as pool:
            for answer in pool.run(self._calls()):
                found = answer.document
                yield (
                    Looked(
                        patient=found["patient"],
                        days=found["days"],
                        numbers=frozenset(found["numbers"]),
                        demographics=found["demographics"],
                        names=names_from(found["names"]),
                    )
                    if found
                    else None
                )

    def _calls(self) -> Iterator[Call[None]]:
        for name in self._files:
            try:
                yield Call(key=None, document={}, descriptors=(self._tree.open(name),))
            except OSError:
                yield Call(key=None, document={})  # a call without a file fails, and is counted as unread


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")
