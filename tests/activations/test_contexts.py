"""Whole contexts as batches: which rows they hold, and the KL that reconstructions cause, by hand and by finite differences."""

from __future__ import annotations

import pytest
import torch

from assay.activations import ActivationStore, TextSource
from assay.errors import ShapeMismatch, StoreError
from assay.materials import load_language_model, load_texts
from assay.sites import capture, locate
from tests.tiny_language import write_model, write_texts


@pytest.fixture(scope="module")
def model_and_source(tmp_path_factory):
    place = tmp_path_factory.mktemp("contexts")
    write_model(place / "lm")
    write_texts(place / "texts")
    lm = load_language_model(str(place / "lm"))
    return lm.model, TextSource(load_texts(str(place / "texts")), lm.tokenizer, context=16)


@pytest.fixture(scope="module")
def store(model_and_source) -> ActivationStore:
    return ActivationStore.contexts(*model_and_source, "resid_post.1", contexts=4, seed=5)


def inputs_of(store, source, step):
    """The contexts of a batch, which of their positions are its rows, and where each row of the batch stands among those."""
    provider, window = store._provider, store._order.windows(step // len(store._provider.rows))
    (shard,) = window[step % len(window)]
    inputs = provider._inputs(shard)
    return inputs, store._order.rows_of_window(step // len(window), step % len(window))


def test_a_batch_is_the_kept_rows_of_its_contexts(store, model_and_source):
    model, source = model_and_source
    site = locate(model, "resid_post.1")
    steps = len(store._provider.rows) + 2
    batches = store.batches(0)
    for step in range(steps):
        inputs, order = inputs_of(store, source, step)
        rows = capture(model, [site], **inputs.arguments)[site][inputs.keep]
        torch.testing.assert_close(next(batches), rows[order], rtol=1e-5, atol=1e-5)
    assert store.batch_size == 4 * store._provider.each


def test_every_context_gives_the_number_of_rows_that_makes_the_most_of_the_source(store, model_and_source):
    _, source = model_and_source
    counts = source.inputs(0, len(source)).keep.sum(1)
    best = max(range(1, 17), key=lambda each: each * int((counts >= each).sum()))
    assert store._provider.each == best
    contexts = store._provider.shards.flatten()
    assert len(contexts.unique()) == len(contexts)
    assert bool((counts[contexts] >= best).all())


def test_reading_goes_on_from_any_step(store):
    batches = store.batches(0)
    first = [next(batches) for _ in range(6)]
    torch.testing.assert_close(next(store.batches(5)), first[5])


def test_what_is_replaced_by_itself_moves_nothing(store):
    rows = next(store.batches(3))
    assert float(store.downstream(3)(rows)) == pytest.approx(0.0, abs=1e-6)


def test_divergence_is_that_of_a_forward_with_the_reconstructions_in_place(store, model_and_source):
    model, source = model_and_source
    rows = next(store.batches(2))
    made = rows + 0.3 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(0))
    inputs, order = inputs_of(store, source, 2)
    flat = inputs.keep.flatten().nonzero().view(-1)

    def instead(module, args, output):
        x = output.clone()
        for row, place in enumerate(order.tolist()):
            x.view(-1, x.shape[-1])[flat[place]] = made[row]
        return x

    with torch.no_grad():
        clean = model(**inputs.arguments).logits[inputs.keep].log_softmax(-1)
        with model.get_submodule("model.layers.1").register_forward_hook(instead):
            spliced = model(**inputs.arguments).logits[inputs.keep].log_softmax(-1)
    expected = (clean.exp() * (clean - spliced)).sum(-1).mean()
    torch.testing.assert_close(store.downstream(2)(made), expected)
    assert expected > 1e-3


def test_gradient_is_that_of_finite_differences_and_reaches_no_parameter(model_and_source):
    """To three digits: the norms of this model compute in float32 whatever they are given."""
    model, source = model_and_source
    double = model.double().requires_grad_(True)
    try:
        store = ActivationStore.contexts(double, source, "resid_post.1", contexts=2)
        rows = next(store.batches(0)).double()
        generator = torch.Generator().manual_seed(1)
        made = (rows + torch.randn(rows.shape, generator=generator, dtype=torch.float64)).requires_grad_(True)
        divergence = store.downstream(0)
        assert divergence is not None
        (gradient,) = torch.autograd.grad(divergence(made), made)
        for _ in range(3):
            direction = torch.randn(rows.shape, generator=generator, dtype=torch.float64)
            with torch.no_grad():
                change = divergence(made + 1e-3 * direction) - divergence(made - 1e-3 * direction)
            torch.testing.assert_close((gradient * direction).sum(), change / 2e-3, rtol=1e-3, atol=1e-7)
        assert all(parameter.grad is None and parameter.requires_grad for parameter in double.parameters())
    finally:
        model.float().requires_grad_(False)


def test_part_of_a_batch_is_refused(store):
    rows = next(store.batches(0))
    with pytest.raises(ShapeMismatch, match="one for each"):
        store.downstream(0)(rows[:-1])


def test_more_contexts_than_there_are_is_refused(model_and_source):
    with pytest.raises(StoreError, match="fewer contexts a batch"):
        ActivationStore.contexts(*model_and_source, "resid_post.1", contexts=10_000)


def test_other_stores_know_no_predictions():
    assert ActivationStore.of(torch.randn(50, 4), batch_size=10).downstream(0) is None
