"""What a harvest will hold, before it is run."""

from __future__ import annotations

import pytest
import torch

from assay.activations.plan import plan
from assay.activations.source import TensorSource, TextSource
from assay.errors import ConfigError, StoreError


@pytest.fixture
def source(documents, tokenizer) -> TextSource:
    return TextSource(documents, tokenizer, context=16)


def test_a_plan_has_exactly_the_rows_that_were_asked_for(source):
    for tokens in (1, 100, 513, 1000):
        assert plan(source, tokens=tokens, rows_per_shard=128).tokens == tokens


def test_all_shards_but_the_last_have_about_the_rows_asked_for(source):
    rows = plan(source, tokens=1000, rows_per_shard=128).rows
    assert len(rows) == 8
    assert all(128 - 15 <= count <= 128 + 15 for count in rows[:-1])


def test_shards_own_contexts_that_no_other_shard_has(source):
    planned = plan(source, tokens=1000, rows_per_shard=128)
    owned = [planned.contexts_of(shard).tolist() for shard in range(len(planned.rows))]
    together = [context for contexts in owned for context in contexts]
    assert len(set(together)) == len(together)
    keep = source.inputs(0, len(source)).keep.sum(1)
    assert [int(keep[contexts].sum()) for contexts in owned[:-1]] == list(planned.rows[:-1])
    assert int(keep[owned[-1]].sum()) >= planned.rows[-1] > int(keep[owned[-1][:-1]].sum())


def test_a_shorter_harvest_begins_with_the_same_shards(source):
    long, short = plan(source, tokens=1000, rows_per_shard=128), plan(source, tokens=600, rows_per_shard=128)
    assert long.rows[: len(short.rows) - 1] == short.rows[:-1]
    assert torch.equal(long.contexts[: len(short.contexts)], short.contexts)


def test_contexts_and_rows_are_in_an_order_that_belongs_to_the_seed(source):
    one, same, other = (plan(source, tokens=500, rows_per_shard=128, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.contexts, same.contexts)
    assert not torch.equal(one.contexts, other.contexts)
    assert sorted(one.rows_of(1).tolist()) == list(range(one.rows[1]))
    assert not torch.equal(one.rows_of(0), torch.arange(one.rows[0]))
    alike = plan(TensorSource(x=torch.zeros(40, 1)), tokens=40, rows_per_shard=20)
    assert alike.rows == (20, 20)
    assert alike.rows_of(0).tolist() != alike.rows_of(1).tolist()


def test_contexts_without_a_row_are_not_run(tokenizer):
    source = TextSource(["w1 w2 w3", "", "", "", "", "", "w4 w5 w6"], tokenizer, context=2)
    keep = source.inputs(0, len(source)).keep.sum(1)
    planned = plan(source, tokens=int(keep.sum()), rows_per_shard=2)
    assert len(planned.contexts) == int((keep > 0).sum()) < len(source)


def test_a_context_larger_than_a_shard_is_a_shard_of_its_own():
    planned = plan(TensorSource(x=torch.zeros(5, 1), positions=7), tokens=33, rows_per_shard=3)
    assert planned.rows == (7, 7, 7, 7, 5)
    assert planned.contexts_in == (1, 1, 1, 1, 1)


def test_too_few_rows_are_refused_with_both_figures(source):
    available = int(source.inputs(0, len(source)).keep.sum())
    assert plan(source, tokens=available).tokens == available
    with pytest.raises(StoreError, match=rf"{available:,} rows .*{available + 1:,}.*at most {available:,}"):
        plan(source, tokens=available + 1)


@pytest.mark.parametrize("settings", [{"tokens": 0}, {"tokens": 5, "rows_per_shard": 0}])
def test_nothing_to_harvest_is_refused(source, settings):
    with pytest.raises(ConfigError):
        plan(source, **settings)
