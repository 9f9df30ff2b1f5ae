"""A quality report as files: a page that needs nothing else, and the same as JSON.

The page loads nothing and runs nothing: its policy allows its own style by hash and no more, so it may be opened from a
disk or served. Every picture has its numbers beside it in a table. Whatever stands in the report is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from readingroom.adapters.durable import show
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.quality import ABSENT, HIDDEN, OUTSIDE, SMALL, UNREADABLE, Cell

Document = Mapping[str, Any]
Told = Mapping[str, Mapping[str, str]]  # reason code → its sentence and next step
_SLIVER: Final = 1.2  # per cent of a bar: what stands for a small count, whatever it is
_LEAST: Final = 0.6  # and the least that can be seen
_NO_MONTH: Final = {ABSENT: "no study date", UNREADABLE: "no valid date", OUTSIDE: "outside the collection's window"}
_HOW: Final = {"ok": "as sent", "repaired": "repaired", "unmapped": "unusable", "null": "not sent"}
_OUTCOMES: Final = ("received", "held", "rejected")
_STYLE: Final = """
:root{color-scheme:light dark;--page:#fff;--ink:#1c2330;--soft:#4f5b6c;--line:#d5dbe3;--track:#e9edf2;--card:#f5f7fa;
--one:#2563a8;--two:#2a8f86;--three:#b8560f;--link:#1d4f8a}
@media (prefers-color-scheme:dark){:root{--page:#12161d;--ink:#e7ebf1;--soft:#a9b4c3;--line:#333d4b;--track:#2a323e;
--card:#1a2029;--one:#6aa9ee;--two:#5cc4b8;--three:#f0985a;--link:#9cc7f7}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
header,nav,main,footer{max-width:64rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:2rem}h1{font-size:1.9rem;line-height:1.2;margin:.2rem 0 .5rem}
h2{font-size:1.3rem;margin:2.6rem 0 .4rem;padding-top:1rem;border-top:1px solid var(--line)}
h3{font-size:1.05rem;margin:1.6rem 0 .3rem}p{margin:.4rem 0;max-width:46rem}.soft{color:var(--soft)}
.side{font-weight:600;color:var(--three);margin:0}a{color:var(--link)}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;list-style:none;padding:0;margin:1rem 0 0}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(10rem,1fr));gap:.75rem;margin:1rem 0}
dl div{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem}
dt{color:var(--soft);font-size:.85rem}dd{margin:0;font-size:1.35rem;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;margin-top:.8rem}table{border-collapse:collapse;width:100%;font-size:.92rem}
caption{text-align:left;color:var(--soft);padding:.4rem 0}
th,td{text-align:left;padding:.28rem .6rem .28rem 0;border-bottom:1px solid var(--line);vertical-align:middle}
th{font-weight:600}tbody th{font-weight:400}.n{text-align:right;font-variant-numeric:tabular-nums}td.n{white-space:nowrap}
td.bar{width:34%;min-width:8rem;padding-right:1rem}td.bar svg{display:block;width:100%;height:.8rem}
td:last-child:not([class]){min-width:13rem}
figure{margin:1rem 0}figure svg{width:100%;height:auto;display:block}
.track{fill:var(--track)}.one{fill:var(--one)}.two{fill:var(--two)}.three{fill:var(--three)}
.few{fill:none;stroke:var(--one);stroke-width:1.5}.grid{stroke:var(--line)}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;list-style:none;padding:0;margin:.4rem 0;font-size:.92rem}
.key svg{width:.8rem;height:.8rem;margin-right:.4rem;vertical-align:-.05rem}
details{margin:.6rem 0}summary{cursor:pointer;color:var(--link)}
footer{padding:2rem 1.25rem 3rem;font-size:.9rem;color:var(--soft)}
"""


class ReportFolder:
    """See the port `Reports`: `<centre>.html` and `<centre>.json`."""

    def __init__(self, folder: Path, told: Told) -> None:
        self._folder, self._told = folder, told

    def put(self, centre: str, document: Document) -> None:
        """See the port."""
        files = {
            f"{centre}.json": json.dumps(document, indent=1) + "\n",
            f"{centre}.html": page(document, self._told),
        }
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                descriptor, draft = tempfile.mkstemp(dir=self._folder, prefix=".report-")
                try:
                    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                        file.write(text)
                    show(Path(draft), self._folder / name)
                finally:
                    Path(draft).unlink(missing_ok=True)
        except OSError as error:
            raise WrongSetUp(
                what="quality report",
                which=self._folder.name,
                why=f"it cannot be written ({error.strerror or type(error).__name__})",
                next_step="see to space and permissions, then run the same command again",
            ) from error


def page(document: Document, told: Told) -> str:
    """The whole page. The caller's document is that of `domain.quality`; anything in it may be hostile."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
    centre = escape(str(document["centre"]))
    sections = [_door, _contents, _dates, _images, _clinical]
    made = [section(document, told) for section in sections]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in made)
    body = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{text}</section>' for name, title, text in made
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{digest}'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Quality of what {centre} sent</title><style>{_STYLE}</style></head><body>"
        '<header><p class="side">Identified side. For the data manager and the centre; not for researchers.</p>'
        f"<h1>Quality of what {centre} sent</h1>{_summary(document)}</header>"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav><main>{body}</main>'
        f"<footer><p>Counts alone, never a value. {SMALL.replace('-', '–')} stands for any count from 1 to 9 of patients "
        "or studies, or of files by what they say; “withheld” for one that would give such a count away by subtraction. How "
        "many files came and what the door answered is shown exactly, as the receipts do. "
        f"Rules of the clinical table: {escape(str(document['clinical_rules_sha256'])[:12])}.</p></footer></body></html>\n"
    )


