"""A small run from the shell: a random model in a local folder, texts of a few words, two kinds of dictionary."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from assay.cli import main

WORDS = ["the", "a", "one", "film", "plot", "joke", "star", "of", "and", "in", "is", "was", "good", "bad", "slow"]


@pytest.fixture(scope="session")
def toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    vocabulary = {word: number for number, word in enumerate(["<unk>", "<end>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>").save_pretrained(
        folder / "lm"
    )
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(vocabulary), initializer_range=0.4, **shape)).save_pretrained(
        folder / "lm"
    )
    (folder / "texts").mkdir()
    draw = random.Random(0)
    for number in range(120):
        (folder / "texts" / f"{number:03d}.txt").write_text(" ".join(draw.choices(WORDS, k=40)))
    path = folder / "small.toml"
    path.write_text(
        f"""
        name = "small"
        [model]
        name = "{folder}/lm"
        [source]
        texts = "{folder}/texts"
        context = 16
        held_out = 0.3
        [harvest]
        site = "resid_post.1"
        tokens = 2000
        rows_per_shard = 700
        [batches]
        size = 128
        [train]
        steps = 60
        learning_rate = 0.01
        checkpoint_every = 20
        [dictionaries.gated]
        variant = "gated"
        width = 48
        [dictionaries.topk]
        variant = "topk"
        width = 48
        [sweep]
        gated = [0.1, 0.3]
        topk = [2, 6]
        [evaluate]
        tokens = 300
        [latents]
        count = 3
        """
    )
    return path


@pytest.fixture(scope="session")
def folder(toml: Path) -> Path:
    out = toml.parent / "out"
    for verb in ("harvest", "sweep", "evaluate", "report"):
        assert main([verb, str(toml), "--out", str(out)]) == 0
    return out
