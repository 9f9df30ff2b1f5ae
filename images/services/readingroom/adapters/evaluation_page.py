"""A report of an evaluation as a page that needs nothing else: figures with their intervals, drawn and as a table.

It loads nothing and runs nothing. Whatever stands in the report is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from readingroom.domain.evaluation.answer import FIGURES
from readingroom.domain.evaluation.plan import BINS

Document = Mapping[str, Any]
_WORDS: Final = {
    "auroc": "Area under the ROC curve",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "brier": "Brier score",
    "calibration_in_the_large": "Mean score less share of positives",
}
_STYLE: Final = """
:root{color-scheme:light dark;--page:#fff;--ink:#1c2330;--soft:#4f5b6c;--line:#d5dbe3;--one:#2563a8;--step:#b9cfe8}
@media (prefers-color-scheme:dark){:root{--page:#12161d;--ink:#e7ebf1;--soft:#a9b4c3;--line:#333d4b;--one:#6aa9ee;--step:#2d4a6b}}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
header,main,footer{max-width:56rem;margin:0 auto;padding:0 1.25rem}header{padding-top:2rem}
h1{font-size:1.8rem;line-height:1.2;margin:.2rem 0}
h2{font-size:1.25rem;margin:2.2rem 0 .3rem;border-top:1px solid var(--line);padding-top:1rem}
p{margin:.4rem 0;max-width:46rem}.soft{color:var(--soft)}code{font-size:.85rem;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:.92rem}.scroll{overflow-x:auto}
th,td{text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line)}th{font-weight:600}tbody th{font-weight:400}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td.bar{width:34%;min-width:9rem}
svg{display:block;width:100%}.reach{stroke:var(--one);stroke-width:2}.at{fill:var(--one)}.step{fill:var(--step)}
.axis{stroke:var(--line)}figure{margin:1rem 0;max-width:22rem}svg text{fill:var(--soft);font:11px system-ui,sans-serif}
footer{padding:2rem 1.25rem 3rem;font-size:.9rem;color:var(--soft)}
"""


def page(report: Document, question: str) -> str:
    """The whole page of a report; `question` is the plan's."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
    named = ("submission", "plan", "holdout")
    digests = "".join(f"<br>{name}: <code>{escape(report[f'{name}_sha256'])}</code>" for name in named)
    body = "".join(_task(name, task) for name, task in report.get("tasks", {}).items()) or _nothing(report)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{digest}'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Evaluation of {escape(report['project'])}</title><style>{_STYLE}</style></head><body>"
        f"<header><h1>Evaluation on the hold-out</h1><p>{escape(question)}</p>"
        f'<p class="soft">Project {escape(report["project"])}, plan {escape(report["plan"])}.{digests}</p></header>'
        f"<main>{body}</main><footer><p>A figure is told in steps: the exact one lies within half a step (the pale band). Bars "
        "are 95 per cent intervals from 0 to 1, of the difference from -1 to 1, worked out from what is told alone. Counts are "
        "rounded down. “Hidden” is a group "
        "that is small, or would give a small one away by subtraction.</p></footer></body></html>\n"
    )


def _nothing(report: Document) -> str:
    return f"<h2>No figures</h2><p>The run ended with <code>{escape(str(report['reason']))}</code>. It counts as a question.</p>"


def _task(name: str, task: Document) -> str:
    counts = task["overall"]
    told = f"{counts['cases']} cases or more: {counts['positives']} positive, {counts['negatives']} negative"
    rows = [_row(_WORDS[key], counts[key], signed=key == FIGURES[-1]) for key in FIGURES]
    text = f"<h2>{escape(name)}</h2><p>{told}; called positive from {task['threshold']:g} on.</p>" + _table(rows)
    for grouping, groups in task.get("groups", {}).items():
        text += f"<h3>Area under the ROC curve by {escape(grouping)}</h3>"
        text += _table([_row(level, group.get("auroc")) for level, group in groups.items()])
    return text + (_calibration(task["calibration"]) if "calibration" in task else "")


def _row(word: str, figure: Document | None, *, signed: bool = False) -> str:
    if figure is None:
        return f'<tr><th scope="row">{escape(word)}</th><td class="n">hidden</td><td class="n"></td><td class="bar"></td></tr>'
    value, low, high = figure["value"], figure["low"], figure["high"]
    return (
        f'<tr><th scope="row">{escape(word)}</th><td class="n">{value:.2f}</td>'
        f'<td class="n">{low:.2f} to {high:.2f}</td><td class="bar">{_bar(figure, signed=signed)}</td></tr>'
    )


def _bar(figure: Document, *, signed: bool) -> str:
    def at(value: float) -> float:
        return 100 * ((value + 1) / 2 if signed else value)

    value, step = figure["value"], figure["step"]
    left, right = max(0.0, at(value - step / 2)), min(100.0, at(value + step / 2))
    reach = f'x1="{at(figure["low"]):.1f}" x2="{at(figure["high"]):.1f}" y1="5" y2="5"'
    return (
        '<svg viewBox="0 0 100 10" preserveAspectRatio="none" height="14" aria-hidden="true">'
        f'<rect class="step" x="{left:.1f}" y="0" width="{right - left:.1f}" height="10"/>'
        f'<line class="reach" vector-effect="non-scaling-stroke" {reach}/>'
        f'<rect class="at" x="{min(99.2, at(value)):.1f}" y="1.5" width=".8" height="7"/></svg>'
    )


def _table(rows: Sequence[str]) -> str:
    head = '<tr><th></th><th class="n">told</th><th class="n">95 % interval</th><th></th></tr>'
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def _calibration(bins: Sequence[Document]) -> str:
    names = [f"score {number / BINS:.1f} to {(number + 1) / BINS:.1f}" for number in range(BINS)]
    rows = [_row(name, each.get("positives")) for name, each in zip(names, bins, strict=True)]
    return f"<h3>Share of positives by score</h3>{_drawn(bins)}{_table(rows)}"


def _drawn(bins: Sequence[Document]) -> str:
    """The calibration as a picture: told shares over the middle of each fifth, beside the diagonal of a perfect model."""

    def marks() -> Iterator[str]:
        for number, each in enumerate(bins):
            if "positives" in each:
                x, figure = 20 + 200 * (number + 0.5) / BINS, each["positives"]
                low, high, value = (210 - 200 * figure[key] for key in ("low", "high", "value"))
                yield f'<line class="reach" x1="{x:.0f}" x2="{x:.0f}" y1="{low:.0f}" y2="{high:.0f}"/>'
                yield f'<circle class="at" cx="{x:.0f}" cy="{value:.0f}" r="4"/>'

    return (
        '<figure><svg viewBox="0 0 230 230" role="img" aria-label="Share of positives by score, as the table below has it">'
        '<rect x="20" y="10" width="200" height="200" fill="none" class="axis"/>'
        '<line class="axis" x1="20" y1="210" x2="220" y2="10"/>'
        f'{"".join(marks())}<text x="20" y="225">score 0</text><text x="205" y="225">1</text>'
        '<text x="2" y="18">1</text></svg></figure>'
    )
