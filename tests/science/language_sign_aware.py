"""Is one signed latent a dial with two directions, and does it spare half of the latents (arXiv:2605.28149)?

A dial is a latent that is clamped to a, from -2 to 2 times its mean size; of two opposite unsigned latents one is clamped for a > 0,
the other for a < 0, its partner being off. The error term stays. What is read is a contrast of logits fixed beforehand: the mean of the
eight tokens that the atom raises most through the unembedding, less that of the eight that it lowers most.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from assay.activations.produce import evaluating
from assay.activations.source import Inputs
from assay.analysis.logit_lens import token_effects
from assay.dictionary import Dictionary
from assay.interventions.apply import change_rows
from assay.run.stages import DICTIONARIES, Workspace
from assay.sites import Site, capture, locate, readout, replace
from tests.science.claims import Claim
from tests.science.language import Reading, line, reading
from tests.science.language_elastic_net import dead, gap

SECTION = "4 SA-GSAE"
TURNS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)
CONTEXTS, DIALS, TOKENS = 4, 8, 8
LOOKED_AT = 32
"""Contexts that decide which latents fire with both signs, and how strongly."""
BOTH = 0.2
"""Share of a latent's firings that the rarer sign must have."""

Dial = tuple[int, int]
"""The latent turned for a > 0 and the one for a < 0: the same one where it is signed."""


@reading(
    "sign_aware",
    "SmolLM2-135M, what the MLP of block 9 writes; 160,000 rows, 400 steps of 2,048; width 1,152 against Gated's 2,304, nothing resampled; "
    "three sparsities an arm, means over the common L0; eight dials a dictionary of the middle sparsity",
    Claim(SECTION, "sign_aware_gated", "Fewer latents die than with Gated twice as wide", "dead over Gated's", "<= 1"),
    Claim(SECTION, "sign_aware_gated", "As much is explained by half the latents", "explained variance over Gated", ">= -0.025"),
    Claim(SECTION, "sign_aware_gated", "One latent is a dial with two directions", "dials that move a contrast both ways", ">= 0.75"),
    Claim(SECTION, "sign_aware_gated", "And turning it further moves further", "dials that are monotone", ">= 0.75"),
    Claim(SECTION, "sign_aware_gated", "More so than two opposite latents of Gated", "monotone dials over Gated's", ">= 0"),
)  # fmt: skip
def read(workspace: Workspace) -> Reading:
    figures, dials = {}, []
    for seed in workspace.run.seeds:
        lines = {name: line(workspace, name, seed) for name in ("sign_aware", "gated")}
        found = {name: turned(workspace, one.records[1].arm) for name, one in lines.items()}
        share = {
            name: {key: fmean(row[key] for row in rows) for key in ("opposite", "monotone")}
            for name, rows in found.items()
        }
        figures[seed] = {
            "dead over Gated's": dead(lines["sign_aware"], lines["gated"]),
            "explained variance over Gated": gap(lines["sign_aware"], lines["gated"], "explained_variance"),
            "dials that move a contrast both ways": share["sign_aware"]["opposite"],
            "dials that are monotone": share["sign_aware"]["monotone"],
            "monotone dials over Gated's": share["sign_aware"]["monotone"] - share["gated"]["monotone"],
        }
        dials += [row for rows in found.values() for row in rows]
    return Reading(figures, {"dials": dials})


@torch.no_grad()
def turned(workspace: Workspace, arm: str) -> list[dict[str, Any]]:
    """What turning each dial of a dictionary does."""
    dictionary = Dictionary.load(workspace.folder / DICTIONARIES / arm)
    model, source = workspace.language_model.model, workspace.source("held_out")
    site, inputs = locate(model, workspace.run.harvest.site), source.inputs(0, CONTEXTS)
    sample = source.inputs(CONTEXTS, CONTEXTS + LOOKED_AT)
    rows = []
    with evaluating(model):
        x = capture(model, [site], **sample.arguments)[site][sample.keep]
        sizes, dials = dials_of(dictionary, x)
        effects = token_effects(dictionary, [dial[0] for dial in dials], *readout(model), count=TOKENS)
        for dial, effect in zip(dials, effects, strict=True):
            poles = [[token for token, _ in side] for side in (effect.raised, effect.lowered)]
            clean = contrast(model, inputs, site, lambda x: x, poles)
            changes = [
                contrast(model, inputs, site, clamp(dictionary, dial, turn, sizes), poles) - clean for turn in TURNS
            ]
            middle = len(TURNS) // 2
            rows.append(
                {
                    "arm": arm,
                    "latents": list(dial),
                    "turns": list(TURNS),
                    "changes": changes,
                    "opposite": max(changes[:middle]) < 0 < min(changes[middle:]),
                    "monotone": all(low < high for low, high in pairwise(changes)),
                }
            )
    return rows


def dials_of(dictionary: Dictionary, x: Float[Tensor, "N D"]) -> tuple[Float[Tensor, " L"], list[Dial]]:
    """Mean size of each latent where it fires; signed latents that fire most with both signs, or the most opposite atoms that fire."""
    codes = dictionary.encode(x).to_dense()
    firings = codes.ne(0).sum(0)
    sizes = codes.abs().sum(0) / firings.clamp_min(1)
    if dictionary.signed:
        rarer = torch.minimum((codes > 0).sum(0), (codes < 0).sum(0))
        both = torch.where(rarer >= BOTH * firings, firings, 0)
        return sizes, [(latent, latent) for latent in both.topk(DIALS).indices.tolist()]
    alive = firings >= 0.001 * len(x)
    cosines = (dictionary.atoms @ dictionary.atoms.T).masked_fill(~(alive[:, None] & alive), 1.0).triu(1)
    pairs = cosines.flatten().topk(DIALS, largest=False).indices
    return sizes, [divmod(pair, len(alive)) for pair in pairs.tolist()]


def clamp(
    dictionary: Dictionary, dial: Dial, turn: float, sizes: Float[Tensor, " L"]
) -> Callable[[Float[Tensor, "N D"]], Float[Tensor, "N D"]]:
    """x + sum_l (a_l - f_l) d_l over the latents of the dial: their codes replaced, everything else kept."""
    latents = list(dict.fromkeys(dial))
    on = dial[0] if turn > 0 else dial[1]
    size = turn if dictionary.signed else abs(turn)
    wanted = torch.tensor([size * float(sizes[on]) if latent == on else 0.0 for latent in latents])

    def change(x: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        missing = wanted - dictionary.encode(x).to_dense()[:, latents]
        return x + missing @ dictionary.atoms[latents] * dictionary.scale

    return change


def contrast(
    model: torch.nn.Module,
    inputs: Inputs,
    site: Site,
    change: Callable[[Tensor], Tensor],
    poles: list[list[int]],
) -> float:
    """Mean over the kept positions of the logits of the first pole's tokens less those of the second's."""
    with replace(model, {site: lambda x: change_rows(x, inputs.keep, change)}):
        logits = model(**inputs.arguments).logits[inputs.keep].float()
    return float((logits[:, poles[0]].mean(1) - logits[:, poles[1]].mean(1)).mean())
