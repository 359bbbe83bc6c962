"""In a planted linear model the oracle carries an attribute over alone; random directions carry everything or nothing."""

from __future__ import annotations

import torch

from assay.analysis.interchange import Disentanglement, Pairs, answered, disentangle
from assay.dictionary import Dictionary
from assay.testing.known import constant, known_planted, oracle, random_directions

PLANTED = known_planted(children=0)
VALUES, ATTRIBUTES = 8, 3


def pairs(key: int, count: int = 400) -> tuple[Pairs, torch.Tensor]:
    """Entities are sums of one of 8 directions for each of three attributes, and one of their own; the mask is for attribute 0."""
    draw = torch.Generator().manual_seed(key)
    values = torch.randint(VALUES, (2, count, ATTRIBUTES + 1), generator=draw)
    values[1] = (values[0] + 1 + torch.randint(VALUES - 1, values[0].shape, generator=draw)) % VALUES  # all differ
    base, source = PLANTED.directions[values + VALUES * torch.arange(ATTRIBUTES + 1)].sum(2)
    asked = torch.where(
        torch.rand(count, generator=draw) < 0.5, 0, torch.randint(1, ATTRIBUTES, (count,), generator=draw)
    )
    target = torch.where(asked == 0, values[1, :, 0], values[0, torch.arange(count), asked])
    return Pairs(base, source, target, asked == 0), asked


def readout(asked: torch.Tensor):
    """Strengths of the values of the attribute that is asked about."""

    def logits(x, which):
        strengths = (10 * x @ PLANTED.directions.T).view(len(x), -1, VALUES)
        return strengths[torch.arange(len(x)), asked[which]]

    return logits


def found(dictionary: Dictionary) -> Disentanglement:
    (learn, asked), (test, asked_then) = pairs(1), pairs(2)
    return disentangle(dictionary, (learn, readout(asked)), (test, readout(asked_then)))


def test_the_oracle_disentangles():
    ours = found(oracle(PLANTED))
    assert ours.score >= 0.95
    assert ours.latents <= 16
    assert ours == found(oracle(PLANTED))


def test_random_directions_do_not():
    assert found(random_directions(PLANTED)).score <= 0.6


def test_moving_nothing_is_the_floor():
    nothing = found(constant(torch.zeros(32)))
    assert (nothing.cause, nothing.isolation, nothing.score, nothing.latents) == (0.0, 1.0, 0.5, 0)


def test_each_pair_says_whether_it_was_right():
    test, ours = pairs(2)[0], found(oracle(PLANTED))
    right = torch.tensor(ours.right)
    assert float(right[test.cause].double().mean()) == ours.cause
    assert float(right[~test.cause].double().mean()) == ours.isolation


def test_all_latents_of_the_oracle_carry_over_everything():
    test, asked = pairs(2)
    right = answered(oracle(PLANTED), test, readout(asked), torch.ones(PLANTED.atoms))
    assert right[test.cause].all()
    assert not right[~test.cause].any(), "the source's values are all others than the base's"
