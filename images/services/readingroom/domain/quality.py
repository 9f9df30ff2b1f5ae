"""The quality of what one centre has sent, counted: what is filled, what was repaired, what could be read two ways.

For the data manager, on the identified side. Counts only, never a value: what a file says is first put into classes of
ours (a modality, a maker of our list, a month) or only asked whether it is there. A count of 1 to 9 patients or studies, or of
files by what they say, is not shown, nor one that gives it away by subtraction (`governance.md`, `suppress_to`). How many
files came and what the door answered is shown exactly, as the receipts do. `data.md` sections 5 and 12, decision 0908.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from readingroom.domain.clinical.cells import How

SCHEMA: Final = "readingroom/quality/v1"
SUPPRESS_TO: Final = 9
SMALL: Final = f"1-{SUPPRESS_TO}"
HIDDEN: Final = "hidden"  # would give a small one away
OTHER: Final = "other"
ABSENT: Final = "absent"
UNREADABLE: Final = "no date"
OUTSIDE: Final = "outside"  # the collection's window
Cell: TypeAlias = "int | str"

MODALITIES: Final = frozenset(
    {"CT", "MR", "CR", "DX", "MG", "US", "XA", "RF", "PT", "NM", "IO", "PX", "OT", "SC", "SR", "PR", "KO", "SEG", "DOC", "ECG",
     "REG", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTIMAGE"}
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Field:
    """An element that research needs, or that de-identification starts from; of these modalities, or of all images."""

    keyword: str
    tag: int
    of: frozenset[str] = frozenset()


_SLICES: Final = frozenset({"CT", "MR", "PT"})
_FILMS: Final = frozenset({"CR", "DX", "MG", "XA", "RF"})
_RAYS: Final = _FILMS | {"CT"}
FIELDS: Final = (
    Field(keyword="StudyDate", tag=0x00080020),
    Field(keyword="StudyTime", tag=0x00080030),
    Field(keyword="PatientBirthDate", tag=0x00100030),
    Field(keyword="PatientSex", tag=0x00100040),
    Field(keyword="PatientAge", tag=0x00101010),
    Field(keyword="AccessionNumber", tag=0x00080050),
    Field(keyword="StudyDescription", tag=0x00081030),
    Field(keyword="SeriesDescription", tag=0x0008103E),
    Field(keyword="BodyPartExamined", tag=0x00180015),
    Field(keyword="Manufacturer", tag=0x00080070),
    Field(keyword="ManufacturerModelName", tag=0x00081090),
    Field(keyword="ImageType", tag=0x00080008),
    Field(keyword="SeriesNumber", tag=0x00200011),
    Field(keyword="InstanceNumber", tag=0x00200013),
    Field(keyword="WindowCenter", tag=0x00281050),
    Field(keyword="PatientPosition", tag=0x00185100, of=_SLICES),
    Field(keyword="ImagePositionPatient", tag=0x00200032, of=_SLICES),
    Field(keyword="ImageOrientationPatient", tag=0x00200037, of=_SLICES),
    Field(keyword="SliceThickness", tag=0x00180050, of=_SLICES),
    Field(keyword="PixelSpacing", tag=0x00280030, of=_SLICES),
    Field(keyword="RescaleSlope", tag=0x00281053, of=frozenset({"CT", "PT"})),
    Field(keyword="KVP", tag=0x00180060, of=_RAYS),
    Field(keyword="Exposure", tag=0x00181152, of=_RAYS),
    Field(keyword="ConvolutionKernel", tag=0x00181210, of=frozenset({"CT"})),
    Field(keyword="ViewPosition", tag=0x00185101, of=_FILMS),
    Field(keyword="ImagerPixelSpacing", tag=0x00181164, of=_FILMS),
    Field(keyword="EchoTime", tag=0x00180081, of=frozenset({"MR"})),
    Field(keyword="RepetitionTime", tag=0x00180080, of=frozenset({"MR"})),
    Field(keyword="MagneticFieldStrength", tag=0x00180087, of=frozenset({"MR"})),
)


@dataclass(frozen=True, kw_only=True)
class ImageLook:
    """What is counted of one image: classes and truth values. Study and patient are tokens of the run."""

    study: str
    patient: str
    modality: str
    maker: str
    month: str  # YYYY-MM, or ABSENT, UNREADABLE, OUTSIDE
    filled: int  # bit n: FIELDS[n] has a value


@dataclass(frozen=True, kw_only=True)
class RecordLook:
    """What is counted of one clinical record: how each column came about, and which were ambiguous."""

    patient: str
    how: Mapping[str, How]
    unclear: tuple[str, ...]  # columns of which two units were possible
    assumed: tuple[str, ...]  # dates whose day and month were taken in the template's order
    conflict: bool
    unknown: int


@dataclass(frozen=True, kw_only=True)
class BatchLook:
    """What the record of one batch says."""

    day: str
    instances: int
    records: int
    counts: Mapping[str, int]


@dataclass(kw_only=True)
class Tally:
    """One centre, counted as it comes, in any order. Memory grows by studies and patients, not by files."""

    batches: int = 0
    days: set[str] = field(default_factory=set)
    received: Counter[str] = field(default_factory=Counter)
    door: Counter[tuple[str, str]] = field(default_factory=Counter)  # of receipts, by outcome and reason
    receipts: int = 0
    unreadable: int = 0
    instances: Counter[str] = field(default_factory=Counter)  # by modality
    filled: dict[str, list[int]] = field(default_factory=dict)  # modality → of each field
    studies: Counter[tuple[str, str]] = field(default_factory=Counter)  # by what is asked and its answer
    records: Counter[str] = field(default_factory=Counter)
    how: dict[str, Counter[How]] = field(default_factory=dict)
    unclear: Counter[str] = field(default_factory=Counter)
    assumed: Counter[str] = field(default_factory=Counter)
    _met: set[int] = field(default_factory=set)  # studies with an answer
    _imaged: set[int] = field(default_factory=set)
    _recorded: set[int] = field(default_factory=set)

    def batch(self, batch: BatchLook) -> None:
        """A committed batch."""
        self.batches += 1
        self.days.add(batch.day)
        self.received.update(batch.counts)

    def image(self, look: ImageLook) -> None:
        """An image of a committed batch."""
        self.instances[look.modality] += 1
        filled = self.filled.setdefault(look.modality, [0] * len(FIELDS))
        for place in range(len(FIELDS)):
            filled[place] += look.filled >> place & 1
        self._imaged.add(_short(look.patient))
        answers = {"study": "", "modality": look.modality, "maker": look.maker, "month": look.month}
        for asked, answer in answers.items():
            short = _short(f"{look.study} {asked} {answer}")
            if short not in self._met:
                self._met.add(short)
                self.studies[asked, answer] += 1

    def record(self, look: RecordLook) -> None:
        """A clinical record of a committed batch."""
        self.records["all"] += 1
        self.records["conflict"] += look.conflict
        self.records["unknown_fields"] += look.unknown
        self._recorded.add(_short(look.patient))
        for name, how in look.how.items():
            self.how.setdefault(name, Counter())[how] += 1
        self.unclear.update(look.unclear)
        self.assumed.update(look.assumed)

    def receipt(self, lines: Iterable[tuple[str, str]]) -> None:
        """A receipt of this centre: outcome and reason of each input."""
        self.receipts += 1
        self.door.update(lines)

    def document(self, centre: str, rules: str) -> dict[str, Any]:
        """The report. `rules` is the hash of the clinical table's rules. Equal counts give an equal document."""
        return {
            "schema": SCHEMA,
            "centre": centre,
            "suppressed": SMALL,
            "clinical_rules_sha256": rules,
            "batches": {
                "number": self.batches,
                "first_day": min(self.days, default=None),
                "last_day": max(self.days, default=None),
                "inputs": dict(sorted(self.received.items())),
            },
            "door": {
                "receipts": self.receipts,
                "inputs": self.door.total(),
                "answers": [
                    {"outcome": outcome, "reason": reason, "count": count}
                    for (outcome, reason), count in sorted(self.door.items())
                ],
            },
            "landing": {
                "instances": self.instances.total(),
                "records": self.records["all"],
                "studies": shown(self.studies["study", ""]),
                "unreadable": self.unreadable,
            },
            "patients": {"all": shown(len(self._imaged | self._recorded)), **partition(self._patients())},
            "modalities": self._answers("modality"),
            "makers": self._answers("maker"),
            "months": self._answers("month"),
            "fields": [self._fields(modality) for modality in sorted(self.instances)],
            "records": {
                "conflict": shown(self.records["conflict"]),
                "unknown_fields": shown(self.records["unknown_fields"]),
            },
            "columns": [self._column(name) for name in self.how if self.records["all"] > SUPPRESS_TO],
        }

    def _patients(self) -> dict[str, int]:
        return {
            "images_and_record": len(self._imaged & self._recorded),
            "images_alone": len(self._imaged - self._recorded),
            "record_alone": len(self._recorded - self._imaged),
        }

    def _answers(self, asked: str) -> list[dict[str, Cell]]:
        """Studies by their answer; the month in the order of time, everything else by its name."""
        counts = {answer: count for (about, answer), count in sorted(self.studies.items()) if about == asked}
        return [{asked: answer, "studies": cell} for answer, cell in partition(counts).items()]

    def _fields(self, modality: str) -> dict[str, Any]:
        total = self.instances[modality]
        rows = [
            {"field": each.keyword, "tag": f"{each.tag:08X}", **partition({"filled": filled, "empty": total - filled})}
            for each, filled in zip(FIELDS, self.filled[modality], strict=True)
            if not each.of or modality in each.of
        ]
        return {"modality": modality, "instances": total, "fields": rows if total > SUPPRESS_TO else []}

    def _column(self, name: str) -> dict[str, Cell]:
        return {
            "column": name,
            **partition({each.value: self.how[name][each] for each in How}),
            "unit_unclear": shown(self.unclear[name]),
            "date_assumed": shown(self.assumed[name]),
        }


def shown(count: int) -> Cell:
    """A count by itself."""
    return SMALL if 0 < count <= SUPPRESS_TO else count


def partition(counts: Mapping[str, int]) -> dict[str, Cell]:
    """Counts whose sum is known. Where the small ones could be told from the rest, the next smallest is hidden, too."""
    small = [count for count in counts.values() if 0 < count <= SUPPRESS_TO]
    told = len(small) == 1 or sum(small) in {len(small), SUPPRESS_TO * len(small)}
    rest = [name for name, count in counts.items() if count > SUPPRESS_TO]
    also = min(rest, key=lambda name: counts[name]) if small and told and rest else None
    return {name: HIDDEN if name == also else shown(count) for name, count in counts.items()}


def _short(token: str) -> int:
    """64 bits that stand for a token: among ten million, two are alike once in three hundred thousand runs."""
    return int.from_bytes(hashlib.blake2b(token.encode("ascii"), digest_size=8).digest(), "big")
