"""The small model and a site in it."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from assay.sites import Site, locate
from tests.analysis.small_model import VOCABULARY, D


@pytest.fixture(params=["sdpa", "eager"])
def model(request: pytest.FixtureRequest) -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": D, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=VOCABULARY, initializer_range=0.3, attn_implementation=request.param, **shape)
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def site(model: LlamaForCausalLM) -> Site:
    return locate(model, "resid_post.1")
