"""Adam on a dictionary's parameters, with atoms at unit norm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Int
from torch import Tensor

from assay import ranks
from assay.dictionary import Dictionary
from assay.ops.adam import Moments, adam
from assay.ops.gradient import Factors, gathered
from assay.training.gradients import clip_gradients


class UnitNormAdam:
    """`ops.adam` on every parameter, with the constraint ||atom|| = 1 unless the dictionary frees its atoms.

    The part of an atom's gradient along the atom is removed before the step, since renormalising would undo it and only the moments
    would remember (Bricken et al. 2023; Gated SAE paper, appendix D). Run backward inside `gathering()`, then `step`.
    """

    def __init__(self, dictionary: Dictionary, beta1: float, beta2: float, clip_norm: float | None = None) -> None:
        if dictionary.unit_atoms:
            dictionary.normalize_atoms()
        self.dictionary, self.beta1, self.beta2, self.clip_norm = dictionary, beta1, beta2, clip_norm
        self.moments = {name: Moments.of(p, beta1) for name, p in dictionary.named_parameters()}
        self.steps = 0
        self.factors: Mapping[int, list[Factors]] = {}

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Take the matrices' gradients as factors, which saves writing them out. A clipped norm needs them whole."""
        matrices = [] if self.clip_norm else [p for p in self.dictionary.parameters() if p.ndim == 2]
        with gathered(matrices) as self.factors:
            yield

    def step(self, learning_rate: float) -> None:
        """Apply the gradients, and drop them."""
        self.steps += 1
        if self.clip_norm:
            clip_gradients([*self.dictionary.parameters()], self.clip_norm)
        for name, parameter in self.dictionary.named_parameters():
            adam(
                parameter.detach(),
                parameter.grad,
                self.factors.get(id(parameter), []),
                self.moments[name],
                rate=learning_rate,
                beta1=self.beta1,
                beta2=self.beta2,
                step=self.steps,
                unit=self.dictionary.unit_atoms and parameter is self.dictionary.atoms,
            )
            parameter.grad = None
        self.factors = {}

    def split(self) -> None:
        """Keep the moments of the rows that are here, of parameters that were split since."""
        for name, parameter in self.dictionary.named_parameters():
            square, mean = self.moments[name].square, self.moments[name].mean
            mean = None if mean is None else ranks.split_like(mean, parameter)
            self.moments[name] = Moments(ranks.split_like(square, parameter), mean)

    def forget(self, latents: Int[Tensor, " R"]) -> None:
        """Clear the moments of latents that begin anew."""
        for name in self.dictionary.per_latent_parameters():
            for moment in (self.moments[name].square, self.moments[name].mean):
                if moment is not None:
                    ranks.set_rows(moment, latents, 0.0)

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Moments by "<what>.<parameter>", and the steps taken."""
        yield "steps", torch.tensor(self.steps)
        for name, moments in self.moments.items():
            yield f"square.{name}", moments.square
            if moments.mean is not None:
                yield f"mean.{name}", moments.mean

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self.steps = int(state["steps"])
        for name, moments in self.moments.items():
            moments.square.copy_(state[f"square.{name}"])
            if moments.mean is not None:
                moments.mean.copy_(state[f"mean.{name}"])
