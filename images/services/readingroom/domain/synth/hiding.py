"""The table of places where identifiers hide, and how one row is placed and put into the key at once.

A row names facts in braces; each is a line of the key. A path is an element path, an element of the file meta
information (group 0002), or a word: preamble, trailing, tail (after the codestream), name (of the file). What stands in a
codestream, or after one of any syntax, is named by the element that holds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from string import Formatter
from typing import Final

from readingroom.domain.synth.centres import RLE
from readingroom.domain.synth.facts import NEUTRAL
from readingroom.domain.synth.key import Class, Entry, Must
from readingroom.domain.synth.modalities import IMAGES, SLICES, Kind
from readingroom.domain.synth.plans import Fields, Frame, Value, put

CHARSET: Final = 0x00080005
PREAMBLE: Final = 128  # bytes


@dataclass(frozen=True, kw_only=True)
class Place:
    """One row: in files of these kinds, at this path, this text."""

    fault: str
    kind: Class
    path: str
    vr: str = ""
    text: str
    kinds: frozenset[Kind] = IMAGES
    must: Must = Must.REMOVED
    encoding: str = "utf-8"
    beside: tuple[tuple[str, str, str], ...] = ()  # what must stand with it: path, VR, value
    size: int = 0  # bytes of a binary value: filled up with zeros
    keeps: str = ""  # a part of the text that must stay


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What is known of a series' files so far."""

    fields: Fields
    frame: Frame
    name: str = ""  # of its files, instead of the UID
    entries: tuple[Entry, ...] = field(default=())


def place(row: Place, draft: Draft, facts: Mapping[str, str]) -> Draft:
    """The draft with the row's text in its place, and a line of the key for each fact that the text holds."""
    text = row.text.format_map(facts)
    if not text.isascii():
        draft = _written(draft, f"{CHARSET:08X}", "CS", "ISO_IR 192")
    for path, vr, value in row.beside:
        numbers = tuple(map(int, value.split("\\"))) if vr == "US" else ()
        draft = _written(draft, path, vr, numbers or value.format_map(facts))
    return replace(_placed(row, draft, text), entries=(*draft.entries, *_entries(row, facts)))


def _placed(row: Place, draft: Draft, text: str) -> Draft:
    data, frame = text.encode(row.encoding).ljust(row.size, b"\0"), draft.frame
    match row.path:
        case "name":
            return replace(draft, name=text)
        case "preamble":
            frame = replace(frame, preamble=data[:PREAMBLE])
        case "trailing":
            frame = replace(frame, trailing=data)
        case "tail":
            frame = replace(frame, tail=data, syntax=RLE)
        case "7FE00010 after":
            frame = replace(frame, tail=data)
        case "7FE00010 application" | "7FE00010 comment":
            frame = replace(frame, marks=(*frame.marks, (row.path.split()[1], data)))
        case _:
            binary = row.vr in {"OB", "OW", "UN"}
            return _written(draft, row.path, row.vr, int(text) if row.vr == "UL" else data if binary else text)
    return replace(draft, frame=frame)


def _written(draft: Draft, path: str, vr: str, value: Value) -> Draft:
    if path.startswith("0002"):
        return replace(draft, frame=replace(draft.frame, meta=put(draft.frame.meta, path, vr, value)))
    return replace(draft, fields=put(draft.fields, path, vr, value))


def _entries(row: Place, facts: Mapping[str, str]) -> list[Entry]:
    names = [name for _, name, _, _ in Formatter().parse(row.text) if name and name not in NEUTRAL]
    found = [
        Entry(
            kind=row.kind,
            fault=row.fault,
            where=row.path,
            was=facts[name],
            must=row.must,
            scope="series",
            encoding="uint32-le" if row.vr == "UL" else row.encoding,
        )
        for name in names
    ]
    if row.keeps:
        kept = Entry(kind=Class.UTILITY, fault=row.fault, where=row.path, was=row.keeps, must=Must.KEPT, scope="series")
        found.append(kept)
    return found


def _own(fault: str, path: str, vr: str, text: str, must: Must = Must.REMOVED) -> Place:
    return Place(fault=fault, kind=Class.OWN_FIELDS, path=path, vr=vr, text=text, must=must, kinds=frozenset(Kind))


