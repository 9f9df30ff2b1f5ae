"""Inputs made complete, and what no cluster could take refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.provider.check import Naming, complete
from infra.provider.errors import BadInput, NotServed
from infra.provider.kinds import KINDS, by_name, by_token
from infra.provider.wire import UNKNOWN

CONFIG = by_name("v1", "ConfigMap")
SPACE = by_name("v1", "Namespace")


def checked(new: dict[str, Any], old: dict[str, Any] | None = None, naming: Naming | None = None) -> dict[str, Any]:
    return complete(CONFIG, old or {}, new, "logical", naming or Naming(seed=b"s"), "default")


def test_an_explicit_identity_is_kept_and_the_rest_filled_in() -> None:
    assert checked({"metadata": {"name": "c"}, "data": {"a": "1"}}) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "default"},
        "data": {"a": "1"},
    }


@given(st.binary(min_size=1))
def test_an_automatic_name_follows_the_seed_and_is_kept_afterwards(seed: bytes) -> None:
    first = checked({}, naming=Naming(seed=seed))
    assert first["metadata"]["name"].startswith("logical-")
    assert checked({}, old=first, naming=Naming(seed=b"other"))["metadata"]["name"] == first["metadata"]["name"]


def test_the_engines_own_proposal_is_taken() -> None:
    assert checked({}, naming=Naming(proposed="mine"))["metadata"]["name"] == "mine"


def test_an_unknown_name_stays_unknown() -> None:
    assert checked({"metadata": {"name": UNKNOWN}})["metadata"]["name"] is UNKNOWN


def test_what_only_the_server_writes_is_taken_out() -> None:
    read_only = {"uid": "u", "resourceVersion": "1", "creationTimestamp": "t", "managedFields": []}
    result = checked({"metadata": {"name": "c", **read_only}, "status": {"a": 1}})
    assert result["metadata"] == {"name": "c", "namespace": "default"}
    assert "status" not in result


@pytest.mark.parametrize(
    ("inputs", "path"),
    [
        ({"kind": "Secret"}, "kind"),
        ({"apiVersion": "v2"}, "apiVersion"),
        ({"metadata": {"generateName": "x-"}}, "metadata.generateName"),
        ({"metadata": {"name": "Bad_Name"}}, "metadata.name"),
        ({"metadata": {"name": "a" * 254}}, "metadata.name"),
        ({"metadata": {"name": 7}}, "metadata.name"),
    ],
)
def test_what_no_cluster_takes_is_refused_with_its_path(inputs: dict[str, Any], path: str) -> None:
    with pytest.raises(BadInput) as refusal:
        checked(inputs)
    assert refusal.value.path == path


def test_a_namespace_on_what_belongs_to_none_is_refused() -> None:
    with pytest.raises(BadInput, match="belongs to no namespace"):
        complete(SPACE, {}, {"metadata": {"name": "n", "namespace": "m"}}, "n", Naming(), "default")


@pytest.mark.parametrize("mode", ["disable", "enforce"])
def test_a_mode_that_forbids_our_own_name_is_honoured(mode: Any) -> None:
    with pytest.raises(BadInput, match="name"):
        checked({}, naming=Naming(seed=b"s", mode=mode))


def test_every_kind_is_found_by_token_and_by_manifest() -> None:
    assert all(by_token(kind.token) is kind and by_name(kind.api_version, kind.name) is kind for kind in KINDS)


def test_no_secret_object_is_ever_served() -> None:
    with pytest.raises(NotServed, match="official plugin"):
        by_token("kubernetes:core/v1:Secret")
