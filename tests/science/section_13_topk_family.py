"""What came after TopK, where the truth is known: BatchTopK's threshold, Matryoshka's prefixes, AbsTopK's signs, Switch's experts."""

from __future__ import annotations

from assay.activations.planted import Planted
from assay.analysis.ground_truth import recovery
from tests.science.claims import Claim, trial
from tests.science.planted_arms import at_l0, measure, settings, trained


@trial(
    "96 directions in 48 dimensions, 1 to 5 active; width 112, k 3, 600 steps of 160 rows; TopK with k 2, 3, 4 read off at BatchTopK's L0",
    Claim(
        "13.3 BatchTopK",
        "batch_topk",
        "The learnt threshold keeps k latents a row on fresh rows",
        "|L0 / k - 1|",
        "<= 0.1",
    ),
    Claim(
        "13.3 BatchTopK",
        "batch_topk",
        "Where rows differ in how much they hold, more is explained than by TopK at equal L0",
        "explained variance over TopK",
        ">= 0.01",
    ),
)
def threshold(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=96, counts=(1, 5), seed=seed)
    shape = {"d_in": 48, "width": 112, "seed": seed}
    arms = {f"topk {k}": settings("topk", **shape, k=k) for k in (2, 3, 4)}
    arms["batch"] = settings("batch_topk", **shape, k=3)
    points = {name: measure(each, planted) for name, each in trained(arms, planted, dead_window=5000).items()}
    batch = points.pop("batch")
    return {
        "|L0 / k - 1|": abs(batch.l0 / 3 - 1),
        "explained variance over TopK": batch.explained_variance
        - at_l0([*points.values()], batch.l0).explained_variance,
    }


@trial(
    "10 parents with 5 children each in 48 dimensions, 3 atoms active, a fifth of the parents' rows without a child; width 112, k 2, 1,000 "
    "steps of 160 rows; absorption: a parent's latent is silent while a child's carries 0.4 of its strength",
    Claim(
        "13.4 Matryoshka",
        "matryoshka",
        "Fewer parents are absorbed than by BatchTopK",
        "absorption over BatchTopK's",
        "<= 0.6",
    ),
    Claim("13.4 Matryoshka", "batch_topk", "BatchTopK absorbs parents", "absorption", ">= 0.3"),
    Claim("13.4 Matryoshka", "matryoshka", "More of the tree is found", "gain of MCC", ">= 0.03"),
    Claim("13.4 Matryoshka", "matryoshka", "The price is small", "loss of explained variance", "<= 0.05"),
    Claim(
        "13.4 Matryoshka",
        "matryoshka",
        "Prefixes drawn in each step do it too",
        "absorption of drawn over BatchTopK's",
        "<= 0.6",
    ),
)
def absorption(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=60, active=3.0, children=5, alone=0.2, seed=seed)
    shape = {"d_in": 48, "width": 112, "k": 2, "seed": seed}
    arms = {
        "flat": settings("batch_topk", **shape),
        "nested": settings("matryoshka", **shape),
        "drawn": settings("matryoshka", **shape, drawn=4),
    }
    dictionaries = trained(arms, planted, steps=1000, dead_window=5000)
    flat, nested, drawn = (recovery(dictionary, planted) for dictionary in dictionaries.values())
    return {
        "absorption over BatchTopK's": nested.absorption / flat.absorption,
        "absorption": flat.absorption,
        "gain of MCC": nested.mcc - flat.mcc,
        "loss of explained variance": flat.explained_variance - nested.explained_variance,
        "absorption of drawn over BatchTopK's": drawn.absorption / flat.absorption,
    }


@trial(
    "48 axes of both signs in 48 dimensions, 3 active; k 3, 600 steps of 160 rows; AbsTopK of width 56, TopK of width 56 and 112",
    Claim("13.9 AbsTopK", "abs_topk", "One atom stands for both directions of an axis", "MMCS", ">= 0.9"),
    Claim(
        "13.9 AbsTopK",
        "abs_topk",
        "More is explained than by TopK of equal width",
        "explained variance over TopK",
        ">= 0.05",
    ),
    Claim(
        "13.9 AbsTopK",
        "abs_topk",
        "As much as by TopK of twice its width, which needs an atom a sign",
        "explained variance over TopK of twice the width",
        ">= -0.02",
    ),
)
def signs(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=48, active=3.0, signed=True, seed=seed)
    shape = {"d_in": 48, "k": 3, "seed": seed}
    arms = {
        "signed": settings("abs_topk", **shape, width=56),
        "equal": settings("topk", **shape, width=56),
        "twice": settings("topk", **shape, width=112),
    }
    points = {name: measure(each, planted) for name, each in trained(arms, planted, dead_window=5000).items()}
    signed = points["signed"]
    return {
        "MMCS": signed.recovery,
        "explained variance over TopK": signed.explained_variance - points["equal"].explained_variance,
        "explained variance over TopK of twice the width": signed.explained_variance
        - points["twice"].explained_variance,
    }


@trial(
    "256 directions in 48 dimensions, 3 active; k 3, 600 steps of 160 rows; Switch with 8 experts of 64 latents, TopK of width 64 (which "
    "costs as much to encode) and of width 512",
    Claim(
        "13.9 Switch",
        "switch",
        "At equal cost of encoding more is explained than by TopK",
        "explained variance over TopK of equal cost",
        ">= 0.02",
    ),
    Claim("13.9 Switch", "switch", "More directions are found", "MMCS over TopK of equal cost", ">= 0.05"),
    Claim("13.9 Switch", "switch", "At equal width it is near TopK", "loss against TopK of equal width", "<= 0.1"),
    Claim("13.9 Switch", "switch", "No expert is idle", "share of experts that get a tenth of an even load", ">= 1"),
)
def experts(seed: int) -> dict[str, float]:
    planted = Planted(width=48, atoms=256, active=3.0, seed=seed)
    shape = {"d_in": 48, "k": 3, "seed": seed}
    arms = {
        "switch": settings("switch", **shape, width=512),
        "cheap": settings("topk", **shape, width=64),
        "wide": settings("topk", **shape, width=512),
    }
    dictionaries = trained(arms, planted, dead_window=5000)
    points = {name: measure(each, planted) for name, each in dictionaries.items()}
    _, latents, _ = dictionaries["switch"].encode(planted.sample(8192, key=1)).entries()
    loads = (latents // 64).bincount(minlength=8) / len(latents)
    return {
        "explained variance over TopK of equal cost": points["switch"].explained_variance
        - points["cheap"].explained_variance,
        "MMCS over TopK of equal cost": points["switch"].recovery - points["cheap"].recovery,
        "loss against TopK of equal width": points["wide"].explained_variance - points["switch"].explained_variance,
        "share of experts that get a tenth of an even load": float((loads > 1 / 80).double().mean()),
    }
