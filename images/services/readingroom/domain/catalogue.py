"""`series.parquet`: one row for each series of a cut, made of the headers of its own files and of nothing else.

What researchers select by, in one table, so that nobody opens five million slices to count them. Each value stood in a
released file, which the verifier has passed. A cell is null where no instance says anything, or where instances differ;
`varies` names the columns of the second kind. `data.md` section 12, decision 0908.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from readingroom.domain.access import Released
from readingroom.domain.clinical.cells import Value
from readingroom.domain.clinical.policy import Kind, TableColumn

Header: TypeAlias = Mapping[str, Value]

FRAMES: Final = "frames"
_KEYS: Final = (
    TableColumn(name="patient", kind=Kind.CODE, meaning="Stand-in of the patient: joins with the clinical table."),
    TableColumn(name="study", kind=Kind.CODE, meaning="Stand-in of the study: the folder below the patient's."),
    TableColumn(name="series", kind=Kind.CODE, meaning="Stand-in of the series: the folder below the study's."),
    TableColumn(name="modality", kind=Kind.CODE, meaning="Modality (0008,0060)."),
    TableColumn(name="sop_class_uid", kind=Kind.CODE, meaning="SOP Class UID (0008,0016)."),
)
_COUNTED: Final = (
    TableColumn(name="instances", kind=Kind.WHOLE, meaning="Files of the series that the cut holds."),
    TableColumn(name=FRAMES, kind=Kind.WHOLE, meaning="Frames in them; a file of one image has one."),
    TableColumn(name="megabytes", kind=Kind.NUMBER, meaning="Size of them all.", unit="10^6 bytes"),
)
READ: Final = (
    TableColumn(name="sop_class", kind=Kind.CODE, meaning="Name of the SOP class."),
    TableColumn(name="study_date", kind=Kind.DATE, meaning="Study Date (0008,0020), moved by the patient's shift."),
    TableColumn(name="series_number", kind=Kind.WHOLE, meaning="Series Number (0020,0011)."),
    TableColumn(name="sex", kind=Kind.CODE, meaning="Patient's Sex (0010,0040)."),
    TableColumn(name="age", kind=Kind.WHOLE, meaning="Patient's Age (0010,1010), 90 and over as 90.", unit="years"),
    TableColumn(name="body_part", kind=Kind.CODE, meaning="Body Part Examined (0018,0015)."),
    TableColumn(name="laterality", kind=Kind.CODE, meaning="Laterality (0020,0060)."),
    TableColumn(name="view_position", kind=Kind.CODE, meaning="View Position (0018,5101)."),
    TableColumn(name="patient_position", kind=Kind.CODE, meaning="Patient Position (0018,5100)."),
    TableColumn(name="study_description", kind=Kind.CODE, meaning="Study Description (0008,1030), our terms."),
    TableColumn(name="series_description", kind=Kind.CODE, meaning="Series Description (0008,103E), our terms."),
    TableColumn(name="image_type", kind=Kind.CODE, meaning="Image Type (0008,0008), values apart by a backslash."),
    TableColumn(name="manufacturer", kind=Kind.CODE, meaning="Manufacturer (0008,0070), our spelling."),
    TableColumn(name="model", kind=Kind.CODE, meaning="Manufacturer's Model Name (0008,1090), our spelling."),
    TableColumn(name="rows", kind=Kind.WHOLE, meaning="Rows (0028,0010)."),
    TableColumn(name="columns", kind=Kind.WHOLE, meaning="Columns (0028,0011)."),
    TableColumn(name="bits_stored", kind=Kind.WHOLE, meaning="Bits Stored (0028,0101)."),
    TableColumn(name="photometric", kind=Kind.CODE, meaning="Photometric Interpretation (0028,0004)."),
    TableColumn(name="pixel_spacing_row", kind=Kind.NUMBER, meaning="Pixel Spacing (0028,0030), first.", unit="mm"),
    TableColumn(name="pixel_spacing_column", kind=Kind.NUMBER, meaning="Pixel Spacing (0028,0030), second.", unit="mm"),
    TableColumn(
        name="imager_spacing_row", kind=Kind.NUMBER, meaning="Imager Pixel Spacing (0018,1164), first.", unit="mm"
    ),
    TableColumn(
        name="imager_spacing_column", kind=Kind.NUMBER, meaning="Imager Pixel Spacing (0018,1164), second.", unit="mm"
    ),
    TableColumn(name="slice_thickness", kind=Kind.NUMBER, meaning="Slice Thickness (0018,0050).", unit="mm"),
    TableColumn(
        name="spacing_between_slices", kind=Kind.NUMBER, meaning="Spacing Between Slices (0018,0088).", unit="mm"
    ),
    TableColumn(name="kvp", kind=Kind.NUMBER, meaning="KVP (0018,0060).", unit="kV"),
    TableColumn(name="kernel", kind=Kind.CODE, meaning="Convolution Kernel (0018,1210), our spelling."),
    TableColumn(name="contrast_agent", kind=Kind.CODE, meaning="Contrast/Bolus Agent (0018,0010), our terms."),
    TableColumn(name="echo_time", kind=Kind.NUMBER, meaning="Echo Time (0018,0081).", unit="ms"),
    TableColumn(name="repetition_time", kind=Kind.NUMBER, meaning="Repetition Time (0018,0080).", unit="ms"),
    TableColumn(name="field_strength", kind=Kind.NUMBER, meaning="Magnetic Field Strength (0018,0087).", unit="T"),
    TableColumn(
        name="lossy", kind=Kind.TRUTH, meaning="Lossy Image Compression (0028,2110): whether it ever was compressed so."
    ),
)
_VARIES: Final = TableColumn(
    name="varies", kind=Kind.CODE, meaning="Columns that are null because instances of the series differ in them."
)
COLUMNS: Final = (*_KEYS, *_COUNTED, *READ, _VARIES)


@dataclass(kw_only=True)
class _Series:
    """What the instances of one series have said so far. None: they differ."""

    instances: int = 0
    frames: int = 0
    size: int = 0
    said: dict[str, set[Value]] = field(default_factory=dict)

    def add(self, size: int, header: Header) -> None:
        self.instances += 1
        self.size += size
        frames = header.get(FRAMES)
        self.frames += frames if isinstance(frames, int) else 1
        for name, value in header.items():
            found = self.said.setdefault(name, set())
            if value is not None and len(found) < 2:  # two are enough to know that they differ
                found.add(value)


class Catalogue:
    """Series as their instances come, in any order; memory grows with series, not with instances."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, ...], _Series] = {}

    def add(self, line: Released, size: int, header: Header) -> None:
        """One file of the cut."""
        place = tuple(line.path.split("/")[1:4])
        said = {**header, "modality": line.modality, "sop_class_uid": line.sop_class_uid}
        self._series.setdefault(place, _Series()).add(size, said)

    def rows(self) -> list[dict[str, Value]]:
        """One row for each series, sorted by patient, study and series."""
        return [_row(place, self._series[place]) for place in sorted(self._series)]


def _row(place: tuple[str, ...], series: _Series) -> dict[str, Value]:
    names = [column.name for column in (*_KEYS, *READ)]
    said = {name: series.said.get(name, set()) for name in names}
    one = {name: next(iter(values)) if len(values) == 1 else None for name, values in said.items()}
    return {
        **one,
        **dict(zip(("patient", "study", "series"), place, strict=True)),
        "instances": series.instances,
        FRAMES: series.frames,
        "megabytes": series.size / 1e6,
        _VARIES.name: ", ".join(name for name in names if len(said[name]) > 1) or None,
    }
