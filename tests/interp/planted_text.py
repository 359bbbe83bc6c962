"""Random texts of a few words with activations that are planted: dimension i is there exactly where rule i fires."""

from __future__ import annotations

import math

import numpy as np
import torch

from assay.dictionaries.jumprelu import JumpReLU
from assay.dictionary import Dictionary
from assay.interp.corpus import Corpus
from assay.interp.rules import Rule, parse

WORDS = [
    " the",
    " film",
    " movie",
    " was",
    " slowly",
    " quickly",
    " good",
    " Bad",
    " of",
    " cast",
    " plot",
    ".",
    ",",
    "ing",
]
WORDS += [f" word{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"] + [" 7", " 42", " Paris", "\n"]
RULES = [
    "fires on ' film', ' movie'",
    "fires on ' cast' after ' the'",
    "fires on numbers",
    "fires on tokens ending in 'ly'",
    "fires on '.', or on ' plot'",
    "fires on the end of ' of' + ' film'",
    "fires on capitalised tokens",
    "fires on '\\n'",
]


def write(documents: int = 300, length: int = 60, seed: int = 0) -> list[list[str]]:
    """Texts whose common words are common and whose rare ones are rare; now and then a phrase that a rule is about."""
    draw = np.random.default_rng(seed)
    weights = np.array(
        [4.0 if word == " the" else 0.25 if word in (" 7", " 42", "\n", "ing") else 1.0 for word in WORDS]
    )
    texts = []
    for _ in range(documents):
        text = draw.choice(WORDS, length, p=weights / weights.sum()).tolist()
        for phrase in ([" the", " cast"], [" of", " film"]):
            if draw.random() < 0.5:
                at = int(draw.integers(length - 2))
                text[at : at + 2] = phrase
        texts.append(text)
    return texts


def planted_corpus(rules: list[Rule], texts: list[list[str]], seed: int = 0) -> Corpus:
    """A document a text; strengths from 0.5 to 1.5."""
    draw = torch.Generator().manual_seed(seed)
    fires = torch.cat([torch.tensor([rule.fires(text, 0) for rule in rules]).T for text in texts]).float()
    strengths = 0.5 + torch.rand(fires.shape, generator=draw)
    origin = torch.tensor([[document, at] for document, text in enumerate(texts) for at in range(len(text))])
    return Corpus(fires * strengths, tuple(piece for text in texts for piece in text), origin)


def one_latent_a_dimension(width: int) -> Dictionary:
    """Latent i is the value of dimension i, where that is 0.25 or more."""
    dictionary = JumpReLU(JumpReLU.Config(d_in=width, width=width))
    with torch.no_grad():
        dictionary.log_threshold.fill_(math.log(0.25))
        dictionary.encoder.copy_(torch.eye(width))
        dictionary.atoms.copy_(torch.eye(width))
    return dictionary


def planted(seed: int = 0) -> tuple[list[str], Corpus, Dictionary]:
    """The rules as text, a corpus in which they are planted, and the dictionary that sees them."""
    return (
        RULES,
        planted_corpus([parse(rule) for rule in RULES], write(seed=seed), seed),
        one_latent_a_dimension(len(RULES)),
    )
