"""One family of errors, leaves named by what the caller must do next.

    ReadingRoomError
    ├── Refused       policy says no: a person must change the right, not the call     (exit status 3)
    ├── Rejected      this file or value is not accepted, with the reason               (ends one file, never the run)
    ├── Held          a person must look                                                (ends one file, never the run)
    ├── TryAgain      something we need is away: the same call may succeed later        (exit status 1)
    └── WrongSetUp    the surroundings are wrong: an operator must mend them            (exit status 1)

A message says what, which, why and what to do next; ids and states, never a patient value.
"""

from __future__ import annotations


class ReadingRoomError(Exception):
    """Anything we refuse or cannot do, in one line for the person who asked."""

    word = "failed"
    exit_status = 1

    def __init__(self, *, what: str, which: str = "", why: str, next_step: str) -> None:
        super().__init__(what, which, why, next_step)
        self.what, self.which, self.why, self.next_step = what, which, why, next_step

    def __str__(self) -> str:
        which = f": {self.which}" if self.which else ""
        return f"{self.word}: {self.what}{which}; {self.why}. Next: {self.next_step}."


class Refused(ReadingRoomError):
    """Policy says no."""

    word = "refused"
    exit_status = 3


class Rejected(ReadingRoomError):
    """This file or value is not accepted."""

    word = "rejected"


class Held(ReadingRoomError):
    """A person must look before this goes on."""

    word = "held"


class TryAgain(ReadingRoomError):
    """Something we need is away."""

    word = "not now"


class WrongSetUp(ReadingRoomError):
    """The surroundings are wrong."""

    word = "wrong set-up"
