"""A model with edited codes: what changes, what passes through, and what becomes of the error term."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from assay.dictionaries.relu import ReLU
from assay.errors import ShapeMismatch
from assay.interventions import intervene
from assay.interventions.ablate import Ablate
from assay.interventions.splice import Splice
from assay.sites import Site, capture, locate

IDS = torch.arange(12).view(2, 6)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=31, **shape)).eval()


@pytest.fixture
def site(model: nn.Module) -> Site:
    return locate(model, "resid_post.1")


@pytest.fixture
def dictionary() -> ReLU:
    dictionary = ReLU(ReLU.Config(d_in=16, width=40))
    with torch.no_grad():
        dictionary.mean += torch.randn(16, generator=torch.Generator().manual_seed(1))
        dictionary.scale.fill_(3.0)
        dictionary.decoder_bias += 0.1
    return dictionary


def at(model: nn.Module, site: Site) -> Tensor:
    """The activations that the model goes on with: the input of the layer after the site."""
    return capture(model, [Site("model.layers.2", "in")], input_ids=IDS)[Site("model.layers.2", "in")]


def test_ablating_nothing_leaves_the_logits_unchanged(model: nn.Module, site: Site, dictionary: ReLU) -> None:
    clean = model(input_ids=IDS).logits
    with intervene(model, {site: (dictionary, Ablate([]))}):
        torch.testing.assert_close(model(input_ids=IDS).logits, clean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model(input_ids=IDS).logits, clean, rtol=0, atol=0)


def test_a_splice_puts_the_reconstruction_there(model: nn.Module, site: Site, dictionary: ReLU) -> None:
    x = at(model, site)
    with intervene(model, {site: (dictionary, Splice())}):
        spliced = at(model, site)
    torch.testing.assert_close(spliced, dictionary(x.view(-1, 16)).detach().view_as(x))
    assert not torch.allclose(spliced, x)


def test_ablation_takes_away_just_what_the_latent_wrote(model: nn.Module, site: Site, dictionary: ReLU) -> None:
    x = at(model, site)
    codes = dictionary.encode(x.view(-1, 16)).to_dense().detach()
    latent = int((codes > 0).sum(0).argmax())
    with intervene(model, {site: (dictionary, Ablate([latent]))}):
        ablated = at(model, site)
    written = codes[:, [latent]] * dictionary.atoms[latent].detach() * dictionary.scale
    assert written.abs().sum() > 1
    torch.testing.assert_close(ablated, x - written.view_as(x))


def test_the_caller_decides_about_the_error_term(model: nn.Module, site: Site, dictionary: ReLU) -> None:
    x = at(model, site)
    with intervene(model, {site: (dictionary, Splice())}, error="keep"):
        torch.testing.assert_close(at(model, site), x)
    with intervene(model, {site: (dictionary, Ablate([]))}, error="drop"):
        torch.testing.assert_close(at(model, site), dictionary(x.view(-1, 16)).detach().view_as(x))


def test_rows_outside_keep_pass_through_bit_by_bit(model: nn.Module, site: Site, dictionary: ReLU) -> None:
    x = at(model, site)
    keep = torch.rand(IDS.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    with intervene(model, {site: (dictionary, Splice())}, keep=keep):
        spliced = at(model, site)
    torch.testing.assert_close(spliced[~keep], x[~keep], rtol=0, atol=0)
    torch.testing.assert_close(spliced[keep], dictionary(x[keep]).detach())


def test_keeping_no_row_changes_nothing(model: nn.Module, site: Site, dictionary: ReLU) -> None:
    x = at(model, site)
    with intervene(model, {site: (dictionary, Splice())}, keep=torch.zeros(IDS.shape, dtype=torch.bool)):
        torch.testing.assert_close(at(model, site), x, rtol=0, atol=0)


def test_flags_of_another_shape_are_refused(model: nn.Module, site: Site, dictionary: ReLU) -> None:
    with (
        pytest.raises(ShapeMismatch, match=r"keep is \[2, 5\] for activations \[2, 6, 16\]"),
        intervene(model, {site: (dictionary, Splice())}, keep=torch.ones(2, 5, dtype=torch.bool)),
    ):
        model(input_ids=IDS)


def test_half_precision_stays_half_precision(model: nn.Module, site: Site, dictionary: ReLU) -> None:
    with intervene(model.bfloat16(), {site: (dictionary, Splice())}):
        assert at(model, site).dtype == model(input_ids=IDS).logits.dtype == torch.bfloat16


def test_two_sites_at_once(model: nn.Module, site: Site, dictionary: ReLU) -> None:
    first = locate(model, "resid_post.0")
    with intervene(model, {first: (dictionary, Splice())}):
        x = at(model, site)
    with intervene(model, {first: (dictionary, Splice()), site: (dictionary, Splice())}):
        torch.testing.assert_close(at(model, site), dictionary(x.view(-1, 16)).detach().view_as(x))


def test_gradients_pass_through_the_codes_and_not_through_the_error_term(
    model: nn.Module, site: Site, dictionary: ReLU
) -> None:
    for error in ("keep", "drop"):
        dictionary.zero_grad()
        with intervene(model, {site: (dictionary, Ablate([]))}, error=error):
            model(input_ids=IDS).logits.logsumexp(-1).sum().backward()
        assert dictionary.atoms.grad is not None
        assert dictionary.atoms.grad.abs().sum() > 0, error
