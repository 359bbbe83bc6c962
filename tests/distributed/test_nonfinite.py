"""NaN on several ranks: all skip, or go back, alike, and end as one process does."""

from __future__ import annotations

import pytest
import torch

from assay.activations import ActivationStore
from assay.activations.planted import Planted
from assay.dictionary import Dictionary
from assay.training import TrainConfig, train

ROWS = Planted(width=16, atoms=24, active=2.0).sample(2000, key=1)


@pytest.mark.parametrize("shards", [1, 2], ids=["data", "latents"])
@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_a_step_with_nan_is_left_out_by_all_ranks_alike(together, tmp_path, policy, shards):
    rows = ROWS.clone()
    rows[1234, 5] = float("nan")

    def trained(folder, shards):
        dictionary = Dictionary.registry.named("gated").Config(d_in=16, width=32).build()
        config = {"steps": 40, "learning_rate": 5e-3, "checkpoint_every": 6, "nonfinite_share": 0.1}
        config = TrainConfig(**config, nonfinite=policy, latent_shards=shards)
        store = ActivationStore.of(rows, batch_size=64, seed=3)
        counts = [
            progress.arms["arm"].nonfinite for progress in train({"arm": dictionary}, store, config, folder=folder)
        ]
        assert counts[-1] > 0
        return dictionary.state_dict()

    alone = trained(tmp_path / "alone", 1)

    def work(rank):
        for name, tensor in trained(tmp_path / "several", shards).items():
            torch.testing.assert_close(tensor, alone[name], rtol=0, atol=1e-5 * float(alone[name].abs().max()))

    together(2, work)
