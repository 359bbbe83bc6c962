"""Recovery as an outside scorer has it: SAELens' synthetic package, where the environment of `make bench` is there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from assay.activations.planted import Planted
from assay.analysis.ground_truth import assign_latents, recovery
from assay.testing.known import random_directions
from tests.science.planted_arms import settings, trained

PYTHON = Path(os.environ.get("ASSAY_BENCH_PYTHON", Path(__file__).parents[2] / ".venv-bench" / "bin" / "python"))
SCORER = """
import json, sys
from safetensors.torch import load_file
from sae_lens.synthetic.evals import compute_classification_metrics, mean_correlation_coefficient
given = load_file(sys.argv[1])
print(json.dumps({
    "mcc": mean_correlation_coefficient(given["atoms"], given["truth"]),
    "f1": compute_classification_metrics(given["codes"], given["strengths"], given["assigned"], given["truth"]).f1_score,
}))
"""

pytestmark = [
    pytest.mark.saelens,
    pytest.mark.skipif(not PYTHON.exists(), reason="no environment with SAELens (make bench makes it)"),
]


@pytest.mark.parametrize("kind", ["trained", "random"])
def test_the_outside_scorer_agrees(kind: str, tmp_path: Path) -> None:
    planted = Planted(width=24, atoms=32, active=2.0)
    if kind == "trained":
        arm = settings("gated", d_in=24, width=40, sparsity={"value": 0.4, "warmup": 0.2})
        dictionary = trained({"gated": arm}, planted, steps=400)["gated"]
    else:
        dictionary = random_directions(planted)
    ours, assigned = recovery(dictionary, planted, rows=4000), assign_latents(dictionary, planted)
    with torch.no_grad():
        codes = dictionary.encode(planted.sample(4000, 1)).to_dense()[:, assigned]
    tensors = {
        "atoms": dictionary.atoms.detach(),
        "truth": planted.directions,
        "codes": codes,
        "strengths": planted.codes(4000, 1),
        "assigned": dictionary.atoms.detach()[assigned],
    }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "given.safetensors")
    command = [str(PYTHON), "-c", SCORER, str(tmp_path / "given.safetensors")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert ours.mcc == pytest.approx(theirs["mcc"], abs=1e-4)
    if kind == "trained":  # a latent's best atom is the one it was assigned, for nearly all of them
        assert ours.f1 == pytest.approx(theirs["f1"], abs=0.03)
