"""The names that all parts share."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom import contract

PART = st.from_regex(re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?"), fullmatch=True)


@given(st.lists(PART, min_size=1, max_size=4))
def test_an_object_name_is_always_a_dns_label(parts: list[str]) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", contract.object_name(*parts))


@given(PART, PART)
def test_two_long_names_that_share_a_start_do_not_collide(left: str, right: str) -> None:
    stem = "a" * 60
    names = {contract.object_name(stem, left), contract.object_name(stem, right)}
    assert len(names) == len({left, right})


@pytest.mark.parametrize("part", ["", "A", "a_b", "-a", "a-", "a.b", "a/b", "é"])
def test_what_is_no_part_of_a_name_is_refused(part: str) -> None:
    with pytest.raises(ValueError, match="not part of a Kubernetes name"):
        contract.object_name("x", part)


@pytest.mark.parametrize("digest", ["", "latest", "sha256:abc", "sha256:" + "g" * 64, "sha256:" + "a" * 64 + "\n"])
def test_an_image_is_named_by_digest_or_not_at_all(digest: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        contract.image_reference("hub", digest)


@pytest.mark.parametrize(
    ("project", "good"),
    [
        ("demo", True),
        ("covid-ct", True),
        ("a", False),
        ("ab", False),
        ("abc", True),
        ("-ab", False),
        ("ab-", False),
        ("Ab1", False),
        ("a" * 21, False),
        ("1ab", False),
    ],
)
def test_project_ids_follow_the_contract(project: str, good: bool) -> None:
    assert bool(contract.PROJECT_ID.fullmatch(project)) is good
