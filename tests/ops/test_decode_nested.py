"""Reconstructions by nested prefixes, and the lengths that are drawn for them."""

from __future__ import annotations

import pytest
import torch

from assay.codes import SparseCodes
from assay.ops import decode, decode_nested, drawn_prefixes, forced

ROWS, LATENTS, WIDTH = 40, 30, 7


@pytest.fixture(params=["csr", "dense"])
def codes(request):
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(ROWS, LATENTS, generator=generator, dtype=torch.float64)
    table *= torch.rand(ROWS, LATENTS, generator=generator) < 0.2
    dense = SparseCodes.dense(table)
    chosen = dense.to_csr() if request.param == "csr" else dense
    return SparseCodes(chosen.values.clone().requires_grad_(), chosen.support)


@pytest.fixture
def atoms():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(LATENTS, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("ends", [(30,), (1, 30), (4, 4, 11, 30), (30, 30)])
def test_each_prefix_decodes_as_if_alone(codes, atoms, ends):
    nested = decode_nested(codes.with_values(codes.values), atoms, ends)
    assert nested.shape == (len(ends), ROWS, WIDTH)
    table = codes.to_dense()
    expected = torch.stack([table[:, :end] @ atoms[:end] for end in ends])
    torch.testing.assert_close(nested, expected)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ours = torch.autograd.grad((nested * weights).sum(), (codes.values, atoms))
    theirs = torch.autograd.grad((expected * weights).sum(), (codes.values, atoms))
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their)


def test_the_whole_is_decode(codes, atoms):
    torch.testing.assert_close(decode_nested(codes, atoms, (9, LATENTS))[-1], decode(codes, atoms))


def test_kernels_agree_with_the_portable_path(codes, atoms):
    single = SparseCodes(codes.values.detach().float(), codes.support)
    with forced("portable"):
        expected = decode_nested(single, atoms.detach().float(), (3, 12, LATENTS))
    torch.testing.assert_close(decode_nested(single, atoms.detach().float(), (3, 12, LATENTS)), expected)


def test_drawn_lengths_follow_their_law():
    width, lengths = 400, [m for step in range(500) for m in drawn_prefixes(400, 8, 0, step)]
    assert min(lengths) >= 1
    assert max(lengths) <= width
    for m in (4, 20, 100):
        expected = (m**-0.5 - width**-0.5) / (1 - width**-0.5)
        assert sum(length > m for length in lengths) / len(lengths) == pytest.approx(expected, abs=0.03)


def test_drawn_lengths_are_a_function_of_seed_and_step():
    ambient = torch.random.get_rng_state()
    assert drawn_prefixes(400, 8, 0, 3) == drawn_prefixes(400, 8, 0, 3) == sorted(drawn_prefixes(400, 8, 0, 3))
    assert drawn_prefixes(400, 8, 0, 3) != drawn_prefixes(400, 8, 0, 4) != drawn_prefixes(400, 8, 1, 4)
    assert torch.equal(ambient, torch.random.get_rng_state())
