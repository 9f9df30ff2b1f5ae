"""The plan's file as values: what a study weighs and costs, and when studies come. An unknown key is an error."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from readingroom.adapters.json_schema import fault_in
from readingroom.adapters.strict_yaml import from_yaml
from readingroom.domain.errors import WrongSetUp

POLICIES = Path(__file__).resolve().parents[3] / "policies"
HOUR = 3600.0
YEAR_WEEKS = 52  # a year of arrivals is this many equal weeks


@dataclass(frozen=True, kw_only=True)
class Study:
    """What one study of a modality weighs and costs."""

    instances: int
    megabytes: float
    seconds: float  # of one core


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """How many studies of each kind come, when, and with how many workers that is tried."""

    name: str
    title: str
    studies: Mapping[str, int]
    workers: tuple[int, ...]
    weeks: int = 0  # 0: all at once
    stop: tuple[float, float] = (0.0, 0.0)  # no worker begins a shard from one second until the other


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole file."""

    document: Mapping[str, Any]
    modalities: Mapping[str, Study]
    scenarios: tuple[Scenario, ...]

    def value(self, part: str, name: str) -> float:
        """One figure of a part."""
        return float(self.document[part][name]["value"])

    def figures(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every figure with its place in the file."""
        yield from _figures(self.document, "")

    def weights(self) -> list[int]:
        """The shares of a week's studies, hour by hour."""
        week = self.document["week"]
        return [day * hour for day, hour in itertools.product(week["days"], week["hours"])]


def plan_from(file: Path = POLICIES / "scale" / "plan.yaml") -> Plan:
    """The plan. Raises `WrongSetUp` naming the place that is off."""
    schema = json.loads((POLICIES / "schema" / "scale-plan.schema.json").read_text(encoding="utf-8"))
    try:
        document = from_yaml(file.read_text(encoding="utf-8"))
        fault = fault_in(document, schema)
    except (OSError, ValueError) as error:
        raise _off(file, f"it cannot be read ({type(error).__name__})") from error
    if fault:
        raise _off(file, f"{fault.json_path}: {fault.message[:160]}")
    return Plan(
        document=document,
        modalities={name: _study(each, document["engine"]) for name, each in document["modalities"].items()},
        scenarios=tuple(_scenario(name, each) for name, each in document["scenarios"].items()),
    )


def _study(given: Mapping[str, Any], engine: Mapping[str, Any]) -> Study:
    instances = int(given["instances"]["value"])
    text = given["text_share"]["value"] * given["text_seconds"]["value"]
    return Study(
        instances=instances,
        megabytes=given["megabytes"]["value"],
        seconds=instances * (1 / engine[given["work"]]["value"] + text),
    )


def _scenario(name: str, given: Mapping[str, Any]) -> Scenario:
    begins = (7 + 1) * 24 * HOUR + 8 * HOUR  # Tuesday of the second week, 08:00
    stopped = given["stop_hours"]["value"] * HOUR if "stop_hours" in given else 0.0
    return Scenario(
        name=name,
        title=given["title"],
        studies={kind: int(each["value"]) for kind, each in given["studies"].items()},
        workers=tuple(sorted(given["workers"])),
        weeks=given.get("weeks", 0),
        stop=(begins, begins + stopped) if stopped else (0.0, 0.0),
    )


def _figures(document: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(document, Mapping):
        return
    if "basis" in document:
        yield place, document
        return
    for key, value in document.items():
        yield from _figures(value, f"{place}.{key}" if place else key)


def _off(file: Path, why: str) -> WrongSetUp:
    return WrongSetUp(what="scale plan", which=file.name, why=why, next_step="correct the file")
