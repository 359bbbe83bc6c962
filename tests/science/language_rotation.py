"""Does one axis of a rotation say what a text is (arXiv:2605.22679)? On mean-pooled residuals of labelled film texts.

A text is the mean of the residual stream after block 9 over its tokens but the first. Half of the texts fit everything: a rotation, a
TopK dictionary four times as wide, principal axes, and for each class the axis and the sign that tell it best; the rest is measured.
"""

from __future__ import annotations

import bz2
import csv
from collections import Counter
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from assay.activations.produce import evaluating
from assay.activations.store import ActivationStore
from assay.analysis import probes
from assay.analysis.naming import name_atoms
from assay.dictionary import Dictionary
from assay.materials import load_language_model
from assay.materials.catalogue import named
from assay.materials.fetch import fetch
from assay.run.stages import Workspace
from assay.sites import capture, locate, readout
from assay.training import TrainConfig, train
from tests.science.claims import Claim
from tests.science.language import Reading, line, reading

SECTION = "5 CEDAR"
SITE, TEXTS, LONGEST, FILMS = "resid_post.9", 8000, 64, 20
KEPT = (8, 16, 32, 64)
PROBED = 32


@reading(
    "rotation",
    "SmolLM2-135M, residual stream after block 9; tokens: 160,000 rows, 400 steps of 2,048; texts: means over 8,000 labelled film texts, "
    "half to fit, half to measure, 600 steps of 512; TopK 2,304 wide",
    Claim(SECTION, "rotation", "At equal k near TopK four times as wide, on tokens", "least explained variance over TopK", ">= -0.05"),
    Claim(SECTION, "rotation", "And on texts", "least explained variance over TopK, texts", ">= -0.05"),
    Claim(SECTION, "rotation", "One axis tells a class better than the best principal axis", "share of classes won", ">= 0.7"),
)  # fmt: skip
def read(workspace: Workspace) -> Reading:
    on_tokens = {
        seed: min(
            ours - theirs
            for ours, theirs in zip(
                *(line(workspace, name, seed).all("explained_variance") for name in ("rotation", "topk")), strict=True
            )
        )
        for seed in workspace.run.seeds
    }
    (seed,) = on_tokens
    texts, classes = labelled()
    x, (words, vectors) = pooled(texts)
    fit = torch.rand(len(x), generator=torch.Generator().manual_seed(0)) < 0.5
    dictionaries = learned(x[fit])
    held_out = x[~fit]
    total = (held_out - held_out.mean(0)).square().sum()
    explained = {
        name: 1 - float((held_out - dictionary(held_out)).detach().square().sum() / total)
        for name, dictionary in dictionaries.items()
    }
    axes = dictionaries[f"rotation-{PROBED}"].atoms.detach()
    principal = torch.linalg.svd(x[fit] - x[fit].mean(0), full_matrices=False).Vh
    found = []
    for name, label in classes.items():
        row: dict[str, Any] = {"class": name, "texts": int(label.sum())}
        for kind, directions in (("rotation", axes), ("principal", principal)):
            row[kind] = probe((x - x[fit].mean(0)) @ directions.T, label, fit)
        (names,) = name_atoms(axes[row["rotation"]["axis"], None], words, vectors)
        row["names"] = [word for word, _ in (names.positive if row["rotation"]["sign"] > 0 else names.negative)]
        found.append(row)
    figures = {
        "least explained variance over TopK": on_tokens[seed],
        "least explained variance over TopK, texts": min(
            explained[f"rotation-{k}"] - explained[f"topk-{k}"] for k in KEPT
        ),
        "share of classes won": sum(row["rotation"]["auc"] > row["principal"]["auc"] for row in found) / len(found),
    }
    return Reading({seed: figures}, {"texts": len(texts), "explained_variance": explained, "classes": found})


