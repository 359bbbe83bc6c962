"""A bench of a language model of a few words, and the dictionary that tells its words apart."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from assay.activations.source import TextSource
from assay.dictionaries.jumprelu import JumpReLU
from assay.dictionary import Dictionary
from assay.materials import load_language_model, load_texts
from assay.sites import locate
from assay.task import Bench
from tests.tiny_language import write_model, write_texts


def tiny_bench(folder: Path) -> Bench:
    """The site is what block 0 reads: embeddings of 17 words in 32 dimensions."""
    write_model(folder / "model", width=32, blocks=1)
    write_texts(folder / "texts", documents=300, words=60)
    loaded = load_language_model(str(folder / "model"))
    source = TextSource(load_texts(str(folder / "texts")), loaded.tokenizer, context=64, part="held_out", held_out=0.5)
    return Bench(loaded, locate(loaded.model, "model.layers.0:in"), source, torch.zeros(1, 32))


def one_latent_a_word(bench: Bench) -> Dictionary:
    """Latent i fires on word i alone: its encoder is row i of the pseudo-inverse of the embedding."""
    embedding = bench.language_model.model.get_input_embeddings().weight.detach()
    dictionary = JumpReLU(JumpReLU.Config(d_in=32, width=len(embedding)))
    with torch.no_grad():
        dictionary.log_threshold.fill_(math.log(0.5))
        dictionary.encoder.copy_(torch.linalg.pinv(embedding).T)
        dictionary.atoms.copy_(embedding / embedding.norm(dim=-1, keepdim=True))
    return dictionary
