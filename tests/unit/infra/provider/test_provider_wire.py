"""What travels between engine and provider keeps its value, and its marks."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from infra.provider.wire import UNKNOWN, Secret, from_struct, has_unknown, plain, remark, to_struct

_LEAVES = (
    st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8) | st.floats(-1e6, 1e6).filter(lambda f: f % 1)
)
_PLAIN = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3),
    max_leaves=12,
)
_MARKED = st.recursive(
    _LEAVES | st.just(UNKNOWN),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3)
        | st.builds(Secret, inner)
    ),
    max_leaves=12,
)
_OBJECTS = st.dictionaries(st.text(min_size=1, max_size=5), _MARKED, max_size=4)


@given(_OBJECTS)
def test_every_value_and_mark_survives_the_wire(values: dict[str, Any]) -> None:
    assert from_struct(to_struct(values)) == values


@given(st.dictionaries(st.text(min_size=1), _PLAIN, max_size=4))
def test_whole_numbers_stay_whole(values: dict[str, Any]) -> None:
    assert _types(from_struct(to_struct(values))) == _types(values)


def _types(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _types(item) for key, item in value.items()}
    return [_types(item) for item in value] if isinstance(value, list) else type(value)


@given(_PLAIN)
def test_plain_takes_out_the_secret_mark_and_nothing_else(value: Any) -> None:
    assert plain({"a": [Secret(value), value]}) == {"a": [value, value]}


@given(_PLAIN)
def test_an_unknown_is_found_at_any_depth(value: Any) -> None:
    assert not has_unknown(value)
    assert has_unknown([{"a": value, "b": Secret([value, UNKNOWN])}])


@given(_PLAIN)
def test_an_answer_is_as_secret_as_its_question(value: Any) -> None:
    live = {"data": {"key": value, "other": value}, "items": [value, value], "new": value}
    asked = {"data": {"key": Secret("x"), "other": "y"}, "items": ["a", Secret("b")]}
    assert remark(live, asked) == {
        "data": {"key": Secret(value), "other": value},
        "items": Secret([value, value]),
        "new": value,
    }


def test_a_secret_does_not_show_itself() -> None:
    assert "planted" not in repr({"a": [Secret("planted")]})
