"""Whole objects are compared: what was appended, added or taken away is seen, what the server fills in is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from infra.provider.compare import MISSING, differences, dotted, drift, overlay

_LEAVES = st.integers(0, 3) | st.text(max_size=3) | st.booleans()
_TREES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.sampled_from("abcd"), inner, min_size=1, max_size=3)
    ),
    max_leaves=10,
)
_SPECS = st.fixed_dictionaries({"spec": st.dictionaries(st.sampled_from("abcd"), _TREES, max_size=4)})


@given(_SPECS)
def test_an_object_does_not_differ_from_itself(tree: dict[str, Any]) -> None:
    assert differences(tree, copy.deepcopy(tree)) == []


@given(_SPECS, _SPECS)
@example({"spec": {"a": {"a": 0}}}, {"spec": {"a": {"a": False}}})
def test_what_differs_is_found_whichever_side_it_is_on(one: dict[str, Any], other: dict[str, Any]) -> None:
    forth = {found.path for found in differences(one, other)}
    back = {found.path for found in differences(other, one)}
    assert forth == back
    assert bool(forth) == (_typed(one) != _typed(other))


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    # Python says 0 == False; a manifest does not.
    return [_typed(item) for item in value] if isinstance(value, list) else (type(value).__name__, value)


@given(_SPECS, _SPECS)
def test_the_differences_laid_over_the_inputs_give_the_live_object(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert differences(other, overlay(one, differences(one, other))) == []


def policy(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny", "namespace": "n", "labels": {"a": "b"}},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], **spec},
    }


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda one: one["spec"].update(egress=[{}]), "spec.egress"),
        (lambda one: one["spec"]["policyTypes"].append("x"), "spec.policyTypes[2]"),
        (lambda one: one["spec"]["policyTypes"].pop(), "spec.policyTypes[1]"),
        (lambda one: one["metadata"]["labels"].update({"x.y/z": "1"}), 'metadata.labels["x.y/z"]'),
        (lambda one: one["metadata"].pop("labels"), "metadata.labels"),
        (lambda one: one["spec"]["podSelector"].update(matchLabels={"a": "b"}), "spec.podSelector.matchLabels"),
    ],
)
def test_an_edit_by_hand_is_named(change: Any, where: str) -> None:
    live = policy()
    live["metadata"].update(uid="u", resourceVersion="7", managedFields=[{}], creationTimestamp="t")
    change(live)
    assert [found.where for found in drift(policy(), live, policy())] == [where]


def test_what_the_server_fills_in_is_no_drift() -> None:
    live = policy()
    live["metadata"].update(uid="u", resourceVersion="7", generation=3, managedFields=[{}], creationTimestamp="t")
    live["status"] = {"x": 1}
    assert drift(policy(), live, policy()) == []


def test_an_address_we_set_is_compared_and_one_the_server_chose_is_not() -> None:
    def service(**spec: Any) -> dict[str, Any]:
        return {"kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [], **spec}}

    assert drift(service(), service(clusterIP="10.0.0.9"), service()) == []
    found = drift(service(), service(clusterIP="10.0.0.9"), service(clusterIP="10.0.0.1"))
    assert [one.where for one in found] == ["spec.clusterIP"]


def test_an_empty_list_and_an_absent_one_are_the_same() -> None:
    assert differences({"a": [], "b": {}}, {}) == []
    assert [one.live is MISSING for one in differences({"a": [{}]}, {})] == [True]


def test_paths_are_written_as_people_write_them() -> None:
    assert dotted(("spec", "egress", 0, "ports", 1, "port")) == "spec.egress[0].ports[1].port"
    assert dotted(("metadata", "labels", "a.b/c")) == 'metadata.labels["a.b/c"]'
