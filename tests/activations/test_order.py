"""The order of rows: every row once an epoch, any step at once, all of it decided by keys."""

from __future__ import annotations

import time

import pytest
import torch

from assay.activations.order import Order, Place, key, permutation
from assay.errors import StoreError

ROWS = (7, 5, 11, 3, 9, 5)


def numbers(order: Order, step: int) -> list[tuple[int, int]]:
    """(shard, row) of every row of a batch, by way of the stretches."""
    found = []
    for stretch in order.batch(step):
        shards = order.windows(stretch.epoch)[stretch.window]
        table = [(shard, row) for shard in shards for row in range(order.rows[shard])]
        rows = order.rows_of_window(stretch.epoch, stretch.window)[stretch.start : stretch.stop]
        found += [table[row] for row in rows.tolist()]
    return found


def epoch(order: Order, number: int) -> list[tuple[int, int]]:
    steps = order.batches_per_epoch()
    return [row for step in range(number * steps, (number + 1) * steps) for row in numbers(order, step)]


@pytest.mark.parametrize("window", [1, 2, 4, 6, 100])
@pytest.mark.parametrize("batch_size", [1, 4, 10, 40])
def test_an_epoch_holds_every_row_once(window, batch_size):
    order = Order(ROWS, batch_size, seed=3, window=window)
    everything = {(shard, row) for shard, rows in enumerate(ROWS) for row in range(rows)}
    for number in (0, 1, 5):
        rows = epoch(order, number)
        assert len(rows) == 40
        assert set(rows) == everything


def test_only_an_incomplete_last_batch_is_dropped():
    order = Order(ROWS, batch_size=12, seed=0, window=2)
    rows = epoch(order, 2)
    assert order.batches_per_epoch() == 3
    assert len(rows) == len(set(rows)) == 36


def test_a_batch_may_straddle_windows():
    order = Order(ROWS, batch_size=40, seed=0, window=1)
    assert len(list(order.batch(0))) == 6


def test_epochs_seeds_and_windows_have_orders_of_their_own():
    order = Order(ROWS, 10, seed=0, window=2)
    assert epoch(order, 0) != epoch(order, 1)
    assert epoch(order, 0) != epoch(Order(ROWS, 10, seed=1, window=2), 0)
    assert epoch(order, 0) != epoch(Order(ROWS, 10, seed=0, window=3), 0)
    assert epoch(order, 0) == epoch(Order(ROWS, 10, seed=0, window=2), 0)
    assert order.windows(0) != order.windows(1)
    single = Order(ROWS, 10, seed=0, window=6)
    assert single.rows_of_window(0, 0).tolist() != single.rows_of_window(1, 0).tolist()
    alike = Order((5, 5), 10, seed=0, window=1)
    assert alike.rows_of_window(0, 0).tolist() != alike.rows_of_window(0, 1).tolist()


def test_place_agrees_with_the_batches():
    order = Order(ROWS, 9, seed=4, window=2)
    for step in (0, 3, 4, 21):
        assert [order.place(step, row) for row in range(9)] == [Place(*pair) for pair in numbers(order, step)]
    with pytest.raises(IndexError):
        order.place(0, 9)


def test_a_late_step_is_reached_as_fast_as_an_early_one():
    order = Order((1000,) * 50, 64, seed=0, window=4)
    started = time.perf_counter()
    assert len(numbers(order, 10**12)) == 64
    assert time.perf_counter() - started < 1


def test_more_rows_a_batch_than_there_are_is_refused_with_figures():
    with pytest.raises(StoreError, match=r"41 rows .* 40 rows"):
        Order(ROWS, 41, seed=0, window=2).batches_per_epoch()
    with pytest.raises(StoreError, match="0 rows"):
        next(Order(ROWS, 0, seed=0, window=2).batch(0))


def test_keys_differ_in_purpose_and_in_every_number():
    keys = [key(purpose, one, other) for purpose in ("rows", "shards") for one in range(30) for other in range(30)]
    assert len(set(keys)) == len(keys)
    assert key("rows", 1, 23) != key("rows", 12, 3)
    assert all(0 <= value < 2**63 for value in keys)


def test_a_permutation_is_one_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    assert sorted(permutation(100, "test", 1).tolist()) == list(range(100))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(permutation(100, "test", 1), permutation(100, "test", 1))
    assert not torch.equal(permutation(100, "test", 1), permutation(100, "test", 2))


def test_the_order_never_changes_between_versions():
    """Old runs go on only while these stay the same."""
    assert permutation(8, "rows", 0, 1, 2).tolist() == [5, 6, 7, 1, 4, 0, 3, 2]
    assert numbers(Order((4, 4), 3, seed=1, window=1), 1) == [(0, 3), (1, 3), (1, 0)]
