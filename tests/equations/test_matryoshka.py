"""Matryoshka BatchTopK (arXiv:2503.17547): one code, and a reconstruction from each of its nested prefixes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assay.dictionary import Step

K, ROWS = 5, 32
GROUPS = (1 / 8, 1 / 4)
SHORTER = (3, 9)
"""Prefixes of 24 latents that are one eighth, and then a quarter more."""


def papers_codes(matryoshka, x):
    z = torch.relu((x - matryoshka.decoder_bias) @ matryoshka.encoder.T + matryoshka.encoder_bias)
    smallest_kept = z.detach().flatten().sort(descending=True).values[K * len(z) - 1]
    return z * (z.detach() >= smallest_kept)


def papers_terms(matryoshka, step, shorter):
    codes = papers_codes(matryoshka, step.x)
    errors = []
    for length in (*shorter, 24):
        by_prefix = codes[:, :length] @ matryoshka.atoms[:length] + matryoshka.decoder_bias
        errors.append(step.target - by_prefix)
    losses = [error.pow(2).sum(1).mean() for error in errors]
    error = errors[-1].detach()
    z = (step.x - matryoshka.decoder_bias) @ matryoshka.encoder.T + matryoshka.encoder_bias
    by_dead = torch.relu(z[:, step.dead]) @ matryoshka.atoms[step.dead]
    unexplained = (error - by_dead).pow(2).sum(1).mean() / (error - error.mean(0)).pow(2).sum(1).mean()
    return codes, {"reconstruction": losses[-1], "prefixes": sum(losses[:-1]), "auxk": unexplained}


def test_terms_and_gradients_are_the_papers(layout, build, step, agree):
    matryoshka = build("matryoshka", k=K, groups=GROUPS)
    step = replace(step, dead=torch.arange(24) % 3 == 0)
    codes, terms = papers_terms(matryoshka, step, SHORTER)
    agree(matryoshka, step, terms)
    made = matryoshka.losses(step)
    torch.testing.assert_close(made.codes.to_dense(), codes)
    torch.testing.assert_close(made.reconstruction, codes @ matryoshka.atoms + matryoshka.decoder_bias)


def test_drawn_prefixes_take_the_place_of_fixed_ones(layout, build, step, agree):
    matryoshka = build("matryoshka", k=K, drawn=4)
    step = replace(step, dead=torch.arange(24) % 3 == 0)
    seen = set()
    for _ in range(3):
        *shorter, last = matryoshka.ends()
        assert last == 24
        agree(matryoshka, step, papers_terms(matryoshka, step, shorter)[1])
        matryoshka.after_step(matryoshka.losses(step))
        seen.add(tuple(shorter))
    assert len(seen) == 3, "each step draws anew"


def test_a_prefix_teaches_nothing_beyond_it(layout, build, step, gradients):
    matryoshka = build("matryoshka", k=K, groups=(1 / 4,))
    found = gradients(matryoshka.losses(step).terms["prefixes"], matryoshka)
    for name in ("atoms", "encoder", "encoder_bias"):
        taught = found[name].reshape(24, -1).any(1)
        assert taught[:6].any()
        assert not taught[6:].any(), name


def test_without_prefixes_it_is_batch_topk(layout, build, step):
    matryoshka, batch_topk = build("matryoshka", k=K, groups=GROUPS), build("batch_topk", k=K)
    matryoshka.load_state_dict(batch_topk.state_dict(), strict=False)
    step = replace(step, dead=torch.arange(24) % 4 == 0)
    ours, theirs = matryoshka.losses(step), batch_topk.losses(step)
    for name, term in theirs.terms.items():
        torch.testing.assert_close(ours.terms[name], term)
    for each, made in ((matryoshka, ours), (batch_topk, theirs)):
        each.after_step(made)
    assert torch.equal(matryoshka.threshold, batch_topk.threshold)
    torch.testing.assert_close(matryoshka.encode_scaled(step.x).to_dense(), batch_topk.encode_scaled(step.x).to_dense())


@pytest.mark.parametrize("seed", [0, 1])
def test_the_seed_and_the_step_decide_what_is_drawn(build, seed):
    def drawn(steps):
        matryoshka = build("matryoshka", k=K, drawn=5, seed=seed)
        for _ in range(steps):
            x = torch.randn(ROWS, 10, dtype=torch.float64)
            matryoshka.after_step(matryoshka.losses(Step(x, x)))
        return matryoshka.ends()

    assert drawn(2) == drawn(2)
    assert drawn(2) != drawn(1)
