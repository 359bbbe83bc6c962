"""What a training step may cost, whatever the machine: one encoder product, and no batch x width table, forward, backward or after."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from assay.dictionary import Dictionary, Step
from assay.ops import forced, portable
from assay.training.trainer import TrainConfig, Trainee

ROWS, LATENTS, WIDTH = 2048, 1024, 16
VARIANTS = {name: (name, {}) for name in Dictionary.registry.names()} | {
    "gated, unfrozen": ("gated", {"unfrozen": True, "free_norms": True})
}
SMALL = {"k": 8, "k_aux": 8, "initial_threshold": 0.03, "bandwidth": 0.05, "freeze_at": 1.0}
STILL = {"rescaled_relu": ["log_rescale", "shift"]}
"""Parameters that a step of the first phase leaves alone."""

PRODUCTS = {"portable": 1.35, "kernels": 0.05}
"""Encoder products of 2 B D L operations in PyTorch's dense matmuls; the kernels make theirs themselves."""

CROSSOVER = 0.04
"""The kernels reserve this share of a table for entries, and never touch what they don't fill."""

TABLE = {"portable": 0.03, "kernels": 0.08}
"""Share of B L numbers that the largest tensor stays below: a tile of 0.016, and what the kernels reserve."""

every_variant = pytest.mark.parametrize("variant", VARIANTS)
every_path = pytest.mark.parametrize("path", PRODUCTS)


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


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(portable, "TILE", 16 * LATENTS)


def trainee(variant: str, **settings: Any) -> Trainee:
    """About one latent in a hundred fires, and every eighth counts as dead."""
    name, own = VARIANTS[variant]
    config = Dictionary.registry.named(name).Config
    small = {key: value for key, value in SMALL.items() if key in config.model_fields}
    dictionary = config(d_in=WIDTH, width=LATENTS, **small, **own).build()
    with torch.no_grad():
        for key, parameter in dictionary.per_latent_parameters().items():
            if key in ("gate_bias", "encoder_bias"):
                parameter.fill_(-0.57)
            if key == "threshold":
                parameter.fill_(0.6)
    made = Trainee(dictionary, TrainConfig(steps=10, **settings))
    made.dead.silent[::8] = made.dead.window
    return made


def rows() -> Tensor:
    normal = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(normal)


def full_step(made: Trainee) -> float:
    """Forward, backward, update and all that follows; the share of latents that fired."""
    _, result, loss = made.loss(rows(), 0.5)
    made.learn(result, loss, 1e-3)
    return float(result.codes.l0().mean()) / LATENTS


def products_of(made: Trainee) -> float:
    """Encoder products in the dense matmuls of a step."""
    with FlopCounterMode(display=False) as counter:
        assert full_step(made) > 0.002
    return counter.get_total_flops() / (2 * ROWS * WIDTH * LATENTS)


def table_of(made: Trainee) -> float:
    """The largest tensor of a step, as a share of B L numbers."""
    with LargestTensor() as largest:
        assert full_step(made) > 0.002
    return largest.numbers / (ROWS * LATENTS)


@every_path
@every_variant
def test_a_step_spends_one_encoder_product(variant, path):
    with forced(path, crossover=CROSSOVER):
        products = products_of(trainee(variant))
    assert products <= PRODUCTS[path]
    assert path == "kernels" or products >= 1.0, "the count sees the one that there is"


@every_path
@every_variant
def test_a_step_allocates_no_table_of_batch_by_width(variant, path):
    made = trainee(variant)
    before = {name: parameter.detach().clone() for name, parameter in made.dictionary.named_parameters()}
    with forced(path, crossover=CROSSOVER):
        largest = table_of(made)
    assert WIDTH / ROWS <= largest <= TABLE[path]
    still = [name for name, parameter in made.dictionary.named_parameters() if torch.equal(parameter, before[name])]
    assert still == STILL.get(variant, []), "it was a whole step"


@every_path
@every_variant
def test_gradients_without_an_optimiser_build_no_table_either(variant, path):
    dictionary, x = trainee(variant).dictionary, rows()
    with forced(path, crossover=CROSSOVER), LargestTensor() as largest:
        made = dictionary.losses(Step(x, x, dead=torch.arange(LATENTS) % 4 == 0))
        torch.stack(list(made.terms.values())).sum().backward()
    assert WIDTH / ROWS <= largest.numbers / (ROWS * LATENTS) <= TABLE[path]
    assert dictionary.atoms.grad is not None


@every_path
@every_variant
def test_inference_builds_no_table(variant, path):
    dictionary, x = trainee(variant).dictionary, rows()
    if "threshold" in (buffers := dict(dictionary.named_buffers())):
        buffers["threshold"].fill_(0.01)
    with forced(path, crossover=CROSSOVER), torch.no_grad(), LargestTensor() as largest:
        dictionary(x)
    assert WIDTH / ROWS <= largest.numbers / (ROWS * LATENTS) <= TABLE[path]


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "topk"])
def test_a_dense_step_breaks_every_budget(variant):
    with forced("dense"):
        assert products_of(trainee(variant)) > 2 * PRODUCTS["portable"]
        assert table_of(trainee(variant)) >= 1.0


@every_path
def test_a_batch_too_dense_for_its_path_breaks_every_budget(path):
    with forced(path, crossover=1e-3):
        assert products_of(trainee("relu")) > 2 * PRODUCTS["portable"]
        assert table_of(trainee("relu")) >= 1.0


def test_the_watch_sees_a_table_that_only_backward_makes():
    ones = torch.ones(LATENTS, WIDTH)
    loss = (torch.ones(ROWS, WIDTH, requires_grad=True) @ ones.T.requires_grad_()).square().sum()
    with LargestTensor() as largest:
        loss.backward()
    assert largest.numbers >= ROWS * LATENTS
