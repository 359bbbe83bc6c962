"""One process alone: nothing is exchanged, and what asks for more processes says how to start them. Several: tests/distributed."""

from __future__ import annotations

from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

from assay import ranks
from assay.activations import ActivationStore
from assay.activations.planted import Planted
from assay.dictionary import Dictionary
from assay.errors import ConfigError
from assay.training import TrainConfig, parallel, train
from assay.training.gradients import clip_gradients, sum_gradients
from assay.training.parallel import Parallel, launched

ADDRESS = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"}


def build() -> Dictionary:
    return Dictionary.registry.named("gated").Config(d_in=16, width=32).build()


def test_alone_everything_is_the_identity() -> None:
    alone = Parallel.of(1, torch.device("cpu"))
    assert alone == Parallel()
    x = torch.randn(4, 3, requires_grad=True)
    assert alone.slice(x) is x
    assert alone.rows(x) is x
    assert alone.loss(x) is x
    assert alone.first
    assert (alone.agree(True), alone.agree(False)) == (True, False)
    assert alone.on_first(lambda: 7) == 7
    assert alone.means([torch.tensor(0.1), torch.tensor(2.0)]) == [torch.tensor(0.1).item(), 2.0]
    assert alone.means([]) == []
    state = {"x": x}
    assert alone.gathered(state) == state
    alone.unite([])


def test_alone_tensors_are_whole() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    for function in (ranks.local, ranks.whole, ranks.batch_rows, ranks.batch_sum, ranks.batch_mean):
        assert function(x) is x
    assert ranks.shard_of(x) is None
    assert ranks.part(x, None) is x
    assert ranks.batch() is None
    assert ranks.is_first()
    table = torch.zeros(4, 3)
    ranks.set_rows(table, torch.tensor([2, 0]), torch.tensor([[2.0, 2, 2], [1, 1, 1]]))
    assert table.tolist() == [[1, 1, 1], [0, 0, 0], [2, 2, 2], [0, 0, 0]]


def test_a_dictionary_that_is_trained_alone_keeps_its_parameters() -> None:
    dictionary = build()
    before = dict(dictionary.named_parameters())
    rows = Planted(width=16, atoms=24, active=2.0).sample(200, key=1)
    list(train({"arm": dictionary}, ActivationStore.of(rows, batch_size=50), TrainConfig(steps=2)))
    assert all(parameter is before[name] for name, parameter in dictionary.named_parameters())


def test_shards_without_processes_say_how_to_start_them() -> None:
    rows = ActivationStore.of(torch.randn(64, 16), batch_size=8)
    with pytest.raises(ConfigError, match=r"there is 1 process; .*torchrun --nproc-per-node 2 -m assay train"):
        list(train({"arm": build()}, rows, TrainConfig(steps=1, latent_shards=2)))


def test_a_checkpoint_does_not_ask_how_many_processes_made_it() -> None:
    assert TrainConfig(latent_shards=4).identity() == TrainConfig().identity()


def test_without_torchrun_nothing_is_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    for described in ({}, {"WORLD_SIZE": "1", "RANK": "0", **ADDRESS}, {"WORLD_SIZE": "4"}):
        for name in ("WORLD_SIZE", "RANK", *ADDRESS):
            monkeypatch.delenv(name, raising=False)
        for name, value in described.items():
            monkeypatch.setenv(name, value)
        with launched():
            assert not dist.is_initialized()


def test_processes_that_do_not_find_each_other_are_told_where_they_were_sought(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "TIMEOUT", timedelta(seconds=1))
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", **ADDRESS}.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(ConfigError, match=r"2 processes did not find each other.*127\.0\.0\.1:9 within 1 s"),
        launched(),
    ):
        pass
    assert not dist.is_initialized()


def test_a_whole_gradient_that_is_too_long_is_scaled_to_the_norm_asked_for() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2, 2))]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 2.0)
    sum_gradients(parameters, {}, None)
    clip_gradients(parameters, 100.0)
    assert float(parameters[0].grad[0]) == 2.0  # pyright: ignore
    clip_gradients(parameters, 1.0)
    whole = torch.cat([parameter.grad.flatten() for parameter in parameters])  # pyright: ignore
    torch.testing.assert_close(whole.norm(), torch.tensor(1.0))
