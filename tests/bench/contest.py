"""Ours beside the tools that people use: one run, the same files, the same core; what it costs, what leaks, what is left.

Speed is instances for each second of processor time, start-up taken off (a pass over one file is measured, too): on a
machine that others share, the clock would measure them. Leaks are looked for in every byte and name that a tool wrote,
by the answer key of our synthetic tree, with the scorer of `readingroom score`; a tool without output for a file leaks
nothing of it and keeps nothing of it.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from readingroom.adapters.dicom.scored import Written, images_in
from readingroom.application.score_outputs import score_outputs
from readingroom.domain.synth.key import Entry
from readingroom.domain.synth.plans import COMPACT
from readingroom.domain.synth.score import Score
from tests.bench.figures import table
from tests.bench.iod import Inputs, Validity
from tests.bench.peers import Tool, tools
from tests.dicom_factory import CR_CLASS, US_CLASS, DataSet, ct, part10, slice_pixels
from tests.unit.deid.test_corpus import FILES
from tests.unit.synth.trees import make

ROOT = "1.2.826.0.1.3680043.8.498"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
SEED = 1
PATIENTS = 12
ROOM = 4 << 30
# What a scanner writes beside the elements of the factory: with them a slice has about 110.
SCANNER: DataSet = {
    0x00080005: ("CS", "ISO_IR 100"), 0x00080012: ("DA", "20200405"), 0x00080013: ("TM", "101501"),
    0x00080021: ("DA", "20200403"), 0x00080023: ("DA", "20200403"), 0x00080031: ("TM", "101112"),
    0x00080032: ("TM", "101113"), 0x00080033: ("TM", "101114"), 0x00080081: ("ST", "1 Infirmary Road"),
    0x00081010: ("SH", "CTAWP1"), 0x00081040: ("LO", "Radiology"), 0x00081050: ("PN", "Performer^One"),
    0x00081070: ("PN", "Operator^Two"),
    0x00081140: ("SQ", [{0x00081150: ("UI", "1.2.840.10008.5.1.4.1.1.2"), 0x00081155: ("UI", f"{ROOT}.771")}]),
    0x00082112: ("SQ", [{0x00081150: ("UI", "1.2.840.10008.5.1.4.1.1.2"), 0x00081155: ("UI", f"{ROOT}.772")}]),
    0x00101020: ("DS", "1.72"), 0x00101030: ("DS", "71"), 0x00101040: ("LO", "1 Some Street"),
    0x00102160: ("SH", "A"), 0x001021B0: ("LT", "follow-up"), 0x00180010: ("LO", "OMNIPAQUE"),
    0x00180022: ("CS", "HELICAL MODE"), 0x00180090: ("DS", "500"), 0x00181000: ("LO", "SN66234"),
    0x00181020: ("LO", "VA30A"), 0x00181030: ("LO", "Thorax Routine"), 0x00181040: ("LO", "IV"),
    0x00181041: ("DS", "80"), 0x00181100: ("DS", "350"), 0x00181110: ("DS", "1085.6"), 0x00181111: ("DS", "595"),
    0x00181120: ("DS", "0"), 0x00181130: ("DS", "160"), 0x00181140: ("CS", "CW"), 0x00181150: ("IS", "500"),
    0x00181151: ("IS", "210"), 0x00181152: ("IS", "105"), 0x00181160: ("SH", "WEDGE_3"), 0x00181170: ("IS", "42"),
    0x00181190: ("DS", "1.2"), 0x00189305: ("FD", 0.5), 0x00189306: ("FD", 0.6), 0x00189307: ("FD", 38.4),
    0x00189309: ("FD", 69.0), 0x00189310: ("FD", 34.5), 0x00189311: ("FD", 0.9),
    0x00189313: ("FD", [0.1, -130.2, 402.7]), 0x00189318: ("FD", [0.1, -3.2, 402.7]), 0x00189323: ("CS", "XYZ_EC"),
    0x00189324: ("FD", 12.5), 0x00189345: ("FD", 7.8), 0x00200012: ("IS", "4"), 0x00201040: ("LO", "SN"),
    0x00201041: ("DS", "402.75"), 0x00204000: ("LT", "no comment"), 0x00280106: ("SS", -1024),
    0x00280107: ("SS", 2000), 0x00281054: ("LO", "HU"), 0x00281055: ("LO", "LUNG"),
    0x00290010: ("LO", "SIEMENS CSA HEADER"), 0x00291008: ("CS", "IMAGE"), 0x00321060: ("LO", "CT Thorax"),
    0x00400244: ("DA", "20200403"), 0x00400245: ("TM", "101000"), 0x00400253: ("SH", "PPS77"),
    0x00400254: ("LO", "CT Thorax"),
    0x00400275: ("SQ", [{0x00400007: ("LO", "CT Thorax"), 0x00400009: ("SH", "SPS1")}]),
}  # fmt: skip


@dataclass(frozen=True)
class Speed:
    """A tool on one kind of file."""

    rate: float  # instances for each second of processor time, start-up taken off
    by_clock: float  # instances for each second, start-up included
    peak: int
    written: int


def _ct(number: int) -> bytes:
    own = {
        "x00080018": ("UI", f"{ROOT}.9{number:07d}"),
        "x00200013": ("IS", str(number + 1)),
        "x00200032": ("DS", ["-125.5", "-130.25", f"{number * 1.25:.2f}"]),
    }
    return part10({**SCANNER, **ct(slice_pixels(512, seed=number), **own)})


def _film(number: int) -> bytes:
    with np.errstate(over="ignore"):  # far outside, the body's edge is nothing
        pixels = slice_pixels(2500, seed=number, signed=False)[:, :2048]
    return part10(
        ct(pixels, x00080018=("UI", f"{ROOT}.8{number:07d}"), x00080016=("UI", CR_CLASS), x00080060=("CS", "CR"))
    )


def _enhanced(number: int) -> bytes:
    frame, frames = slice_pixels(512, seed=number).tobytes(), 100
    group = {0x00289110: ("SQ", [{0x00280030: ("DS", ["0.48", "0.48"]), 0x00180050: ("DS", "1.25")}])}
    places: DataSet = {
        0x52009230: (
            "SQ",
            [
                {**group, 0x00209113: ("SQ", [{0x00200032: ("DS", ["-125.5", "-130.25", str(place)])}])}
                for place in range(frames)
            ],
        )
    }
    whole = ct(slice_pixels(512), x00080018=("UI", f"{ROOT}.7{number:07d}"), x00080016=("UI", ENHANCED_CT))
    return part10({**whole, **places, 0x00280008: ("IS", str(frames)), 0x7FE00010: ("OW", frame * frames)})


def _ultrasound(number: int) -> bytes:
    pixels = ((slice_pixels(1024, seed=number).astype("i4")[:768] + 1100) >> 3).clip(0, 255).astype("u1")
    return part10(
        ct(pixels, x00080018=("UI", f"{ROOT}.6{number:07d}"), x00080016=("UI", US_CLASS), x00080060=("CS", "US"))
    )


KINDS: Mapping[str, tuple[int, Callable[[int], bytes]]] = {
    "CT 512 x 512": (300, _ct),
    "CR film 2500 x 2048": (12, _film),
    "enhanced CT, 100 frames": (3, _enhanced),
    "ultrasound 768 x 1024": (40, _ultrasound),
}


@dataclass(frozen=True)
class Scored:
    """A tool on the synthetic tree, and the IOD errors that it added there and to the files of pydicom."""

    score: Score
    synthetic: Validity
    real: Validity


def contest(rounds: int) -> tuple[str, list[list[str]]]:
    """The tools as shipped over all kinds; all over the synthetic tree: the tables as text, and every speed as a row."""
    shipped, prepared, absent = tools()
    speeds: dict[tuple[str, str], Speed] = {}
    with _room() as work:
        for kind, (number, make_one) in KINDS.items() if rounds else ():
            one, many = work / "one", work / "many"
            for folder, count in ((one, 1), (many, number)):
                folder.mkdir()
                for place in range(count):
                    (folder / f"{place:05d}.dcm").write_bytes(make_one(place))
            for tool in shipped:
                speeds[tool.name, kind] = _speed(tool, one, many, work, rounds)
            shutil.rmtree(one)
            shutil.rmtree(many)
        able = [*shipped, *prepared]
        scores = _scores(able, work)
    lines = [speed_table(shipped, speeds), ""] if rounds else []
    lines += [score_table(able, scores), "", class_table(able, scores)]
    lines += [f"not measured: {name}: {why}" for name, why in absent.items()]
    rows = [
        [tool, kind, f"{s.rate:.1f}", f"{s.by_clock:.1f}", str(s.peak), str(s.written)]
        for (tool, kind), s in speeds.items()
    ]
    return "\n".join(lines), rows


@contextmanager
def _room() -> Iterator[Path]:
    """A folder in memory, where there is room."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > ROOM
    with tempfile.TemporaryDirectory(prefix="rr-contest-", dir=memory if roomy else None) as folder:
        yield Path(folder)


