"""One type for activations on disk, live and in memory; the same bits from all."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch

from assay.activations import ActivationStore, TextSource, harvest
from assay.activations.order import Place
from assay.activations.providers import InMemory
from assay.activations.shard import Shard
from assay.errors import ConfigError, ShapeMismatch, StoreError

SETTINGS = {"tokens": 900, "rows_per_shard": 100, "batch_contexts": 4, "identity": {"name": "echo"}}
ORDER = {"batch_size": 70, "seed": 5, "window": 3}


@pytest.fixture
def source(documents, tokenizer) -> TextSource:
    return TextSource(documents, tokenizer, context=16)


@pytest.fixture(scope="module")
def harvested(documents, tokenizer, make_model, tmp_path_factory) -> Path:
    source = TextSource(documents, tokenizer, context=16)
    harvest(make_model(), source, ["layers.1"], folder := tmp_path_factory.mktemp("harvested"), **SETTINGS)
    return folder / "layers.1.out"


@pytest.fixture
def on_disk(harvested) -> ActivationStore:
    return ActivationStore.open(harvested, **ORDER)


@pytest.fixture
def live(model, source) -> ActivationStore:
    return ActivationStore.live(model, source, "layers.1", **SETTINGS, **ORDER)


def in_memory(*sizes: int, **order) -> ActivationStore:
    """Row r has the number r in its first entry."""
    numbers = torch.arange(sum(sizes)).float()
    rows = torch.stack([numbers, -numbers], dim=1)
    return ActivationStore.of(rows.split(list(sizes)), **{**ORDER, **order})


def first(store: ActivationStore, count: int, start: int = 0) -> list[torch.Tensor]:
    return list(islice(store.batches(start), count))


def test_disk_and_live_give_the_same_bits(on_disk, live):
    steps = 3 * (900 // 70)
    for one, other in zip(first(on_disk, steps), first(live, steps), strict=True):
        assert torch.equal(one, other)
    assert on_disk.identity == live.identity
    assert (on_disk.rows, on_disk.width) == (live.rows, live.width) == (900, 6)
    assert torch.equal(on_disk.mean(), live.mean())
    assert torch.equal(on_disk.moments().mean, live.moments().mean)
    assert on_disk.moments().mean_square == live.moments().mean_square
    for one, other in zip(on_disk.shards(), live.shards(), strict=True):
        assert torch.equal(one.origin, other.origin)
        assert torch.equal(one.activations, other.activations)


def test_a_copy_in_memory_gives_the_same_bits_too(on_disk):
    copy = ActivationStore.of([shard.activations.clone() for shard in on_disk.shards()], **ORDER)
    for one, other in zip(first(on_disk, 30), first(copy, 30), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(on_disk.mean(), copy.mean())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_batches_are_float32(dtype):
    store = ActivationStore.of(torch.ones(10, 3, dtype=dtype), batch_size=4)
    assert next(store.batches()).dtype == torch.float32
    assert store.sample(3).dtype == torch.float32
    assert store.mean().dtype == torch.float32


@pytest.mark.parametrize("batch_size", [10, 30])
def test_every_row_appears_exactly_once_an_epoch(batch_size):
    store = in_memory(50, 30, 70, 10, 80, batch_size=batch_size, window=2)
    steps = 240 // batch_size
    for epoch in range(3):
        rows = torch.cat(first(store, steps, epoch * steps))
        assert rows[:, 0].sort().values.tolist() == list(range(240))
        assert torch.equal(rows[:, 1], -rows[:, 0])


@pytest.mark.parametrize("start", [0, 1, 4, 12, 13, 40])
def test_beginning_at_a_step_equals_skipping_to_it(on_disk, start):
    everything = first(on_disk, start + 15)
    for one, other in zip(first(on_disk, 15, start), everything[start:], strict=True):
        assert torch.equal(one, other)


def test_two_iterators_do_not_disturb_each_other(on_disk):
    alone = first(on_disk, 20)
    one, other = on_disk.batches(), on_disk.batches(7)
    for step in range(13):
        assert torch.equal(next(one), alone[step])
        assert torch.equal(next(other), alone[step + 7])


def test_every_row_is_where_locate_says(on_disk):
    shards = [shard.activations for shard in on_disk.shards()]
    for step in (0, 4, 11, 12, 25):
        batch = first(on_disk, 1, step)[0]
        for row in range(0, 70, 7):
            place = on_disk.locate(step, row)
            assert isinstance(place, Place)
            assert torch.equal(shards[place.shard][place.row].float(), batch[row])


def test_a_sample_is_the_beginning_of_the_first_epoch(on_disk):
    assert torch.equal(on_disk.sample(200), torch.cat(first(on_disk, 3))[:200])
    assert len(on_disk.sample(900)) == 900
    for rows in (0, 901):
        with pytest.raises(StoreError, match="1 to 900"):
            on_disk.sample(rows)


def test_documents_are_mixed_within_a_batch_as_if_rows_were_drawn_at_random(documents, tokenizer, model, tmp_path):
    """Chi-square of the documents of a batch against their shares of the store, and against the same with no shuffle at all."""
    many = [f"{document} {other}" for document in documents for other in documents[:20]]
    source = TextSource(many[:150], tokenizer, context=8)
    rows = int(source.inputs(0, len(source)).keep.sum())
    store = harvest(model, source, ["embed"], tmp_path, tokens=rows, rows_per_shard=rows // 16)["embed"]
    store = ActivationStore.open(tmp_path / "embed.out", batch_size=100, window=8)
    origins = [shard.origin[:, 0].long() for shard in store.shards()]
    share = torch.bincount(torch.cat(origins), minlength=150) / rows

    def chi_square_a_degree(of_row: torch.Tensor) -> float:
        found, expected = torch.bincount(of_row, minlength=150)[share > 0], (share * len(of_row))[share > 0]
        return float(((found - expected) ** 2 / expected).sum() / (len(expected) - 1))

    steps = [3, 9, rows // 100 + 2]
    batches = [[store.locate(step, row) for row in range(100)] for step in steps]
    mixed = [chi_square_a_degree(torch.stack([origins[p.shard][p.row] for p in places])) for places in batches]
    unmixed = source.inputs(0, 15).origin[..., 0].flatten()
    assert max(mixed) < 1.5
    assert chi_square_a_degree(unmixed[unmixed >= 0].long()) > 10


def test_moments_are_those_of_all_rows(on_disk):
    rows = torch.cat([shard.activations for shard in on_disk.shards()]).double()
    moments = on_disk.moments()
    torch.testing.assert_close(moments.mean, rows.mean(0), rtol=1e-14, atol=1e-14)
    assert moments.rows == 900
    assert moments.mean_square == pytest.approx(float(rows.square().sum(1).mean()), rel=1e-14)
    assert moments.variance == pytest.approx(float((rows - rows.mean(0)).square().sum(1).mean()), rel=1e-9)
    assert torch.equal(on_disk.mean(), moments.mean.float())


def test_moments_on_disk_are_had_without_reading_activations(on_disk, monkeypatch):
    monkeypatch.setattr("assay.activations.providers.read_shard", lambda *_: pytest.fail("a shard was read"))
    monkeypatch.setattr("assay.disk.hash_file", lambda *_: pytest.fail("a shard was hashed"))
    assert on_disk.mean().shape == (6,)


def test_shards_come_in_order_with_the_origins_of_their_rows(on_disk, source, model):
    shards = list(on_disk.shards())
    assert [shard.index for shard in shards] == list(range(len(shards)))
    assert sum(len(shard.activations) for shard in shards) == 900
    origins = torch.cat([shard.origin for shard in shards])
    assert len({tuple(place) for place in origins.tolist()}) == 900
    assert (origins >= 0).all()


def test_rows_in_memory_have_their_number_as_origin():
    origins = [shard.origin.tolist() for shard in in_memory(2, 3, batch_size=2).shards()]
    assert origins == [[[0, 0], [1, 0]], [[2, 0], [3, 0], [4, 0]]]


class Counted(InMemory):
    """Counts the shards that are opened, and those that somebody holds."""

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        super().__init__(tensors)
        self.opened, self.held, self.most = 0, weakref.WeakSet(), 0

    def shard(self, index: int) -> Shard:
        shard = super().shard(index)
        self.opened += 1
        self.held.add(shard)
        self.most = max(self.most, len(self.held))
        return shard


def test_an_iterator_holds_one_window_at_a_time():
    provider = Counted(list(torch.randn(200, 2).split(10)))
    store = ActivationStore(provider, batch_size=7, window=3)
    for _ in islice(store.batches(), 60):
        pass
    assert provider.most <= 3
    assert provider.opened > 20


def test_a_late_step_opens_one_window():
    provider = Counted(list(torch.randn(200, 2).split(10)))
    assert len(next(ActivationStore(provider, batch_size=7, window=3).batches(10**9))) == 7
    assert provider.opened <= 6


def test_a_sample_and_the_batches_after_it_open_their_first_window_once():
    provider = Counted(list(torch.randn(200, 2).split(10)))
    store = ActivationStore(provider, batch_size=7, window=3)
    store.sample(20)
    next(store.batches())
    assert provider.opened == 3


def test_a_live_store_that_fits_in_one_window_runs_its_model_once(model, source):
    store = ActivationStore.live(model, source, "embed", tokens=300, rows_per_shard=100, batch_size=50, window=8)
    model.seen.clear()
    first(store, 6)
    forwards = len(model.seen)
    first(store, 60)
    assert len(model.seen) == forwards > 0


def test_a_live_store_runs_its_model_anew_only_for_the_window_it_needs(live, model):
    model.seen.clear()
    first(live, 1)
    assert sum(len(ids) for ids in model.seen) < 35


def test_another_harvest_seed_gives_other_rows_and_another_identity(model, source):
    settings = {**SETTINGS, **ORDER}
    one = ActivationStore.live(model, source, "embed", **settings)
    other = ActivationStore.live(model, source, "embed", **settings, harvest_seed=1)
    assert one.identity != other.identity
    assert not torch.equal(one.sample(50), other.sample(50))


def test_seed_batch_size_and_window_are_known_and_no_part_of_the_identity(on_disk, harvested):
    assert (on_disk.batch_size, on_disk.seed, on_disk.window) == (70, 5, 3)
    assert ActivationStore.open(harvested).identity == on_disk.identity


def test_stores_in_memory_differ_in_identity_when_they_differ_in_data():
    assert in_memory(4, 5).identity == in_memory(4, 5, seed=1).identity
    assert in_memory(4, 5).identity != in_memory(5, 4).identity


def test_a_batch_larger_than_the_store_is_refused_with_figures(harvested):
    store = ActivationStore.open(harvested)
    with pytest.raises(StoreError, match=r"2,048 rows .* 900 rows"):
        store.batches()
    assert len(store.sample(900)) == 900


def test_a_folder_that_is_no_store_is_refused_and_names_those_in_it(harvested):
    with pytest.raises(StoreError, match=r"Open one of the stores in it: layers\.1\.out"):
        ActivationStore.open(harvested.parent)
    with pytest.raises(StoreError, match="Check the path"):
        ActivationStore.open(harvested.parent / "nothing")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: ActivationStore.of(torch.zeros(3, 2), window=0), ConfigError),
        (lambda: ActivationStore.of([]), ShapeMismatch),
        (lambda: ActivationStore.of([torch.zeros(3, 2), torch.zeros(3, 4)]), ShapeMismatch),
        (lambda: ActivationStore.of(torch.zeros(0, 2)), ShapeMismatch),
    ],
)
def test_impossible_stores_are_refused(make: Callable[[], ActivationStore], error: type[Exception]):
    with pytest.raises(error):
        make()


def test_a_store_may_be_copied_to_another_folder(on_disk, harvested, tmp_path):
    batch = next(on_disk.batches())
    copy = Path(shutil.copytree(harvested, tmp_path / "elsewhere"))
    assert torch.equal(next(ActivationStore.open(copy, **ORDER).batches()), batch)
