"""What a bounded child does with one file: look at it (pass 1), and release it (pass 2). Never in the parent.

The set-up document holds the resolved profile, the project, its purpose keys, and whether to explain. A call brings a
read-only descriptor of the input and, to release, one of the file to write. What comes back holds stand-ins, counts and
codes: no value of the file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from readingroom.adapters.dicom import write
from readingroom.adapters.dicom.dictionary import REGISTERED
from readingroom.adapters.dicom.door import names_given
from readingroom.adapters.dicom.pixels import Shape, bone_share, frames, shape_of, whole_pixels
from readingroom.adapters.dicom.prescan import ENCAPSULATED, EXPLICIT, Scan
from readingroom.adapters.dicom.read import read
from readingroom.adapters.dicom.source import Source
from readingroom.adapters.dicom.strokes import letters_in, strokes_in
from readingroom.adapters.dicom.verify import Expected, verify, with_sets
from readingroom.domain.clinical.imaged import imaged
from readingroom.domain.deid import doubt
from readingroom.domain.deid.decide import Context, Decided, decide
from readingroom.domain.deid.elements import PIXEL_DATA, Element, Written, find, text
from readingroom.domain.deid.identity import BIRTH_DATE, Known, identity_of, known_from, without_issuer
from readingroom.domain.deid.instance import SOP_CLASS, uids_of
from readingroom.domain.deid.keys import Pseudonyms, PurposeKeys
from readingroom.domain.deid.outcome import FileHeld, FileRejected, Outcome, Reason
from readingroom.domain.deid.profile import Do, Profile, profile_set

Document = Mapping[str, Any]
MODALITY: Final = 0x00080060
CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2"
CLEAN_PIXELS: Final = "clean-pixels"  # action: frames that lost spare bits or what is no sample
CUT_TRAILING: Final = "cut-trailing"  # action: something stood after the last element


@dataclass(frozen=True, kw_only=True)
class _File:
    """One accepted input."""

    scan: Scan
    profile: Profile
    shape: Shape
    pixels: Element
    identity: str
    uids: Mapping[str, str]  # of the file: see `uids_of`


class Worker:
    """Answers calls: `{"do": "look"}` and `{"do": "release"}`."""

    def __init__(self, setup: Document) -> None:
        self._pseudonyms = Pseudonyms(PurposeKeys.from_document(setup["keys"]), setup["project"])
        self._run = profile_set(setup["profile"], setup["profile_sha256"])
        self._documents = {each["profile"]: with_sets(each) for each in setup["profile"]["profiles"]}
        self._explain = bool(setup["explain"])

    def __call__(self, document: Document, descriptors: Sequence[int]) -> Document:
        """The answer to one call."""
        try:
            if document["do"] == "look":
                return self._look(descriptors[0])
            return self._release(*descriptors, expected=document.get("sha256"))
        except (FileRejected, FileHeld) as error:
            return {"outcome": error.outcome, "reason": error.reason}

    def _look(self, descriptor: int) -> Document:
        """The checks of the door, and marks by which files are compared without being read."""
        source = Source(descriptor)
        answer: dict[str, Any] = {"sha256": self._mark(source), "size": source.size}
        try:
            scan = read(source)
            answer |= self._person(scan)
            self._accepted(scan)
        except (FileRejected, FileHeld) as error:
            return {**answer, "outcome": error.outcome, "reason": error.reason}
        return {**answer, "outcome": Outcome.RELEASED}

    def _mark(self, source: Source) -> str:
        digest = hashlib.sha256()
        for piece in source.pieces(0, source.size):
            digest.update(piece)
        return self._pseudonyms.mark("bytes", digest.hexdigest())

    def _person(self, scan: Scan) -> Document:
        """Who the image is about, and which one it is, also where its pixels are held. Nothing where it does not say so.

        `alias` is the stand-in that a clinical record gets, which names no issuer.
        """
        elements = scan.elements
        try:
            identity = identity_of(elements)
        except FileRejected:
            return {}
        born = text(find(elements, BIRTH_DATE))
        person = {
            "patient": self._pseudonyms.patient(identity),
            "alias": self._pseudonyms.patient(without_issuer(elements)),
            "days": self._pseudonyms.days(identity),
            "born": self._pseudonyms.mark("born", born) if born else "",
            "names": names_given(scan).known_as(self._pseudonyms.name).to_document(),
            **asdict(imaged(elements)),
        }
        try:
            uids = uids_of(elements)
        except FileRejected:
            return person
        return {**person, **{name: self._pseudonyms.uid(uids[name]) for name in ("instance", "study", "series")}}

    def _accepted(self, scan: Scan) -> _File:
        """Cheap checks first; what a header can say before any pixel is decoded."""
        elements = scan.elements
        sop_class = text(find(elements, SOP_CLASS))
        profile = self._run.serving(sop_class)
        if profile is None:
            raise (
                FileHeld(Reason.PIXELS_DOUBTFUL) if sop_class in self._run.doubtful else FileRejected(Reason.SOP_CLASS)
            )
        if scan.syntax not in profile.transfer_syntaxes:
            raise FileRejected(Reason.TRANSFER_SYNTAX)
        uids = uids_of(elements)
        identity = identity_of(elements)
        shape = shape_of(elements)
        pixels = whole_pixels(scan, shape)
        doubt.check_header(elements, profile)
        return _File(scan=scan, profile=profile, shape=shape, pixels=pixels, identity=identity, uids=uids)

    def _release(self, descriptor: int, out: int, *, expected: str | None) -> Document:
        """One output. A file whose bytes are not those that are expected is rejected: nobody knows whose it is now."""
        source = Source(descriptor)
        if expected and self._mark(source) != expected:
            raise FileRejected(Reason.UNREADABLE)
        file = self._accepted(read(source))
        known = known_from(file.scan.elements, REGISTERED)
        context = Context(
            profile=file.profile,
            pseudonyms=self._pseudonyms,
            identity=file.identity,
            known=known,
            swapped=not file.scan.little,
        )
        decided = decide(file.scan.elements, context)
        written = [*decided.written, *write.provenance(file.profile, self._run)]
        instance = self._pseudonyms.uid(file.uids["instance"])
        syntax = file.scan.syntax if file.scan.syntax.startswith(ENCAPSULATED) else EXPLICIT
        write.write_all(out, write.header(written, file.uids["class"], instance, syntax))
        touched = self._pixels(file, out)
        sha256 = verify(out, self._expected(file, known, instance, touched))
        return self._answer(file, decided, written, sha256, touched)

    def _pixels(self, file: _File, out: int) -> int:
        """Writes the pixels and gives the number of frames that lost something. Raises `FileHeld` for doubt."""
        shape, suspect, touched = file.shape, doubt.is_suspect(file.scan.elements), 0
        length = shape.frame_bytes * shape.frames
        encapsulated = file.pixels.fragments is not None
        nameless = file.uids["class"] == CT_IMAGE and doubt.names_no_part(file.scan.elements, file.profile)
        units = doubt.hounsfield(file.scan.elements) if nameless else None
        if encapsulated:
            head, table_at = write.encapsulated_head(shape.frames)
            table_at += os.fstat(out).st_size
        else:
            vr = file.pixels.vr if file.pixels.vr in {"OB", "OW"} and shape.allocated == 8 else "OW"
            head, table_at = write.pixel_head(vr, length + length % 2), 0
        write.write_all(out, head)
        lengths: list[int] = []
        for frame in frames(file.scan, file.pixels, shape):
            letters = letters_in(frame.samples, file.profile.looks)
            doubt.check_strokes(strokes_in(frame.samples), letters=letters, suspect=suspect)
            if units:
                doubt.check_bone(bone_share(frame.samples, *units))
            touched += frame.touched
            data = write.fragment(frame.data) if encapsulated else frame.data
            lengths.append(len(data))
            write.write_all(out, data)
        if encapsulated and shape.frames > 1:
            write.write_all(out, write.offset_table(lengths), table_at)
        write.write_all(out, write.encapsulated_end() if encapsulated else bytes(length % 2))
        return touched

    def _expected(self, file: _File, known: Known, instance: str, touched: int) -> Expected:
        native = file.pixels.fragments is None and file.scan.little and not touched
        length = file.shape.frame_bytes * file.shape.frames
        return Expected(
            profile=self._documents[file.profile.name],
            method=f"Reading Room 1; {self._run.name}; {self._run.sha256[:12]}",
            registered=REGISTERED,
            identifiers=known.values,
            uids=known.uids,
            dates=known.dates,
            instance=instance,
            pixels=(lambda: file.scan.source.pieces(file.pixels.at, length)) if native else None,
        )

    def _answer(self, file: _File, decided: Decided, written: Sequence[Written], sha256: str, touched: int) -> Document:
        actions = dict(decided.actions)
        if touched:
            actions[CLEAN_PIXELS] = touched
        if file.scan.trailing:
            actions[CUT_TRAILING] = 1
        pixels = {"path": f"{PIXEL_DATA:08X}", "vr": file.pixels.vr, "action": CLEAN_PIXELS if touched else Do.KEEP,
                  "rule": "PixelData", "reason": "nothing that looks like writing"}  # fmt: skip
        modality = next((each.value.decode("ascii") for each in written if each.tag == MODALITY), "")
        return {
            "outcome": Outcome.RELEASED,
            "sha256": sha256,
            "sop_class_uid": file.uids["class"],
            "modality": modality,
            "actions": dict(sorted(actions.items())),
            "explained": [*decided.explained, pixels] if self._explain else [],
        }


def factory(setup: Document) -> Worker:
    """For `adapters.bounded`: `readingroom.adapters.dicom.worker:factory`."""
    return Worker(setup)
