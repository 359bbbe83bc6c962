"""Tiny language models with random weights, built from configurations; nothing is downloaded."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

torch.set_num_threads(1)


def _randomized(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return model.eval()


def _llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=1))


def _gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=3, n_head=2))


def _neox() -> nn.Module:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}
    return GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, num_attention_heads=2))


def _gemma2() -> nn.Module:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "head_dim": 8}
    return Gemma2ForCausalLM(
        Gemma2Config(**sizes, num_attention_heads=2, num_key_value_heads=1, final_logit_softcapping=None)
    )


def _t5() -> nn.Module:
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(
        T5Config(vocab_size=40, d_model=16, d_ff=24, num_layers=4, num_decoder_layers=2, num_heads=2, d_kv=8)
    )


def _bert() -> nn.Module:
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    return BertForMaskedLM(BertConfig(**sizes, num_attention_heads=2))


MAKERS = {"llama": _llama, "gpt2": _gpt2, "neox": _neox, "gemma2": _gemma2, "t5": _t5, "bert": _bert}


@pytest.fixture(scope="session")
def language_models() -> dict[str, nn.Module]:
    return {name: _randomized(make()) for name, make in MAKERS.items()}


@pytest.fixture(params=["llama", "gpt2", "neox", "gemma2"])
def decoder(request: pytest.FixtureRequest, language_models: dict[str, nn.Module]) -> nn.Module:
    return language_models[request.param]


@pytest.fixture
def llama(language_models: dict[str, nn.Module]) -> nn.Module:
    return language_models["llama"]


@pytest.fixture
def gpt2(language_models: dict[str, nn.Module]) -> nn.Module:
    return language_models["gpt2"]


@pytest.fixture(scope="session")
def tokens() -> Tensor:
    return torch.randint(3, 40, (2, 5), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def chain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
