"""Arms that need no peer: the control and ours train, at the L0 that was set; the control's gradients are those of our Gated loss."""

from __future__ import annotations

import pytest
import torch

import assay
from benchmarks import libraries, worker
from benchmarks.libraries import ours, plain_torch
from benchmarks.workload import Shape, synthetic

SHAPE, L0 = Shape(16, 128, 64), 12
OFFERED = libraries.offered(["torch", "assay"])


@pytest.mark.parametrize("name", sorted({name for names in OFFERED.values() for name in names}))
def test_a_turn_moves_every_parameter_and_keeps_l0(name: tuple[str, str]):
    given = synthetic(SHAPE, L0)
    arm = libraries.build(name, given)
    before = worker.fingerprints(arm)
    arm.turn()
    worker.check_moved(" ".join(name), before, worker.fingerprints(arm))
    if name != libraries.PRODUCT:
        assert arm.l0() == pytest.approx(32 if "k=32" in name[1] else L0, rel=0.25)


def test_every_group_begins_with_the_encoder_product():
    assert all(names[0] == libraries.PRODUCT and len(names) > 1 for names in OFFERED.values())


def test_a_library_that_is_absent_is_said_and_left_out(capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setattr("benchmarks.libraries.dictionary_learning.PACKAGE", "no_such_package")
    assert libraries.offered(["dictionary_learning"]) == {}
    assert "dictionary_learning is not installed" in capsys.readouterr().err


def test_an_arm_that_stands_still_is_an_error():
    with pytest.raises(RuntimeError, match="parameter 1 did not move"):
        worker.check_moved("x", [[1.0], [2.0]], [[1.5], [2.0]])
    with pytest.raises(RuntimeError, match="not finite"):
        worker.check_moved("x", [[1.0]], [[float("nan")]])


def test_the_control_has_the_loss_and_the_gradients_of_our_gated_dictionary():
    given = synthetic(SHAPE, L0)
    control = plain_torch.DenseGated(given)
    made = ours.dictionary("gated", given, k=1)
    x = made.scaled(next(given.batches()))
    terms = made.losses(assay.Step(x, target=x)).terms
    loss = terms["reconstruction"] + terms["gate_reconstruction"] + plain_torch.L1 * terms["sparsity"]
    loss.backward()
    expected = control.loss(x)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    named = dict(made.named_parameters())
    pairs = {"encoder": control.encoder, "atoms": control.atoms, "decoder_bias": control.bias}
    pairs |= {
        "gate_bias": control.gate_bias,
        "magnitude_bias": control.magnitude_bias,
        "log_rescale": control.log_rescale,
    }
    for name, parameter in pairs.items():
        torch.testing.assert_close(named[name].grad, parameter.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_counted_products_are_one_and_a_share_for_each_active_entry():
    assert ours.counted_products("gated", l0=64, width=16_384) == 1 + 6 * 64 / 16_384
    assert ours.counted_products("topk k=32", l0=32, width=1024) == 1 + 4 / 32


def test_dense_products_are_counted_by_torch():
    given = synthetic(SHAPE, L0)
    arm = plain_torch.DenseGated(given)
    assert worker.matmul_units("torch", "gated dense", arm, given) == 8
