"""AEN-SAE (arXiv:2605.05341): the penalty of the adaptive elastic net, its running means and weights, and what settings turn it into."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch


def relu_codes(net, x):
    return torch.clamp((x - net.decoder_bias) @ net.encoder.T + net.encoder_bias, min=0)


def papers_weights(m, gamma, top, least=0.01, most=10.0):
    """One latent at a time, as written."""
    highest = sorted(m.tolist(), reverse=True)[:top]
    reference = sum(highest) / len(highest)
    weights = [min(max((reference / max(v, 1e-5)) ** gamma, least), most) for v in m.tolist()]
    return torch.tensor(weights, dtype=torch.float64)


@pytest.fixture
def use():
    """Means over six orders of magnitude, one of them exactly zero."""
    m = torch.logspace(-6, 0, 24, dtype=torch.float64)
    m[5] = 0.0
    return m[torch.randperm(24, generator=torch.Generator().manual_seed(2))]


@pytest.mark.parametrize("gamma", [0.5, 1.0])
@pytest.mark.parametrize("progress", [0.1, 0.24, 0.9])
def test_terms_and_gradients_are_the_papers(layout, build, step, agree, use, gamma, progress):
    net = build("elastic_net", gamma=gamma, top=0.125, adapt_from=0.2, adapt_ramp=0.08)
    net.use.copy_(use)
    f = relu_codes(net, step.x)
    rho = {0.1: 0.0, 0.24: 0.5, 0.9: 1.0}[progress]
    weights = 1 + (papers_weights(use, gamma, top=3) - 1) * rho
    agree(
        net,
        replace(step, progress=progress),
        {
            "reconstruction": (step.target - f @ net.atoms - net.decoder_bias).pow(2).sum(1).mean(),
            "sparsity": (f @ weights).mean(),
            "square": f.pow(2).sum(1).mean(),
        },
    )


def test_the_reference_pays_one_and_weights_stay_in_their_bounds(build, use):
    net = build("elastic_net", gamma=1.0, top=1 / 24, least=0.5, most=4.0)
    net.use.copy_(use)
    weights = net.penalties(1.0)
    assert float(weights[use.argmax()]) == 1.0
    assert (float(weights.min()), float(weights.max())) == (1.0, 4.0)
    net = build("elastic_net", gamma=1.0, top=1.0, least=0.5, most=4.0)
    net.use.copy_(use)
    assert float(net.penalties(1.0).min()) == 0.5


def test_nothing_adapts_before_its_time(build, use):
    net = build("elastic_net", adapt_from=0.3, adapt_ramp=0.2)
    net.use.copy_(use)
    for progress in (0.0, 0.15, 0.3):
        assert bool((net.penalties(progress) == 1).all())
    half, full = net.penalties(0.4), net.penalties(0.5)
    torch.testing.assert_close(half - 1, (full - 1) / 2)
    assert torch.equal(full, net.penalties(1.0))


def test_use_is_a_running_mean_of_the_codes_from_one(layout, build, step):
    net = build("elastic_net", beta=0.75)
    assert bool((net.use == 1).all())
    mean = relu_codes(net, step.x).detach().mean(0)
    result = net.losses(step)
    net.after_step(result)
    torch.testing.assert_close(net.use, 0.75 + 0.25 * mean)
    net.after_step(result)
    torch.testing.assert_close(net.use, 0.5625 + 0.4375 * mean)


def test_without_adapting_it_is_the_relu_dictionary_and_a_square(layout, build, step, use):
    net, relu = build("elastic_net", gamma=0.0), build("relu")
    net.use.copy_(use)
    relu.load_state_dict({name: tensor for name, tensor in net.state_dict().items() if name != "use"})
    ours, theirs = net.losses(step).terms, relu.losses(step).terms
    for name, term in theirs.items():
        torch.testing.assert_close(ours[name], term)
