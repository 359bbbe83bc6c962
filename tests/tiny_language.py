"""A language model of a few words in a local folder, and texts in its words: random weights, but all that a real one has."""

from __future__ import annotations

import random
import textwrap
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ["the", "a", "one", "film", "plot", "joke", "star", "of", "and", "in", "is", "was", "good", "bad", "slow"]


def write_model(folder: Path, *, width: int = 16, blocks: int = 3) -> None:
    """A llama of so many blocks and its tokenizer, as transformers keeps them."""
    vocabulary = {word: number for number, word in enumerate(["<unk>", "<end>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": blocks}
    config = LlamaConfig(vocab_size=len(vocabulary), num_attention_heads=2, initializer_range=0.4, **shape)
    LlamaForCausalLM(config).save_pretrained(folder)


def write_texts(folder: Path, *, documents: int = 120, words: int = 40) -> None:
    """So many documents of so many words, a file each."""
    folder.mkdir()
    draw = random.Random(0)
    for number in range(documents):
        (folder / f"{number:03d}.txt").write_text(" ".join(draw.choices(WORDS, k=words)))


def write_run(folder: Path, settings: str) -> Path:
    """Such a model, such texts, and a run file that reads them in contexts of 16 tokens; `settings` is the rest of it, as TOML."""
    write_model(folder / "lm")
    write_texts(folder / "texts")
    path = folder / "run.toml"
    head = f'model.name = "{folder}/lm"\nsource = {{ texts = "{folder}/texts", context = 16, held_out = 0.3 }}\n'
    path.write_text(head + textwrap.dedent(settings), encoding="utf-8")
    return path
