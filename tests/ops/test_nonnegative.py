"""Non-negative factorisation: the updates as published, what they may not do, and parts that are known."""

from __future__ import annotations

import torch

from assay import ops


def known(rows: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    parts = torch.rand(4, 12, generator=generator) * (torch.rand(4, 12, generator=generator) < 0.4)
    codes = torch.rand(rows, 4, generator=generator) * (torch.rand(rows, 4, generator=generator) < 0.5)
    return parts, codes @ parts


def test_known_parts_are_found_and_explain_the_rows():
    _, v = known()
    found = ops.factorise(v, 4, rounds=600, generator=torch.Generator().manual_seed(1))
    assert bool((found >= 0).all())
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    codes = ops.nonnegative_codes(v, found, 4, rounds=600).to_dense()
    assert bool((codes >= 0).all())
    assert float((v - codes @ found).square().sum() / v.square().sum()) < 0.01


def test_codes_follow_the_multiplicative_rule_and_the_largest_stay():
    parts, v = known(7)
    codes = torch.full((7, 4), 1 / 4)
    for _ in range(5):
        codes = codes * (v @ parts.T) / (codes @ parts @ parts.T + torch.finfo(v.dtype).eps)
    torch.testing.assert_close(ops.nonnegative_codes(v, parts, 4, rounds=5).to_dense(), codes)
    two = ops.nonnegative_codes(v, parts, 2, rounds=5).to_dense()
    expected = torch.zeros_like(codes).scatter(1, codes.topk(2).indices, codes.topk(2).values)
    torch.testing.assert_close(two, expected)


def test_updates_never_raise_the_error():
    _, v = known()
    errors = []
    for rounds in (1, 5, 25, 125):
        parts = ops.factorise(v, 4, rounds=rounds, generator=torch.Generator().manual_seed(2))
        codes = ops.nonnegative_codes(v, parts, 4, rounds=2000).to_dense()
        errors.append(float((v - codes @ parts).square().sum()))
    assert errors == sorted(errors, reverse=True)


def test_signs_are_split():
    x = torch.tensor([[1.0, -2.0]])
    assert ops.split_signs(x).tolist() == [[1.0, 0.0, 0.0, 2.0]]
