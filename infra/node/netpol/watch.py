"""Three collections kept as the API has them: list, then watch, then list again when in doubt.

Each has one thread that survives any answer of the server, and remembers when it last heard from it: whoever acts on
the view asks `heard_at` first, because a view that may be old must not keep anything open.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from infra.node.netpol.api import Api, Expired
from infra.node.netpol.model import Json, Labels, Pod, Policy, View, from_namespace, from_pod, from_policy
from readingroom.domain.errors import ReadingRoomError, Rejected

WATCH_SECONDS: Final = 20  # the server ends a watch after this: a sign of life at least as often
GRACE_SECONDS: Final = 5
LIST_SECONDS: Final = 10
RESYNC_SECONDS: Final = 300
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0

log = logging.getLogger("netpol")
T = TypeVar("T")
Key = tuple[str, str]  # namespace and name


class Shelf(Generic[T]):
    """One collection: what the API holds, each object in our own form. Safe to use from several threads."""

    def __init__(self, path: str, form: Callable[[Json], T | None], changed: Callable[[], None]) -> None:
        self.path = path
        self._form, self._changed = form, changed
        self._lock = threading.Lock()
        self._items: dict[Key, T] = {}
        self._unreadable: dict[Key, str] = {}
        self._version = 0  # events up to here are already in `_items`
        self.heard_at = float("-inf")
        self.listed_at = float("-inf")

    def values(self) -> tuple[T, ...]:
        """What is there now."""
        with self._lock:
            return tuple(self._items.values())

    def unreadable(self) -> tuple[str, ...]:
        """Why some objects are left out, one line each."""
        with self._lock:
            return tuple(self._unreadable.values())

    def fill(self, api: Api) -> None:
        """List the collection as it stands now. Raises `TryAgain`."""
        asked_at = time.monotonic()
        listing = api.list(self.path, LIST_SECONDS)
        version = int(listing["metadata"]["resourceVersion"])
        with self._lock:
            if version < self._version and self.listed_at > float("-inf"):
                return  # the watch has been faster; when in doubt the list counts, whatever version it has
            before, self._items, self._unreadable = self._items, {}, {}
            for raw in listing.get("items") or ():
                self._put(raw)
            self._version = version
            self.heard_at, self.listed_at = max(self.heard_at, asked_at), asked_at
            differs = before != self._items
        if differs:
            self._changed()

    def follow(self, api: Api) -> None:
        """Take events until the server ends the watch. Raises `TryAgain`, `Expired`."""
        for event in api.watch(self.path, str(self._version), WATCH_SECONDS, GRACE_SECONDS):
            if event["type"] != "OPENED" and self._take(event):
                self._changed()
            self.heard_at = time.monotonic()
        self.heard_at = time.monotonic()

    def _take(self, event: Json) -> bool:
        """Whether the event changed anything that we keep."""
        raw = event["object"]
        version = int(raw["metadata"]["resourceVersion"])
        with self._lock:
            if version <= self._version:
                return False  # older than a list that came in between
            self._version = version
            if event["type"] == "BOOKMARK":
                return False
            before = self._items.get(_key(raw))
            if event["type"] == "DELETED":
                self._items.pop(_key(raw), None)
                self._unreadable.pop(_key(raw), None)
            else:
                self._put(raw)
            return before != self._items.get(_key(raw))

    def _put(self, raw: Json) -> None:
        key = _key(raw)
        try:
            value = self._form(raw)
        except Rejected as error:
            log.error("%s", error)
            value, self._unreadable[key] = None, str(error)
        else:
            self._unreadable.pop(key, None)
        if value is None:
            self._items.pop(key, None)
        else:
            self._items[key] = value


class Watch:
    """The view that decides, kept up to date by one thread per collection."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._stirred = threading.Event()
        self.pods: Shelf[Pod] = Shelf("/api/v1/pods", from_pod, self._stirred.set)
        self.namespaces: Shelf[tuple[str, Labels]] = Shelf("/api/v1/namespaces", from_namespace, self._stirred.set)
        self.policies: Shelf[Policy] = Shelf(
            "/apis/networking.k8s.io/v1/networkpolicies", from_policy, self._stirred.set
        )

    def fill(self) -> None:
        """List everything, rules before what they rule. Raises `TryAgain`."""
        self.confirm()
        self.pods.fill(self._api)

    def confirm(self) -> None:
        """List policies and namespaces as they stand now.

        Asked before a new pod address goes live: whatever policy was there before the pod is then in the view, however
        far the policies' watch lags behind the pods'. Raises `TryAgain`.
        """
        self.policies.fill(self._api)
        self.namespaces.fill(self._api)

    def start(self) -> None:
        """Follow each collection for ever, in threads that end with the process."""
        for shelf in (self.policies, self.namespaces, self.pods):
            threading.Thread(target=self._keep, args=(shelf,), name=shelf.path, daemon=True).start()

    def view(self) -> View:
        """What is known now."""
        return View(dict(self.namespaces.values()), self.pods.values(), self.policies.values())

    def heard_at(self) -> float:
        """When, by the monotonic clock, the quietest collection was last heard of; minus infinity for never."""
        return min(self.pods.heard_at, self.namespaces.heard_at, self.policies.heard_at)

    def unreadable(self) -> list[str]:
        """One line for each object that could not be read: they deny what they select."""
        unclear = [
            f"NetworkPolicy {policy.namespace}/{policy.name}: {policy.unclear}"
            for policy in self.policies.values()
            if policy.unclear
        ]
        return unclear + list(self.pods.unreadable()) + list(self.namespaces.unreadable())

    def wait(self, seconds: float) -> bool:
        """Wait for a change; whether there was one."""
        stirred = self._stirred.wait(seconds)
        self._stirred.clear()
        return stirred

    def _keep(self, shelf: Shelf[T]) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                if time.monotonic() - shelf.listed_at > RESYNC_SECONDS:
                    shelf.fill(self._api)
                shelf.follow(self._api)
                pause = FIRST_PAUSE
            except Expired:
                shelf.listed_at = float("-inf")
            except ReadingRoomError as error:
                log.warning("%s: %s", shelf.path, error)
                shelf.listed_at = float("-inf")
                time.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            except Exception:  # edge of the thread: a dead watcher would let the view grow old until all is closed
                log.exception("%s: an answer that was not foreseen", shelf.path)
                shelf.listed_at = float("-inf")
                time.sleep(LONGEST_PAUSE)


def _key(raw: Json) -> Key:
    return raw["metadata"].get("namespace", ""), raw["metadata"]["name"]
