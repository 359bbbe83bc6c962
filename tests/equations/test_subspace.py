"""SASA (arXiv:2606.06333): groups chosen by their norm, signed codes, the nuclear norm, and AuxK over dead columns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assay.dictionary import Dictionary, Step

RANK, GROUPS = 3, 2


def papers_codes(subspace, x):
    """p = W_enc (x - b_dec) + b_enc in K groups of r; the s groups with the largest ||p_k||, signs kept."""
    p = ((x - subspace.decoder_bias) @ subspace.encoder.T + subspace.encoder_bias).view(len(x), -1, RANK)
    kept = torch.zeros(p.shape[:2], dtype=p.dtype)
    for row, norms in enumerate(p.detach().pow(2).sum(-1).sqrt()):
        kept[row, norms.argsort(descending=True)[:GROUPS]] = 1
    return (p * kept[..., None]).flatten(1)


def papers_terms(subspace, step, k_aux):
    f = papers_codes(subspace, step.x)
    error = step.target - f @ subspace.atoms - subspace.decoder_bias
    residual = error.detach()
    pre = (step.x - subspace.decoder_bias) @ subspace.encoder.T + subspace.encoder_bias
    among = torch.zeros_like(pre)
    for row in range(len(pre)):
        dead = step.dead.nonzero().view(-1)
        chosen = dead[pre[row, dead].abs().argsort(descending=True)[:k_aux]]
        among[row, chosen] = pre[row, chosen]
    left = (residual - among @ subspace.atoms).pow(2).sum(1).mean()
    return {
        "reconstruction": error.pow(2).sum(1).mean(),
        "nuclear": torch.stack([torch.linalg.svdvals(block).sum() for block in subspace.atoms.split(RANK)]).mean(),
        "auxk": left / (residual - residual.mean(0)).pow(2).sum(1).mean(),
    }


@pytest.mark.parametrize("k_aux", [2, 99], ids=["fewer than the dead", "all of the dead"])
def test_terms_and_gradients_are_the_papers(layout, build, step, agree, k_aux):
    subspace = build("subspace", rank=RANK, groups=GROUPS, k_aux=k_aux)
    step = replace(step, dead=torch.arange(24) % 4 == 0)
    agree(subspace, step, papers_terms(subspace, step, k_aux))
    codes = subspace.losses(step).codes
    torch.testing.assert_close(codes.to_dense(), papers_codes(subspace, step.x))
    assert set(codes.l0().tolist()) == {float(RANK * GROUPS)}
    assert bool((codes.values < 0).any())


def test_codes_are_odd_where_nothing_is_added(layout, build, step):
    subspace = build("subspace", rank=RANK, groups=GROUPS)
    with torch.no_grad():
        subspace.encoder_bias.zero_()
        subspace.decoder_bias.zero_()
    torch.testing.assert_close(subspace.encode_scaled(-step.x).to_dense(), -subspace.encode_scaled(step.x).to_dense())


def test_a_rotation_inside_a_group_changes_no_output(build, step):
    subspace = build("subspace", rank=RANK, groups=GROUPS)
    before = subspace.losses(step)
    turn = torch.linalg.qr(torch.randn(RANK, RANK, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    with torch.no_grad():
        for parameter in (subspace.encoder, subspace.atoms, subspace.encoder_bias):
            parameter[RANK : 2 * RANK] = turn @ parameter[RANK : 2 * RANK]
    after = subspace.losses(step)
    torch.testing.assert_close(after.reconstruction, before.reconstruction)
    torch.testing.assert_close(after.terms["nuclear"], before.terms["nuclear"])


def test_the_nuclear_term_stays_finite_where_a_group_has_collapsed(build, step, gradients):
    subspace = build("subspace", rank=RANK, groups=GROUPS)
    with torch.no_grad():
        subspace.atoms[:RANK] = subspace.atoms[0]
    found = gradients(subspace.losses(step).terms["nuclear"], subspace)["atoms"]
    torch.testing.assert_close(found[:RANK].norm(), torch.tensor(1 / 8, dtype=torch.float64))  # one direction, K = 8
    assert bool(found.isfinite().all())


def test_encoder_rows_are_held_at_unit_norm_if_asked():
    for held in (True, False):
        subspace = Dictionary.registry.named("subspace").Config(d_in=8, width=12, rank=3, unit_encoder=held).build()
        with torch.no_grad():
            subspace.encoder *= 2
        x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
        subspace.after_step(subspace.losses(Step(x, x)))
        torch.testing.assert_close(subspace.encoder.norm(dim=1), torch.full((12,), 1.0 if held else 2.0))


def test_a_small_shape_stays_small_whatever_the_rank():
    huge = Dictionary.registry.named("subspace").Config(d_in=8, width=2**30, rank=2**29)
    small = huge.resized(d_in=4, width=32)
    assert (small.width, small.block) == (32, 32)
    assert huge.resized(d_in=4, width=2**30).block == 2**29
