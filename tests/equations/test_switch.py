"""Switch SAE (arXiv:2410.08201): xhat = p_e E_e(x) with the likeliest expert e, and the cost of uneven loads."""

from __future__ import annotations

import pytest
import torch

from assay.dictionary import Dictionary, Step
from assay.errors import ConfigError, ShapeMismatch
from assay.ops import select_expert_top_k

K, EXPERTS = 2, 4


def papers(switch, x):
    """(reconstruction, codes, probabilities, expert), an activation and an expert at a time."""
    likely = torch.softmax((x - switch.router_center) @ switch.router.T, dim=1)
    size = switch.config.width // EXPERTS
    rows, codes = [], []
    for row, probabilities in zip(x, likely, strict=True):
        expert = int(probabilities.argmax())
        own = slice(expert * size, (expert + 1) * size)
        z = switch.encoder[own] @ (row - switch.decoder_bias)
        kept = torch.zeros(size, dtype=x.dtype)
        kept[z.detach().argsort(descending=True)[:K]] = 1
        latents = torch.relu(z * kept)
        rows.append(probabilities[expert] * (switch.atoms[own].T @ latents) + switch.decoder_bias)
        codes.append(
            torch.zeros(switch.config.width, dtype=x.dtype).index_put(
                (torch.arange(24)[own],), latents * probabilities[expert]
            )
        )
    return torch.stack(rows), torch.stack(codes), likely, likely.argmax(1)


def test_terms_and_gradients_are_the_papers(layout, build, step, agree):
    switch = build("switch", k=K, experts=EXPERTS)
    reconstruction, codes, likely, expert = papers(switch, step.x)
    shares = torch.stack([(expert == number).double().mean() for number in range(EXPERTS)])
    assert (shares > 0).sum() >= 3
    agree(
        switch,
        step,
        {
            "reconstruction": (step.target - reconstruction).pow(2).sum(1).mean(),
            "balance": EXPERTS * (shares * likely.mean(0)).sum() - 1,
        },
    )
    torch.testing.assert_close(switch.encode_scaled(step.x).to_dense(), codes)


def test_the_router_learns_from_the_reconstruction(build, step, gradients):
    switch = build("switch", k=K, experts=EXPERTS)
    found = gradients(switch.losses(step).terms["reconstruction"], switch)
    assert found["router"].any()
    assert found["router_center"].any()


def test_even_loads_cost_nothing_and_one_expert_for_all_the_most(build, step):
    switch = build("switch", k=K, experts=EXPERTS)
    with torch.no_grad():
        switch.router.zero_()
        switch.router_center.zero_()
        switch.router[:, :EXPERTS] = 100 * torch.eye(EXPERTS)
    even = torch.zeros(4 * EXPERTS, 10, dtype=torch.float64)
    even[torch.arange(4 * EXPERTS), torch.arange(4 * EXPERTS) % EXPERTS] = 1
    assert switch.losses(Step(even, even)).terms["balance"].item() == pytest.approx(0, abs=1e-12)
    assert switch.losses(Step(even[::EXPERTS], even[::EXPERTS])).terms["balance"].item() == pytest.approx(EXPERTS - 1)


def test_experts_share_the_width_equally():
    config = Dictionary.registry.named("switch").Config
    with pytest.raises(ConfigError, match="share equally"):
        config(d_in=10, width=24, experts=8).revised({"experts": 7})
    assert config(d_in=10, width=512, experts=8).resized(d_in=6, width=50).width == 48
    x = torch.randn(3, 4)
    with pytest.raises(ShapeMismatch):
        select_expert_top_k(x, torch.randn(10, 4), 2, torch.zeros(3, dtype=torch.int64), 4)
