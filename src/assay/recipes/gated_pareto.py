"""The Gated paper's headline: Gated against ReLU at equal training compute, where a block adds to the residual stream and in it.

ReLU gets half again as many latents, as in the paper (arXiv:2404.16014, appendix D), since a Gated step decodes twice. Three sites of one
model; `python -m benchmarks.gated_pareto` harvests them in one pass and runs all three.
"""

from __future__ import annotations

from functools import partial

from assay.run.settings import BatchSettings, EvaluateSettings, HarvestSettings, LatentSettings, Run, recipes
from assay.training import TrainConfig

D, WIDTH, BASELINE = 576, 8 * 576, 12 * 576
TOKENS, STEPS, BATCH = 256_000, 500, 2048
SITES = {"resid": "resid_post.9", "mlp": "mlp_out.9", "attn": "attn_out.9"}
SEEDS = {"resid": (0, 1, 2), "mlp": (0,), "attn": (0,)}
STREAM = {"gated": (0.07, 0.1, 0.15, 0.22, 0.33), "relu": (0.05, 0.07, 0.1, 0.14, 0.2)}
BLOCK = {"gated": (0.045, 0.07, 0.1, 0.15, 0.22), "relu": (0.03, 0.045, 0.07, 0.1, 0.15)}
DIALS = {"resid": STREAM, "mlp": BLOCK, "attn": BLOCK}
"""What a block adds has less in common from row to row than the stream it adds to: fewer latents fire at the same penalty."""


def gated_pareto(place: str) -> Run:
    """Five sparsities of Gated at width 8d and of ReLU at 12d: 1,024,000 tokens seen, which are four epochs."""
    return Run(
        name=f"gated_pareto_{place}",
        title=f"Gated and ReLU dictionaries at equal compute, {SITES[place]} of SmolLM2-135M",
        harvest=HarvestSettings(site=SITES[place], tokens=TOKENS),
        batches=BatchSettings(size=BATCH),
        train=TrainConfig(
            steps=STEPS,
            learning_rate=3e-3,
            dead_window=200_000,
            resample_at=(0.4,),
            resample_dip=25,
            checkpoint_every=50,
        ),
        dictionaries={
            "gated": {"variant": "gated", "width": WIDTH},
            "relu": {"variant": "relu", "width": BASELINE},
        },
        sweep=DIALS[place],
        seeds=SEEDS[place],
        evaluate=EvaluateSettings(tokens=8192),
        latents=LatentSettings(count=0),
    )


for _place in SITES:
    recipes.add(f"gated_pareto_{_place}", partial(gated_pareto, _place))
