"""CEDAR (arXiv:2605.22679, our reconstruction): top-k in rotated coordinates, orthogonal throughout, lossless with all of them."""

from __future__ import annotations

import pytest
import torch

from assay.activations.planted import Planted
from assay.activations.store import ActivationStore
from assay.dictionary import Dictionary, Step
from assay.errors import ConfigError
from assay.training import TrainConfig, train

K = 4


def build(**settings):
    return Dictionary.registry.named("rotation").Config(d_in=10, k=K, **settings).build().double()


@pytest.fixture
def x():
    return torch.randn(32, 10, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def papers_codes(u, x, k=K):
    z = x @ u.T
    kept = torch.zeros_like(z)
    for row, axes in enumerate(z.detach().abs().argsort(dim=1, descending=True)[:, :k]):
        kept[row, axes] = 1
    return z * kept


def worst(atoms):
    return float((atoms @ atoms.T - torch.eye(len(atoms)).to(atoms)).abs().max())


def test_the_term_and_its_gradient_are_the_papers(layout, x):
    rotation = build()
    made = rotation.losses(Step(x, x))
    f = papers_codes(rotation.atoms, x)
    expected = (x - f @ rotation.atoms).pow(2).sum(1).mean()
    torch.testing.assert_close(made.codes.to_dense(), f)
    torch.testing.assert_close(made.terms["reconstruction"], expected)
    (ours,) = torch.autograd.grad(made.terms["reconstruction"], rotation.atoms)
    (papers,) = torch.autograd.grad(expected, rotation.atoms)
    torch.testing.assert_close(ours, papers)


def test_the_error_is_the_energy_of_what_is_dropped(x):
    rotation = build()
    dropped = (x @ rotation.atoms.T).abs().sort(dim=1).values[:, :-K].pow(2).sum(1).mean()
    torch.testing.assert_close(rotation.losses(Step(x, x)).terms["reconstruction"], dropped, atol=1e-12, rtol=1e-6)


def test_all_coordinates_lose_nothing(x):
    rotation = build(kept=10).float()
    raw = 3 * x.float() + 2
    rotation.start(raw)
    assert float((rotation(raw) - raw).detach().abs().max()) <= 1e-5


def test_codes_are_odd(x):
    rotation = build()
    torch.testing.assert_close(rotation.encode_scaled(-x).to_dense(), -rotation.encode_scaled(x).to_dense())


def test_it_stays_orthogonal_at_every_step():
    rotation = Dictionary.registry.named("rotation").Config(d_in=24, k=2).build()
    planted = Planted(width=24, atoms=24, active=2.0, signed=True, orthogonal=True)
    store = ActivationStore.of(planted.sample(2000, key=0), batch_size=100)
    for progress in train({"rotation": rotation}, store, TrainConfig(steps=40, learning_rate=0.03, log_every=1)):
        assert worst(rotation.atoms.detach()) <= 1e-5, progress.step
    assert int(rotation.steps) == 40


def test_a_drawn_k_is_that_of_the_step(x):
    rotation = build(least_k=2)
    counts = []
    for _ in range(40):
        made = rotation.losses(Step(x, x))
        assert torch.equal(made.codes.l0(), rotation.losses(Step(x, x)).codes.l0())
        counts.append(int(made.codes.l0()[0]))
        rotation.after_step(made)
    assert set(counts) == {2, 3, 4}
    assert rotation.encode_scaled(x).l0().unique().tolist() == [K]


@pytest.mark.parametrize("settings", [{"d_in": 8, "width": 16}, {"d_in": 8, "k": 2, "least_k": 3}])
def test_other_shapes_are_refused(settings):
    from assay.config import parse

    with pytest.raises(ConfigError, match="rotation") as refused:
        parse(Dictionary.registry.named("rotation").Config, settings, where="rotation")
    assert "width = d_in = 8" in refused.value.expected
