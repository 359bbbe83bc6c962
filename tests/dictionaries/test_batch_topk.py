"""BatchTopK chooses across the batch in training; what it learns is the threshold with which single rows choose the same."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from assay.activations import ActivationStore
from assay.activations.planted import Planted
from assay.dictionaries.batch_topk import BatchTopK
from assay.dictionary import Dictionary, Step
from assay.training import TrainConfig, train
from assay.training.trainer import Trainee

K = 4


def build(**settings) -> BatchTopK:
    defaults = {"d_in": 24, "width": 48, "k": K, "k_aux": 8}
    return cast(BatchTopK, BatchTopK.Config(**{**defaults, **settings}).build())


def step_of(rows: int = 64, key: int = 0) -> Step:
    x = torch.randn(rows, 24, generator=torch.Generator().manual_seed(key))
    return Step(x, x)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_trained_on_planted_data_it_fires_k_latents_a_row_on_fresh_rows(seed):
    planted = Planted(width=24, atoms=32, active=4.0, seed=seed)
    dictionary = build(seed=seed)
    store = ActivationStore.of(planted.sample(20_000, key=1), batch_size=256, seed=seed)
    config = TrainConfig(steps=400, learning_rate=3e-3, log_every=400)
    (progress,) = train({"arm": dictionary}, store, config)
    assert progress.arms["arm"].l0 == K
    codes = dictionary.encode(planted.sample(5000, key=2))
    assert float(codes.l0().mean()) == pytest.approx(K, rel=0.1)
    assert codes.l0().unique().numel() > 2, "rows differ in how much they need"
    assert float(dictionary.threshold) > 0


def test_after_step_alone_moves_the_threshold():
    dictionary, step = build(), step_of()
    made = dictionary.losses(step)
    sum(made.terms.values()).backward()
    dictionary.encode(step.x)
    assert float(dictionary.threshold) == float(dictionary.learnt) == 0.0
    before = {name: tensor.clone() for name, tensor in dictionary.state_dict().items()}
    dictionary.after_step(made)
    changed = [name for name, tensor in dictionary.state_dict().items() if not torch.equal(tensor, before[name])]
    assert changed == ["threshold", "learnt"]


def test_the_trainer_calls_it():
    trainee = Trainee(build(), TrainConfig(steps=10))
    _, made, loss = trainee.loss(step_of().x, 0.5)
    smallest = made.codes.values[made.codes.values > 0].min()
    trainee.learn(made, loss, 1e-3)
    torch.testing.assert_close(cast(BatchTopK, trainee.dictionary).threshold, smallest.detach())


def test_the_first_batch_sets_the_threshold_and_later_ones_move_it_less_and_less():
    dictionary, moves = build(memory=0.9), []
    for key in range(60):
        before = float(dictionary.threshold)
        dictionary.after_step(dictionary.losses(step_of(key=key)))
        moves.append(abs(float(dictionary.threshold) - before))
    assert moves[0] > 0.1
    assert max(moves[40:]) < 0.1 * moves[0]
    assert float(dictionary.learnt) == pytest.approx(1 - 0.9**60, rel=1e-5)


def test_a_batch_in_which_nothing_fires_teaches_no_threshold():
    dictionary = build()
    dictionary.after_step(dictionary.losses(step_of()))
    learnt = float(dictionary.threshold), float(dictionary.learnt)
    with torch.no_grad():
        dictionary.encoder_bias.fill_(-100)
    dictionary.after_step(dictionary.losses(step_of(key=1)))
    assert (float(dictionary.threshold), float(dictionary.learnt)) == learnt


def test_no_memory_takes_the_last_batch():
    dictionary = build(memory=0.0)
    for key in range(3):
        made = dictionary.losses(step_of(key=key))
        dictionary.after_step(made)
    torch.testing.assert_close(dictionary.threshold, made.codes.values[made.codes.values > 0].min().detach())


def test_the_threshold_is_saved(tmp_path):
    dictionary = build()
    dictionary.after_step(dictionary.losses(step_of()))
    dictionary.save(tmp_path / "saved")
    again = cast(BatchTopK, Dictionary.load(tmp_path / "saved"))
    assert torch.equal(again.threshold, dictionary.threshold)
    assert float(again.threshold) > 0
    assert torch.equal(again.learnt, dictionary.learnt)


def test_training_chooses_by_batch_and_inference_by_row():
    dictionary, step = build(), step_of()
    for key in range(3):
        dictionary.after_step(dictionary.losses(step_of(key=key)))
    assert BatchTopK.chooses_by_batch
    alone = torch.cat([dictionary.encode_scaled(row[None]).to_dense() for row in step.x])
    torch.testing.assert_close(alone, dictionary.encode_scaled(step.x).to_dense())
    half = dictionary.losses(Step(step.x[:32], step.x[:32])).codes.to_dense()
    whole = dictionary.losses(step).codes.to_dense()[:32]
    assert not torch.equal(half != 0, whole != 0)
