"""One portal for these tests; each makes people of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.portal import Site


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    found = Site()
    try:
        found.start()
        yield found
    finally:
        found.remove()
