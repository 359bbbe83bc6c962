"""What a stage is said to take is what its process takes; and the parts add up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assay.ops import kernels
from assay.run.needs.memory import Facts, Shards, memory_of
from assay.run.needs.model_memory import shard_bytes
from assay.run.settings import Run
from benchmarks.memory import TINY, TOLERANCE, Case, arm, measured, training
from benchmarks.memory_body import prepare
from tests.run.needs.a_model import MIB, MODEL

CASES = [
    training("dense beginning", 64, 2048, {"gated": arm("gated", 8192)}, rows=8192, steps=2),
    training("many parameters", 512, 256, {"topk": arm("topk", 32_768)}, rows=8192, steps=2),
    Case("many contexts", "harvest", TINY, settings={"harvest.batch_contexts": 512, "harvest.tokens": 66_000}),
]
FACTS = Facts((64,), 300 * MIB, MODEL, Shards((1000, 1000, 500), 2))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_estimate_is_within_a_fifth_of_the_truth(case: Case) -> None:
    kernels.prepare()  # the compiler is not part of a run that finds compiled kernels
    row = measured(case, prepare)
    assert abs(row["ratio"] - 1) <= TOLERANCE, row
    beside = {what: size for what, size in row["parts_mib"].items() if what != "interpreter and libraries"}
    assert sum(beside.values()) > 80, "libraries alone would do"


def run(**changes: object) -> Run:
    return Run.model_validate({"dictionaries": {"gated": {"variant": "gated", "width": 512}}}).revised(changes)


def parts(stage: str, run: Run, facts: Facts = FACTS) -> dict[str, int]:
    memory = memory_of(stage, run, run.arms(64, sweep=True), facts)  # pyright: ignore
    assert memory is not None
    assert memory.peak.total == sum(part.bytes for part in memory.peak.parts)
    return {part.what: part.bytes for part in memory.peak.parts}


def test_only_an_evaluation_reads_the_layers_before_examples_are_found() -> None:
    alone, after = (parts("examples", run(), replace(FACTS, before=before)) for before in ((), ("evaluate",)))
    assert alone["language model and its libraries"] == 70 * MIB
    assert after["language model and its libraries"] == 110 * MIB


def test_a_window_is_the_largest_shards_and_no_more_than_there_are() -> None:
    two, all_ = (parts("train", run(**{"batches.window": count})) for count in (2, 8))
    assert two["window of shards (2), mapped, and its order"] == 2000 * (64 * 2 + 8)
    assert all_["window of shards (3), mapped, and its order"] == 2500 * (64 * 2 + 8)


def test_shards_are_planned_where_there_is_no_store_yet() -> None:
    shards = Shards.planned(run(**{"harvest.tokens": 100, "harvest.rows_per_shard": 40, "harvest.dtype": "float32"}))
    assert shards == Shards((40, 40, 20), 4)


def test_every_arm_of_a_sweep_is_kept_but_only_one_steps() -> None:
    def of(dials: list[float]) -> tuple[int, int]:
        found = parts("train", run(**{"sweep.gated": dials}))
        parameters = next(size for what, size in found.items() if what.startswith("parameters of"))
        kept = parameters + found["moments of Adam, counts of silence"]
        return kept, next(size for what, size in found.items() if what.startswith("step of"))

    (one, step), (three, same) = of([0.1]), of([0.1, 0.2, 0.3])
    assert three == 3 * one
    assert step == same


def test_a_shard_grows_by_a_context_at_most() -> None:
    found = parts("harvest", run(**{"harvest.tokens": 10_000, "harvest.rows_per_shard": 1000}))
    assert found["shard of 1,128 rows"] == shard_bytes(1128, 64, 2)
    assert found["forward pass of 9 contexts"] == 18 * MIB


def test_contexts_of_another_length_take_their_share() -> None:
    found = parts("harvest", run(**{"harvest.tokens": 100_000, "source.context": 64}))
    assert found["forward pass of 16 contexts"] == 16 * MIB


def test_only_so_many_dictionaries_share_a_forward_as_the_budget_allows() -> None:
    wordy = replace(MODEL, vocabulary=1 << 20)
    assert wordy.scored(1, 32, 32) == 5 * MIB
    assert wordy.scored(9, 32, 32) == wordy.scored(1, 32, 32)  # 2^27 logits are four forwards of 32 x 2^20
    assert wordy.scored(9, 4, 8) == (20 + 4 * 10) * MIB * 4 // 128
    assert wordy.scored(9, 4, 32) == (20 + 8 * 10) * MIB * 4 // 128


def test_later_stages_of_one_process_carry_what_earlier_ones_left() -> None:
    alone = memory_of("train", run(), run().arms(64, sweep=True), FACTS)
    after = memory_of("train", run(), run().arms(64, sweep=True), replace(FACTS, before=("harvest",)))
    assert alone is not None
    assert after is not None
    assert after.peak.total - alone.peak.total == MODEL.to_site + MODEL.texts


def test_a_checkpoint_to_go_on_from_is_mapped_before_any_shard_is() -> None:
    large = run(**{"dictionaries.gated": {"variant": "topk", "width": 65_536}, "batches.size": 16})
    found = parts("train", large, replace(FACTS, resumes=True))
    kept = found["parameters of 1 dictionary"] + found["moments of Adam, counts of silence"]
    assert found["checkpoint of gated-32, mapped"] == kept
    assert not any("window" in what or "sample" in what for what in found)


def test_stages_that_need_a_model_which_is_not_here_are_left_open() -> None:
    unknown = Facts((64,), 300 * MIB, None)
    assert memory_of("harvest", run(), {}, unknown) is None
    assert memory_of("train", run(), run().arms(64, sweep=True), unknown) is not None
