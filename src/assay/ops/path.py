"""Which implementation does the work. Variants never see it; results agree to rounding.

    kernels    float32 on a CPU, where numba is installed: one pass over memory, a product of our own (`ops.kernels`)
    triton     float32 or 16 bits on a GPU, where Triton is installed; not measured on a GPU yet (`ops.triton`)
    portable   PyTorch alone, any device and dtype (`ops.portable`)
    dense      no sparsity at all: B x L tables and plain products, the reference that the others are held to

The first of these that serves the tensors at hand is taken. The order is that of the committed measurements (docs/speed.md), not of
the moment: a choice by stopwatch would make two runs of one seed differ. ASSAY_OPS, or `forced`, names one instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from assay.errors import ConfigError
from assay.ops import kernels, portable

Path: TypeAlias = Literal["kernels", "triton", "portable", "dense"]

CROSSOVER = 0.2
"""Share of the B x L products above which a batch takes the dense layout; supports still cost less there at the shapes of docs/speed.md."""

_FORCED: ContextVar[Path | None] = ContextVar("_FORCED", default=None)
_CROSSOVER: ContextVar[float] = ContextVar("_CROSSOVER", default=CROSSOVER)


@contextmanager
def forced(path: Path | None = None, *, crossover: float = CROSSOVER) -> Iterator[None]:
    """Inside the block `path` does all the work, None being the rule, and batches go dense above `crossover`. Raises ConfigError."""
    tokens = _FORCED.set(_checked(path)), _CROSSOVER.set(crossover)
    try:
        yield
    finally:
        _FORCED.reset(tokens[0])
        _CROSSOVER.reset(tokens[1])


def chosen(*tensors: Tensor) -> Path:
    """The path that these tensors take."""
    if named := _FORCED.get() or _checked(os.environ.get("ASSAY_OPS")):
        return named
    first = tensors[0]
    if torch.is_autocast_enabled(first.device.type):
        return "portable"
    if kernels.serves(*tensors):
        return "kernels"
    if first.is_cuda and _triton_serves(*tensors):
        return "triton"
    return "portable"


def serving(*tensors: Tensor) -> ModuleType:
    """The module whose functions take these tensors."""
    path = chosen(*tensors)
    if path == "triton":
        from assay.ops import triton

        return triton
    if path == "kernels" and kernels.serves(*tensors):
        return kernels
    return portable


def crossover() -> float:
    """The density above which a batch goes dense: zero when that is forced."""
    return 0.0 if (_FORCED.get() or os.environ.get("ASSAY_OPS")) == "dense" else _CROSSOVER.get()


def _triton_serves(*tensors: Tensor) -> bool:
    from importlib.util import find_spec

    return find_spec("triton") is not None and all(
        t.dtype in (torch.float32, torch.bfloat16, torch.float16) for t in tensors
    )


def _checked(path: str | None) -> Path | None:
    if not path:
        return None
    if path not in get_args(Path):
        raise ConfigError(
            f"no implementation of the operations is called {path!r}",
            expected=f"one of {', '.join(get_args(Path))}",
            do="Unset ASSAY_OPS to have one chosen.",
        )
    return path  # pyright: ignore[reportReturnType]
