"""p-annealing (arXiv:2408.00113): L_p penalties on ReLU codes and on the gate, the schedule of p, and the coefficient's continuity."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assay.ops.anneal import FLOOR

VARIANTS = ["p_anneal", "gated_anneal"]


def penalised(dictionary, x):
    """What the penalty is taken of: ReLU codes, or the rectified gate."""
    bias = dictionary.gate_bias if dictionary.name == "gated_anneal" else dictionary.encoder_bias
    return torch.relu((x - dictionary.decoder_bias) @ dictionary.encoder.T + bias)


def papers_power(f, p):
    """mean_b sum_i f_i^p over the entries that are not zero; no entry is in the band where ours is a straight line."""
    rows, latents = (f > 0).nonzero(as_tuple=True)
    assert float(f[rows, latents].detach().min()) > FLOOR
    return f[rows, latents].pow(p).sum() / len(f)


@pytest.mark.parametrize("changed", [0, 2, 4])
def test_terms_and_gradients_of_relu_codes_are_the_papers(layout, build, step, agree, changed):
    relu = build("p_anneal", p_end=0.2, changes=4)
    relu.changed.fill_(changed)
    relu.coefficient.fill_(0.7)
    f = penalised(relu, step.x)
    agree(
        relu,
        step,
        {
            "reconstruction": (step.target - f @ relu.atoms - relu.decoder_bias).pow(2).sum(1).mean(),
            "sparsity": 0.7 * papers_power(f, {0: 1.0, 2: 0.6, 4: 0.2}[changed]),
        },
    )


@pytest.mark.parametrize("changed", [0, 2, 4])
def test_terms_and_gradients_of_the_gate_are_the_papers(layout, build, step, agree, changed):
    gated = build("gated_anneal", p_end=0.2, changes=4)
    gated.changed.fill_(changed)
    gated.coefficient.fill_(0.7)
    gate = penalised(gated, step.x)
    u = (step.x - gated.decoder_bias) @ gated.encoder.T
    f = (gate.detach() > 0) * torch.relu(gated.log_rescale.exp() * u + gated.magnitude_bias)
    by_gate = gate @ gated.atoms.detach() + gated.decoder_bias.detach()
    agree(
        gated,
        step,
        {
            "reconstruction": (step.target - f @ gated.atoms - gated.decoder_bias).pow(2).sum(1).mean(),
            "sparsity": 0.7 * papers_power(gate, {0: 1.0, 2: 0.6, 4: 0.2}[changed]),
            "gate_reconstruction": (step.target - by_gate).pow(2).sum(1).mean(),
        },
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_size_of_the_term_is_continuous_where_the_power_changes(build, step, variant):
    """Of equal batches to the last digit: coefficient * sum |f|^p is the same before and after each change."""
    dictionary = build(variant, p_end=0.2, changes=5, anneal_start=0.25, queue=3)
    sizes, changes = [], []
    for number in range(40):
        made = dictionary.losses(replace(step, progress=number / 40))
        sizes.append(made.terms["sparsity"].item())
        dictionary.after_step(made)
        changes.append(int(dictionary.changed))
    torch.testing.assert_close(torch.tensor(sizes), torch.full((40,), sizes[0]))
    # Due at 10, 16, 22, 28, 34 of 40: the first at a quarter, then every fifth of the rest.
    assert [changes.index(k) for k in range(1, 6)] == [10, 16, 22, 28, 34]
    f = penalised(dictionary, step.x).detach()
    expected = papers_power(f, 1.0) / papers_power(f, 0.2)
    torch.testing.assert_close(dictionary.coefficient, expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_ratio_is_that_of_means_over_recent_batches(build, step, variant):
    dictionary = build(variant, p_end=0.5, changes=1, anneal_start=0.9, queue=2)
    batches = [replace(step, x=step.x * factor, progress=p) for factor, p in ((3.0, 0.1), (1.0, 0.2), (1.1, 0.9))]
    for batch in batches:
        dictionary.after_step(dictionary.losses(batch))
    recent = [penalised(dictionary, batch.x).detach() for batch in batches[1:]]
    now, after = (sum(papers_power(f, p) for f in recent) for p in (1.0, 0.5))
    torch.testing.assert_close(dictionary.coefficient, now / after)
    assert int(dictionary.changed) == 1
