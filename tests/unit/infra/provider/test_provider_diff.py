"""What is changed in place, and what must be made anew."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from infra.provider.diff import changes, plan
from infra.provider.kinds import by_name
from infra.provider.wire import UNKNOWN, Secret

_TREES = st.recursive(
    st.integers(0, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=10,
)
DEPLOYMENT = by_name("apps/v1", "Deployment")
CONFIG = by_name("v1", "ConfigMap")


def inputs(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w", "namespace": "n"}, "spec": spec}


def nothing() -> list[str]:
    return []


@given(_TREES)
def test_equal_inputs_have_no_changes_even_if_one_side_is_secret(tree: Any) -> None:
    assert list(changes(tree, copy.deepcopy(tree))) == []
    assert list(changes({"a": Secret(tree)}, {"a": tree})) == []


@given(_TREES, _TREES)
def test_unequal_inputs_have_a_change(one: Any, other: Any) -> None:
    assert bool(list(changes(one, other))) == (one != other)


def test_an_unknown_counts_as_a_change() -> None:
    assert [entry.where for entry in changes({"a": "x"}, {"a": UNKNOWN})] == ["a"]


def test_an_ordinary_change_is_made_in_place() -> None:
    found = plan(DEPLOYMENT, inputs(replicas=1), inputs(replicas=2), (), nothing)
    assert [entry.where for entry in found.entries] == ["spec.replicas"]
    assert (found.replaces, found.delete_before_replace) == ((), False)


def test_a_field_of_the_table_makes_a_new_object_after_the_old_one_went() -> None:
    found = plan(DEPLOYMENT, inputs(selector={"a": "1"}), inputs(selector={"a": "2"}), (), nothing)
    assert (found.replaces, found.delete_before_replace) == (("spec.selector.a",), True)


def test_another_name_makes_the_new_object_before_the_old_one_goes() -> None:
    other = inputs()
    other["metadata"]["name"] = "v"
    found = plan(DEPLOYMENT, inputs(), other, (), nothing)
    assert (found.replaces, found.delete_before_replace) == (("metadata.name",), False)


def test_what_the_server_refuses_to_change_makes_a_new_object() -> None:
    found = plan(CONFIG, {"data": {"a": "1"}}, {"data": {"a": "2"}}, (), lambda: ["data"])
    assert found.replaces == ("data.a",)


def test_a_refusal_at_a_path_of_the_servers_own_counts_for_everything_that_changed() -> None:
    found = plan(CONFIG, {"data": {"a": "1"}}, {"data": {"a": "2"}}, (), lambda: ["elsewhere"])
    assert found.replaces == ("data.a",)


def test_an_ignored_path_is_no_change_and_the_server_is_not_asked() -> None:
    def never() -> list[str]:
        raise AssertionError("asked")

    assert plan(CONFIG, {"data": {"a": "1"}}, {"data": {"a": "2"}}, ("data",), never).entries == ()


def test_another_version_of_the_same_group_is_the_same_object() -> None:
    old, new = inputs(), inputs()
    old["apiVersion"] = "apps/v1beta2"
    assert plan(DEPLOYMENT, old, new, (), nothing).replaces == ()
    old["apiVersion"] = "other/v1"
    assert plan(DEPLOYMENT, old, new, (), nothing).replaces == ("apiVersion",)