def _pass(tool: Tool, source: Path, work: Path) -> tuple[float, float, int, int]:
    target, own = work / "to", work / "own"
    target.mkdir()
    own.mkdir()
    cost = tool.run(source, target, own)
    written = len(images_in(target))
    shutil.rmtree(target)
    shutil.rmtree(own)
    return cost.cpu, cost.seconds, cost.peak, written


def _speed(tool: Tool, one: Path, many: Path, work: Path, rounds: int) -> Speed:
    """The quickest of the rounds: what disturbs a pass only ever makes it slower."""
    number = len(list(many.iterdir()))
    starts = min(_pass(tool, one, work)[0] for _ in range(rounds))
    passes = [_pass(tool, many, work) for _ in range(rounds)]
    cpu, seconds = min(each[0] for each in passes), min(each[1] for each in passes)
    return Speed(
        (number - 1) / max(cpu - starts, 1e-3), number / seconds, max(each[2] for each in passes), passes[0][3]
    )


def _scores(able: list[Tool], work: Path) -> dict[str, Scored]:
    made = make(work / "tree", patients=PATIENTS, seed=SEED, design=COMPACT)
    flat, real = work / "flat", work / "real"  # one folder each, because one of the tools looks no deeper
    flat.mkdir()
    real.mkdir()
    names = {}
    for number, path in enumerate(made.files()):
        if path.read_bytes()[128:132] == b"DICM":  # no other tool takes clinical records
            names[path.relative_to(made.identified).as_posix()] = name = f"{number:05d}-{path.name}"
            path.rename(flat / name)
    for number, path in enumerate(FILES):
        if path.read_bytes()[128:132] == b"DICM":
            shutil.copy(path, real / f"{number:05d}.dcm")
    key = [
        Entry.from_document({**line, "file": names[line["file"]], "was": names.get(line["was"], line["was"])})
        for line in made.key
        if line["file"] in names
    ]
    inputs, real_inputs = Inputs(flat), Inputs(real)
    found = {}
    for tool in able:
        with _filled(tool, flat, work) as target:
            score = score_outputs(key, Written(target, flat, None))
            synthetic = inputs.validity_of(target)
        with _filled(tool, real, work) as target:
            found[tool.name] = Scored(score, synthetic, real_inputs.validity_of(target))
    return found