def _summary(document: Document) -> str:
    batches, landing = document["batches"], document["landing"]
    when = f", from {batches['first_day']} to {batches['last_day']}" if batches["number"] else ""
    facts = {
        "Patients": document["patients"]["all"],
        "Studies": landing["studies"],
        "Images": landing["instances"],
        "Clinical records": landing["records"],
    }
    return f'<p class="soft">{_several(batches["number"], "batch", "batches")}{escape(when)}</p>{_facts(facts)}'


def _door(document: Document, told: Told) -> tuple[str, str, str]:
    door, batches = document["door"], document["batches"]
    if door["receipts"]:
        rows = [
            [
                escape(str(line["outcome"])),
                escape(str(line["reason"])),
                _n(line["count"]),
                _bar([("one" if line["outcome"] == "received" else "three", line["count"])], door["inputs"]),
                escape(_sentence(line, told)),
            ]
            for line in sorted(door["answers"], key=lambda line: (_OUTCOMES.index(line["outcome"]), -line["count"]))
        ]
        text = f"<p>{_several(door['inputs'], 'input')} in {_several(door['receipts'], 'receipt')}.</p>" + _table(
            "Answers by reason", ["Answer", "Reason", "#Inputs", "|Share of inputs", "What it means"], rows
        )
    else:
        counts = batches["inputs"]
        text = (
            '<p class="soft">No receipt was given, so reasons are not known; the batches’ own records say:</p>'
            + _table("Inputs of all batches", ["Answer", "#Inputs"], [[escape(k), _n(n)] for k, n in counts.items()])
        )
    if document["landing"]["unreadable"]:
        text += (
            f"<p><strong>{_n(document['landing']['unreadable'])} files in landing could not be looked at.</strong></p>"
        )
    return "door", "At the door", text


def _sentence(line: Mapping[str, Any], told: Told) -> str:
    if line["reason"] not in told:
        return "Received as sent." if line["outcome"] == "received" else ""
    words = told[line["reason"]]
    return words["sentence"] if words["next"] == "Nothing." else f"{words['sentence']} {words['next']}"


def _contents(document: Document, _: Told) -> tuple[str, str, str]:
    patients = document["patients"]
    linked = _facts(
        {
            "Patients with images and a record": patients["images_and_record"],
            "With images alone": patients["images_alone"],
            "With a record alone": patients["record_alone"],
        }
    )
    modalities = _ranked("Studies by modality", "Modality", "modality", document["modalities"])
    makers = _ranked("Studies by maker", "Maker", "maker", document["makers"])
    note = '<p class="soft">A study with two modalities counts under both; makers are those of our list.</p>'
    return "contents", "What came", linked + modalities + makers + note


