"""Every arm begins with the number of active latents that was asked for."""

from __future__ import annotations

import pytest
import torch

from benchmarks.workload import SAMPLE, Shape, synthetic

SHAPE = Shape(16, 128, 64)


def test_a_shape_is_read_and_written():
    assert str(Shape.parse("576x16384x2048")) == "576x16384x2048"
    with pytest.raises(ValueError, match="expected d x width x batch"):
        Shape.parse("576x16384")


def test_synthetic_rows_are_centred_and_scaled():
    rows = synthetic(SHAPE, 12).rows
    torch.testing.assert_close(rows.mean(0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows.square().sum(-1).mean(), torch.tensor(1.0))


@pytest.mark.parametrize("l0", [1, 12, 100])
def test_biases_open_as_many_gates_as_asked(l0: int):
    given = synthetic(SHAPE, l0)
    gates = given.rows[:SAMPLE] @ given.start.encoder.T + given.start.gate_bias
    assert (gates > 0).sum(-1).double().mean().item() == pytest.approx(l0, abs=0.01)


def test_top_k_kinds_have_more_positive_latents_than_they_keep():
    given = synthetic(SHAPE, 4)
    products = given.rows @ given.start.encoder.T + given.top_k_bias
    assert ((products > 0).sum(-1) >= 4).all()


def test_batches_repeat_without_a_copy():
    given = synthetic(SHAPE, 4)
    batches = given.batches()
    taken = [next(batches) for _ in range(len(given.rows) // 64 + 1)]
    assert taken[0].data_ptr() == given.rows.data_ptr() == taken[-1].data_ptr()