@contextmanager
def _filled(tool: Tool, source: Path, work: Path) -> Iterator[Path]:
    """What a tool wrote, gone afterwards. One that ends badly is judged by what it wrote until then."""
    target, own = work / "to", work / "own"
    target.mkdir()
    own.mkdir()
    try:
        with suppress(AssertionError):
            tool.run(source, target, own)
        yield target
    finally:
        shutil.rmtree(target)
        shutil.rmtree(own)


def speed_table(able: list[Tool], speeds: Mapping[tuple[str, str], Speed]) -> str:
    """A line for each kind and tool. Where ours writes nothing, a person looks first: no speed is claimed."""
    rows = []
    for kind in KINDS:
        mine = speeds["ours", kind]
        for tool in able:
            each = speeds[tool.name, kind]
            ratio = f"{mine.rate / each.rate:.2f}" if mine.written else "-"
            rows.append(
                [
                    kind,
                    tool.name,
                    f"{each.rate:.1f}",
                    ratio,
                    f"{each.by_clock:.1f}",
                    f"{each.peak / 2**20:.0f}",
                    f"{each.written}/{KINDS[kind][0]}",
                ]
            )
    return table(["files", "tool", "instances/s/core", "ours / it", "by the clock", "peak MiB", "written"], rows)


def score_table(able: list[Tool], scores: Mapping[str, Scored]) -> str:
    """A line for each tool: what was left, what stayed, what should not have come out, and what became invalid."""
    rows = []
    for tool in able:
        each, score = scores[tool.name], scores[tool.name].score
        rows.append(
            [
                f"{tool.name} {tool.version}",
                f"{score.withstood}/{len(score.asked)}",
                f"{score.left.total()}/{score.asked.total()}",
                *(f"{share.found}/{share.of}" for share in score.fields.values()),
                *(f"{share.found}/{share.of}" for share in (score.samples, score.refused, score.sent_again)),
                str(each.synthetic),
                str(each.real),
                str(score.outputs),
            ]
        )
    head = ["tool", "classes withstood", "left of what must go", "fields kept, CT and MR", "others", "samples identical",
            "released unseen", "written twice", "IOD errors added", "of pydicom's", "written"]  # fmt: skip
    return table(head, rows)


def class_table(able: list[Tool], scores: Mapping[str, Scored]) -> str:
    """What was left, class by class."""
    asked = scores[able[0].name].score.asked
    return table(
        ["left of", "asked", *(tool.name for tool in able)],
        [
            [kind, str(asked[kind]), *(str(scores[tool.name].score.left[kind]) for tool in able)]
            for kind in sorted(asked)
        ],
    )


def write_csv(path: Path, rows: list[list[str]]) -> None:
    """Every speed."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["tool", "files", "instances/s/core", "by the clock", "peak", "written"])
        writer.writerows(rows)
