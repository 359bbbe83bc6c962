"""Chosen latents fall silent, in both layouts; the others do not notice."""

from __future__ import annotations

import pytest
import torch

from assay.codes import SparseCodes
from assay.edit import Edit
from assay.errors import ShapeMismatch
from assay.interventions.ablate import Ablate

TABLE = torch.tensor([[1.0, 0.0, 2.0, 3.0], [0.0, 4.0, 0.0, 5.0]])


@pytest.mark.parametrize("sparse", [False, True])
def test_chosen_latents_are_zero_and_the_others_unchanged(sparse: bool) -> None:
    codes = SparseCodes.dense(TABLE)
    edited = Ablate([3, 1])(codes.to_csr() if sparse else codes)
    expected = torch.tensor([[1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(edited.to_dense(), expected, rtol=0, atol=0)
    assert edited.l0().tolist() == [2, 0]


def test_the_codes_that_were_given_stay_as_they_are() -> None:
    codes = SparseCodes.dense(TABLE.clone()).to_csr()
    Ablate(range(4))(codes)
    torch.testing.assert_close(codes.to_dense(), TABLE, rtol=0, atol=0)


def test_ablating_nothing_changes_nothing() -> None:
    torch.testing.assert_close(Ablate([])(SparseCodes.dense(TABLE)).to_dense(), TABLE, rtol=0, atol=0)


@pytest.mark.parametrize("latent", [4, -1])
def test_a_latent_that_the_dictionary_lacks_is_refused(latent: int) -> None:
    with pytest.raises(ShapeMismatch, match=f"no latent {latent}; expected 0 to 3"):
        Ablate([0, latent])(SparseCodes.dense(TABLE))


def test_it_keeps_the_error_term_by_default_and_is_found_by_name() -> None:
    assert Edit.registry.named("ablate") is Ablate
    assert Ablate.error == "keep"
