"""The readout, applied by hand to the last residual stream, gives the model's own logits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from assay.errors import SiteNotFound
from assay.sites import capture, locate, readout


def test_the_readout_makes_the_logits_of_an_rms_norm_model(language_models, tokens):
    for name in ("llama", "gemma2"):
        model = language_models[name]
        unembedding, scale = readout(model)
        site = locate(model, "resid_post.-1")
        x = capture(model, [site], tokens)[site].double()
        normalized = x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
        with torch.no_grad():
            torch.testing.assert_close(
                (normalized * scale) @ unembedding.double().T, model(tokens).logits.double(), rtol=1e-5, atol=1e-5
            )


def test_the_readout_makes_the_logits_of_a_layer_norm_model(gpt2, tokens):
    unembedding, scale = readout(gpt2)
    site = locate(gpt2, "resid_post.-1")
    x = capture(gpt2, [site], tokens)[site].double()
    x = x - x.mean(-1, keepdim=True)
    normalized = x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
    with torch.no_grad():
        by_hand = (normalized * scale + gpt2.transformer.ln_f.bias) @ unembedding.double().T
        torch.testing.assert_close(by_hand, gpt2(tokens).logits.double(), rtol=1e-5, atol=1e-5)


def test_the_scale_of_a_norm_that_multiplies_by_one_plus_weight_is_found(language_models):
    norm = language_models["gemma2"].model.norm
    torch.testing.assert_close(readout(language_models["gemma2"])[1], 1 + norm.weight.detach(), rtol=1e-6, atol=1e-6)


class Reader(nn.Module):
    """Blocks, a norm and an unembedding, as small as can be."""

    def __init__(self, norm: nn.Module | None, width: int = 5) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(width, width)])
        if norm is not None:
            self.last = norm
        self.head = nn.Linear(width, 7, bias=False)

    def get_output_embeddings(self) -> nn.Module:
        return self.head


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
@pytest.mark.parametrize("width", [3, 5, 6])
def test_the_scale_is_measured_at_odd_and_even_widths(kind, width):
    norm = kind(width)
    nn.init.normal_(norm.weight)
    torch.testing.assert_close(readout(Reader(norm, width))[1], norm.weight.detach())


def test_measuring_the_scale_runs_no_hook_and_leaves_no_gradient():
    norm, calls = nn.LayerNorm(5), []
    norm.register_forward_hook(lambda *_: calls.append(1))
    assert not readout(Reader(norm))[1].requires_grad
    assert not readout(Reader(norm))[0].requires_grad
    assert not calls


def test_a_model_without_a_final_norm_has_no_scale():
    assert readout(Reader(None))[1] is None


def test_a_model_that_is_no_language_model_has_no_readout(language_models):
    with pytest.raises(SiteNotFound, match="no unembedding"):
        readout(nn.Linear(2, 2))
    with pytest.raises(SiteNotFound, match=r"cls\.predictions"):
        readout(language_models["bert"])
    with pytest.raises(SiteNotFound, match="another width"):
        readout(Reader(nn.LayerNorm(4)))


def test_wrapping_a_model_changes_no_readout(gpt2):
    for wrapped in (nn.DataParallel(gpt2), torch.compile(gpt2, backend="eager")):
        assert readout(wrapped)[0].data_ptr() == gpt2.lm_head.weight.data_ptr()
        torch.testing.assert_close(readout(wrapped)[1], gpt2.transformer.ln_f.weight.detach())