# In every file: what a hospital's archive writes. PS3.3 C.7.1.1 to C.7.3.1, C.4.12.
OWN: Final = (
    _own("accession number", "00080050", "SH", "{accession}"),
    _own("institution", "00080080", "LO", "{hospital}"),
    _own("referring physician", "00080090", "PN", "{physician_family}^{physician_given}"),
    _own("station", "00081010", "SH", "{station}"),
    _own("operator", "00081070", "PN", "{operator_family}^{operator_given}"),
    _own("patient name", "00100010", "PN", "{family}^{given}"),
    _own("patient id", "00100020", "LO", "{patient_id}"),
    _own("birth date", "00100030", "DA", "{born}"),
    _own("study id", "00200010", "SH", "{study_id}"),
    Place(fault="study date", kind=Class.TIME, path="00080020", vr="DA", text="{seen}", must=Must.DATE_SHIFTED,
          kinds=frozenset(Kind)),
    Place(fault="content date", kind=Class.TIME, path="00080023", vr="DA", text="{seen}", must=Must.DATE_SHIFTED,
          kinds=frozenset(Kind)),
)  # fmt: skip

_VENDOR: Final = ("00090010", "LO", "{vendor}")
_CT: Final = frozenset({Kind.CT})
_UTF16: Final = "utf-16-le"

