"""What an answer key says of a folder that a tool filled: counts, never a value.

A missing output leaks nothing and keeps nothing, so dropping everything cannot win. `data.md` section 13.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from readingroom.domain.synth.key import Entry, Must

SCHEMA: Final = "readingroom/score/v1"
ALONE: Final = 10  # digits of a number that no chance makes
GOES: Final = frozenset({Must.REMOVED, Must.UID_CHANGED, Must.PIXELS_HIDDEN, Must.DATE_SHIFTED})
OBJECTS: Final = frozenset({Must.HELD, Must.REJECTED, Must.SAME, Must.PIXELS_HIDDEN})
ELSEWHERE: Final = frozenset({"opted-out", "orphan"})  # what a tool that sees images alone cannot know


@dataclass
class Share:
    """So many of so many."""

    of: int = 0
    found: int = 0

    def count(self, found: bool) -> None:
        """One more was asked."""
        self.of += 1
        self.found += found


@dataclass(kw_only=True)
class Score:
    """A tool on a synthetic tree."""

    inputs: int = 0
    outputs: int = 0
    asked: Counter[str] = field(default_factory=Counter)  # by class of `data.md` section 9: what must go
    left: Counter[str] = field(default_factory=Counter)  # of it, what is still there
    fields: dict[str, Share] = field(default_factory=lambda: {"CT and MR": Share(), "others": Share()})
    samples: Share = field(default_factory=Share)  # images with which nothing is wrong: the same samples came out
    refused: Share = field(default_factory=Share)  # files that nobody may release unseen: released
    sent_again: Share = field(default_factory=Share)  # files that came twice: two outputs of one instance
    accounted: Share | None = None  # inputs with exactly one line in the receipt

    @property
    def withstood(self) -> int:
        """Classes of which nothing was left."""
        return sum(not self.left[kind] for kind in self.asked)

    def to_document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "schema": SCHEMA,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "leaks": {kind: {"asked": of, "left": self.left[kind]} for kind, of in sorted(self.asked.items())},
            "fields_kept": {name: {"asked": share.of, "kept": share.found} for name, share in self.fields.items()},
            "samples_identical": {"asked": self.samples.of, "kept": self.samples.found},
            "to_be_refused": {"asked": self.refused.of, "released": self.refused.found},
            "sent_again": {"asked": self.sent_again.of, "written_twice": self.sent_again.found},
            "accounted": {"asked": self.accounted.of, "answered": self.accounted.found} if self.accounted else None,
        }

    def lines(self) -> Iterator[str]:
        """For people: one each."""
        for kind, of in sorted(self.asked.items()):
            yield f"left        {self.left[kind]} of {of}: {kind}"
        yield f"withstood   {self.withstood} of {len(self.asked)} classes; left {self.left.total()} of {self.asked.total()}"
        for name, share in self.fields.items():
            yield f"kept        {share.found} of {share.of} fields of {name}"
        yield f"identical   {self.samples.found} of {self.samples.of} images"
        yield f"released    {self.refused.found} of {self.refused.of} files that must be held or rejected"
        yield f"twice       {self.sent_again.found} of {self.sent_again.of} files that were sent again"
        answered = f"{self.accounted.found} of {self.accounted.of} inputs" if self.accounted else "no receipt was given"
        yield f"accounted   {answered}"
        yield f"files       {self.inputs} in, {self.outputs} images out"


def is_asked(entry: Entry) -> bool:
    """Whether a text that must go is looked for: chance makes short numbers somewhere among all bytes."""
    short = entry.must is Must.REMOVED and entry.was.isdigit() and len(entry.was) < ALONE
    return entry.must in GOES and entry.encoding != "uint32-le" and not short and entry.reason not in ELSEWHERE


def forms(entry: Entry) -> frozenset[bytes]:
    """A text as it stood, and in the encodings that a tool might turn it into; its ASCII letters small."""
    encoding = entry.encoding if entry.encoding != "nibbles" else "utf-8"
    return frozenset(entry.was.encode(each).lower() for each in (encoding, "utf-8", "utf-16-le"))