def _ranked(caption: str, head: str, key: str, lines: Sequence[Mapping[str, Cell]]) -> str:
    most = max((each["studies"] for each in lines if isinstance(each["studies"], int)), default=0)
    ordered = sorted(lines, key=lambda each: (-_size(each["studies"]), each[key]))
    rows = [
        [escape(str(each[key])), _n(each["studies"]), _bar([("one", each["studies"])], most, rest=False)]
        for each in ordered
    ]
    return _table(caption, [head, "#Studies", "|Studies, drawn"], rows)


def _size(cell: Cell) -> int:
    return cell if isinstance(cell, int) else {SMALL: 1, HIDDEN: 2}[cell]


def _dates(document: Document, _: Told) -> tuple[str, str, str]:
    lines = document["months"]
    months = {each["month"]: each["studies"] for each in lines if each["month"] not in _NO_MONTH}
    odd = [[_NO_MONTH[each["month"]], _n(each["studies"])] for each in lines if each["month"] in _NO_MONTH]
    text = (
        '<p class="soft">True months, which stay on this side: beside the shifted months of a project they would tell '
        "something of the shift.</p>"
    )
    if months:
        numbers = _table("Studies by month", ["Month", "#Studies"], [[escape(m), _n(n)] for m, n in months.items()])
        text += f"<figure>{_columns(months)}</figure><details><summary>The numbers</summary>{numbers}</details>"
    text += _table("Studies without a usable month", ["Study date", "#Studies"], odd)
    return "dates", "When studies were made", text


def _columns(months: Mapping[str, Cell]) -> str:
    """A column a month, without gaps in time; a small count is a stub of one height."""
    every = _through(min(months), max(months))
    top = max((n for n in months.values() if isinstance(n, int)), default=0) or 1
    wide, high, left, base = 760, 210, 48, 176
    step = min(40.0, (wide - left) / len(every))
    drawn = [
        f'<line class="grid" x1="{left}" x2="{wide}" y1="{base - part}" y2="{base - part}"/>'
        f'<text x="{left - 6}" y="{base - part + 4}" text-anchor="end">{round(top * part / 150):,}</text>'
        for part in (0, 75, 150)
    ]
    for place, month in enumerate(every):
        x, count = left + place * step + step * 0.1, months.get(month, 0)
        if isinstance(count, int):
            height = 150 * count / top
            drawn.append(_rect("one", x, base - height, step * 0.8, height) if count else "")
        else:
            drawn.append(_rect("few", x + 1, base - 5, max(step * 0.8 - 2, 1), 5))
        if month.endswith("-01") or place == 0:
            drawn.append(f'<text x="{x:.1f}" y="{base + 18}">{escape(month[:4] if place else month)}</text>')
    drawn.append(
        f'<text x="{left}" y="{high - 2}">studies a month; an empty outline is fewer than 10, or withheld</text>'
    )
    title = (
        f"Studies by month from {escape(min(months))} to {escape(max(months))}; the numbers stand in the table below"
    )
    return f'<svg viewBox="0 0 {wide} {high}" role="img" aria-label="{title}">{"".join(drawn)}</svg>'


def _through(first: str, last: str) -> list[str]:
    begin, end = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (first, last))
    return [f"{each // 12:04d}-{each % 12 + 1:02d}" for each in range(begin, end + 1)]


def _images(document: Document, _: Told) -> tuple[str, str, str]:
    text = "<p>Whether an element has a value, by modality.</p>" + _key({"one": "filled", "track": "empty or absent"})
    told = [each for each in document["fields"] if each["fields"]]
    for number, each in enumerate(told):
        name = escape(str(each["modality"]))
        rows = [
            [
                f'{escape(row["field"])} <span class="soft">({row["tag"][:4]},{row["tag"][4:]})</span>',
                _n(row["filled"]),
                _n(row["empty"]),
                _bar([("one", row["filled"]), ("track", row["empty"])], each["instances"]),
            ]
            for row in each["fields"]
        ]
        table = _table(
            f"{name}: {_n(each['instances'])} images", ["Element", "#Filled", "#Empty", "|Share filled"], rows
        )
        text += f"<details{' open' if number == 0 else ''}><summary>{name}</summary>{table}</details>"
    if few := [escape(str(each["modality"])) for each in document["fields"] if not each["fields"]]:
        text += f'<p class="soft">Too few files to say more: {", ".join(few)}.</p>'
    return "images", "What images say of themselves", text


