"""The cheapest changes: halvings that can be set, ranked by what they save for the harm they do."""

from __future__ import annotations

import pytest

from assay.config import parse_assignments
from assay.run.needs.advice import RESULT, SPEED, TRAINING, cheapest, in_words
from assay.run.needs.memory import Facts, Shards, StageName, memory_of
from assay.run.settings import Run
from tests.run.needs.a_model import MIB, MODEL

FACTS = Facts((64,), 300 * MIB, MODEL, Shards((32_768,) * 4, 2))


def run(**changes: object) -> Run:
    settings = {
        "dictionaries": {"gated": {"variant": "gated", "width": 8192}, "topk": {"variant": "topk", "width": 4096}},
        "sweep": {"gated": (0.1, 0.2, 0.3, 0.4)},
        "harvest": {"batch_contexts": 64},
        "batches": {"size": 4096},
    }
    return Run.model_validate(settings).revised(changes)


def arms(sweep: bool = True):
    return lambda run: run.arms(64, sweep=sweep)


def total(stage: StageName, run: Run) -> int:
    memory = memory_of(stage, run, arms()(run), FACTS)
    assert memory is not None
    return memory.peak.total


@pytest.mark.parametrize("stage", ["harvest", "train", "evaluate"])
def test_what_a_change_is_said_to_save_it_saves(stage: StageName) -> None:
    settings = run()
    changes = cheapest(stage, settings, arms(), FACTS)
    assert changes
    for change in changes:
        flag, assignment, saves, *size = str(change).split(" ")
        assert (flag, saves, " ".join(size)) == ("--set", "saves", in_words(change.saves))
        revised = settings.revised(parse_assignments([assignment]))
        assert total(stage, settings) - total(stage, revised) == change.saves > 0


def test_they_are_three_and_ranked_by_saving_per_harm() -> None:
    changes = cheapest("train", run(), arms(), FACTS)
    assert len(changes) == 3
    scores = [change.saves / change.harm for change in changes]
    assert scores == sorted(scores, reverse=True)


def test_the_batch_comes_before_the_width_and_costs_less_than_it() -> None:
    changes = {change.key: change for change in cheapest("train", run(), arms(sweep=False), FACTS, count=9)}
    names = list(changes)
    assert names.index("batches.size") < names.index("dictionaries.gated.width")
    assert (changes["batches.size"].harm, changes["dictionaries.gated.width"].harm) == (TRAINING, RESULT)
    assert changes["batches.size"].value == 2048


def test_what_only_costs_time_comes_first_in_a_harvest_and_an_evaluation() -> None:
    harvest = cheapest("harvest", run(), arms(), FACTS)
    assert (harvest[0].key, harvest[0].value, harvest[0].harm) == ("harvest.batch_contexts", 32, SPEED)
    evaluate = cheapest("evaluate", run(), arms(), FACTS)
    assert (evaluate[0].key, evaluate[0].value, evaluate[0].harm) == ("evaluate.at_once", 4, SPEED)


def test_changes_that_save_next_to_nothing_are_left_out() -> None:
    small = run(
        **{
            "batches.size": 16,
            "batches.window": 1,
            "train.sample_rows": 64,
            "dictionaries.gated.width": 64,
            "dictionaries.topk.width": 64,
        }
    )
    assert cheapest("train", small, arms(), FACTS) == []


def test_half_of_a_sweep_is_offered_and_half_of_the_seeds() -> None:
    keys = {change.key: change.value for change in cheapest("train", run(seeds=[0, 1]), arms(), FACTS, count=9)}
    assert keys["sweep.gated"] == [0.1, 0.2]
    assert keys["seeds"] == [0]


def test_without_the_model_there_is_no_advice_on_what_it_takes() -> None:
    unknown = Facts((64,), 300 * MIB, None, FACTS.shards)
    assert cheapest("evaluate", run(), arms(), unknown) == []
    assert cheapest("train", run(), arms(), unknown)


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (5 << 40, "5.0 TiB")]
)
def test_bytes_in_words(count: int, words: str) -> None:
    assert in_words(count) == words
