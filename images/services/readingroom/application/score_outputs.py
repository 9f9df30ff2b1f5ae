"""Count what a tool left and kept of a synthetic tree, by the answer key: one scorer for every tool, ours included."""

from __future__ import annotations

from collections.abc import Sequence

from readingroom.application.ports_synth import Outputs
from readingroom.domain.synth.key import Entry, Must
from readingroom.domain.synth.score import ELSEWHERE, OBJECTS, Score, forms, is_asked

SLICED = frozenset({"CT", "MR"})


def score_outputs(entries: Sequence[Entry], outputs: Outputs) -> Score:
    """The score. An entry of a whole file names that file; entries of the clinical record are the engine's own business."""
    score = Score(inputs=outputs.inputs, outputs=outputs.outputs, accounted=outputs.accounted)
    asked = [entry for entry in entries if is_asked(entry)]
    in_bytes = [entry for entry in asked if entry.must in {Must.REMOVED, Must.UID_CHANGED}]
    left = outputs.left(frozenset(form for entry in in_bytes for form in forms(entry)))
    for entry in asked:
        score.asked[entry.kind] += 1
        score.left[entry.kind] += _is_left(entry, left, outputs)
    objected = {entry.file for entry in entries if entry.must in OBJECTS or entry.encoding == "nibbles"}
    for entry in entries:
        if entry.must is Must.KEPT and entry.file not in objected:
            name = "CT and MR" if outputs.modality(entry.file) in SLICED else "others"
            found = outputs.values(entry.file, str(entry.where))
            score.fields[name].count(any(entry.was in value for value in found))
        elif entry.must in {Must.HELD, Must.REJECTED} and entry.where == "file" and entry.reason not in ELSEWHERE:
            score.refused.count(outputs.released(entry.file))
        elif entry.must is Must.SAME and entry.reason == "same-as-another":
            score.sent_again.count(outputs.is_doubled(entry.was))
    clean = {entry.file for entry in entries if entry.fault == "patient name"} - objected
    for file in sorted(clean):
        if outputs.has_samples(file):
            score.samples.count(outputs.same_samples(file))
    return score


def _is_left(entry: Entry, left: frozenset[bytes], outputs: Outputs) -> bool:
    if entry.must is Must.PIXELS_HIDDEN:
        return outputs.same_samples(entry.file)
    if entry.must is Must.DATE_SHIFTED:
        return entry.was in outputs.values(entry.file, str(entry.where))
    return not left.isdisjoint(forms(entry))
