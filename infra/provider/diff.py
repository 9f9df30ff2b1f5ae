"""Old inputs against new: what changes, and what must be made anew because it cannot change in place. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from infra.provider.compare import MISSING, Path, dotted
from infra.provider.kinds import Kind
from infra.provider.wire import Secret, Unknown

Change = Literal["add", "delete", "update"]
AUTONAMED: Final = "pulumi.com/autonamed"
_IDENTITY: Final = ("metadata.name", "metadata.namespace", "kind")


@dataclass(frozen=True)
class Entry:
    """One changed path of the inputs."""

    path: Path
    change: Change
    replaces: bool = False

    @property
    def where(self) -> str:
        """The path as the engine writes it."""
        return dotted(self.path)


@dataclass(frozen=True)
class Plan:
    """The answer to a diff."""

    entries: tuple[Entry, ...]
    delete_before_replace: bool = False

    @property
    def replaces(self) -> tuple[str, ...]:
        """The paths that force a new object."""
        return tuple(entry.where for entry in self.entries if entry.replaces)


def changes(old: Any, new: Any, path: Path = ()) -> Iterator[Entry]:
    """Every changed path: leaves for changes, one entry for a wholly new or removed map or item. Secrets count bare."""
    old, new = _bare(old), _bare(new)
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from changes(old.get(key, MISSING), new.get(key, MISSING), (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            yield from changes(
                old[index] if index < len(old) else MISSING,
                new[index] if index < len(new) else MISSING,
                (*path, index),
            )
    elif old is MISSING and new is not MISSING:
        yield Entry(path, "add")
    elif new is MISSING and old is not MISSING:
        yield Entry(path, "delete")
    elif isinstance(new, Unknown) or type(old) is not type(new) or old != new:
        yield Entry(path, "update")


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, Secret) else value


def _below(path: str, roots: Iterable[str]) -> bool:
    return any(path == root or path.startswith((f"{root}.", f"{root}[")) for root in roots)


def _moved_group(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Only another API group is another kind; another version of the same group is the same object."""
    groups = [str(side.get("apiVersion", "")).rpartition("/")[0] for side in (old, new)]
    return groups[0] != groups[1]


def plan(
    kind: Kind,
    old: dict[str, Any],
    new: dict[str, Any],
    ignored: Iterable[str],
    refused_in_place: Callable[[], Iterable[str]],
) -> Plan:
    """What to do about `old` becoming `new`.

    `refused_in_place` asks the API server which changed paths it would call immutable (empty where it cannot be asked);
    it is called only if something changed and the table of the kind does not already force a new object.
    """
    ignored = tuple(ignored)
    found = [entry for entry in changes(old, new) if not _below(entry.where, ignored)]
    if not found:
        return Plan(())
    roots = (*_IDENTITY, *kind.force_new, *(("apiVersion",) if _moved_group(old, new) else ()))
    forced = [_below(entry.where, roots) or entry.where == "metadata" for entry in found]
    if not any(forced):
        immutable = tuple(refused_in_place())
        forced = [_below(entry.where, immutable) or _below_any(entry.where, immutable) for entry in found]
        if immutable and not any(forced):  # the server named a path of its own making: everything that changed counts
            forced = [True] * len(found)
    entries = tuple(Entry(entry.path, entry.change, replaces) for entry, replaces in zip(found, forced, strict=True))
    return Plan(entries, delete_before_replace=any(forced) and _same_place(old, new))


def _below_any(path: str, immutable: Iterable[str]) -> bool:
    """Whether an immutable path lies below a changed one: a whole map that was added or removed."""
    return any(_below(refused, (path,)) for refused in immutable)


def _same_place(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """An explicit name at the same place: the old object must go before the new one can come."""
    before, after = old.get("metadata", {}), new.get("metadata", {})
    if after.get("annotations", {}).get(AUTONAMED) == "true" or isinstance(after.get("name"), Unknown):
        return False
    return (before.get("name"), before.get("namespace")) == (after.get("name"), after.get("namespace"))
