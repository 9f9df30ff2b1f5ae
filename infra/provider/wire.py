"""What travels between engine and provider: protobuf structs, with their marks for unknown and secret values.

A mark is kept, never guessed at: an unknown stays unknown, a secret stays secret in the answer. The signatures are the
engine's own, fixed by its protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import struct_pb2

_KIND: Final = "4dabf18193072939515e22adb298388d"
_SECRET_MARK: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 (the protocol's word for "secret")
_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_UNKNOWNS: Final = frozenset(  # of a string, boolean, number, list, asset, archive, map
    {
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
_UNKNOWN_STRING: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

Json = Any  # what JSON can say, and inside it `UNKNOWN` and `Secret`


class Unknown:
    """A value that exists only after the run. There is one, `UNKNOWN`."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __deepcopy__(self, _: object) -> Unknown:
        return self  # a copy would be another one


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value the engine marked as secret. Its repr does not show it."""

    value: Json

    def __repr__(self) -> str:
        return "Secret(…)"


def from_struct(struct: struct_pb2.Struct) -> dict[str, Json]:
    """A struct as Python values: integral numbers are ints, nulls are dropped, marks are typed."""
    return {key: _from_value(value) for key, value in struct.fields.items() if not value.HasField("null_value")}


def _from_value(value: struct_pb2.Value) -> Json:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return UNKNOWN if value.string_value in _UNKNOWNS else value.string_value
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [_from_value(item) for item in value.list_value.values]
        case "struct_value":
            return _from_marked(value.struct_value)
        case _:
            return None


def _from_marked(struct: struct_pb2.Struct) -> Json:
    mark = struct.fields[_KIND].string_value if _KIND in struct.fields else ""
    if mark == _SECRET_MARK:
        return Secret(_from_value(struct.fields["value"]))
    if mark == _OUTPUT:
        inner = _from_value(struct.fields["value"]) if "value" in struct.fields else UNKNOWN
        return Secret(inner) if struct.fields["secret"].bool_value else inner
    return from_struct(struct)


def to_struct(values: Mapping[str, Json]) -> struct_pb2.Struct:
    """Python values as a struct, with the marks the engine knows."""
    struct = struct_pb2.Struct()
    for key, value in values.items():
        struct.fields[key].CopyFrom(_to_value(value))
    return struct


def _to_value(value: Json) -> struct_pb2.Value:
    result = struct_pb2.Value()
    match value:
        case None:
            result.null_value = struct_pb2.NULL_VALUE
        case Unknown():
            result.string_value = _UNKNOWN_STRING
        case Secret():
            result.struct_value.CopyFrom(to_struct({_KIND: _SECRET_MARK, "value": value.value}))
        case bool():
            result.bool_value = value
        case int() | float():
            result.number_value = value
        case str():
            result.string_value = value
        case list():
            result.list_value.CopyFrom(struct_pb2.ListValue(values=[_to_value(item) for item in value]))
        case dict():
            result.struct_value.CopyFrom(to_struct(value))
        case _:
            raise TypeError(f"not a value of the wire: {type(value).__name__}")
    return result


def plain(value: Json) -> Json:
    """The value without its secret marks, as the API server is to see it. The caller has asked `has_unknown`."""
    match value:
        case Secret():
            return plain(value.value)
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
    return value


def has_unknown(value: Json) -> bool:
    """Whether anything in the value is known only after the run."""
    match value:
        case Unknown():
            return True
        case Secret():
            return has_unknown(value.value)
        case dict():
            return any(has_unknown(item) for item in value.values())
        case list():
            return any(has_unknown(item) for item in value)
    return False


def remark(value: Json, like: Json) -> Json:
    """`value` with secret marks wherever `like` has one; a list that held a secret becomes secret as a whole."""
    match like:
        case Secret():
            return Secret(plain(value))
        case dict() if isinstance(value, dict):
            return {key: remark(item, like.get(key)) for key, item in value.items()}
        case list() if isinstance(value, list) and _has_secret(like):
            return Secret(plain(value))
    return value


def _has_secret(value: Json) -> bool:
    match value:
        case Secret():
            return True
        case dict():
            return any(_has_secret(item) for item in value.values())
        case list():
            return any(_has_secret(item) for item in value)
    return False
