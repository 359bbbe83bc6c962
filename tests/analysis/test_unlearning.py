"""A planted topic is forgotten by clamping its own atoms, and by nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from assay.analysis.unlearning import Change, Clamping, Unlearning, clamping, qualifying, unlearn
from assay.dictionary import Dictionary
from assay.testing.known import constant, identity, known_planted, oracle, random_directions

PLANTED = known_planted(children=0)
TOPIC = 8
"""The first so many atoms are those of the topic to be forgotten; in other text there are none of them."""
SETTINGS = {"thresholds": (0.001, 0.01), "counts": (4, 8), "strengths": (1.0, 4.0)}


def rows(key: int, topic: bool, count: int = 3000) -> tuple[Tensor, Tensor]:
    """Rows with an atom to be predicted, of the topic or not, and other atoms of the common ones."""
    draw = torch.Generator().manual_seed(key)
    target = (
        torch.randint(0, TOPIC, (count,), generator=draw)
        if topic
        else torch.randint(TOPIC, 32, (count,), generator=draw)
    )
    beside = torch.randint(TOPIC, 32, (count,), generator=draw)
    codes = 0.5 * F.one_hot(beside, 32) + 1.5 * F.one_hot(target, 32)
    return codes @ PLANTED.directions, target


FORGET, RETAIN = rows(1, topic=True), rows(2, topic=False)


def losses(changes: Sequence[Change]) -> Tensor:
    """Of a linear model whose logits are the strengths of all atoms, on rows that the choice did not see."""
    found = torch.empty(len(changes), 2, 2)
    for text, key in ((0, 3), (1, 5)):
        for half in (0, 1):
            x, target = rows(key + half, topic=text == 0)
            for number, change in enumerate(changes):
                found[number, text, half] = F.cross_entropy(5 * change(x) @ PLANTED.directions.T, target)
    return found


def forgotten(dictionary: Dictionary) -> Unlearning:
    return unlearn(dictionary, FORGET[0], RETAIN[0], losses, **SETTINGS)


def test_the_oracle_forgets_the_topic_and_nothing_else():
    found = forgotten(oracle(PLANTED))
    for half in (0, 1):
        best = found.best(half, 0.01)
        assert best is not None
        assert set(best.latents) == set(range(TOPIC))
        assert best.strength == 4.0
        assert found.retain_loss[half] < 0.5
    rise, rise_retain = found.rises(0.01)
    assert min(rise) > 5
    assert max(map(abs, rise_retain)) < 1e-6
    assert len(found.tried) == 2 * 2, "both thresholds choose the same latents, which are tried once"


def test_random_directions_forget_far_less_at_the_same_price():
    (ours, _), (theirs, _) = (forgotten(each).rises(0.01) for each in (oracle(PLANTED), random_directions(PLANTED)))
    assert sum(theirs) < 0.2 * sum(ours)


def test_each_half_is_scored_under_the_setting_that_the_other_one_chose():
    dear, cheap = (Clamping(0.01, 1, c, (0,), rise, (0.0, 0.0)) for c, rise in ((1.0, (3.0, 1.0)), (2.0, (2.0, 5.0))))
    found = Unlearning((1.0, 1.0), (2.0, 2.0), 1, (dear, cheap))
    assert (found.best(0, 0.01), found.best(1, 0.01)) == (dear, cheap)
    assert found.rises(0.01)[0] == [2.0, 1.0]


def test_halves_of_unlike_size_count_alike():
    held = Clamping(0.01, 1, 1.0, (0,), (3.0, 1.0, 5.0), (0.0, 0.01, 0.0))
    found = Unlearning((1.0, 1.0, 1.0), (2.0, 4.0, 2.0), 1, (held,))
    rise, rise_retain = found.rises(0.01)
    assert sum(rise) / 3 == pytest.approx(((3.0 + 5.0) / 2 + 1.0) / 2)
    assert rise_retain == pytest.approx([0.0, 1.5 * 0.01 / 4.0, 0.0])


def test_without_a_bound_more_is_forgotten_at_the_expense_of_the_rest():
    found = unlearn(
        random_directions(PLANTED), FORGET[0], RETAIN[0], losses, thresholds=(1.1,), counts=(8,), strengths=(4.0,)
    )
    assert found.tried[0].rise_retain[0] > 0.01 * found.retain_loss[0]
    assert found.best(0, 0.01) is None
    assert found.best(0, 1e9) == found.tried[0]


def test_where_no_latent_qualifies_nothing_is_tried():
    assert forgotten(constant(torch.zeros(32))).tried == ()
    assert forgotten(identity(32)).rises(0.01) == ([0.0, 0.0], [0.0, 0.0])


def test_latents_are_chosen_by_their_density_on_the_forget_text():
    fires, strays = torch.tensor([[0.1, 0.4, 0.0, 0.4, 0.9], [0.0, 0.0, 0.0, 0.009, 0.01]], dtype=torch.float64)
    assert qualifying(fires, strays, 0.01).tolist() == [1, 3, 0]
    assert qualifying(fires, strays, 0.001).tolist() == [1, 0]


@torch.no_grad()
def test_clamping_holds_latents_where_they_fire_and_keeps_the_error():
    dictionary, x = oracle(PLANTED), FORGET[0][:50] + 0.01
    changed = clamping(dictionary, [2], torch.tensor([-3.0]))(x)
    codes, after = dictionary.encode(x).to_dense(), changed @ PLANTED.directions.T
    fires = codes[:, 2] != 0
    assert torch.equal(changed[~fires], x[~fires])
    before = (x @ PLANTED.directions.T)[fires]
    assert after[fires][:, 2].numpy() == pytest.approx((before[:, 2] - codes[fires, 2] - 3.0).numpy(), abs=1e-5)
    others = torch.arange(32) != 2
    assert torch.allclose(after[fires][:, others], before[:, others], atol=1e-5)
