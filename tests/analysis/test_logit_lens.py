"""Which tokens an atom raises and lowers, by hand."""

from __future__ import annotations

import pytest
import torch

from assay.analysis.logit_lens import token_effects
from assay.dictionaries.relu import ReLU


def test_effects_are_the_atom_times_the_unembedding_centred_over_the_vocabulary() -> None:
    dictionary = ReLU(ReLU.Config(d_in=2, width=2))
    with torch.no_grad():
        dictionary.atoms.copy_(torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
        dictionary.scale.fill_(10.0)
    unembedding = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 0.0]])
    first, second = token_effects(dictionary, [0, 1], unembedding, torch.tensor([2.0, 1.0]), count=2)
    assert first.raised[0] == (0, pytest.approx(20.0))
    assert first.lowered[0] == (2, pytest.approx(-20.0))
    # 10 * (0.6 * 2, 0.8) = (12, 8): logits 12, 8, -12, 0, whose mean is 2
    assert second.raised == ((0, pytest.approx(10.0)), (1, pytest.approx(6.0)))
    assert second.lowered == ((2, pytest.approx(-14.0)), (3, pytest.approx(-2.0)))
