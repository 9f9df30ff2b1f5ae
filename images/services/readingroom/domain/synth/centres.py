"""The centres: 26 very unequal ones, each with habits and machines of its own, so that site confounds label as in life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from readingroom.domain.synth.words import PLACES

EXPLICIT: Final = "1.2.840.10008.1.2.1"
IMPLICIT: Final = "1.2.840.10008.1.2"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
RLE: Final = "1.2.840.10008.1.2.5"
JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
JPEG_LOSSLESS: Final = "1.2.840.10008.1.2.4.70"
JPEG_LS: Final = "1.2.840.10008.1.2.4.80"
JPEG_2000: Final = "1.2.840.10008.1.2.4.90"
LEAST_WEIGHT: Final = 4
LARGEST_WEIGHT: Final = 400


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Who made a machine: names as scanners write them, which a vocabulary keeps."""

    name: str
    ct: str
    film: str
    kernels: tuple[str, str]  # soft, sharp
    private: str  # creator of its private blocks


MAKERS: Final = (
    Maker(name="SIEMENS", ct="SOMATOM Force", film="YSIO", kernels=("B30f", "B70f"), private="SIEMENS CSA HEADER"),
    Maker(name="GE MEDICAL SYSTEMS", ct="LightSpeed VCT", film="Optima XR220", kernels=("STANDARD", "LUNG"),
          private="GEMS_PATI_01"),
    Maker(name="Philips Medical Systems", ct="iCT 256", film="DigitalDiagnost", kernels=("B", "YC"),
          private="Philips Imaging DD 001"),
    Maker(name="TOSHIBA", ct="Aquilion ONE", film="MobileDaRt Evolution", kernels=("FC08", "FC52"), private="TOSHIBA_MEC_CT3"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Centre:
    """One sender. `weight` is its size; `lean` how many of ten that it sends are positive, relative to others."""

    number: int
    code: str
    hospital: str
    weight: int
    lean: int
    makers: tuple[tuple[Maker, int], ...]
    syntax: str
    open_ended: bool  # its sequences end with a mark, and say no length
    local_ids: bool  # its own numbers stand in PatientID, not those of the NHS
    spaced_ids: bool  # NHS numbers in groups: 999 000 0042
    us_dates: bool  # clinical dates month first

    @property
    def uploader(self) -> str:
        """The folder under which it may add."""
        return f"raw-{self.code.lower()}"


def _centre(number: int) -> Centre:
    shares = (12, 4, 2, 1)
    favourite = number % len(MAKERS)
    return Centre(
        number=number + 1,
        code=f"SYN{number + 1:02d}",
        hospital=f"Synthetic {PLACES[number]} Infirmary",
        weight=max(LEAST_WEIGHT, LARGEST_WEIGHT // (number + 1) - number // 4),
        lean=2 + (number * 3) % 7,
        makers=tuple((MAKERS[(favourite + place) % len(MAKERS)], share) for place, share in enumerate(shares)),
        syntax={4: DEFLATED, 2: IMPLICIT, 6: IMPLICIT}.get(number % 8, EXPLICIT),
        open_ended=number % 3 == 1,
        local_ids=number % 5 == 3,
        spaced_ids=number % 5 == 1,
        us_dates=number % 7 == 2,
    )


CENTRES: Final = tuple(_centre(number) for number in range(26))
# Who is positive is drawn first; where they were seen depends on it.
BY_LABEL: Final[Mapping[bool, tuple[tuple[Centre, int], ...]]] = {
    True: tuple((centre, centre.weight * centre.lean) for centre in CENTRES),
    False: tuple((centre, centre.weight * (10 - centre.lean)) for centre in CENTRES),
}