def labelled() -> tuple[list[str], dict[str, Bool[Tensor, " N"]]]:
    """Texts, and which of them are of each kind (fresh, rotten, plot) and of each of the films that have most."""
    with bz2.open(fetch("reviews") / named("reviews", "text").members[0].file_name, "rt", encoding="utf-8") as file:
        table = [row for row in csv.DictReader(file) if len(row["text"].split()) >= 5]
    films = [film for film, _ in Counter(row["movie_name"] for row in table).most_common(FILMS)]
    of_films = [row for row in table if row["movie_name"] in films]
    others = [row for row in table if row["movie_name"] not in films]
    order = torch.randperm(len(others), generator=torch.Generator().manual_seed(1))[: TEXTS - len(of_films)]
    rows = of_films + [others[place] for place in order.tolist()]
    keys = [("category", kind) for kind in ("fresh", "rotten", "plot")] + [("movie_name", film) for film in films]
    return [row["text"] for row in rows], {
        value: torch.tensor([row[column] == value for row in rows]) for column, value in keys
    }


@torch.no_grad()
def pooled(texts: list[str]) -> tuple[Float[Tensor, "N D"], tuple[list[str], Float[Tensor, "V D"]]]:
    """Mean residual of each text but for its first token; and the vocabulary with the rows of the unembedding."""
    language = load_language_model("smollm2")
    model, tokenizer = language.model, language.tokenizer
    site, means = locate(model, SITE), torch.empty(len(texts), 0)
    tokens = tokenizer(texts, add_special_tokens=False, truncation=True, max_length=LONGEST)["input_ids"]
    by_length = sorted(range(len(texts)), key=lambda text: len(tokens[text]))
    with evaluating(model):
        for start in range(0, len(texts), 32):
            some = by_length[start : start + 32]
            longest = max(len(tokens[text]) for text in some)
            ids = torch.tensor([tokens[text] + [0] * (longest - len(tokens[text])) for text in some])
            mask = torch.arange(longest) < torch.tensor([len(tokens[text]) for text in some])[:, None]
            x = capture(model, [site], input_ids=ids, attention_mask=mask.long())[site].float()
            kept = mask[:, 1:, None]
            means = means if means.shape[1] else torch.empty(len(texts), x.shape[2])
            means[some] = (x[:, 1:] * kept).sum(1) / kept.sum(1)
    unembedding, _ = readout(model)
    return means, (tokenizer.batch_decode(torch.arange(len(unembedding))[:, None]), unembedding.float())


def learned(x: Float[Tensor, "N D"]) -> dict[str, Dictionary]:
    arms: dict[str, Dictionary] = {}
    for k in KEPT:
        for name, width in (("rotation", x.shape[1]), ("topk", 4 * x.shape[1])):
            config = Dictionary.registry.named(name).Config().resized(d_in=x.shape[1], width=width)
            arms[f"{name}-{k}"] = config.revised({"k": k}).build()
    store = ActivationStore.of(x, batch_size=512, seed=0)
    for progress in train(arms, store, TrainConfig(steps=600, learning_rate=1e-3, dead_window=20_000, log_every=100)):
        print(f"step {progress.step}", flush=True)
    return arms


def probe(coordinates: Float[Tensor, "N L"], label: Bool[Tensor, " N"], fit: Bool[Tensor, " N"]) -> dict[str, float]:
    """The coordinate and the sign with the largest AUC on the texts to fit, and its AUC on the others."""
    areas = auc(coordinates[fit], label[fit])
    axis = int((areas - 0.5).abs().argmax())
    sign = 1 if areas[axis] > 0.5 else -1
    return {"axis": axis, "sign": sign, "auc": float(auc(sign * coordinates[~fit, axis, None], label[~fit])[0])}


def auc(scores: Float[Tensor, "N L"], label: Bool[Tensor, " N"]) -> Float[Tensor, " L"]:
    """Of one label, by column."""
    return probes.auc(scores, label[:, None].expand_as(scores))