def _clinical(document: Document, _: Told) -> tuple[str, str, str]:
    total, records = document["landing"]["records"], document["records"]
    if not document["columns"]:
        return "clinical", "The clinical record", f"<p>{_n(total)} records: too few to say more.</p>"
    facts = _facts(
        {
            "Records": total,
            "That contradict themselves": records["conflict"],
            "Fields that no column wants": records["unknown_fields"],
        }
    )
    classes = {"ok": "one", "repaired": "two", "unmapped": "three", "null": "track"}
    rows = [
        [
            escape(str(each["column"])),
            *(_n(each[how]) for how in classes),
            _bar([(look, each[how]) for how, look in classes.items()], total),
            _n(each["unit_unclear"]),
            _n(each["date_assumed"]),
        ]
        for each in document["columns"]
    ]
    heads = [
        "Column",
        *(f"#{_HOW[how].capitalize()}" for how in classes),
        "|Share",
        "#Unit unclear",
        "#Day or month unclear",
    ]
    text = (
        "<p>How the cells of each column come about, over every record: repaired is another form, unit or place; "
        "unusable is a value of which nothing may stay. Unit unclear: two units were possible, so the cell is null. "
        "Day or month unclear: either way round was possible, so the template’s order was taken.</p>"
    )
    key = _key({look: _HOW[how] for how, look in classes.items()})
    return "clinical", "The clinical record", facts + text + key + _table("Cells by column", heads, rows)


def _n(cell: Cell) -> str:
    if isinstance(cell, int):
        return f"{cell:,}"
    return {SMALL: SMALL.replace("-", "–"), HIDDEN: "withheld"}[cell]


def _several(count: int, one: str, many: str = "") -> str:
    return f"{_n(count)} {one if count == 1 else many or f'{one}s'}"


def _facts(facts: Mapping[str, Cell]) -> str:
    return f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{_n(cell)}</dd></div>' for name, cell in facts.items())}</dl>"


def _key(looks: Mapping[str, str]) -> str:
    items = "".join(
        f'<li><svg viewBox="0 0 10 10" aria-hidden="true">{_rect(look, 0, 0, 10, 10)}</svg>{name}</li>'
        for look, name in looks.items()
    )
    return f'<ul class="key">{items}</ul>'


def _bar(parts: Iterable[tuple[str, Cell]], total: Cell, *, rest: bool = True) -> str:
    """A bar beside its numbers; a small count is a sliver of one width, a withheld one what is left."""
    if not isinstance(total, int) or total == 0:
        return ""
    listed = list(parts)
    widths = [_share(cell, total) if isinstance(cell, int) else _SLIVER if cell == SMALL else 0.0 for _, cell in listed]
    left = max(0.0, 100 - sum(widths)) if rest else 0.0
    drawn, x = [_rect("track", 0, 0, 100, 10)], 0.0
    for (look, cell), width in zip(listed, widths, strict=True):
        wide = left if cell == HIDDEN else width
        drawn.append(_rect(look, x, 0, wide, 10) if wide else "")
        x += wide
    return f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{"".join(drawn)}</svg>'


def _share(count: int, total: int) -> float:
    return max(100 * count / total, _LEAST) if count else 0.0


def _rect(look: str, *box: float) -> str:
    x, y, width, height = (f"{each:.2f}".rstrip("0").rstrip(".") for each in box)
    return f'<rect class="{look}" x="{x}" y="{y}" width="{width}" height="{height}"/>'


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML already. A head that begins with # is of numbers, with | of bars."""
    if not rows:
        return ""
    kinds = [{"#": ' class="n"', "|": ' class="bar"'}.get(head[0], "") for head in heads]
    top = "".join(
        f'<th scope="col"{kind if "n" in kind[-3:] else ""}>{head.lstrip("#|")}</th>'
        for head, kind in zip(heads, kinds, strict=True)
    )
    lines = "".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds[1:], row[1:], strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0"><table><caption>{caption}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>"
    )
