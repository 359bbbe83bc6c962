"""Recovery of planted atoms by dictionaries whose scores are known, by hand, and in any order and length."""

from __future__ import annotations

import math

import pytest
import torch

from assay.activations.planted import Planted
from assay.analysis.ground_truth import absorption, assign_latents, f1, recovery
from assay.dictionaries.relu import ReLU
from assay.dictionary import Dictionary
from assay.testing.known import identity, known_dictionaries, known_planted


@pytest.fixture(scope="module")
def planted() -> Planted:
    return known_planted()


@pytest.fixture(scope="module")
def known(planted: Planted) -> dict[str, Dictionary]:
    return known_dictionaries(planted)


def test_the_oracle_has_every_score(planted: Planted, known: dict[str, Dictionary]) -> None:
    found = recovery(known["oracle"], planted)
    for name in ("mcc", "code_correlation", "f1", "mmcs", "explained_variance"):
        assert getattr(found, name) == pytest.approx(1, abs=1e-5), name
    assert found.absorption == 0
    assert found.dead == 0
    assert found.l0 == pytest.approx(3, abs=0.1)


def test_a_dictionary_made_to_absorb_absorbs(planted: Planted, known: dict[str, Dictionary]) -> None:
    found = recovery(known["absorbing"], planted)
    assert found.absorption >= 0.9
    assert found.absorption == pytest.approx(0.95 * (1 - 0.0125), abs=0.02)  # 5 % alone; 1.25 % of f_c < 0.4 f_p
    assert found.f1 == pytest.approx(
        0.75 + 0.25 * 2 * 0.05 / 1.05, abs=0.03
    )  # three of four atoms are children, found whole


def test_random_directions_and_raw_channels_are_far_from_the_oracle(
    planted: Planted, known: dict[str, Dictionary]
) -> None:
    for name in ("random", "identity"):
        found = recovery(known[name], planted)
        assert found.mcc < 0.6
        assert found.f1 < 0.6
        assert found.absorption < 0.2


@pytest.mark.parametrize("name", ["zero", "mean"])
def test_what_never_fires_finds_nothing(name: str, planted: Planted, known: dict[str, Dictionary]) -> None:
    found = recovery(known[name], planted)
    assert (found.f1, found.code_correlation, found.absorption, found.dead, found.l0) == (0, 0, 0, 1, 0)
    assert found.explained_variance <= 1e-3


def test_the_order_of_latents_does_not_matter(planted: Planted, known: dict[str, Dictionary]) -> None:
    dictionary = known["oracle"]
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    shuffled = dictionary.config.build()
    latents = dictionary.per_latent_parameters()
    shuffled.load_state_dict({name: t[order] if name in latents else t for name, t in dictionary.state_dict().items()})
    assert vars(recovery(shuffled, planted)) == pytest.approx(vars(recovery(dictionary, planted)), abs=1e-9)
    assert torch.equal(assign_latents(shuffled, planted), order.argsort())


def test_atoms_without_a_latent_count_as_nothing() -> None:
    planted = Planted(width=12, atoms=12, active=2.0, orthogonal=True)
    half = ReLU(ReLU.Config(d_in=12, width=6))
    with torch.no_grad():
        half.atoms.copy_(planted.directions[:6])
        half.encoder.copy_(planted.directions[:6])
    found = recovery(half, planted)
    assert found.mcc == pytest.approx(0.5, abs=1e-5)
    assert found.code_correlation == pytest.approx(0.5, abs=1e-4)
    assert assign_latents(half, planted).tolist() == [0, 1, 2, 3, 4, 5, *[-1] * 6]
    assert math.isnan(found.absorption)


def test_signs_are_seen_by_raw_channels_twice() -> None:
    planted = Planted(width=8, atoms=8, active=2.0, orthogonal=True, signed=True)
    found = recovery(identity(8), planted)
    assert 0 < found.f1 < 1


def test_f1_by_hand() -> None:
    fires = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 1, 0]]).bool()
    present = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 0]]).bool()
    torch.testing.assert_close(f1(fires, present), torch.tensor([4 / 5, 2 / 4, 0.0], dtype=torch.float64))


def test_absorption_by_hand() -> None:
    parents = torch.tensor([-1, 0, 0])
    strengths = torch.tensor([[1.0, 1, 0], [1.0, 0, 1], [1.0, 1, 0], [1.0, 0, 0], [0.0, 0, 0]])
    values = torch.tensor([[0.0, 1, 0], [0.0, 0, 1], [0.7, 1, 0], [0.0, 0, 0], [0.0, 0, 0]])
    carried = torch.tensor([[0.0, 0.5, 0], [0.0, 0, 0.3], [0.0, 0.9, 0], [0.0, 0, 0], [0.0, 9, 9]])
    assert absorption(values, carried, strengths, parents) == pytest.approx(1 / 4)  # too little, not silent, no child


def test_blocks_are_one_unit_each() -> None:
    class Blocks(ReLU.Config):
        @property
        def block(self) -> int:
            return 2

    planted = Planted(width=12, atoms=6, active=2.0, orthogonal=True)
    dictionary = ReLU(Blocks(d_in=12, width=12))
    other = torch.linalg.qr(torch.cat([planted.directions, torch.eye(12)]).T).Q.T[6:12]
    pairs = torch.stack([planted.directions + other, planted.directions - other], 1).flatten(0, 1) / 2**0.5
    with torch.no_grad():
        dictionary.atoms.copy_(pairs)
        dictionary.encoder.copy_(pairs)
    found = recovery(dictionary, planted)
    assert found.mcc == pytest.approx(1, abs=1e-5)
    assert found.code_correlation == pytest.approx(1, abs=1e-4)
