"""Atoms that are sums of a few others are found composed, independent ones no more than by rote."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from assay.dictionaries.relu import ReLU
from assay.dictionary import Dictionary
from assay.task import NotApplicable, Scores, Task
from assay.tasks.meta_structure import MetaStructure
from assay.testing.known import constant
from tests.tasks.benches import rows_alone

D, ATOMS = 48, 160
SETTINGS = MetaStructure.Config(steps=60, learning_rate=2e-2)


def directions(count: int, seed: int = 0) -> Tensor:
    normal = torch.randn(count, D, generator=torch.Generator().manual_seed(seed))
    return normal / normal.norm(dim=-1, keepdim=True)


def with_atoms(atoms: Tensor, length: float = 1.0) -> Dictionary:
    dictionary = ReLU(ReLU.Config(d_in=D, width=len(atoms)))
    with torch.no_grad():
        dictionary.atoms.copy_(atoms * length)
        dictionary.encoder.copy_(atoms)
    return dictionary


def sums_of_two() -> Tensor:
    parts, draw = directions(20), torch.Generator().manual_seed(1)
    pairs = torch.stack([torch.randperm(20, generator=draw)[:2] for _ in range(ATOMS)])
    sums = parts[pairs].sum(1)
    return sums / sums.norm(dim=-1, keepdim=True)


@pytest.fixture(scope="module")
def task() -> MetaStructure:
    assert Task.registry.named("meta_structure") is MetaStructure
    made = MetaStructure(SETTINGS, rows_alone(10 * directions(500, seed=9)))
    made.prepare()
    return made


@pytest.fixture(scope="module")
def composed(task: MetaStructure) -> Scores:
    return task.try_on(with_atoms(sums_of_two()))


def test_sums_of_few_score_high_and_independent_atoms_as_random_ones_do(task, composed):
    composed, independent = composed.values, task.try_on(with_atoms(directions(ATOMS, 5))).values
    assert list(composed) == list(MetaStructure.scores)
    assert composed["explained"] > 0.9
    assert independent["explained"] < 0.65
    assert composed["above_random"] > 0.3
    assert abs(independent["above_random"]) < 0.03
    assert composed["explained_random"] == independent["explained_random"]


def test_equal_dictionaries_score_equally_whatever_the_length_of_their_atoms(task, composed):
    assert composed == task.try_on(with_atoms(sums_of_two()))
    longer = task.try_on(with_atoms(sums_of_two(), length=2.0))
    assert longer.values["explained"] == pytest.approx(composed.values["explained"], abs=1e-3)


def test_latents_that_never_fire_take_no_part(task, composed):
    dictionary = with_atoms(torch.cat([sums_of_two(), directions(100, 7)]))
    with torch.no_grad():
        dictionary.encoder_bias[ATOMS:] = -100
    found = task.try_on(dictionary)
    assert found.details["atoms"] == ATOMS
    assert found.values["explained"] == pytest.approx(composed.values["explained"])


def test_a_dictionary_that_never_fires_gets_no_number(task):
    with pytest.raises(NotApplicable, match="0 of 8 latents fire; needed are 32"):
        task.try_on(constant(torch.zeros(D)))
