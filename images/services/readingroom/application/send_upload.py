"""Send a folder as one upload, going on where an earlier attempt was cut off, until the other side has a receipt for it.

The folder says what it holds; the other side says what came. Only what is missing is sent. `data.md` section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from readingroom.domain.errors import TryAgain, WrongSetUp
from readingroom.domain.upload import LARGEST_CHUNK, Answer, Chunk, State, key_of

ATTEMPTS: Final = 7  # of one step, in a row, before the command ends: a door that starts anew is back within a minute
LOOKS: Final = 900  # for the receipt
Wait = Callable[[int], None]  # before another attempt or look; which one, from 1
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What the other side says of an upload; `receipt` maps each content to its outcome and reason."""

    state: State | None
    whole: frozenset[str] = frozenset()
    parts: Mapping[str, int] | None = None
    receipt: Mapping[str, tuple[str, str | None]] | None = None


class Outbox(Protocol):
    """The files to send, by their SHA-256; read again where they lie."""

    def sizes(self) -> Mapping[str, int]:
        """Each content and its bytes."""
        ...

    def read(self, content: str, offset: int, size: int) -> bytes:
        """So many bytes of it. Raises `WrongSetUp` when the file is gone."""
        ...


class Receiver(Protocol):
    """The other side. Each call raises `TryAgain` when it is away; repeating one is safe."""

    def told(self, key: str) -> Told:
        """What came."""
        ...

    def put(self, key: str, chunk: Chunk) -> tuple[Answer, int]:
        """The answer, and how many bytes of the file are there."""
        ...

    def close(self, key: str, files: int) -> bool:
        """All came."""
        ...


def send_upload(
    outbox: Outbox, receiver: Receiver, show: Callable[[str, int, int], None], wait: Wait
) -> Mapping[str, tuple[str, str | None]]:
    """The receipt: each content's outcome and reason. Raises `WrongSetUp`, and `TryAgain` when the other side stays away."""
    sizes = outbox.sizes()
    key = key_of(sizes)
    told = _again(wait, lambda: receiver.told(key))
    if told.state in {None, State.OPEN}:
        missing = sorted(sizes.keys() - told.whole)
        for number, content in enumerate(missing, 1):
            _send(
                content,
                min((told.parts or {}).get(content, 0), sizes[content]),
                outbox,
                lambda chunk: _again(wait, partial(receiver.put, key, chunk)),
            )
            show("sent", len(sizes) - len(missing) + number, len(sizes))
        if not _again(wait, lambda: receiver.close(key, len(sizes))):
            raise TryAgain(
                what="the upload", why="not all of it is there", next_step="give the same command again: it goes on"
            )
    for look in range(1, LOOKS):
        told = _again(wait, lambda: receiver.told(key))
        if told.receipt is not None:
            if told.receipt.keys() >= sizes.keys():
                return told.receipt
            raise WrongSetUp(what="the receipt", why="it does not name every file", next_step="ask the platform")
        wait(min(look, 2))
    raise TryAgain(
        what="the upload",
        why="all of it is there, and it is not ingested yet",
        next_step="give the same command again for the receipt",
    )


def _send(content: str, offset: int, outbox: Outbox, put: Callable[[Chunk], tuple[Answer, int]]) -> None:
    """One file, chunk by chunk; where the other side is elsewhere, from there."""
    size = outbox.sizes()[content]
    odd = 0
    while True:
        data = outbox.read(content, offset, min(LARGEST_CHUNK, size - offset))
        chunk = Chunk(content=content, offset=offset, size=size, data=data)
        answer, offset = put(chunk)
        if answer is Answer.CLOSED or (answer is Answer.TAKEN and offset >= size):
            return
        if answer in {Answer.OVER_LIMIT, Answer.OUT_OF_SPACE}:
            raise TryAgain(
                what="the upload",
                why=f"a file of {size} bytes was not taken ({answer})",
                next_step="ask the platform what it takes, then give the same command again",
            )
        odd += answer in {Answer.DAMAGED, Answer.ELSEWHERE}
        if odd == ATTEMPTS:
            raise WrongSetUp(
                what="the upload",
                why="a file did not arrive as it was",
                next_step="see that nobody changes the folder, then give the same command again",
            )


def _again(wait: Wait, step: Callable[[], _T]) -> _T:
    """Repeats what fails because the other side is away."""
    for attempt in range(1, ATTEMPTS):
        try:
            return step()
        except TryAgain:
            wait(attempt)
    return step()


def outcomes(receipt: Mapping[str, tuple[str, str | None]]) -> Sequence[tuple[str, str | None, int]]:
    """How many contents had which outcome and reason, sorted."""
    found: dict[tuple[str, str | None], int] = {}
    for answer in receipt.values():
        found[answer] = found.get(answer, 0) + 1
    return [
        (outcome, reason, n)
        for (outcome, reason), n in sorted(found.items(), key=lambda one: (one[0][0], one[0][1] or ""))
    ]
