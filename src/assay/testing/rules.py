"""A broken rule raises AssertionError, which says the rule, what was got and what was expected."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def expect(holds: bool, rule: str, got: object) -> None:
    if not holds:
        raise AssertionError(f"{rule}; got {got}")


def equal(got: object, expected: object, rule: str) -> None:
    expect(got == expected, f"{rule}: expected {expected}", got)


def close(got: Tensor, expected: Tensor, rule: str, tolerance: float = 1e-6) -> None:
    """Equal up to `tolerance` times the largest expected magnitude."""
    equal(tuple(got.shape), tuple(expected.shape), f"{rule} (shape)")
    if got.numel():
        gap = (got - expected).abs().max().item()
        bound = tolerance * max(expected.abs().max().item(), torch.finfo(expected.dtype).tiny)
        expect(gap <= bound, rule, f"a largest difference of {gap:.3g}, expected at most {bound:.3g}")


def same_bits(got: Mapping[str, Tensor], expected: Mapping[str, Tensor], rule: str) -> None:
    equal(sorted(got), sorted(expected), f"{rule} (names)")
    changed = [name for name, tensor in expected.items() if not torch.equal(got[name], tensor)]
    equal(changed, [], f"{rule}; different")
