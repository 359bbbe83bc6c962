"""Figures of a plan against numbers worked out by hand, and against files and parameters that assay really makes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from assay.activations import TensorSource, harvest
from assay.dictionaries.gated import Gated
from assay.errors import ConfigError
from assay.scale import Workload, checkpoint_interval, figures
from assay.scale.figures import LINE, ROW
from assay.training import TrainConfig
from assay.training.trainer import Trainee


def value(name: str, **changes) -> float:
    return figures(Workload(**changes))[name].value


@pytest.mark.parametrize(
    ("d", "tokens", "terabytes"),
    [(768, 1e9, 1.5), (2304, 8e9, 37), (4096, 1e9, 8.2), (8192, 8e9, 131), (8192, 1e7, 0.164)],
)
def test_activations_take_two_bytes_an_entry_and_eight_a_row(d, tokens, terabytes):
    assert value("bytes_16", d=d, tokens=tokens) == pytest.approx(terabytes * 1e12 + 8 * tokens, rel=0.03)
    assert value("bytes_32", d=d, tokens=tokens, sites=3) == 3 * tokens * (4 * d + 8)


@pytest.mark.parametrize(
    ("d", "m", "parameters", "state", "rows_a_second", "read"),
    [
        (768, 24_576, 38e6, 0.6e9, 660e3, 1.0e9),
        (2304, 65_536, 302e6, 4.8e9, 83e3, 0.38e9),
        (4096, 131_072, 1.1e9, 17e9, 23e3, 0.19e9),
        (4096, 1_048_576, 8.6e9, 137e9, 2.9e3, 0.024e9),
        (12_288, 16.8e6, 412e9, 6.6e12, 60, 1.5e6),
    ],
)
def test_dense_training_agrees_with_figures_worked_out_by_hand(d, m, parameters, state, rows_a_second, read):
    found = {name: figure.value for name, figure in figures(Workload(d=d, latents=m)).items()}
    assert found["weights"] == pytest.approx(parameters, rel=0.03)
    assert found["state_dense"] == pytest.approx(state, rel=0.05)
    assert found["rate_dense"] == pytest.approx(rows_a_second, rel=0.03)
    assert found["read_dense"] == pytest.approx(read, rel=0.05)


def test_gpus_hold_the_state_in_their_share_of_memory():
    assert value("gpus_dense", latents=1_048_576) == 4
    assert value("gpus_dense", latents=1_048_576, gpu_memory=160e9) == 2
    assert value("gpus", latents=131_072) == 1
    assert value("trainers", latents=131_072, gpus=3) == 3
    assert value("trainers", latents=1e8, gpus=3) == value("gpus", latents=1e8) > 3


def test_on_the_support_a_step_is_one_product_and_a_tail():
    dense, sparse = value("step_dense"), value("step")
    assert dense / sparse == pytest.approx(8, rel=1e-3)
    assert value("step", active=0.5e6) == pytest.approx(4 * sparse, rel=1e-2)
    assert value("hours") == pytest.approx(1e10 * 2 * 4096 * 1e6 / 2e14 / 3600, rel=1e-3)
    assert value("wall") == pytest.approx(value("hours") / 8)


def test_rates_that_were_measured_take_the_place_of_the_assumed_ones():
    assert value("harvest_hours", tokens_per_second=1000, tokens=3.6e9) == 1000
    assert value("hours", rows_per_second=2e5, tokens=7.2e8, epochs=2) == 2
    assert figures(Workload(rows_per_second=5))["rate"].formula == "as given"


def test_a_harvest_runs_the_layers_below_the_site():
    assert value("forward", parameters=7e9, depth=0.25, tokens=1e6) == 2 * 7e9 * 0.25 * 1e6
    assert value("model_gpus", parameters=405e9) == 21


def test_latents_sharded_send_the_same_at_any_width_and_weights_do_not():
    narrow, wide = figures(Workload(latents=1e5)), figures(Workload(latents=9e5))
    assert narrow["sent_latents"] == wide["sent_latents"]
    assert wide["sent_fsdp"].value == pytest.approx(9 * narrow["sent_fsdp"].value, rel=1e-3)
    assert wide["sent_fsdp"].value == pytest.approx(1.5 * wide["sent_data"].value)
    assert value("sent_latents", gpus=1, latents=1e5) == 0


@pytest.mark.parametrize(("hours", "minutes"), [(24, 117), (6, 57), (0.25, 9.1)])
def test_checkpoint_intervals_are_those_of_the_paper(hours, minutes):
    """Figures 3 to 5 of Daly (2006): five minutes to write, so long between failures."""
    assert checkpoint_interval(300, hours * 3600) / 60 == pytest.approx(minutes, abs=0.5 if minutes > 10 else 0.05)


def test_a_checkpoint_that_takes_longer_than_two_failures_is_not_worth_more_than_one_a_failure():
    assert checkpoint_interval(300, 100) == 100
    assert value("young") == pytest.approx(math.sqrt(2 * value("write") * value("between")))


def test_a_gated_dictionary_has_the_parameters_and_the_state_that_are_planned():
    dictionary = Gated.Config(d_in=6, width=40).build()
    planned = figures(Workload(d=6, latents=40))
    assert planned["weights"].value == sum(parameter.numel() for parameter in dictionary.parameters())
    kept = {name: tensor for name, tensor in Trainee(dictionary, TrainConfig()).state().items() if tensor.ndim}
    buffers = {f"dictionary.{name}" for name, _ in dictionary.named_buffers()}
    assert planned["state"].value == sum(
        t.numel() * t.element_size() for name, t in kept.items() if name not in buffers
    )


def test_a_shard_and_the_small_files_are_about_as_large_as_planned(tmp_path):
    torch.manual_seed(0)
    source = TensorSource(input=torch.randn(70_000, 4))
    harvest(
        nn.Sequential(nn.Identity()), source, ["0"], tmp_path, tokens=70_000, rows_per_shard=700, batch_contexts=700
    )
    planned = figures(Workload(tokens=70_000, rows_per_shard=700, d=4))
    folder = tmp_path / "0.out"
    assert planned["shards"].value == len(list(folder.glob("shard-*"))) == 100
    shard = (folder / "shard-00000.safetensors").stat().st_size
    assert 0 <= shard - planned["shard"].value < 400
    assert (folder / "manifest.jsonl").stat().st_size / 100 == pytest.approx(LINE, rel=0.05)
    listed = (folder / "store.json").read_text().replace("    700,", "    65536,")
    assert listed.count("\n    65536,") == 99
    assert len("\n    65536,") == ROW


def test_every_figure_is_a_number_with_a_formula():
    for latents in (1.0, 1e5, 1e7, 1e9):
        for figure in figures(Workload(latents=latents, active=1)).values():
            assert math.isfinite(figure.value)
            assert figure.value >= 0
            assert figure.formula


@pytest.mark.parametrize(
    "change",
    [{"tokens": 0}, {"latents": -1}, {"d": math.inf}, {"depth": 1.5}, {"state_share": 0}, {"tokens_per_second": 0}],
)
def test_an_impossible_assumption_is_refused(change):
    with pytest.raises(ConfigError, match=f"{next(iter(change))} = "):
        Workload(**change)
