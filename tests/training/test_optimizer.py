"""Adam with unit-norm atoms: against torch's own Adam with the constraint written out."""

from __future__ import annotations

import torch

from assay.dictionary import Dictionary
from assay.training.optimizer import UnitNormAdam


def test_it_projects_steps_and_renormalises() -> None:
    dictionary = Dictionary.registry.named("relu").Config(d_in=4, width=6).build()
    atoms = dictionary.atoms.detach().clone()
    reference = torch.nn.Parameter(atoms.clone())
    adam = torch.optim.Adam([reference], lr=0.1, betas=(0.0, 0.999))
    optimizer = UnitNormAdam(dictionary, beta1=0.0, beta2=0.999)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        gradient = torch.randn(6, 4, generator=generator)
        dictionary.atoms.grad = gradient.clone()
        reference.grad = gradient - (gradient * reference.detach()).sum(-1, keepdim=True) * reference.detach()
        optimizer.step(0.1)
        adam.step()
        with torch.no_grad():
            reference /= reference.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(dictionary.atoms.detach(), reference.detach())


def test_forgetting_clears_the_moments_of_those_latents_only() -> None:
    dictionary = Dictionary.registry.named("relu").Config(d_in=4, width=6).build()
    optimizer = UnitNormAdam(dictionary, beta1=0.0, beta2=0.999)
    for parameter in dictionary.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(0.1)
    optimizer.forget(torch.tensor([2]))
    moments = dict(optimizer.state())
    assert not moments["square.encoder"][2].any()
    assert moments["square.encoder"][3].all()
    assert moments["square.decoder_bias"].all()
