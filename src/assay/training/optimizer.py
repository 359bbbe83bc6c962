"""Adam that keeps atoms at unit norm: project the gradient, step, renormalise."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from assay.dictionary import Dictionary


class UnitNormAdam:
    """torch.optim.Adam on all parameters of a dictionary, with the constraint ||atom|| = 1 unless the dictionary frees its atoms.

    The part of an atom's gradient along the atom is removed before the step, since renormalising would undo it and only the moments
    would remember (Bricken et al. 2023; Gated SAE paper, appendix D).
    """

    def __init__(self, dictionary: Dictionary, beta1: float, beta2: float) -> None:
        self.dictionary = dictionary
        self.adam = torch.optim.Adam(dictionary.parameters(), betas=(beta1, beta2), fused=True)

    def step(self, learning_rate: float) -> None:
        """Apply the gradients, and drop them."""
        atoms = self.dictionary.atoms
        constrained = self.dictionary.unit_atoms and atoms.grad is not None
        with torch.no_grad():
            if constrained:
                along = torch.einsum("ld,ld->l", atoms.grad, atoms)  # pyright: ignore[reportArgumentType]
                atoms.grad.addcmul_(along[:, None], atoms, value=-1)  # pyright: ignore[reportOptionalMemberAccess]
        for group in self.adam.param_groups:
            group["lr"] = learning_rate
        self.adam.step()
        if constrained:
            self.dictionary.normalize_atoms()
        self.adam.zero_grad(set_to_none=True)

    def forget(self, latents: Int[Tensor, " R"]) -> None:
        """Clear the moments of latents that begin anew."""
        for parameter in self.dictionary.per_latent_parameters().values():
            for name, moment in self.adam.state[parameter].items():
                if name != "step":
                    moment[latents] = 0

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Moments and step counts by "<what>.<parameter>"."""
        for name, parameter in self.dictionary.named_parameters():
            for what, tensor in self.adam.state[parameter].items():
                yield f"{what}.{name}", tensor

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` gave."""
        parameters = dict(self.dictionary.named_parameters())
        for key, tensor in state.items():
            what, name = key.split(".", 1)
            self.adam.state[parameters[name]][what] = tensor
