"""Shards from forward passes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from assay.activations.plan import plan
from assay.activations.produce import Producer
from assay.activations.source import Source, TensorSource, TextSource
from assay.errors import ConfigError, Diverged, ShapeMismatch
from assay.sites import Site, locate


def produced(model: nn.Module, source: Source, tokens: int, **settings) -> Producer:
    planned = plan(source, tokens=tokens, rows_per_shard=settings.pop("rows_per_shard", 100))
    return Producer(
        model, source, planned, settings.pop("dtype", "float32"), settings.pop("batch_contexts", 4), settings
    )


@pytest.fixture
def source(documents, tokenizer_with_bos) -> TextSource:
    return TextSource(documents, tokenizer_with_bos, context=16)


EMBED = Site("embed")


def test_a_row_holds_the_activation_of_its_origin(model, source):
    producer = produced(model, source, 500)
    for index in range(len(producer.plan.rows)):
        shard = producer.shards(index, [EMBED])[EMBED]
        documents = [source.document_tokens(document) for document in range(60)]
        for row, (document, position) in zip(shard.activations, shard.origin.tolist(), strict=True):
            assert row[0] == documents[document][position]


def test_no_row_is_special_or_first_but_the_model_sees_whole_contexts(model, source):
    producer = produced(model, source, 300)
    shard = producer.shards(0, [EMBED])[EMBED]
    assert (shard.activations[:, 0] > 3).all()
    assert (shard.origin >= 0).all()
    seen = torch.cat(model.seen)
    assert torch.equal(seen, source.inputs(0, len(source)).arguments["input_ids"][producer.plan.contexts_of(0)])
    assert (seen[:, 0] == 1).all()
    assert (seen == 0).any()


def test_rows_of_a_shard_are_mixed(model, source):
    origin = produced(model, source, 500, rows_per_shard=500).shards(0, [EMBED])[EMBED].origin
    neighbours = (origin[1:, 0] == origin[:-1, 0]).float().mean()
    assert neighbours < 0.1


def test_one_pass_reads_all_sites_and_ends_at_the_last(model, source):
    first = locate(model, "layers.0")
    producer = produced(model, source, 200, batch_contexts=1000)
    both = producer.shards(0, [EMBED, first])
    assert len(model.seen) == 1
    assert model.blocks_run == 1
    assert torch.equal(both[EMBED].activations, producer.shards(0, [EMBED])[EMBED].activations)
    assert torch.equal(both[EMBED].origin, both[first].origin)
    assert not torch.equal(both[EMBED].activations, both[first].activations)


def test_dropout_is_off_and_put_back_as_it_was(model, source):
    last = locate(model, "layers.2")
    model.train()
    model.layers[1].eval()
    modes = [module.training for module in model.modules()]
    producer = produced(model, source, 200)
    assert torch.equal(producer.shards(0, [last])[last].activations, producer.shards(0, [last])[last].activations)
    assert [module.training for module in model.modules()] == modes


def test_the_batch_size_changes_rounding_at_most(model, source):
    last = locate(model, "layers.2")
    one, other = (produced(model, source, 200, batch_contexts=size).shards(1, [last])[last] for size in (1, 7))
    assert torch.equal(one.origin, other.origin)
    torch.testing.assert_close(one.activations, other.activations, rtol=1e-5, atol=1e-5)


def test_a_last_shard_is_the_beginning_of_a_whole_one(model, source):
    whole, cut = produced(model, source, 300), produced(model, source, 250)
    rows = {tuple(place) for place in whole.shards(2, [EMBED])[EMBED].origin.tolist()}
    fewer = {tuple(place) for place in cut.shards(2, [EMBED])[EMBED].origin.tolist()}
    assert len(fewer) == cut.plan.rows[2] < len(rows)
    assert fewer < rows


def test_each_batch_is_told(model, source):
    told = []
    producer = produced(model, source, 200)
    producer.shards(0, [EMBED], told.append)
    assert told == sorted(told)
    assert len(told) == -(-producer.plan.contexts_in[0] // 4)
    assert told[-1] == producer.plan.rows[0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_activations_have_the_dtype_asked_for(model, source, dtype):
    shard = produced(model, source, 100, dtype=dtype).shards(0, [EMBED])[EMBED]
    assert shard.activations.dtype == getattr(torch, dtype)
    assert shard.origin.dtype == torch.int32


def test_too_large_for_float16_names_document_and_position_and_the_remedy(model, source):
    with torch.no_grad():
        model.embed.weight[77, 2] = 1e5
    producer = produced(model, source, 1000, dtype="float16", rows_per_shard=1000)
    with pytest.raises(Diverged, match=r"100000.*float16.*65504.*bfloat16") as caught:
        producer.shards(0, [EMBED])
    words = str(caught.value).replace(",", " ").split()
    document, position = int(words[words.index("document") + 1]), int(words[words.index("position") + 1])
    assert source.document_tokens(document)[position] == 77
    assert produced(model, source, 1000, dtype="bfloat16", rows_per_shard=1000).shards(0, [EMBED])


def test_nan_is_not_blamed_on_the_dtype(model, source):
    with torch.no_grad():
        model.embed.weight[77, 2] = torch.nan
    with pytest.raises(Diverged, match=r"embed:out, document \d+, position \d+ is NaN"):
        produced(model, source, 1000, rows_per_shard=1000).shards(0, [EMBED])


def test_nan_at_a_position_that_is_not_kept_does_no_harm(model, source):
    with torch.no_grad():
        model.embed.weight[:2] = torch.nan
    assert produced(model, source, 300).shards(0, [EMBED])


def test_a_site_without_positions_gives_a_row_a_context():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    rows = torch.randn(50, 4)
    shard = produced(model, TensorSource(input=rows), 50).shards(0, [Site("0")])[Site("0")]
    torch.testing.assert_close(shard.activations, model[0](rows[shard.origin[:, 0].long()]))
    assert (shard.origin[:, 1] == 0).all()


def test_all_axes_between_contexts_and_width_are_positions():
    class Grid(nn.Module):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return input.permute(0, 2, 3, 1)

    model = nn.Sequential(Grid())
    images = torch.randn(8, 3, 2, 5)
    shard = produced(model, TensorSource(input=images, positions=10), 80).shards(0, [Site("0")])[Site("0")]
    for row, (image, position) in zip(shard.activations, shard.origin.tolist(), strict=True):
        assert torch.equal(row, images[image, :, position // 5, position % 5])


def test_a_wrong_number_of_positions_is_refused_with_the_shape():
    model = nn.Sequential(nn.Linear(4, 3))
    with pytest.raises(ShapeMismatch, match=r"0:out gives \[1, 7, 3\] for 1 contexts of 1 positions.*positions="):
        produced(model, TensorSource(input=torch.randn(5, 7, 4)), 5).widths([Site("0")])


def test_a_width_costs_one_context(model, source):
    assert produced(model, source, 300).widths([EMBED, Site("layers.1")]) == {EMBED: 6, Site("layers.1"): 6}
    assert [len(ids) for ids in model.seen] == [1]


def test_a_description_says_what_is_harvested(model, source):
    description = produced(model, source, 300, name="tiny").describe(EMBED, "embed", 6)
    assert description.site == "embed:out"
    assert description.model["class"] == "Echo"
    assert description.model["name"] == "tiny"
    assert description.model["parameters"] == sum(p.numel() for p in model.parameters())
    assert description.source == source.identity
    assert sum(description.shards) == description.tokens == 300


def test_wrong_settings_are_refused(model, source):
    with pytest.raises((ConfigError, TypeError), match="dtype"):
        produced(model, source, 10, dtype="float64")
    with pytest.raises(ConfigError, match="batch_contexts"):
        produced(model, source, 10, batch_contexts=0)
    with pytest.raises(ConfigError, match="JSON"):
        produced(model, source, 10, weights=torch.zeros(2)).describe(EMBED, "embed", 6)
