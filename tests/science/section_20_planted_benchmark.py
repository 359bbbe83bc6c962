"""A planted benchmark (after arXiv:2503.09532 and arXiv:2602.14687): does it sort architectures the same way whatever the seed?"""

from __future__ import annotations

from assay.analysis.ground_truth import recovery
from assay.run.benchmark import Benchmark, benchmark
from assay.testing.known import absorbing, known_planted, oracle, random_directions
from tests.science.claims import Claim, trial

SECTION = "Planted benchmark"


@trial(
    "256 directions in 64 dimensions, 4 active; width 256, 800 steps of 160 rows; each dial where L0 is nearest to 4",
    Claim(SECTION, "gated", "Gated finds more than ReLU at like L0, whatever the seed", "F1 over ReLU", ">= 0.05"),
    Claim(
        SECTION, "topk", "TopK finds more than ReLU at like L0, whatever the seed", "F1 of TopK over ReLU", ">= 0.05"
    ),
    Claim(SECTION, "gated", "Much of what was planted is not found", "F1 of Gated", "<= 0.9"),
)
def sorting(seed: int) -> dict[str, float]:
    settings = Benchmark(
        variants=("gated", "relu", "topk"),
        kinds=("plain",),
        seeds=(seed,),
        width=64,
        atoms=256,
        active=4.0,
        latents=256,
        steps=800,
    )
    f1 = {record.variant: record.values["f1"] or 0.0 for _, record in benchmark(settings)}
    return {
        "F1 of Gated": f1["gated"],
        "F1 over ReLU": f1["gated"] - f1["relu"],
        "F1 of TopK over ReLU": f1["topk"] - f1["relu"],
    }


@trial(
    "32 directions at right angles, parents with three children; dictionaries made by hand",
    Claim(SECTION, "jumprelu", "The oracle does not absorb", "absorption of the oracle", "<= 0.0"),
    Claim(SECTION, "jumprelu", "A dictionary made to absorb does", "absorption where it was made", ">= 0.9"),
    Claim(SECTION, "jumprelu", "The oracle finds everything", "F1 of the oracle", ">= 0.999"),
    Claim(SECTION, "jumprelu", "Random directions find little", "F1 of random directions", "<= 0.5"),
)
def known_answers(seed: int) -> dict[str, float]:
    planted = known_planted(seed=seed)
    truth, absorbed, chance = (recovery(make(planted), planted) for make in (oracle, absorbing, random_directions))
    return {
        "absorption of the oracle": truth.absorption,
        "absorption where it was made": absorbed.absorption,
        "F1 of the oracle": truth.f1,
        "F1 of random directions": chance.f1,
    }
