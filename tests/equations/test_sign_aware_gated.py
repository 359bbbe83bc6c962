"""SA-GSAE (arXiv:2605.28149, our reconstruction): two-sided gate, signed magnitudes, Bi-Jump-ReLU, thresholds of the dead."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch


def sides(parameter):
    """Per-polarity values of a parameter: (for u > 0, for u < 0)."""
    return parameter[:, 0], parameter[:, -1]


def papers_codes(dictionary, x):
    """(signed gate, codes): pi+- = +-u - tau+-; relu(pi+) - relu(pi-); g+ m+ - g- m-, with m+- = relu(+-exp(r+-) u + c+-)."""
    u = (x - dictionary.decoder_bias) @ dictionary.encoder.T
    gates, codes = [], []
    for index, way in enumerate((1.0, -1.0)):
        tau, r, c = (sides(p)[index] for p in (dictionary.threshold.abs(), dictionary.log_rescale, dictionary.shift))
        pi = way * u - tau
        gates.append(torch.relu(pi))
        codes.append((pi.detach() > 0) * torch.relu(way * r.exp() * u + c))
    return gates[0] - gates[1], codes[0] - codes[1]


@pytest.mark.parametrize("polarities", [False, True])
def test_terms_and_gradients_are_the_reconstructions(layout, build, step, agree, polarities):
    dictionary = build("sign_aware_gated", polarities=polarities)
    gate, f = papers_codes(dictionary, step.x)
    by_gate = gate @ dictionary.atoms.detach() + dictionary.decoder_bias.detach()
    agree(
        dictionary,
        step,
        {
            "reconstruction": (step.target - f @ dictionary.atoms - dictionary.decoder_bias).pow(2).sum(1).mean(),
            "sparsity": gate.abs().sum(1).mean(),
            "gate_reconstruction": (step.target - by_gate).pow(2).sum(1).mean(),
        },
    )
    torch.testing.assert_close(dictionary.losses(step).codes.to_dense(), f)
    assert {*f.sign().unique().tolist()} == {-1.0, 0.0, 1.0}
    assert not torch.equal(gate != 0, f != 0), "the case where the gate is open and the magnitude zero must occur"


def test_symmetric_codes_are_odd(layout, build, step):
    dictionary = build("sign_aware_gated")
    opposite = 2 * dictionary.decoder_bias.detach() - step.x
    codes, others = (dictionary.encode_scaled(x).to_dense() for x in (step.x, opposite))
    torch.testing.assert_close(others, -codes)
    told_apart = build("sign_aware_gated", polarities=True)
    codes, others = (told_apart.encode_scaled(x).to_dense() for x in (step.x, opposite))
    assert not torch.allclose(others, -codes)


@pytest.mark.parametrize("polarities", [False, True])
def test_codes_are_a_bi_jump_relu(layout, build, step, polarities):
    """z = exp(r) u + sign(u) c where |z| > theta = max(exp(r) tau + c, 0) on its side, else 0: section 1's change of variables."""
    dictionary = build("sign_aware_gated", polarities=polarities)
    u = (step.x - dictionary.decoder_bias) @ dictionary.encoder.T
    found = torch.zeros_like(u)
    for index, way in enumerate((1.0, -1.0)):
        tau, r, c = (sides(p)[index] for p in (dictionary.threshold.abs(), dictionary.log_rescale, dictionary.shift))
        z = r.exp() * u + way * c
        found += z * (way * z > (r.exp() * tau + c).clamp_min(0)) * (way * u > 0)
    torch.testing.assert_close(dictionary.encode_scaled(step.x).to_dense(), found)


def test_gate_reconstruction_doesnt_reach_the_decoder(layout, build, step, gradients):
    dictionary = build("sign_aware_gated")
    found = gradients(dictionary.losses(step).terms["gate_reconstruction"], dictionary)
    assert {name for name, gradient in found.items() if gradient.any()} == {"encoder", "threshold", "decoder_bias"}


def test_reconstruction_doesnt_reach_the_thresholds_nor_sparsity_the_magnitudes(layout, build, step, gradients):
    dictionary = build("sign_aware_gated")
    terms = dictionary.losses(step).terms
    assert not gradients(terms["reconstruction"], dictionary)["threshold"].any()
    of_sparsity = gradients(terms["sparsity"], dictionary)
    assert not of_sparsity["log_rescale"].any()
    assert not of_sparsity["shift"].any()


def test_thresholds_of_the_dead_go_back_and_directions_stay(build, step):
    dictionary = build("sign_aware_gated", initial_threshold=0.02, polarities=True)
    before = {name: tensor.clone() for name, tensor in dictionary.state_dict().items()}
    dead = torch.arange(24) % 5 == 0
    dictionary.after_step(dictionary.losses(step))
    torch.testing.assert_close(dictionary.threshold.detach(), before["threshold"])
    dictionary.after_step(dictionary.losses(replace(step, dead=dead)))
    expected = torch.where(dead[:, None], 0.02 / 10**0.5, before.pop("threshold"))
    torch.testing.assert_close(dictionary.threshold.detach(), expected)
    assert all(torch.equal(dictionary.state_dict()[name], tensor) for name, tensor in before.items())
