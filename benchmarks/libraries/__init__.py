"""One file a library: how its own trainer makes one step, on weights and rows that are given.

Each module has PACKAGE (what must be installed), VARIANTS (the kinds it can train, by the names of our rows; the first word is the
kind, and arms of one kind are timed together) and `build(variant, workload) -> Arm`. A library is imported when an arm is built.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from benchmarks.results import say
from benchmarks.workload import Workload

MODULES = {
    "torch": "plain_torch",
    "assay": "ours",
    "dictionary_learning": "dictionary_learning",
    "sae-lens": "sae_lens",
    "sparsify": "sparsify",
}
KINDS = ("gated", "relu", "jumprelu", "topk", "batch_topk")
PRODUCT = ("torch", "encoder product")
"""The arm whose time is one unit; every group has it."""
LEARNING_RATE = 1e-7
"""So small that the number of active latents stays, so large that float32 weights move."""

Name = tuple[str, str]
"""Library and variant."""


class Arm(Protocol):
    """A dictionary in training."""

    steps: int
    """Training steps of one turn."""

    def turn(self) -> None:
        """Make these steps."""
        ...

    def l0(self) -> float:
        """Mean active latents a row, by the training rule, on one batch."""
        ...

    def parameters(self) -> list[Tensor]:
        """What the steps must change."""
        ...


def offered(libraries: Iterable[str] = MODULES, kinds: Sequence[str] = KINDS) -> dict[str, list[Name]]:
    """Installed libraries' variants by kind, the encoder product first in each; says what it leaves out."""
    groups: dict[str, list[Name]] = {kind: [PRODUCT] for kind in kinds}
    for library in libraries:
        module = _module(library)
        if importlib.util.find_spec(module.PACKAGE) is None:
            say(f"{library} is not installed here: left out")
            continue
        for variant in module.VARIANTS:
            kind = variant.split()[0]
            if kind not in groups:
                continue
            if module.has(variant):
                groups[kind].append((library, variant))
            else:
                say(f"{library} has no {variant}: left out")
    return {kind: names for kind, names in groups.items() if len(names) > 1}


def build(name: Name, workload: Workload) -> Arm:
    """An arm, at the workload's weights."""
    library, variant = name
    return _module(library).build(variant, workload)


@torch.no_grad()
def put(**values: tuple[Tensor, Tensor]) -> None:
    """Copy weights into a library's parameters, which keep their memory layout: `put(name=(parameter, weights))`."""
    for name, (parameter, weights) in values.items():
        if parameter.shape != weights.shape:
            raise ValueError(f"{name} is {list(parameter.shape)}, the weights are {list(weights.shape)}")
        parameter.copy_(weights)


def active(codes: Tensor) -> float:
    """Mean non-zero entries a row of dense or sparse codes."""
    codes = codes.detach()
    dense = codes.to_dense() if codes.is_sparse else codes
    return (dense != 0).sum(-1).double().mean().item()


def _module(library: str):
    return importlib.import_module(f"benchmarks.libraries.{MODULES[library]}")
