"""HH-SAE (arXiv:2605.10536, our reconstruction): the background, the atoms' gates, the composites, and which term teaches what."""

from __future__ import annotations

import pytest
import torch

from assay.dictionary import Step

COMPOSITES = 8


def orthonormal(rank):
    return torch.linalg.qr(torch.randn(10, rank, generator=torch.Generator().manual_seed(1)).double()).Q.T


@pytest.fixture
def hierarchical(build):
    dictionary = build("hierarchical", rank=3, composites=1 / 3)
    dictionary.axes.copy_(orthonormal(3))
    return dictionary


def papers_tiers(h, x):
    """(c, relu(g), f1, f2), each as in the class's formulas."""
    c = x @ h.axes.T @ h.axes
    atoms, rows = slice(0, 24 - COMPOSITES), slice(24 - COMPOSITES, 24)
    product = (x - c - h.decoder_bias) @ h.encoder[atoms].T
    g = product + h.gate_bias[atoms]
    magnitude = product * h.log_rescale[atoms].exp() + h.magnitude_bias[atoms]
    f1 = torch.where(g > 0, torch.relu(magnitude), 0)
    along = (f1 @ h.atoms[atoms]).detach() @ h.atoms[rows].T
    first = torch.zeros_like(along)
    first[torch.arange(len(x)), along.detach().argmax(1)] = 1
    return c, torch.relu(g), f1, torch.relu(along * first)


def test_terms_and_gradients_are_the_papers(layout, hierarchical, step, agree):
    h = hierarchical
    c, gate, f1, f2 = papers_tiers(h, step.x)
    atoms, composites = h.atoms[:-COMPOSITES], h.atoms[-COMPOSITES:]
    rhat = f1 @ atoms
    agree(
        h,
        step,
        {
            "reconstruction": (step.target - c - rhat - h.decoder_bias).pow(2).sum(1).mean(),
            "sparsity": gate.sum(1).mean(),
            "gate_reconstruction": (step.target - c - gate @ atoms.detach() - h.decoder_bias.detach())
            .pow(2)
            .sum(1)
            .mean(),
            "composite": (rhat.detach() - f2 @ composites).pow(2).sum(1).mean(),
        },
    )
    made = h.losses(step)
    torch.testing.assert_close(made.codes.to_dense(), torch.cat([f1, f2], 1))
    torch.testing.assert_close(h.decode_scaled(made.codes) + h.context(step.x), made.reconstruction)
    assert bool((f2 > 0).any())


def test_composites_teach_no_atom(layout, hierarchical, step, gradients):
    found = gradients(hierarchical.losses(step).terms["composite"], hierarchical)
    assert {name for name, gradient in found.items() if gradient.any()} == {"atoms"}
    assert not found["atoms"][:-COMPOSITES].any()


def test_the_background_is_the_principal_axes_and_nothing_of_it_is_left(build):
    h = build("hierarchical", rank=3)
    axes = orthonormal(3)
    generator = torch.Generator().manual_seed(2)
    x = 10 * torch.randn(500, 3, generator=generator).double() @ axes + 0.1 * torch.randn(500, 10, generator=generator)
    left = x - h.fit_background(x)
    torch.testing.assert_close(h.axes.T @ h.axes, axes.T @ axes, rtol=0, atol=1e-2)
    assert float((left @ h.axes.T).abs().max()) < 1e-9
    with torch.no_grad():
        h.start_from(x)
    composites = h.atoms.detach()[-h.count :]
    torch.testing.assert_close(composites.norm(dim=1), torch.ones(h.count).double())
    assert float((composites @ h.axes.T).abs().max()) < 1e-9


def test_without_background_it_is_a_gated_dictionary_with_composites_beside(build, step):
    h = build("hierarchical", rank=0, composites=1 / 3)
    gated = build("gated")
    gated.load_state_dict({name: value for name, value in h.state_dict().items() if name != "axes"})
    ours, theirs = h.losses(step), gated.losses(Step(step.x, step.target))
    torch.testing.assert_close(
        ours.codes.to_dense()[:, :-COMPOSITES], theirs.codes.to_dense()[:, :-COMPOSITES], rtol=1e-12, atol=1e-12
    )
