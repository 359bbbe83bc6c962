"""Do cyclic words have a subspace of their own, and does the model use it (arXiv:2606.06333)?

Weekdays, months and numbers where the packaged texts have them. On half of the contexts the group whose norm tells a class's tokens
best is chosen by its AUC; on the others its AUC is measured, and what the model loses of the class's probability, where one of its
words comes next, when the group's subspace is taken out of the residual stream, against other groups' and a random direction that
takes out as much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from assay.activations.produce import evaluating
from assay.analysis.variants import logits_of
from assay.dictionary import Dictionary
from assay.run.stages import DICTIONARIES, Workspace
from assay.sites import capture, locate
from tests.science.claims import Claim
from tests.science.language import Reading, line, reading
from tests.science.language_elastic_net import gap
from tests.science.language_rotation import auc

SECTION = "3 SASA"
CLASSES = {
    "weekdays": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "months": [
        "January",
        "February",
        "April",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    "numbers": ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
}
"""Without May, March and one, which are mostly other words."""
CONTEXTS, OTHERS = 64, 4
"""Contexts of a class at most, and random groups or directions that it is held against."""

Change = Callable[[Tensor], Tensor]


@reading(
    "subspace",
    "SmolLM2-135M, residual stream after block 9; 160,000 rows, 400 steps of 2,048; width 2,304 in groups of 6, 10 groups active; means "
    "over weekdays, months and numbers, on contexts that did not choose the group",
    Claim(SECTION, "subspace", "A cyclic class has a group of its own", "least AUC of a class's group", ">= 0.9"),
    Claim(SECTION, "subspace", "The model uses its subspace, more than other groups'", "drop over that by other groups", ">= 0"),
    Claim(SECTION, "subspace", "And more than random directions", "drop over that by random directions", ">= 0"),
    Claim(SECTION, "subspace", "Explains as much as TopK at equal L0", "explained variance over TopK", ">= 0"),
)  # fmt: skip
def read(workspace: Workspace) -> Reading:
    figures, classes = {}, []
    for seed in workspace.run.seeds:
        groups, topk = (line(workspace, name, seed) for name in ("subspace", "topk"))
        dictionary = Dictionary.load(workspace.folder / DICTIONARIES / groups.records[1].arm)
        found = [measured(workspace, dictionary, name) for name in CLASSES]
        figures[seed] = {
            "least AUC of a class's group": min(row["AUC"] for row in found),
            **{
                f"drop over that by {other}": fmean(
                    row["drop by own subspace"] - row[f"drop by {other}"] for row in found
                )
                for other in ("other groups", "random directions")
            },
            "explained variance over TopK": gap(groups, topk, "explained_variance"),
        }
        classes += [{"seed": seed, **row} for row in found]
    return Reading(figures, {"classes": classes})


@torch.no_grad()
def measured(workspace: Workspace, dictionary: Dictionary, name: str) -> dict[str, Any]:
    """AUC of the class's best group, and drops of the class's log-probability."""
    model, tokenizer = workspace.language_model.model, workspace.language_model.tokenizer
    site, words = locate(model, workspace.run.harvest.site), tokens_of(tokenizer, CLASSES[name])
    ids, keep = contexts_with(workspace, words)
    choose, test = slice(0, None, 2), slice(1, None, 2)
    with evaluating(model):
        x = torch.cat([capture(model, [site], input_ids=some)[site].float() for some in ids.split(8)])
        is_word = torch.isin(ids, words)
        norms = [group_norms(dictionary, x[part][keep[part]]) for part in (choose, test)]
        group = int(auc(norms[0], is_word[choose][keep[choose]]).argmax())
        generator = torch.Generator().manual_seed(0)
        alive = (norms[0] > 0).any(0).nonzero().view(-1)
        others = alive[torch.randperm(len(alive), generator=generator)]
        own = subspace_of(dictionary, group)
        directions = torch.randn(OTHERS, dictionary.config.d_in, generator=generator)
        changes: dict[str, list[Change]] = {
            "clean": [lambda x: x],
            "own subspace": [without(dictionary, own)],
            "other groups": [
                without(dictionary, subspace_of(dictionary, int(o))) for o in others[others != group][:OTHERS]
            ],
            "random directions": [along(dictionary, own, direction / direction.norm()) for direction in directions],
        }
        flat = [change for several in changes.values() for change in several]
        scores = [torch.empty(0)] * len(flat)
        for row in range(1, len(ids), 2):
            given = {"input_ids": ids[row, None]}
            before = (is_word[row, 1:] & keep[row, :-1]).nonzero().view(-1)
            for place, logits in enumerate(logits_of(model, site, given, keep[row, None], flat, 1)):
                said = logits[0, before].log_softmax(-1)[:, words].logsumexp(-1)
                scores[place] = torch.cat([scores[place], said])
    means = dict(zip(range(len(flat)), (float(score.mean()) for score in scores), strict=True))
    drops, place = {}, 0
    for kind, several in changes.items():
        drops[kind] = sum(means[place + i] for i in range(len(several))) / len(several)
        place += len(several)
    return {
        "class": name,
        "group": group,
        "words": int(is_word[keep].sum()),
        "AUC": float(auc(norms[1], is_word[test][keep[test]])[group]),
        "predicted": len(scores[0]),
        "log-probability": drops["clean"],
        **{f"drop by {kind}": drops["clean"] - value for kind, value in drops.items() if kind != "clean"},
    }


def tokens_of(tokenizer: Any, words: Sequence[str]) -> Tensor:
    """Ids of the words that are one token, with a space before them or none, as they stand and capitalised."""
    forms = {space + form for word in words for form in (word, word.capitalize()) for space in ("", " ")}
    pieces = [tokenizer(form, add_special_tokens=False)["input_ids"] for form in sorted(forms)]
    return torch.tensor([piece[0] for piece in pieces if len(piece) == 1])


def contexts_with(workspace: Workspace, words: Tensor) -> tuple[Tensor, Bool[Tensor, "N S"]]:
    """Token ids of contexts that hold a word of the class, and their kept positions."""
    ids, keep = [], []
    for part in ("train", "held_out"):
        inputs = workspace.source(part).inputs(0, len(workspace.source(part)))
        has = (torch.isin(inputs.arguments["input_ids"], words) & inputs.keep)[:, 2:].any(1)
        ids.append(inputs.arguments["input_ids"][has])
        keep.append(inputs.keep[has])
    order = torch.randperm(sum(map(len, ids)), generator=torch.Generator().manual_seed(0))[:CONTEXTS]
    return torch.cat(ids)[order], torch.cat(keep)[order]


def group_norms(dictionary: Dictionary, x: Float[Tensor, "N D"]) -> Float[Tensor, "N K"]:
    """Norm of the codes of each group; zero where it is not kept."""
    return dictionary.encode(x).to_dense().unflatten(1, (-1, dictionary.config.block)).norm(dim=2)


def subspace_of(dictionary: Dictionary, group: int) -> Float[Tensor, "R D"]:
    """Orthonormal rows that span the atoms of a group."""
    size = dictionary.config.block
    return torch.linalg.qr(dictionary.atoms[group * size : (group + 1) * size].T).Q.T


def without(dictionary: Dictionary, basis: Float[Tensor, "R D"]) -> Change:
    """Activations whose part in the subspace is that of the mean."""
    return lambda x: x - (x - dictionary.mean) @ basis.T @ basis


def along(dictionary: Dictionary, basis: Float[Tensor, "R D"], direction: Float[Tensor, " D"]) -> Change:
    """Activations moved along a direction by as much as `without` moves them."""
    return lambda x: x - ((x - dictionary.mean) @ basis.T).norm(dim=-1, keepdim=True) * direction
