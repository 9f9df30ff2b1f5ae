"""Link a project's patients to a partner's table: three roles, each with its step. Order changes nothing, in any of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from readingroom.application.ports_link import Joined, Kept, Landed, LinkedTables, Sealer, Spine, Tokens
from readingroom.domain.errors import Refused
from readingroom.domain.linkage.match import Matched, match
from readingroom.domain.linkage.table import CODE_OF, LinkedPolicy, linked_row, offered
from readingroom.domain.linkage.tokens import LinkKey, Record
from readingroom.domain.opt_out import Names, OptOuts, barred

EVERY = 500  # images between two lines of progress


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The project's side: what goes to the matcher, what is kept, and what was counted on the way."""

    tokens: Tokens
    kept: Kept
    counts: Mapping[str, int]


@dataclass
class _Patient:
    days: int
    numbers: set[str] = field(default_factory=set)
    demographics: set[str] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class Link:
    """Under what a side's tokens are made: the key, the rules of the table, whose project."""

    key: LinkKey
    policy: LinkedPolicy
    project: str = ""


def ask(
    link: Link, landed: Landed, patients: Collection[str], away: OptOuts, say: Callable[[str], None] = lambda _: None
) -> Asked:
    """Tokens of the project's patients: those of its warehouse, without whoever opted out.

    Where a patient's images give two numbers, or two demographics, neither is used. `away` knows names by the same
    tokens as `landed`.
    """
    people: dict[str, _Patient] = {}
    names: dict[str, Names] = {}
    whose: dict[str, str] = {}
    unread = 0
    for number, looked in enumerate(landed.looked(), 1):
        if looked is None:
            unread += 1
        else:
            patient = people.setdefault(looked.patient, _Patient(days=looked.days))
            patient.numbers |= looked.numbers
            patient.demographics |= {looked.demographics} if looked.demographics else set()
            names[str(number)], whose[str(number)] = looked.names, looked.patient
        if number % EVERY == 0:
            say(f"looked at {number} images")
    out = {whose[image] for image in barred(names, away)}
    asked = {name: each for name, each in sorted(people.items()) if name in patients and name not in out}
    counts = {
        "patients": len(asked),
        "with_number": sum(len(each.numbers) == 1 for each in asked.values()),
        "with_demographics": sum(len(each.demographics) == 1 for each in asked.values()),
        "disagreeing": sum(len(each.numbers) > 1 or len(each.demographics) > 1 for each in asked.values()),
        "opted_out": len(out & set(patients)),
        "unread_images": unread,
    }
    records = tuple(
        Record(reference=name, number=_only(each.numbers), demographics=_only(each.demographics))
        for name, each in asked.items()
    )
    return Asked(tokens=_tokens(link, records), kept=_kept(link, asked), counts=counts)


def offer(link: Link, rows: Iterable[Mapping[str, str]], sealer: Sealer) -> Tokens:
    """Tokens of the partner's rows, each with its cleaned cells sealed. A row that names nobody is counted and holds nothing."""
    heads, cells = [], []
    nobody = 0
    for row in rows:
        one = offered(row, link.policy)
        number = link.key.number(one.number) if one.number else None
        said = link.key.demographics(one.said) if one.said else None
        if best := number or said:
            heads.append(Record(reference=link.key.partner(best), number=number, demographics=said))
            cells.append((heads[-1].reference, one.cells))
        else:
            nobody += 1
    sealed = zip(heads, sealer.sealed(cells), strict=True)
    records = [
        Record(reference=head.reference, number=head.number, demographics=head.demographics, row=row)
        for head, row in sealed
    ]
    records += [Record(reference=link.key.partner(f"nobody {each}")) for each in range(nobody)]
    return _tokens(link, tuple(sorted(records, key=lambda record: (record.reference, record.row))))


def match_sides(project: Tokens, partner: Tokens) -> tuple[Spine, Matched]:
    """The spine, by somebody who has no key. Raises `Refused` for sides of two links or of two policies."""
    _check_same(project, partner)
    matched = match(project.records, partner.records)
    lines = tuple(
        Joined(
            patient=pair.project.reference, partner=pair.partner.reference, by=CODE_OF[pair.by], row=pair.partner.row
        )
        for pair in matched.pairs
    )
    spine = Spine(link=project.link, policy=project.policy, policy_sha256=project.policy_sha256, lines=lines)
    return spine, matched


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What the project's side joins with: what it kept, the rules, and the patients whom its warehouse holds now."""

    kept: Kept
    policy: LinkedPolicy
    patients: Collection[str]


def join(spine: Spine, opening: Opening, sealer: Sealer, tables: LinkedTables) -> tuple[int, bool]:
    """How many rows the joined table has, and whether anything changed.

    A patient who left the warehouse since is left out. Raises `Refused` for a spine of another link or policy, and for one row
    that is not as the policy says: then there is no table.
    """
    kept, policy = opening.kept, opening.policy
    _check_same(spine, kept)
    if policy.sha256 != kept.policy_sha256:
        raise _other("the policy changed since tokens were made", "begin a new link under the new policy")
    if any(line.patient not in kept.days for line in spine.lines):
        raise _other("the spine names a patient about whom nobody asked", "get the spine of this link from the matcher")
    rows = [
        linked_row(line.patient, line.by, sealer.opened(line.partner, line.row), kept.days[line.patient], policy)
        for line in sorted(spine.lines, key=lambda line: line.patient)
        if line.patient in opening.patients
    ]
    facts = {"project": kept.project, "link": kept.link, "policy": policy.name, "policy_sha256": policy.sha256}
    return len(rows), tables.put(facts, policy.table(), rows)


def _only(found: Collection[str]) -> str | None:
    return next(iter(found)) if len(found) == 1 else None


def _tokens(link: Link, records: tuple[Record, ...]) -> Tokens:
    return Tokens(link=link.key.link, policy=link.policy.name, policy_sha256=link.policy.sha256, records=records)


def _kept(link: Link, asked: Mapping[str, _Patient]) -> Kept:
    return Kept(
        link=link.key.link,
        project=link.project,
        policy_sha256=link.policy.sha256,
        sealing=link.key.reveal_sealing(),
        days={name: each.days for name, each in asked.items()},
    )


def _check_same(one: Tokens | Spine, other: Tokens | Kept) -> None:
    if one.link != other.link:
        raise _other("they are of two links", "give the files of one link")
    if one.policy_sha256 != other.policy_sha256:
        raise _other("they were made under two policies", "begin a new link, with the same policy on both sides")


def _other(why: str, next_step: str) -> Refused:
    return Refused(what="linkage", which="the files given", why=why, next_step=next_step)
