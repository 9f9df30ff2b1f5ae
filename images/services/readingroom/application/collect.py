"""Collect what a question names from a PACS, and hand it over, each instance once; killed anywhere, go on from there.

A study is the unit: what is in it is asked once and written down, it is retrieved in small parts, looked at, handed over in
one go and settled instance by instance. Nothing is called acknowledged before the other side said so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from readingroom.application.ports_collect import Arrived, Clock, Destination, Journal, Keeping, Pacs
from readingroom.domain.collection import (
    Content,
    Found,
    Hours,
    Instance,
    Missing,
    Question,
    Study,
    Tally,
    batches,
    is_asked,
    is_final,
    queries_of,
)
from readingroom.domain.errors import Refused, Rejected, TryAgain

BATCH: Final = 50  # instances of one retrieve
BATCH_SECONDS: Final = 10.0  # of them at the agreed rate, so that a pause or the end of the hours is not far
LONGEST_PAUSE: Final = 600.0
LOOK: Final = 60.0  # how often the time of day is looked at while the hours are over
ATTEMPTS: Final = 3  # at what a study lacks; at the last one by one: not every archive takes a list of UIDs
BARREN: Final = 5  # studies in a row of which nothing came: then it is not the studies
Say = Callable[[str], None]
Show = Callable[[str, int, int], None]
Came = Callable[[int], None]
Answer = TypeVar("Answer")


@dataclass(kw_only=True)
class Pace:
    """How gently the PACS is asked: within hours, so many instances a second, and with pauses when it says it is busy."""

    clock: Clock
    hours: Sequence[Hours]
    per_second: float
    pause: float
    pauses: int
    say: Say
    free_at: float = 0.0

    @property
    def batch(self) -> int:
        """Instances of one retrieve."""
        return max(1, min(BATCH, int(self.per_second * BATCH_SECONDS)))

    def turn(self, instances: int) -> None:
        """Returns when so many instances may be asked for. A C-FIND counts as one."""
        if not self._open():
            self.say("outside the hours of the set-up: waiting for them")
            while not self._open():
                self.clock.wait(LOOK)
        now = self.clock.seconds()
        if now < self.free_at:
            self.clock.wait(self.free_at - now)
        self.free_at = max(now, self.free_at) + instances / self.per_second

    def ask(self, what: Callable[[], Answer], instances: int = 1) -> Answer:
        """An answer of the PACS, when it is its turn. Raises `TryAgain` when it stays away or busy."""

        def in_turn() -> Answer:
            self.turn(instances)
            return what()

        return self.patiently(in_turn)

    def patiently(self, what: Callable[[], Answer]) -> Answer:
        """Tries again after pauses that grow, as long as the other side is away or busy. Raises the last `TryAgain`."""
        pause = self.pause
        for _ in range(self.pauses):
            try:
                return what()
            except TryAgain as away:
                self.say(f"{away.what}: {away.why}; trying again in {pause:g} s")
            self.clock.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return what()

    def _open(self) -> bool:
        now = self.clock.local()
        return any(hours.hold(now) for hours in self.hours)


def plan(question: Question, most: int, pacs: Pacs, pace: Pace, show: Show) -> Tally:
    """What there is to collect, by C-FIND alone: nothing is moved and nothing is written."""
    found = _find(question, most, pacs, pace)
    tally = Tally(odd=found.odd)
    for number, study in enumerate(found.studies, 1):
        tally.count(_content(study, question, pacs, pace), {})
        show("asked for", number, len(found.studies))
    return tally


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where a run takes from, keeps and brings."""

    pacs: Pacs
    journal: Journal
    destination: Destination


def collect(question: Question, most: int, site: Site, pace: Pace, show: Show) -> Tally:
    """Brings everything that was found and is not settled. Raises `TryAgain` when one of the two sides stays away."""
    found = site.journal.found
    if found is None:
        found = _find(question, most, site.pacs, pace)
        site.journal.note(found)
    tally, barren, done, total = Tally(odd=found.odd), 0, 0, len(found.studies)

    def came(instances: int) -> None:
        show(f"{tally.acknowledged} instances acknowledged, {instances} came,", done, total)

    for done, study in enumerate(found.studies):  # noqa: B007 (`came` tells it)
        with site.journal.of(study) as keeping:
            barren = 0 if _collect_study(study, question, keeping, site, pace, came) else barren + 1
            tally.count(keeping.content, keeping.settled)
        if barren == BARREN:
            raise TryAgain(
                what="the PACS",
                which=f"{BARREN} studies in a row",
                why="it lists them and sends nothing of them",
                next_step="have the site see to it, then run the same command again: it goes on from here",
            )
    show(f"{tally.acknowledged} instances acknowledged,", total, total)
    return tally


def _find(question: Question, most: int, pacs: Pacs, pace: Pace) -> Found:
    """Each study once. Raises `Refused` when there are more than the set-up allows."""
    found, odd = dict[str, Study](), 0
    for query in queries_of(question):
        answers = pace.ask(partial(pacs.studies, query))
        fitting = [study for study in answers if is_asked(study, query, question)]
        odd += len(answers) - len(fitting)
        for study in fitting:
            found.setdefault(study.uid, study)
        if len(found) > most:
            raise Refused(
                what="the question to the PACS",
                which="by the set-up of this site",
                why=f"it names more than {most} studies",
                next_step="ask for fewer days at once",
            )
    return Found(studies=tuple(found[uid] for uid in sorted(found)), odd=odd)


def _content(study: Study, question: Question, pacs: Pacs, pace: Pace) -> Content | None:
    try:
        return pace.ask(partial(pacs.content, study, question))
    except Rejected:
        return None


def _collect_study(study: Study, question: Question, keeping: Keeping, site: Site, pace: Pace, came: Came) -> bool:
    """Whether there was nothing to do, or some of it came."""
    if keeping.content is None:
        content = _content(study, question, site.pacs, pace)
        if content is None:
            return False
        keeping.listed(content)
    lacking = len(list(_due(keeping)))
    for left in range(ATTEMPTS, 0, -1):
        for part in batches(list(_due(keeping)), pace.batch if left > 1 else 1):
            pace.ask(partial(site.pacs.retrieve, study, part), len(part))
            came(len(keeping.came()))
    lost = list(_due(keeping))
    judged = keeping.judged()
    for each in judged:
        if each.reason:
            keeping.settle(each.uid, each.reason)
    _deliver(keeping, [each for each in judged if not each.reason], site.destination, pace)
    for instance in lost:
        keeping.settle(instance.uid, Missing.NOT_SENT)
    return not lacking or len(lost) < lacking


def _due(keeping: Keeping) -> Iterator[Instance]:
    """What was found, is not through and did not come."""
    content, came = keeping.content, keeping.came()
    for instance in content.instances if content else ():
        settled = keeping.settled.get(instance.uid)
        if instance.uid not in came and (settled is None or not is_final(settled)):
            yield instance


def _deliver(keeping: Keeping, instances: Sequence[Arrived], destination: Destination, pace: Pace) -> None:
    left = {each.uid: each for each in instances}

    def hand_over() -> None:
        for uid, reason in destination.deliver(list(left.values())):
            keeping.settle(uid, reason)
            del left[uid]

    if left:
        pace.patiently(hand_over)
