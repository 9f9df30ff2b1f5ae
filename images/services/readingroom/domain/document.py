"""One object of a parsed JSON document, read key by key: what a document is wrong about is named by its place.

Strict in both directions: an unknown key is an error, an absent one is too, a number is never a string. Used for the
documents that people write once and machines obey: grants and decisions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from readingroom.domain.errors import WrongSetUp

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
HEX = re.compile(r"[0-9a-f]{64}")
LABEL = re.compile(r"[^\x00-\x1f\x7f<>]{1,200}")
REQUEST = re.compile(r"[a-z0-9-]{1,40}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def wrong(where: str, why: str) -> WrongSetUp:
    """The error for one place of a document; the place begins with the kind of document."""
    kind = where.partition(".")[0]
    return WrongSetUp(what=f"{kind} file", which=where, why=f"it {why}", next_step=f"write a new version of the {kind}")


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads`: an object in which a key stands twice is none. Raises `ValueError`."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def written(time: datetime) -> str:
    """A time as a document writes it: whole seconds, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


class Table:
    """One object of the document. Each method takes one key and raises `WrongSetUp` naming it when it is off."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise wrong(where, "is no object")
        self._values: dict[str, Any] = dict(value)
        self._where = where

    def _take(self, key: str) -> object:
        if key not in self._values:
            raise wrong(f"{self._where}.{key}", "is missing")
        return self._values.pop(key)

    def texts(self, key: str, pattern: re.Pattern[str]) -> list[str]:
        """A list of different texts; empty is allowed."""
        where, values = f"{self._where}.{key}", self._take(key)
        if not isinstance(values, list):
            raise wrong(where, "is no list")
        if not all(isinstance(value, str) and pattern.fullmatch(value) for value in values):
            raise wrong(where, f"holds something not written as {pattern.pattern}")
        if len(set(values)) != len(values):
            raise wrong(where, "names one thing twice")
        return values

    def texts_or_none(self, key: str, pattern: re.Pattern[str]) -> list[str]:
        """The same; where the key is absent there are none."""
        return self.texts(key, pattern) if key in self._values else []

    def text(self, key: str, pattern: re.Pattern[str]) -> str:
        """A text that the pattern describes as a whole."""
        value = self._take(key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise wrong(f"{self._where}.{key}", f"is not written as {pattern.pattern}")
        return value

    def text_or_none(self, key: str, pattern: re.Pattern[str]) -> str | None:
        """A text, or null."""
        if self._values.get(key, 0) is None:
            self._values.pop(key)
            return None
        return self.text(key, pattern)

    def time(self, key: str) -> datetime:
        """A time in whole seconds, UTC."""
        text = self.text(key, _TIME)
        try:
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError as error:
            raise wrong(f"{self._where}.{key}", "is no date of the calendar") from error

    def whole(self, key: str, lowest: int, highest: int) -> int:
        """A whole number; true and false are none."""
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise wrong(f"{self._where}.{key}", f"is not a whole number from {lowest} to {highest}")
        return value

    def allowed(self, key: str) -> bool:
        """Whether `true` stands there. Absent means no; anything but `true` is wrong."""
        if key not in self._values:
            return False
        if self._take(key) is not True:
            raise wrong(f"{self._where}.{key}", "is neither true nor absent")
        return True

    def number(self, key: str, lowest: float, highest: float) -> float:
        """A number; true and false are none."""
        value = self._take(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not lowest <= value <= highest:
            raise wrong(f"{self._where}.{key}", f"is not a number from {lowest} to {highest}")
        return float(value)

    def table(self, key: str) -> Table:
        """An object inside this one."""
        return Table(self._take(key), f"{self._where}.{key}")

    def table_or_none(self, key: str) -> Table | None:
        """An object, or null."""
        value = self._take(key)
        return None if value is None else Table(value, f"{self._where}.{key}")

    def tables(self, key: str) -> list[Table]:
        """A list of objects."""
        values = self._take(key)
        if not isinstance(values, list):
            raise wrong(f"{self._where}.{key}", "is no list")
        return [Table(value, f"{self._where}.{key}[{n}]") for n, value in enumerate(values)]

    def named(self, key: str) -> dict[str, Table]:
        """Objects by name, at least one."""
        where, values = f"{self._where}.{key}", self._take(key)
        if not isinstance(values, Mapping) or not values:
            raise wrong(where, "is no object with at least one entry")
        for name in values:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise wrong(where, f"holds {str(name)[:40]!r}, which is no name")
        return {name: Table(value, f"{where}.{name}") for name, value in values.items()}

    def done(self) -> None:
        """Raises `WrongSetUp` if a key is left that nobody asked for."""
        if self._values:
            raise wrong(self._where, f"has unknown keys: {', '.join(sorted(self._values))[:200]}")