# In some: the rows are taken in turn, those that serve a kind. Classes of `data.md` section 9.
HIDING: Final = (
    # --- their own fields, the rarer ones, and at depth ---
    Place(fault="other patient id", kind=Class.OWN_FIELDS, path="00101000", vr="LO", text="{other_id}"),
    Place(fault="address", kind=Class.OWN_FIELDS, path="00101040", vr="LO", text="{address} {postcode}"),
    Place(fault="telephone", kind=Class.OWN_FIELDS, path="00102154", vr="SH", text="{phone}"),
    Place(fault="institution address", kind=Class.OWN_FIELDS, path="00080081", vr="ST", text="{hospital}, {address}"),
    Place(fault="requesting physician", kind=Class.OWN_FIELDS, path="00400275[1].00321032", vr="PN",
          text="{physician_family}^{physician_given}"),
    Place(fault="ids in a sequence", kind=Class.OWN_FIELDS, path="00101002[1].00100020", vr="LO", text="{nhs}"),
    Place(fault="name in a referenced study", kind=Class.OWN_FIELDS, path="00081110[1].00081250[1].00100010", vr="PN",
          text="{family}^{given}"),
    # --- where nobody expects them ---
    Place(fault="name among image types", kind=Class.UNEXPECTED, path="00080008", vr="CS", kinds=_CT,
          text="ORIGINAL\\PRIMARY\\AXIAL\\{family}"),
    Place(fault="name as a body part", kind=Class.UNEXPECTED, path="00180015", vr="CS", text="{family}"),
    Place(fault="number as a series number", kind=Class.UNEXPECTED, path="00200011", vr="IS", text="{nhs}"),
    Place(fault="number as a volume of contrast", kind=Class.UNEXPECTED, path="00181041", vr="DS", text="{nhs}"),
    Place(fault="meaning of a code", kind=Class.UNEXPECTED, path="00082218[1].00080104", vr="LO", kinds=_CT,
          text="Chest of {natural}"),
    Place(fault="comment", kind=Class.UNEXPECTED, path="00204000", vr="LT",
          text="{natural} came with her sister, please ring {mobile}; NHS {nhs_spaced}"),
    Place(fault="study description", kind=Class.UNEXPECTED, path="00081030", vr="LO", keeps="Hodgkin lymphoma",
          text="CT chest Hodgkin lymphoma {family}"),
    Place(fault="protocol name", kind=Class.UNEXPECTED, path="00181030", vr="LO", text="Thorax routine {underscored}"),
    Place(fault="kernel", kind=Class.UNEXPECTED, path="00181210", vr="SH", text="{family}", kinds=_CT),
    Place(fault="model of a machine", kind=Class.UNEXPECTED, path="00081090", vr="LO", text="{station} of {hospital}"),
    Place(fault="numbers in a UID", kind=Class.UNEXPECTED, path="00200052", vr="UI", text="2.999.{nhs}.1.{seen}", kinds=SLICES),
    Place(fault="look-up table", kind=Class.UNEXPECTED, path="00283010[1].00283006", vr="OW", text="{natural} {nhs}", size=64,
          beside=(("00283010[1].00283002", "US", "32\\0\\16"), ("00283010[1].00283003", "LO", "TABLE"))),
    Place(fault="binary in a private block", kind=Class.UNEXPECTED, path="00091010", vr="OB", text="\0\1{natural}\0{nhs}\0",
          beside=(_VENDOR,)),
    Place(fault="wide text in a private block", kind=Class.UNEXPECTED, path="00091011", vr="OB", text="{natural}",
          encoding=_UTF16, beside=(_VENDOR,)),
    # --- variants of one identity ---
    Place(fault="shouted, reversed", kind=Class.VARIANTS, path="00104000", vr="LT", text="see old films of {shouted}"),
    Place(fault="misspelled", kind=Class.VARIANTS, path="0008103E", vr="LO", text="Thorax axial {misspelled}"),
    Place(fault="number with dashes", kind=Class.VARIANTS, path="00081080", vr="LO", text="query {nhs_dashed}"),
    Place(fault="another script", kind=Class.VARIANTS, path="00101060", vr="PN", text="{greek}"),
    Place(fault="initial and name", kind=Class.VARIANTS, path="00401400", vr="LT", text="requested for {initialled}"),
    Place(fault="electronic mail", kind=Class.VARIANTS, path="001021B0", vr="LT", text="write to {email}"),
    Place(fault="names run together", kind=Class.VARIANTS, path="00080104", vr="LO", text="{joined}"),
    # --- elements outside good order ---
    Place(fault="private block of the vendor", kind=Class.DISORDER, path="00091020", vr="LO", text="{natural} {nhs}",
          beside=(_VENDOR,)),
    Place(fault="private block without creator", kind=Class.DISORDER, path="00111001", vr="LO", text="{natural}"),
    Place(fault="private sequence", kind=Class.DISORDER, path="00091030[1].00100010", vr="PN", text="{family}^{given}",
          beside=(_VENDOR,)),
    Place(fault="unknown element", kind=Class.DISORDER, path="0020FF01", vr="LO", text="{natural}"),
    Place(fault="unknown VR", kind=Class.DISORDER, path="00204001", vr="UN", text="{natural} {postcode}"),
    Place(fault="retired element", kind=Class.DISORDER, path="00084000", vr="LT", text="{natural} {phone}"),
    Place(fault="retired curve", kind=Class.DISORDER, path="50002500", vr="LO", text="{natural}"),
    Place(fault="name of another VR", kind=Class.DISORDER, path="00081050", vr="LO", text="{operator_family} {operator_given}"),
    Place(fault="three sequences deep", kind=Class.DISORDER, path="00321064[1].0040A730[2].0040A730[1].0040A160", vr="UT",
          text="{natural}, {address}"),
    # --- around the data set ---
    Place(fault="preamble", kind=Class.AROUND, path="preamble", text="{natural} {nhs}"),
    Place(fault="after the last element", kind=Class.AROUND, path="trailing", text="\0\0{natural} {nhs}\0\0"),
    Place(fault="padding element", kind=Class.AROUND, path="FFFCFFFC", vr="OB", text="{natural}", kinds=SLICES),
    Place(fault="sender in the file meta", kind=Class.AROUND, path="00020016", vr="AE", text="{station}"),
    Place(fault="private file meta", kind=Class.AROUND, path="00020102", vr="OB", text="{natural}",
          beside=(("00020100", "UI", "2.999.0.1"),)),
    Place(fault="file name", kind=Class.AROUND, path="name", text="{family}-{given}-{nhs}"),
    # --- inside the pixels, but for letters, which `studies` burns in ---
    Place(fault="overlay label", kind=Class.PIXELS, path="60001500", vr="LO", text="{natural}"),
    Place(fault="overlay data", kind=Class.PIXELS, path="60003000", vr="OW", text="{natural} {nhs}", size=64,
          beside=(("60000010", "US", "16"), ("60000011", "US", "32"), ("60000040", "CS", "G"), ("60000100", "US", "1"))),
    Place(fault="thumbnail", kind=Class.PIXELS, path="00880200[1].7FE00010", vr="OB", text="{natural}{nhs}", size=64,
          beside=(("00880200[1].00280002", "US", "1"), ("00880200[1].00280004", "CS", "MONOCHROME2"),
                  ("00880200[1].00280010", "US", "8"), ("00880200[1].00280011", "US", "8"),
                  ("00880200[1].00280100", "US", "8"), ("00880200[1].00280101", "US", "8"),
                  ("00880200[1].00280102", "US", "7"), ("00880200[1].00280103", "US", "0"))),
    Place(fault="after the codestream", kind=Class.PIXELS, path="tail", text="{natural}", kinds=_CT),
    # --- time ---
    Place(fault="date in words", kind=Class.TIME, path="00400254", vr="LO", text="CT chest {seen_words}"),
    Place(fault="birth date in words", kind=Class.TIME, path="00380500", vr="LO", text="{born_words}"),
    Place(fault="day first", kind=Class.TIME, path="00184000", vr="LT", text="compare {seen_uk}, born {born_uk}"),
    Place(fault="date with dots", kind=Class.TIME, path="00080021", vr="DA", text="{seen_dotted}"),
    Place(fault="seconds since 1970", kind=Class.TIME, path="00091040", vr="UL", text="{seen_epoch}", beside=(_VENDOR,)),
    Place(fault="acquisition date", kind=Class.TIME, path="00080022", vr="DA", text="{seen}", must=Must.DATE_SHIFTED),
)  # fmt: skip
