"""One node, one demo, one room for all live tests of a run; while they last no other checkout takes the node over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from infra.node import launcher
from tests.cluster import site
from tests.cluster.site import Person, Room

OTHERS_SECONDS = 1800.0


def pytest_collection_finish(session: pytest.Session) -> None:
    """Another run on this machine is waited for before the time of any test begins."""
    if any(item.get_closest_marker("cluster") for item in session.items):
        launcher.wait_for_others(OTHERS_SECONDS, session.config.get_terminal_writer().line)


@pytest.fixture(scope="session", autouse=True)
def demo() -> Iterator[tuple[str, float]]:
    """What `make demo` said, and its seconds. Every live test stands on it."""
    with launcher.using():
        yield site.demo()


@pytest.fixture(scope="session")
def open_rooms(demo: tuple[str, float]) -> Iterator[ExitStack]:
    """What ends the tests' own projects: by itself after the last test, or earlier for a test that wants them gone."""
    with ExitStack() as rooms:
        yield rooms


@pytest.fixture(scope="session")
def room(open_rooms: ExitStack) -> Room:
    """The tests' own project, open."""
    return open_rooms.enter_context(site.room())


@pytest.fixture
def ada(room: Room) -> Person:
    """A researcher with a grant."""
    return room.ada
