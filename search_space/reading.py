"""How text that people wrote is read: YAML and JSON to plain values, and nothing that is code."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from search_space.errors import UserError


def read_yaml(path: Path, error: type[UserError] = UserError) -> Any:
    """The values of a YAML file; raises ``error`` where it cannot be read, as :func:`parse_yaml`.

    The message names the file.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), error)
    except (OSError, UnicodeDecodeError) as failure:
        raise error(f"{path}: cannot be read: {failure}") from None
    except UserError as failure:
        raise error(f"{path}: cannot be read: {failure}") from None


def parse_yaml(text: str, error: type[UserError] = UserError) -> Any:
    """The values of YAML.

    Raises:
        error: it is not YAML, names objects of Python, or has a key twice in a mapping.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise error("not YAML: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as failure:
        raise error(f"not YAML: {' '.join(str(failure).split())}") from None


def parse_json(text: str, error: type[UserError] = UserError) -> Any:
    """The values of JSON; raises ``error`` where it is none or has a key twice in an object."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise error("not JSON: it is nested too deeply") from None
    except ValueError as failure:
        raise error(f"not JSON: {failure}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if (twice := _twice(key for key, _ in pairs)) is not None:
        raise ValueError(f"the key {twice!r} stands twice in an object")
    return dict(pairs)


def _twice(keys: Iterable[str]) -> str | None:
    """The first key that was there before."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    return None


class _Loader(yaml.SafeLoader):
    """The safe loader, which alone would take the last of two equal keys without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        assert isinstance(node, yaml.MappingNode)
        keys = (key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if (twice := _twice(keys)) is not None:
            raise yaml.MarkedYAMLError(
                problem=f"the key {twice!r} stands twice", problem_mark=node.start_mark
            )
        return node
