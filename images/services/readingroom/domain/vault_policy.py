"""Reads the part of Vault's policy language that `policies/vault` uses, and holds our rules over it. Pure.

Vault itself would refuse an unknown key only when that policy is written, with others written before it; here a file is
refused before anything is. What this reader does not know, no policy of ours may hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from readingroom.contract import (
    ACCOUNT_CONFIGURE_VAULT,
    VAULT_ENVELOPE,
    VAULT_KV,
    VAULT_PKI,
    VAULT_PKI_ROOT,
    VAULT_PSEUDONYM,
    VAULT_SIGN,
)
from readingroom.domain.errors import WrongSetUp

CAPABILITIES: Final = frozenset({"create", "read", "update", "delete", "list", "deny"})  # never sudo, never patch
DATA: Final = (f"{VAULT_KV}/data", f"{VAULT_KV}/metadata", VAULT_PSEUDONYM, VAULT_ENVELOPE, VAULT_SIGN)
USED: Final = (VAULT_PSEUDONYM, VAULT_ENVELOPE, VAULT_SIGN, f"{VAULT_PKI}/sign", f"{VAULT_PKI_ROOT}/sign")
LISTS: Final = frozenset({"capabilities", "required_parameters"})
TABLES: Final = frozenset({"allowed_parameters", "denied_parameters"})
_TOKEN: Final = re.compile(r'(?P<blank>\s+|#[^\n]*)|(?P<text>"[^"\\\n]*")|(?P<word>[a-z_]+)|(?P<mark>[{}\[\]=,])')


@dataclass(frozen=True, kw_only=True)
class PathRule:
    """What a policy says about one path."""

    path: str
    capabilities: frozenset[str]
    required: tuple[str, ...] = ()
    allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    denied: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def check_policy(name: str, text: str) -> None:
    """Every path is given once, wildcards are the configurer's alone, and a key is used by `update` alone.

    With `create`, encrypting under an unknown name would make a new key; with `list`, names of projects would show.
    Where values are listed, the empty text is denied: Vault takes it for a list whose members, none, are all allowed.
    Raises `WrongSetUp`.
    """
    seen: set[str] = set()
    for rule in read_policy(name, text):
        if rule.path in seen:
            raise _wrong(name, f"path {rule.path} stands twice")
        seen.add(rule.path)
        if not rule.capabilities or rule.capabilities - CAPABILITIES:
            raise _wrong(name, f"path {rule.path} has a capability that no policy of ours has, or none")
        if name != ACCOUNT_CONFIGURE_VAULT and re.search(r"[*+]", rule.path):
            raise _wrong(name, f"path {rule.path} holds a wildcard")
        if "list" in rule.capabilities and _under(rule.path, DATA):
            raise _wrong(name, f"path {rule.path} would list data")
        if _under(rule.path, USED) and "/keys/" not in rule.path and rule.capabilities != {"update"}:
            raise _wrong(name, f"path {rule.path} uses a key, for which `update` alone is given")
        if any(values and "" not in rule.denied.get(key, ()) for key, values in rule.allowed.items()):
            raise _wrong(name, f"path {rule.path} lists values and does not deny the empty one")


def read_policy(name: str, text: str) -> Sequence[PathRule]:
    """The rules of one file, in order. Raises `WrongSetUp` naming the line where it is no policy of ours."""
    words = _Words(name, text)
    rules = []
    while not words.at_end:
        words.take("path")
        rules.append(_rule(words))
    return rules


def _rule(words: _Words) -> PathRule:
    path = words.text()
    found: dict[str, object] = {}
    words.take("{")
    while not words.have("}"):
        key = words.word()
        if key not in LISTS | TABLES or key in found:
            raise words.off(f"{key} is an unknown key, or stands twice")
        words.take("=")
        found[key] = _table(words) if key in TABLES else _texts(words)
    return PathRule(
        path=path,
        capabilities=frozenset(_only_texts(found.get("capabilities"))),
        required=_only_texts(found.get("required_parameters")),
        allowed=_only_table(found.get("allowed_parameters")),
        denied=_only_table(found.get("denied_parameters")),
    )


def _only_texts(found: object) -> tuple[str, ...]:
    return found if isinstance(found, tuple) else ()


def _only_table(found: object) -> dict[str, tuple[str, ...]]:
    return found if isinstance(found, dict) else {}


def _table(words: _Words) -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    words.take("{")
    while not words.have("}"):
        key = words.text()
        if key in table:
            raise words.off(f"{key} stands twice")
        words.take("=")
        table[key] = _texts(words)
    return table


def _texts(words: _Words) -> tuple[str, ...]:
    texts = []
    words.take("[")
    while not words.have("]"):
        texts.append(words.text())
        if not words.have(","):
            words.take("]")
            break
    return tuple(texts)


class _Words:
    """The words of a policy file, one after the other."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text
        self._words: list[tuple[str, int]] = []
        self._next = 0
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise _wrong(name, f"line {self._line(at)} cannot be read")
            if match.lastgroup != "blank":
                self._words.append((match.group(), at))
            at = match.end()

    @property
    def at_end(self) -> bool:
        """Whether every word was taken."""
        return self._next >= len(self._words)

    def have(self, mark: str) -> bool:
        """Takes the next word if it is this one."""
        if self._peek() != mark:
            return False
        self._next += 1
        return True

    def take(self, word: str) -> None:
        """The next word must be this one."""
        if not self.have(word):
            raise self.off(f"{word} is expected")

    def text(self) -> str:
        """The next word must be a text in quotes."""
        word = self._peek()
        if not word.startswith('"'):
            raise self.off("a text in quotes is expected")
        self._next += 1
        return word[1:-1]

    def word(self) -> str:
        """The next word must be a bare one."""
        word = self._peek()
        if not re.fullmatch("[a-z_]+", word):
            raise self.off("a key is expected")
        self._next += 1
        return word

    def off(self, why: str) -> WrongSetUp:
        """What is wrong, and in which line."""
        at = self._words[min(self._next, len(self._words) - 1)][1] if self._words else 0
        return _wrong(self._name, f"line {self._line(at)}: {why}")

    def _peek(self) -> str:
        return "" if self.at_end else self._words[self._next][0]

    def _line(self, at: int) -> int:
        return self._text.count("\n", 0, at) + 1


def _under(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _wrong(name: str, why: str) -> WrongSetUp:
    return WrongSetUp(
        what="Vault's settings are not accepted", which=f"policy {name}", why=why, next_step="mend policies/vault"
    )
