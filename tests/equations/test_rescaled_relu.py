"""Baseline with rescale and shift (arXiv:2404.16014, ablation): a ReLU dictionary first, then its magnitudes alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assay.activations import ActivationStore
from assay.activations.planted import Planted
from assay.training import TrainConfig, train

CORRECTION = {"log_rescale", "shift"}


def pre_activations(relu, x):
    return (x - relu.decoder_bias) @ relu.encoder.T + relu.encoder_bias


def test_the_first_phase_is_that_of_relu(layout, build, step, agree):
    relu = build("rescaled_relu", freeze_at=0.5)
    f = torch.relu(pre_activations(relu, step.x))
    expected = {
        "reconstruction": (step.target - f @ relu.atoms - relu.decoder_bias).pow(2).sum(1).mean(),
        "sparsity": f.sum(1).mean(),
    }
    agree(relu, replace(step, progress=0.5), expected)


def test_the_second_phase_teaches_rescale_and_shift_alone(layout, build, step, gradients):
    relu = build("rescaled_relu", freeze_at=0.5)
    z = pre_activations(relu, step.x).detach()
    f = (z > 0) * torch.relu(relu.log_rescale.exp() * z + relu.shift)
    error = (step.target - f @ relu.atoms.detach() - relu.decoder_bias.detach()).pow(2).sum(1).mean()
    made = relu.losses(replace(step, progress=0.51))
    torch.testing.assert_close(made.terms["reconstruction"], error, rtol=1e-10, atol=0.0)
    torch.testing.assert_close(made.terms["sparsity"], torch.relu(z).sum(1).mean(), rtol=1e-10, atol=0.0)
    assert not made.terms["sparsity"].requires_grad
    ours, papers = gradients(made.terms["reconstruction"], relu), gradients(error, relu)
    assert {name for name, gradient in ours.items() if gradient.any()} == CORRECTION
    for name in CORRECTION:
        torch.testing.assert_close(ours[name], papers[name], rtol=0.0, atol=1e-10 * float(papers[name].abs().max()))
    torch.testing.assert_close(made.codes.to_dense(), f)
    assert not torch.equal(f > 0, z > 0), "the case where a shift silences a latent must occur"


def test_the_shift_of_a_gated_dictionary_is_the_same_function(build, step):
    relu, gated = build("rescaled_relu"), build("gated")
    state = {name: relu.state_dict()[name] for name in ("atoms", "encoder", "decoder_bias", "log_rescale")}
    biases = (
        relu.encoder_bias.detach(),
        relu.log_rescale.detach().exp() * relu.encoder_bias.detach() + relu.shift.detach(),
    )
    gated.load_state_dict({**gated.state_dict(), **state, "gate_bias": biases[0], "magnitude_bias": biases[1]})
    torch.testing.assert_close(gated.encode_scaled(step.x).to_dense(), relu.encode_scaled(step.x).to_dense())


@pytest.mark.parametrize("freeze_at", [0.5, 1.0])
def test_what_is_frozen_stands_still_and_was_relus(build, freeze_at):
    dictionaries = {
        "relu": build("relu").float(),
        "half": build("rescaled_relu", sparsity={"value": 0.15, "warmup": 0.05}, freeze_at=freeze_at).float(),
    }
    dictionaries["half"].load_state_dict({**dictionaries["half"].state_dict(), **dictionaries["relu"].state_dict()})
    with torch.no_grad():
        dictionaries["half"].log_rescale.zero_()
        dictionaries["half"].shift.zero_()
    store = ActivationStore.of(Planted(width=10, atoms=16, active=2.0).sample(640, key=0), batch_size=64)
    kept, moved = {}, []
    for progress in train(dictionaries, store, TrainConfig(steps=20, log_every=1)):
        if progress.step <= 11:  # steps 0 to 10 of 20 have progress <= 0.5
            kept = {name: dictionaries["relu"].state_dict()[name].clone() for name in ("encoder", "encoder_bias")}
        moved.append(bool(dictionaries["half"].shift.any()))
    same = [torch.allclose(dictionaries["half"].state_dict()[name], tensor) for name, tensor in kept.items()]
    assert same == [freeze_at < 1] * 2
    assert moved == [False] * 11 + [freeze_at < 1] * 9
