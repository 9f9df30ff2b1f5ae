"""De-identification policy from files: profiles, vocabularies, reasons. An unknown key, word or tag is an error.

A profile is resolved (its parent's rules, its vocabularies and the DICOM dictionary put in) into one document. The hash of
its canonical JSON names the rules of a run: whatever could change an output changes the hash.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

from readingroom.adapters.json_schema import fault_in
from readingroom.adapters.strict_yaml import from_yaml
from readingroom.application.ports_deid import Resolved
from readingroom.domain.deid.outcome import Reason
from readingroom.domain.deid.profile import folded, normal
from readingroom.domain.deid.shards import ShardLimits
from readingroom.domain.errors import WrongSetUp

Document = dict[str, Any]

# What may be done with an element of a VR. Text is never kept as it is written.
_NUMBERS: Final = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"})
_ALLOWED: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(_NUMBERS, frozenset({"keep", "empty", "constant"})),
    **dict.fromkeys(("LO", "SH"), frozenset({"vocabulary", "pseudonym", "constant", "empty"})),
    **dict.fromkeys(("ST", "LT", "UC", "UT"), frozenset({"vocabulary", "constant", "empty"})),
    "CS": frozenset({"keep", "constant", "empty"}),
    "TM": frozenset({"keep", "empty"}),
    "UI": frozenset({"keep", "map-uid"}),
    "DA": frozenset({"shift-date", "empty"}),
    "DT": frozenset({"shift-date", "empty"}),
    "AS": frozenset({"cap-age", "empty"}),
    "PN": frozenset({"pseudonym", "constant", "empty"}),
    "SQ": frozenset({"recurse", "code", "empty"}),
}


class Dictionary(Protocol):
    """The DICOM dictionary, as far as policy needs it."""

    def tag_of(self, keyword: str) -> int:
        """The tag of a keyword; raises `WrongSetUp` for none."""
        ...

    def vrs_of(self, tag: int) -> tuple[str, ...]:
        """All VRs of a tag."""
        ...

    def count_of(self, tag: int) -> tuple[int, int | None, int]:
        """Least, most and step of its number of values."""
        ...

    def uid_of(self, keyword: str) -> str:
        """The registered UID of a keyword; raises `WrongSetUp` for none."""
        ...


class PolicyFiles:
    """The folder `policies`."""

    def __init__(self, policies: Path, dictionary: Dictionary) -> None:
        self._deid, self._schemas, self._dictionary = policies / "deid", policies / "schema", dictionary

    def profile(self, name: str) -> Resolved:
        """The profile of a run. Raises `WrongSetUp` naming the file and the place that is off."""
        given = self._profile_file(name)
        names = given.get("serves", [name])
        served = [self._served(each) for each in names]
        classes = Counter(uid for each in served for uid in each["sop_classes"])
        if again := twice(classes.elements()):
            off(name, f"two profiles serve {again}")
        document = {
            "profile": name,
            "version": given["version"],
            "profiles": served,
            "doubtful": sorted(set(map(self._dictionary.uid_of, given.get("doubtful", []))) - set(classes)),
        }
        return resolved_of(document)

    def reasons(self) -> dict[str, str]:
        """Reason codes and the outcome of each. Raises `WrongSetUp` unless they are exactly those that code gives."""
        document = self._checked(self._deid / "reasons.yaml", "deid-reasons")
        found = {code: each["outcome"] for code, each in document["reasons"].items()}
        if missing := set(Reason) - set(found):
            off("reasons.yaml", f"it lacks {min(missing)}")
        return found

    def _served(self, name: str) -> Document:
        """One modality's rules, resolved."""
        chain = [self._profile_file(name)]
        while parent := chain[-1].get("extends"):
            if any(each["profile"] == parent for each in chain):
                off(name, "it extends itself")
            chain.append(self._profile_file(parent))
        rules: Document = {}
        merged: Document = {}
        for each in reversed(chain):
            first = each is chain[-1]
            _check_narrows(each, rules, first=first)
            rules |= each.get("elements", {}) | each.get("widens", {})
            merged |= each
        for key in ("accept", "options", "text_gate", "faces"):
            if key not in merged:
                off(name, f"neither it nor its parents say {key}")
        if merged["text_gate"] != "always" and not merged.get("looks"):
            off(name, "it releases images and says no looks")
        vocabularies: Document = {}
        return {
            "profile": name,
            "version": merged["version"],
            "sop_classes": sorted(map(self._dictionary.uid_of, merged["accept"]["sop_classes"])),
            "transfer_syntaxes": sorted(map(self._dictionary.uid_of, merged["accept"]["transfer_syntaxes"])),
            "options": sorted([code, meaning] for code, meaning in merged["options"].items()),
            "text_gate": merged["text_gate"],
            "looks": merged.get("looks", []),
            "faces": sorted(merged["faces"]),
            "elements": self._elements(name, rules, vocabularies),
            "vocabularies": vocabularies,
        }

    def _elements(self, profile: str, rules: Mapping[str, Any], vocabularies: Document) -> Document:
        resolved = {}
        for keyword, rule in rules.items():
            if missing := set(rule.get("needs", ())) - set(rules):
                off(f"{profile}: {keyword}", f"it needs {min(missing)}, which is not listed beside it")
            tag = self._dictionary.tag_of(keyword)
            resolved[f"{tag:08X}"] = self._rule(f"{profile}: {keyword}", keyword, tag, rule, vocabularies)
        return resolved

    def _rule(self, place: str, keyword: str, tag: int, rule: Document, vocabularies: Document) -> Document:
        vrs = self._dictionary.vrs_of(tag)
        _check_rule(place, vrs, rule)
        resolved = {**rule, "name": keyword, "vr": list(vrs), "count": list(self._dictionary.count_of(tag))}
        if "items" in rule:
            resolved["items"] = self._elements(place, rule["items"], vocabularies)
        if "values" in rule:
            resolved["values"] = _by_place(rule["values"])
        for name in [rule.get("list"), *(each for each in resolved.get("values", ()) if isinstance(each, str))]:
            if name and name not in vocabularies:
                vocabularies[name] = self._vocabulary(name)
        if rule.get("list"):
            _check_list(place, rule, vocabularies[rule["list"]])
        if "dummy" in rule:
            _check_dummy(place, rule, resolved, vocabularies)
        if "needs" in rule:
            resolved["needs"] = sorted(f"{self._dictionary.tag_of(each):08X}" for each in rule["needs"])
        return resolved

    def _vocabulary(self, name: str) -> Document:
        document = self._checked(self._deid / "vocabularies" / f"{name}.yaml", "deid-vocabulary")
        if "uids" in document:
            return {"terms": sorted(map(self._dictionary.uid_of, document["uids"]))}
        if "terms" in document and (again := twice(map(folded, document["terms"]))):
            off(f"{name}.yaml", f"{again!r} stands twice")
        return document

    def _profile_file(self, name: str) -> Document:
        document = self._checked(self._deid / "profiles" / f"{name}.yaml", "deid-profile")
        if document["profile"] != name:
            off(f"{name}.yaml", "it calls itself otherwise")
        return document

    def _checked(self, path: Path, schema: str) -> Document:
        return checked(path, self._schemas / f"{schema}.schema.json")


