"""Small dictionaries and short trainings that rules are tried on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from assay.dictionary import Dictionary, Step
from assay.training.trainer import TrainConfig, Trainee

Build = Callable[..., Dictionary]
"""`build(**settings)` makes a new small dictionary; settings given to it take precedence."""

ROWS = 48
STEPS = 20


def activations_of(dictionary: Dictionary, rows: int = ROWS, key: int = 0) -> Float[Tensor, "rows D"]:
    """Raw activations with a mean and a scale of their own."""
    return 3 * torch.randn(rows, dictionary.config.d_in, generator=torch.Generator().manual_seed(key)) + 2


def dead_of(dictionary: Dictionary) -> Tensor:
    return torch.arange(dictionary.config.width) % 4 == 1


def rows_of(dictionary: Dictionary, rows: int = ROWS, key: int = 0) -> Float[Tensor, "rows C"]:
    """The activations of `activations_of`, and beside them targets where the dictionary maps to another site."""
    x, config = activations_of(dictionary, rows, key), dictionary.config
    if not config.maps_to:
        return x
    mixed = x @ torch.randn(config.d_in, config.maps_to, generator=torch.Generator().manual_seed(7)).to(x)
    return torch.cat([x, mixed.tanh()], 1)


def step_of(dictionary: Dictionary, rows: Tensor) -> Step:
    x, target = dictionary.scaled_pair(rows)
    return Step(x, target, dead=dead_of(dictionary))


def started(build: Build) -> Dictionary:
    dictionary = build()
    dictionary.start(rows_of(dictionary, 256, key=1))
    return dictionary


def trained(build: Build) -> Dictionary:
    """A dictionary whose parameters have all left their starting values, a quarter of its latents taken for dead."""
    dictionary, config = build(), TrainConfig(steps=STEPS, learning_rate=3e-3)
    learn(dictionary, lambda rows, key: rows_of(dictionary, rows, key + 10), ROWS, config, dead_of(dictionary))
    return dictionary


def learn(
    dictionary: Dictionary, sample: Callable[[int, int], Tensor], rows: int, config: TrainConfig, dead: Tensor
) -> None:
    dictionary.start(sample(8 * rows, -1))
    trainee, schedule = Trainee(dictionary, config), config.schedule()
    for index in range(config.steps):
        trainee.dead.silent[dead] = config.dead_window + 1
        x, target = dictionary.scaled_pair(sample(rows, index))
        _, result, loss = trainee.loss(x, index / config.steps, target)
        trainee.learn(result, loss, schedule.at(index) * config.learning_rate)


def dial_values(dictionary: Dictionary) -> list[int] | list[float]:
    """Places on the dial to try, likely ones first: whole numbers are counts of active latents, others scale the default."""
    default = dictionary.config.dial_value()
    return [2, 3, 4, 6, 1] if isinstance(default, int) else [default * factor for factor in (4, 2, 8, 1, 16, 0.5)]


def terms_and_gradients(dictionary: Dictionary, step: Step) -> dict[str, Tensor]:
    terms = dictionary.losses(step).terms
    parameters = {name: parameter for name, parameter in dictionary.named_parameters() if parameter.requires_grad}
    found: dict[str, Tensor] = {f"term {name!r}": term.detach() for name, term in terms.items()}
    for term_name, term in terms.items():
        if term.requires_grad:
            gradients = torch.autograd.grad(term, [*parameters.values()], retain_graph=True, materialize_grads=True)
            for name, gradient in zip(parameters, gradients, strict=True):
                found[f"the gradient of {term_name!r} with respect to {name}"] = gradient
    return found
