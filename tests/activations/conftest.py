"""A model whose activations say which token they belong to, a small tokenizer and some documents."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from assay.activations import ActivationStore, TensorSource, harvest

WORDS = [f"w{number}" for number in range(200)]


class Block(nn.Module):
    """Adds to each position something that depends on all positions before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        before = x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[None, :, None]
        return x + self.dropout(torch.tanh(self.linear(before)))


class Echo(nn.Module):
    """Entry 0 of `embed` is the token id. Counts its forwards and keeps what it was given."""

    def __init__(self, vocabulary: int = 256, width: int = 6, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Block(width) for _ in range(3))
        with torch.no_grad():
            self.embed.weight[:, 0] = torch.arange(vocabulary)
        self.seen: list[Tensor] = []
        self.blocks_run = 0
        for layer in self.layers:
            layer.register_forward_hook(self._count)

    def forward(self, input_ids: Tensor) -> Tensor:
        self.seen.append(input_ids)
        x = self.embed(input_ids)
        for layer in self.layers:
            x = layer(x)
        return x

    def _count(self, *_: object) -> None:
        self.blocks_run += 1


@pytest.fixture
def model() -> Echo:
    return Echo()


@pytest.fixture(scope="session")
def make_model() -> type[Echo]:
    return Echo


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A word a token; ends documents with <eos>, adds nothing."""
    return word_tokenizer()


@pytest.fixture(scope="session")
def tokenizer_with_bos() -> PreTrainedTokenizerFast:
    """Begins text with <bos>."""
    tokenizer = word_tokenizer()
    number = tokenizer.convert_tokens_to_ids("<bos>")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", number)]
    )
    return tokenizer


@pytest.fixture(scope="session")
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE that knows few words, so that rare characters take several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<eos>"], show_progress=False
    )
    tokenizer.train_from_iterator(["the cat and the hat and the mat"] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


@pytest.fixture(scope="session")
def documents() -> list[str]:
    """Sixty documents of 5 to 60 words; two are empty."""
    chance = random.Random(0)
    lengths = [chance.randint(5, 60) for _ in range(60)]
    lengths[7] = lengths[30] = 0
    return [" ".join(chance.choices(WORDS, k=length)) for length in lengths]


def word_tokenizer() -> PreTrainedTokenizerFast:
    names = ["<eos>", "<bos>", "<pad>", "<unk>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<eos>", bos_token="<bos>", pad_token="<pad>", unk_token="<unk>"
    )


@pytest.fixture(scope="session")
def eleven_shards() -> dict[str, Any]:
    """A harvest of two sites that is small but has eleven shards, to be divided among workers."""
    torch.manual_seed(0)
    model, rows = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.randn(60, 3)
    settings = {"sites": ["0", "1"], "tokens": 55, "rows_per_shard": 5, "batch_contexts": 2}
    return {"model": model, "source": TensorSource(input=rows), **settings}


@pytest.fixture(scope="session")
def alone(eleven_shards: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process writes, by file."""
    folder = tmp_path_factory.mktemp("alone")
    harvest(**eleven_shards, folder=folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What workers share."""
    return tmp_path / "shared"


@pytest.fixture
def work(eleven_shards: dict[str, Any], folder: Path) -> Callable[..., dict[str, ActivationStore]]:
    """Start one worker, (index, count), or the harvest alone."""

    def work(worker: Any = None, **changes: Any) -> dict[str, ActivationStore]:
        return harvest(**{"folder": folder, **eleven_shards, **changes}, worker=worker)

    return work