def checked(path: Path, schema: Path) -> Document:
    """A policy file that follows its schema. Raises `WrongSetUp` naming the file and the place that is off."""
    try:
        document = from_yaml(path.read_text(encoding="utf-8"))
        rules = json.loads(schema.read_text(encoding="utf-8"))
    except OSError as error:
        raise _wrong(path.name, f"it cannot be read ({type(error).__name__})") from error
    except ValueError as error:
        raise _wrong(path.name, str(error)) from error
    if fault := fault_in(document, rules):
        off(path.name, f"{fault.json_path}: {fault.message[:160]}")
    found: Document = document
    return found


def shard_limits(policies: Path) -> ShardLimits:
    """The most that a shard of a run holds. Raises `WrongSetUp` as above."""
    found = checked(policies / "deid" / "shards.yaml", policies / "schema" / "deid-shards.schema.json")
    return ShardLimits(instances=found["instances"], bytes=found["bytes"])


def resolved_of(document: Document) -> Resolved:
    """A resolved document with the hash of its canonical JSON, which names the rules of a run."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return Resolved(document=document, sha256=hashlib.sha256(canonical.encode("ascii")).hexdigest())


def twice(words: Iterable[str]) -> str | None:
    return next((word for word, count in Counter(words).items() if count > 1), None)


def _check_narrows(document: Document, parents: Mapping[str, Any], *, first: bool) -> None:
    """A child restates what its parent lists; whatever it adds stands under `widens`."""
    name = f"{document['profile']}.yaml"
    new = set(document["elements"]) - set(parents)
    if new and not first:
        off(name, f"{min(new)} is not its parent's: put it under widens")
    if old := set(document.get("widens", {})) & (set(parents) | set(document["elements"])):
        off(name, f"{min(old)} is listed already: put it under elements")


def _check_rule(place: str, vrs: Iterable[str], rule: Document) -> None:
    for vr in vrs:
        if rule["do"] not in _ALLOWED.get(vr, frozenset()):
            off(place, f"{rule['do']} is no way to treat a {vr}")
    keeps = rule["do"] == "keep"
    wanted = {
        "range": keeps and bool(_NUMBERS & set(vrs)),
        "values": keeps and bool({"CS", "UI"} & set(vrs)),
        "list": rule["do"] in {"vocabulary", "code"},
        "items": rule["do"] == "recurse",
        "constant": rule["do"] == "constant",
    }
    for key, needed in wanted.items():
        if needed != (key in rule):
            off(place, f"{key} is {'missing' if needed else 'of no use'} here")
    if (rule["do"] == "pseudonym") != (rule.get("of") in {"patient", "accession", "study"}):
        off(place, "a pseudonym needs to know of what")


def _check_list(place: str, rule: Document, vocabulary: Document) -> None:
    if (rule["do"] == "code") != ("codes" in vocabulary):
        off(place, f"the vocabulary {rule['list']} is of another kind")
    if rule.get("of") == "terms" and (again := twice(map(normal, vocabulary["terms"]))):
        off(place, f"{again!r} stands twice in {rule['list']}")


def _check_dummy(place: str, rule: Document, resolved: Document, vocabularies: Document) -> None:
    """A dummy is a term of the same list: nothing else would pass the verifier."""
    lists = resolved.get("values", [rule["list"]] if rule["do"] == "vocabulary" else [])
    terms = [vocabularies[each]["terms"] if isinstance(each, str) else each for each in lists]
    if not terms or "else" in rule:
        off(place, "a dummy is of no use here")
    if unlisted := [each for at, each in enumerate(rule["dummy"]) if each not in terms[min(at, len(terms) - 1)]]:
        off(place, f"its dummy {unlisted[0]!r} is not on its list")


def _by_place(values: Any) -> list[Any]:
    """One entry per position; the last stands for all that follow."""
    if not isinstance(values, dict):
        return [values]
    numbers = sorted(int(place) for place in values if place != "rest")
    return [*(values[str(number)] for number in numbers), values["rest"]]


def off(which: str, why: str) -> NoReturn:
    """Raises `WrongSetUp` for a policy file that cannot be obeyed."""
    raise _wrong(which, why)


def _wrong(which: str, why: str) -> WrongSetUp:
    return WrongSetUp(what="de-identification policy", which=which, why=why, next_step="correct the file")
