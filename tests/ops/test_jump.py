"""The jump: a step forward, two pseudo-derivatives backward, against the formulas of arXiv:2407.14435 by hand."""

from __future__ import annotations

import torch

from assay import ops

Z = torch.tensor([-1.0, 0.2, 0.45, 0.5, 0.55, 0.8, 3.0], dtype=torch.float64)
THETA, EPS = 0.5, 0.4


def test_values_pass_above_the_threshold_unchanged():
    codes, fires = ops.jump(Z, torch.full_like(Z, THETA), EPS)
    assert codes.tolist() == [0, 0, 0, 0, 0.55, 0.8, 3.0]
    assert fires.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_pseudo_derivatives_are_the_papers():
    z, theta = Z.clone().requires_grad_(), torch.full_like(Z, THETA).requires_grad_()
    codes, fires = ops.jump(z, theta, EPS)
    band = torch.tensor([0, 0, 1, 1, 1, 0, 0], dtype=torch.float64)
    to_z, to_theta = torch.autograd.grad(codes.sum(), (z, theta), retain_graph=True)
    torch.testing.assert_close(to_z, (Z > THETA).double())
    torch.testing.assert_close(to_theta, -THETA / EPS * band)
    to_z, to_theta = torch.autograd.grad(fires.sum(), (z, theta))
    assert not to_z.any()
    torch.testing.assert_close(to_theta, -band / EPS)


def test_a_threshold_that_is_shared_gets_the_sum():
    theta = torch.full((1,), THETA, dtype=torch.float64, requires_grad=True)
    ops.jump(Z, theta, EPS)[1].sum().backward()
    torch.testing.assert_close(theta.grad, torch.tensor([-3 / EPS], dtype=torch.float64))
