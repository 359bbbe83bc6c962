"""The nuclear norm and its subgradient against the singular value decomposition."""

from __future__ import annotations

import pytest
import torch

from assay.ops import nuclear_norm, polar_factor


def blocks(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_value_and_gradient_are_those_of_the_singular_values(dtype, tolerance):
    ours, theirs = (blocks(7, 4, 12, dtype=dtype).requires_grad_() for _ in range(2))
    torch.testing.assert_close(nuclear_norm(ours), torch.linalg.svdvals(theirs).sum(-1), rtol=tolerance, atol=tolerance)
    (nuclear_norm(ours) * torch.arange(7)).sum().backward()
    (torch.linalg.svdvals(theirs).sum(-1) * torch.arange(7)).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rank", [0, 1, 3], ids="rank {}".format)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_block_of_lower_rank_has_a_finite_subgradient(rank, dtype):
    thin = (blocks(5, 4, rank, dtype=dtype) @ blocks(5, rank, 9, dtype=dtype)).requires_grad_()
    norm = nuclear_norm(thin)
    norm.sum().backward()
    u, s, v = torch.linalg.svd(thin.detach(), full_matrices=False)
    torch.testing.assert_close(norm, s.sum(-1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(thin.grad, u[..., :rank] @ v[..., :rank, :], rtol=1e-3, atol=1e-3)
    # A subgradient G has <G, D> = ||D||_* and no singular value above one.
    torch.testing.assert_close((thin.grad * thin).sum((-1, -2)), norm, rtol=1e-4, atol=1e-6)
    assert float(torch.linalg.matrix_norm(thin.grad, 2).max()) <= 1 + 1e-4


def test_groups_of_more_atoms_than_dimensions_have_one_too():
    wide = blocks(3, 8, 5).requires_grad_()
    nuclear_norm(wide).sum().backward()
    u, _, v = torch.linalg.svd(wide.detach(), full_matrices=False)
    torch.testing.assert_close(wide.grad, u @ v, rtol=1e-6, atol=1e-6)


def test_the_polar_factor_is_the_nearest_orthogonal_matrix():
    orthogonal = torch.linalg.qr(blocks(20, 20)).Q
    moved = orthogonal + 0.01 * blocks(20, 20).T
    factor = polar_factor(moved)
    torch.testing.assert_close(factor @ factor.T, torch.eye(20, dtype=torch.float64), rtol=0, atol=1e-12)
    u, _, v = torch.linalg.svd(moved)
    torch.testing.assert_close(factor, u @ v, rtol=0, atol=1e-10)
    assert (moved - factor).norm() <= (moved - orthogonal).norm()


def test_what_is_not_finite_stays_so():
    broken = blocks(2, 3, 4).index_fill_(0, torch.tensor([0]), torch.nan).requires_grad_()
    norm = nuclear_norm(broken).sum()
    assert norm.isnan()
    assert polar_factor(broken).isnan().all()
