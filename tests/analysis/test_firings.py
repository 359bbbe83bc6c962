"""Where latents fire: counts, the strongest, a uniform sample, whatever the order and however small the pool."""

from __future__ import annotations

import pytest
import torch

from assay.activations import ActivationStore
from assay.analysis import firings
from assay.analysis.firings import RowIndex, find_firings
from assay.dictionaries.relu import ReLU
from assay.errors import StoreError

D, ROWS = 6, 400


@pytest.fixture
def dictionary() -> ReLU:
    """Latent i fires with the positive part of entry i."""
    dictionary = ReLU(ReLU.Config(d_in=D, width=D))
    with torch.no_grad():
        dictionary.encoder.copy_(torch.eye(D))
        dictionary.atoms.copy_(torch.eye(D))
    return dictionary


@pytest.fixture
def rows() -> torch.Tensor:
    rows = torch.randn(ROWS, D, generator=torch.Generator().manual_seed(0))
    rows[:, 5] = -1.0
    return rows


def test_counts_energy_and_maximum_are_those_of_the_table(dictionary: ReLU, rows: torch.Tensor) -> None:
    found = find_firings(dictionary, ActivationStore.of([rows[:150], rows[150:]], batch_size=8))
    table = rows.relu()
    assert found.rows == ROWS
    assert found.counts.tolist() == (table > 0).sum(0).tolist()
    torch.testing.assert_close(found.energy, table.double().square().sum(0))
    torch.testing.assert_close(found.maximum, table.amax(0))
    torch.testing.assert_close(found.density(), (table > 0).float().mean(0))


def test_the_top_are_the_strongest_of_each_document(dictionary: ReLU, rows: torch.Tensor) -> None:
    seen = find_firings(dictionary, ActivationStore.of(rows, batch_size=8), top=5).of(2)
    strongest = rows[:, 2].topk(5)
    assert [firing.document for firing in seen.top] == strongest.indices.tolist()
    assert [firing.value for firing in seen.top] == pytest.approx(strongest.values.tolist())


def test_the_sample_is_uniform_over_all_firings(dictionary: ReLU, rows: torch.Tensor) -> None:
    many = rows.repeat(30, 1)
    seen = find_firings(dictionary, ActivationStore.of(many, batch_size=8), sample=400).of(1)
    values = torch.tensor([firing.value for firing in seen.sample])
    assert len(values) == 400
    assert values.tolist() == sorted(values.tolist())
    expected = rows[:, 1][rows[:, 1] > 0]
    assert float(values.mean()) == pytest.approx(float(expected.mean()), abs=0.12)
    assert float(values.median()) == pytest.approx(float(expected.median()), abs=0.15)


def test_neither_a_small_pool_nor_the_order_of_shards_changes_what_is_kept(
    dictionary: ReLU, rows: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ActivationStore.of(list(rows.split(37)), batch_size=8)
    whole = [find_firings(dictionary, store, top=3, sample=10).of(latent) for latent in range(D)]
    monkeypatch.setattr(firings, "POOL", 50)
    assert [find_firings(dictionary, store, top=3, sample=10).of(latent) for latent in range(D)] == whole


def test_a_dead_latent_has_no_firings(dictionary: ReLU, rows: torch.Tensor) -> None:
    seen = find_firings(dictionary, ActivationStore.of(rows, batch_size=8)).of(5)
    assert (seen.density, seen.maximum, seen.top, seen.sample) == (0.0, 0.0, (), ())


def test_telling_latents_fire_and_carry_the_most_energy_first(dictionary: ReLU, rows: torch.Tensor) -> None:
    rows = rows * torch.tensor([1.0, 9.0, 2.0, 3.0, 1.0, 1.0])
    found = find_firings(dictionary, ActivationStore.of(rows, batch_size=8))
    chosen = found.telling(10)
    assert 5 not in chosen
    energies = found.energy[chosen]
    assert energies.tolist() == sorted(energies.tolist(), reverse=True)


def test_rows_are_found_by_their_origin(rows: torch.Tensor) -> None:
    index = RowIndex(ActivationStore.of(list(rows.split(64)), batch_size=8))
    found, activations = index.activations(123, torch.tensor([3, 0, 7]))
    assert found.tolist() == [1]
    assert torch.equal(activations, rows[123:124])
    with pytest.raises(StoreError, match="document 9999"):
        index.activations(9999, torch.tensor([0]))
