"""Atoms are named by the vocabulary that lies along them, by hand."""

from __future__ import annotations

import pytest
import torch

from assay.analysis.naming import name_atoms

WORDS = ["east", "west", "north", "nowhere"]
TEXTS = torch.tensor([[3.0, 1.0], [-1.0, 1.0], [1.0, 5.0], [1.0, 1.0]])


def test_each_side_of_an_atom_is_named_by_what_lies_furthest_along_it():
    (names,) = name_atoms(torch.tensor([[1.0, 0.0]]), WORDS, TEXTS, mean=torch.tensor([1.0, 1.0]), count=1)
    assert names.positive == (("east", 2.0),)
    assert names.negative == (("west", 2.0),)


def test_the_mean_is_that_of_the_vocabulary_unless_another_is_given():
    (names,) = name_atoms(torch.tensor([[0.0, 1.0]]), WORDS, TEXTS, count=9)
    assert names.positive[0] == ("north", pytest.approx(3.0))
    assert [score for _, score in names.negative] == pytest.approx([1.0, 1.0, 1.0, -3.0])
    assert len(names.negative) == len(WORDS)


def test_names_of_a_planted_basis_are_its_words():
    generator = torch.Generator().manual_seed(0)
    atoms = torch.linalg.qr(torch.randn(16, 16, generator=generator)).Q
    words = [f"{sign}{axis}" for axis in range(16) for sign in "+-"]
    embeddings = torch.stack([sign * atom for atom in atoms for sign in (1, -1)])
    for axis, names in enumerate(name_atoms(atoms, words, embeddings, count=1)):
        assert (names.positive[0][0], names.negative[0][0]) == (f"+{axis}", f"-{axis}")
