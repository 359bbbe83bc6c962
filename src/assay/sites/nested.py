"""The first activation inside whatever a module takes or returns, and another one in its place; everything else is kept as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor


def is_activation(value: Any) -> bool:
    """Whether it is a floating-point tensor with at least one axis; token ids, masks of booleans and losses are not."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0


def exchange(value: Any, change: Callable[[Tensor], Tensor]) -> tuple[Any, bool]:
    """`value` with its first activation put through `change`, and whether it holds one at all.

    Looks through tuples, lists, mappings and dataclasses in their own order, depth first. What holds a changed tensor is
    copied, never altered; when `change` returns the tensor it was given, `value` itself comes back.
    """
    if is_activation(value):
        return change(value), True
    for key, item in _items(value):
        changed, found = exchange(item, change)
        if found:
            return (value if changed is item else _with_item(value, key, changed)), True
    return value, False


def describe(value: Any) -> str:
    """Types, dtypes and shapes of a nested value: "tuple of int64 [2 5], None"."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}".replace(",", "")
    items = [describe(item) for _, item in _items(value)]
    return f"{type(value).__name__} of {', '.join(items)}" if items else type(value).__name__


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, tuple | list):
        return list(enumerate(value))
    if is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    return []


def _with_item(value: Any, key: Any, item: Any) -> Any:
    if isinstance(value, tuple):
        items = (*value[:key], item, *value[key + 1 :])
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    changed = copy.copy(value)
    if isinstance(value, Mapping | list):
        changed[key] = item
    else:
        object.__setattr__(changed, key, item)
    return changed
