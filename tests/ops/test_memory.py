"""No batch x width table of codes is ever built while codes are sparse, forward or backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from assay.dictionary import Dictionary, Step
from assay.ops import forced, portable

ROWS, LATENTS, WIDTH = 512, 2048, 8


class LargestTensor(TorchDispatchMode):
    """Watches every operation, and remembers the most numbers that one of its results stores."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for result in tree_leaves(results):
            if isinstance(result, Tensor):
                stored = result.values() if result.layout is torch.sparse_csr else result
                self.numbers = max(self.numbers, stored.untyped_storage().nbytes() // stored.element_size())
        return results


@pytest.mark.parametrize(
    ("name", "settings"), [("gated", {}), ("relu", {}), ("jumprelu", {}), ("topk", {"k": 8, "k_aux": 8})]
)
def test_training_builds_no_table_of_codes(name, settings, monkeypatch):
    monkeypatch.setattr(portable, "TILE", 4 * LATENTS)
    variant = Dictionary.registry.named(name)
    dictionary = variant.Config(d_in=WIDTH, width=LATENTS, **settings).build()
    with torch.no_grad():
        for key, parameter in dictionary.per_latent_parameters().items():
            if key in ("gate_bias", "encoder_bias"):
                parameter.fill_(-0.8)
    x = torch.nn.functional.normalize(torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(0)))
    step = Step(x, x, dead=torch.arange(LATENTS) % 4 == 0)
    with forced("portable", crossover=1.0), LargestTensor() as largest:
        made = dictionary.losses(step)
        torch.stack(list(made.terms.values())).sum().backward()
    active = float(made.codes.l0().sum())
    assert 0 < active < 0.02 * ROWS * LATENTS
    assert LATENTS * WIDTH <= largest.numbers < ROWS * LATENTS / 20
    assert dictionary.atoms.grad is not None


def test_the_watch_sees_a_table():
    with LargestTensor() as largest:
        (torch.ones(ROWS, WIDTH, requires_grad=True) @ torch.ones(WIDTH, LATENTS)).sum().backward()
    assert largest.numbers >= ROWS * LATENTS
