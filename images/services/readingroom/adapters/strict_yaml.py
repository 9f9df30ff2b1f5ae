"""YAML that people write and machines obey: the safe kind, every key a text, and a key that stands twice is an error.

Of two values under one key the second would win in silence.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml


def from_yaml(text: str) -> Any:
    """The document of a text. Raises `ValueError` for what is no YAML, or no YAML of this kind."""
    try:
        return yaml.load(text, Loader=_Strict)  # noqa: S506 (a SafeLoader below, and stricter)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is no YAML, or a key stands twice in it ({type(error).__name__})") from error


class _Strict(yaml.SafeLoader):
    """Builds mappings by `_mapping`."""


def _mapping(loader: _Strict, node: yaml.MappingNode) -> dict[str, Any]:
    keys = [str(key.value) for key, _ in node.value]
    if any(count > 1 for count in Counter(keys).values()):
        raise yaml.constructor.ConstructorError(None, None, "a key stands twice", node.start_mark)
    return {key: loader.construct_object(value, deep=True) for key, (_, value) in zip(keys, node.value, strict=True)}


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
