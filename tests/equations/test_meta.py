"""MetaSAE (arXiv:2604.03436): BatchTopK, a meta dictionary on its atoms, and the penalty on atoms that meta composes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assay.dictionary import Step

K, K_META, SIGMA = 5, 2, 0.8


def batch_top_k(z, k):
    """relu of all but the k n largest entries of the table of n rows set to zero, by sorting them all."""
    z = torch.relu(z)
    smallest_kept = z.detach().flatten().sort(descending=True).values[k * len(z) - 1]
    return z * (z.detach() >= smallest_kept)


def composed(meta, atoms):
    """dhat_i of the atoms as they are."""
    g = batch_top_k((atoms - meta.meta_bias) @ meta.meta_encoder.T, K_META)
    units = meta.meta_atoms / meta.meta_atoms.pow(2).sum(1, keepdim=True).sqrt()
    return g @ units + meta.meta_bias


@pytest.fixture
def meta(build):
    return build("meta", k=K, k_meta=K_META, sigma=SIGMA, meta_share=1 / 4)


def test_terms_and_gradients_are_the_papers(layout, meta, step, agree):
    step = replace(step, dead=torch.arange(24) % 3 == 0)
    z = (step.x - meta.decoder_bias) @ meta.encoder.T + meta.encoder_bias
    codes = batch_top_k(z, K)
    xhat = codes @ meta.atoms + meta.decoder_bias
    error = (step.target - xhat).detach()
    unexplained = (error - torch.relu(z[:, step.dead]) @ meta.atoms[step.dead]).pow(2).sum(1).mean()
    by_meta = composed(meta, meta.atoms.detach())
    left = (meta.atoms - by_meta.detach()).pow(2).sum(1)
    assert meta.meta_atoms.shape == (6, 10)
    agree(
        meta,
        step,
        {
            "reconstruction": (step.target - xhat).pow(2).sum(1).mean(),
            "decomposability": torch.exp(-left / SIGMA**2).mean(),
            "meta_reconstruction": (meta.atoms.detach() - by_meta).pow(2).sum(1).mean(),
            "auxk": unexplained / (error - error.mean(0)).pow(2).sum(1).mean(),
        },
    )


def test_the_penalty_pushes_atoms_away_from_what_meta_makes_of_them(layout, meta, step, gradients):
    found = gradients(meta.losses(step).terms["decomposability"], meta)
    assert {name for name, gradient in found.items() if gradient.any()} == {"atoms"}
    atoms = meta.atoms.detach()
    away = atoms - composed(meta, atoms).detach()
    p = torch.exp(-away.pow(2).sum(1, keepdim=True) / SIGMA**2)
    torch.testing.assert_close(found["atoms"], -(2 / SIGMA**2) * p * away / 24, rtol=1e-10, atol=1e-300)


def test_metas_loss_teaches_meta_alone(layout, meta, step, gradients):
    found = gradients(meta.losses(step).terms["meta_reconstruction"], meta)
    assert {name for name, gradient in found.items() if gradient.any()} == {"meta_atoms", "meta_encoder", "meta_bias"}
    along = (found["meta_atoms"] * meta.meta_atoms).sum(1)
    torch.testing.assert_close(along, torch.zeros_like(along), rtol=0, atol=1e-12)


def test_without_the_penalty_it_is_batch_topk(layout, build, meta, step):
    batch_topk = build("batch_topk", k=K)
    meta.load_state_dict(batch_topk.state_dict(), strict=False)
    ours, theirs = meta.losses(step), batch_topk.losses(Step(step.x, step.target))
    for name, term in theirs.terms.items():
        torch.testing.assert_close(ours.terms[name], term)
    for each, made in ((meta, ours), (batch_topk, theirs)):
        each.after_step(made)
    torch.testing.assert_close(meta.encode_scaled(step.x).to_dense(), batch_topk.encode_scaled(step.x).to_dense())
