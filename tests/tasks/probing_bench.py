"""A bench of a model of a few words, and a labelled text in its words, so that tasks run whole in seconds."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

import torch

from assay.activations.source import TextSource
from assay.materials import load_language_model
from assay.materials.labelled import Labelled
from assay.sites import locate
from assay.task import Bench
from tests.tiny_language import WORDS, write_model


def tiny_bench(folder: Path, width: int = 16) -> Bench:
    write_model(folder, width=width)
    language_model = load_language_model(str(folder))
    texts = list(labelled().texts)
    held_out = TextSource(texts, language_model.tokenizer, context=8)
    sample = torch.randn(200, width, generator=torch.Generator().manual_seed(0))
    return Bench(language_model, locate(language_model.model, "resid_post.1"), held_out, sample)


def labelled(**told_by: dict[str, str]) -> Labelled:
    """Texts in which a word tells the class: by default of one attribute, `kind`, in two classes."""
    told_by = told_by or {"kind": {"fresh": "good", "rotten": "bad"}}
    telling = {word for of in told_by.values() for word in of.values()}
    draw, others = random.Random(0), [word for word in WORDS if word not in telling]
    texts, classes, tests = [], {name: [] for name in told_by}, []
    for number in range(40):
        for kinds in product(*(of.items() for of in told_by.values())):
            words = ["the", *(word for _, word in kinds), *draw.choices(others, k=4)]
            texts.append(" ".join([words[0], *draw.sample(words[1:], len(words) - 1)]))
            tests.append(number % 4 == 0)
            for name, (kind, _) in zip(told_by, kinds, strict=True):
                classes[name].append(kind)
    return Labelled("tiny", tuple(texts), {name: tuple(of) for name, of in classes.items()}, tuple(tests), "none")
