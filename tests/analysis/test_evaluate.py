"""Dictionaries whose numbers are known (identity, zero, mean), the arms against plain forwards, and sums that batches don't change."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from assay.activations import Inputs, TensorSource
from assay.analysis.evaluate import Evaluation, evaluate, evaluate_model
from assay.dictionary import Dictionary
from assay.errors import ConfigError, ShapeMismatch, UnknownName
from assay.interventions import intervene
from assay.interventions.splice import Splice
from assay.metric import Metric
from assay.sites import Site, locate, replace, tap
from assay.testing.known import constant
from assay.testing.known import identity as raw_channels
from tests.analysis.small_model import CONTEXT, VOCABULARY, Contexts, D, PlainModel, kept_activations, trained_like


def identity() -> Dictionary:
    return raw_channels(D)


def same(one: Evaluation, other: Evaluation) -> None:
    assert (one.tokens, one.predictions, one.density) == (other.tokens, other.predictions, other.density)
    for name, value in one.values.items():
        expected = other.values[name]
        assert (value is None) == (expected is None), name
        assert value is None or value == pytest.approx(expected, rel=1e-5, abs=1e-6), name
    assert one.by_document.keys() == other.by_document.keys()
    for name, sums in one.by_document.items():
        torch.testing.assert_close(sums, other.by_document[name], rtol=1e-4, atol=1e-4)


def test_identity_zero_and_mean_have_their_known_numbers(model: LlamaForCausalLM, site: Site) -> None:
    source = Contexts()
    mean = kept_activations(model, site, source).mean(0)
    arms: dict[str, Dictionary] = {"identity": identity(), "zero": constant(torch.zeros(D)), "mean": constant(mean)}
    found = evaluate_model(arms, model, site, source, mean=mean, tokens=10**6)
    known = {
        "identity": {
            "explained_variance": 1,
            "relative_reconstruction_bias": 1,
            "relative_reconstruction_bias_raw": 1,
            "cosine": 1,
            "l0": D,
            "loss_recovered_zero": 1,
            "loss_recovered_mean": 1,
            "kl": 0,
            "kl_recovered_zero": 1,
            "kl_recovered_mean": 1,
            "mse": 0,
            "nmse": 0,
            "length_ratio": 1,
            "explained_variance_by_token": 1,
        },
        "zero": {
            "l0": 0,
            "dead_fraction": 1,
            "density": None,
            "relative_reconstruction_bias": None,
            "relative_reconstruction_bias_raw": None,
            "loss_recovered_zero": 0,
            "kl_recovered_zero": 0,
            "nmse": 1,
            "length_ratio": 0,
            "l1": 0,
            "cosine": 0,
            "firings_per_document": None,
            "firings_over_1_percent": None,
            "ce_spliced": found["zero"].values["ce_zero"],
        },
        "mean": {
            "explained_variance": 0,
            "loss_recovered_mean": 0,
            "kl_recovered_mean": 0,
            "explained_variance_by_token": 0,
            "relative_reconstruction_bias": None,
            "ce_spliced": found["mean"].values["ce_mean"],
        },
    }
    for arm, values in known.items():
        for name, value in values.items():
            assert found[arm].values[name] == pytest.approx(value, abs=1e-5), (arm, name)
    assert found["zero"].values["explained_variance"] <= 0
    assert len({found["identity"].values[name] for name in ("ce_clean", "ce_zero", "ce_mean")}) == 3
    assert found["zero"].density is not None
    assert found["zero"].density.dead == 8


def test_every_number_is_that_of_plain_forwards(model: LlamaForCausalLM, site: Site) -> None:
    source = Contexts()
    x = kept_activations(model, site, source)
    arms = trained_like(x)
    mean = x.mean(0)
    scored = source.keep.clone()
    scored[:, -1] = False
    targets = source.ids[:, 1:][scored[:, :-1]]

    def log_probabilities() -> Tensor:
        with torch.no_grad():
            return model(input_ids=source.ids).logits[scored].double().log_softmax(-1)

    def kl(changed: Tensor) -> float:
        return float((clean.exp() * (clean - changed)).sum(-1).mean())

    def where_kept(value: Tensor) -> Any:
        return lambda tensor: torch.where(source.keep[..., None], value, tensor)

    clean = log_probabilities()
    with replace(model, {site: where_kept(torch.zeros(D))}):
        zero = log_probabilities()
    with replace(model, {site: where_kept(mean)}):
        by_mean = log_probabilities()
    found = evaluate_model(arms, model, site, source, mean=mean, tokens=10**6)
    for name, dictionary in arms.items():
        with intervene(model, {site: (dictionary, Splice())}, keep=source.keep):
            spliced = log_probabilities()
        ce_clean, ce_spliced, ce_zero, ce_mean = (
            float(F.nll_loss(each, targets)) for each in (clean, spliced, zero, by_mean)
        )
        expected = {
            "ce_clean": ce_clean,
            "ce_spliced": ce_spliced,
            "ce_zero": ce_zero,
            "ce_mean": ce_mean,
            "loss_recovered_zero": (ce_zero - ce_spliced) / (ce_zero - ce_clean),
            "loss_recovered_mean": (ce_mean - ce_spliced) / (ce_mean - ce_clean),
            "kl": kl(spliced),
            "kl_zero": kl(zero),
            "kl_mean": kl(by_mean),
            "kl_recovered_zero": (kl(zero) - kl(spliced)) / kl(zero),
            "kl_recovered_mean": (kl(by_mean) - kl(spliced)) / kl(by_mean),
            **evaluate({name: dictionary}, [x])[name].values,
        }
        assert found[name].values.pop("firings_per_document") is not None
        assert expected.pop("firings_per_document") is None
        assert found[name].values == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert found[name].values["kl"] > 0.01
        assert (found[name].tokens, found[name].predictions) == (int(source.keep.sum()), int(scored.sum()))


def test_a_shared_prefix_gives_what_a_forward_a_variant_gives(model: LlamaForCausalLM, site: Site) -> None:
    source = Contexts()
    x = kept_activations(model, site, source)
    arms = trained_like(x)
    plain = PlainModel(model)
    shared = evaluate_model(arms, model, site, source, mean=x.mean(0), tokens=30)
    alone = evaluate_model(arms, plain, Site(f"model.{site.path}"), source, mean=x.mean(0), tokens=30, batch_contexts=3)
    for name in arms:
        assert shared[name].shared_prefix is True
        assert alone[name].shared_prefix is False
        same(shared[name], alone[name])


@pytest.mark.parametrize(
    "name", ["resid_pre.1", "attn_in.1", "z.1", "attn_out.1", "mlp_in.1", "mlp_out.1", "resid_post.2"]
)
def test_sites_of_every_kind_give_what_a_forward_a_variant_gives(model: LlamaForCausalLM, name: str) -> None:
    source, site = Contexts(), locate(model, name)
    x = kept_activations(model, site, source)
    arms = trained_like(x)
    found = evaluate_model(arms, model, site, source, mean=x.mean(0), tokens=20)
    plain = PlainModel(model)
    alone = evaluate_model(
        arms, plain, Site(f"model.{site.path}", site.side), source, mean=x.mean(0), tokens=20, batch_contexts=2
    )
    for arm in arms:
        assert found[arm].shared_prefix is True
        same(found[arm], alone[arm])


def test_a_model_that_mixes_up_a_larger_batch_is_run_one_variant_at_a_time(model: LlamaForCausalLM) -> None:
    class Mixing(PlainModel):
        def forward(self, input_ids: Tensor) -> Any:
            output = self.model(input_ids=input_ids)
            output.logits = output.logits[:1].expand_as(output.logits) if len(input_ids) == 1 else output.logits
            return output

    source, site = Contexts(), Site("model.model.layers.1")
    x = kept_activations(model, Site("model.layers.1"), source)
    found = evaluate_model(trained_like(x), Mixing(model), site, source, mean=x.mean(0), tokens=20)
    assert found["relu"].shared_prefix is False
    assert found["relu"].values["kl"] > 0.01


def test_a_tap_is_measured_one_variant_at_a_time() -> None:
    class Tapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(VOCABULARY, D), nn.Linear(D, VOCABULARY)

        def forward(self, input_ids: Tensor) -> Any:
            return SimpleNamespace(logits=self.head(tap("middle", self.embed(input_ids))))

    torch.manual_seed(0)
    found = evaluate_model(
        {"identity": identity(), "zero": constant(torch.zeros(D))},
        Tapped(),
        Site("middle", "tap"),
        Contexts(),
        mean=torch.ones(D),
        tokens=20,
    )
    assert found["identity"].shared_prefix is False
    assert found["identity"].values["kl"] == pytest.approx(0, abs=1e-6)
    assert found["zero"].values["loss_recovered_zero"] == 0


def test_sums_by_document_are_those_of_its_rows_and_predictions(model: LlamaForCausalLM, site: Site) -> None:
    source = Contexts()
    x = kept_activations(model, site, source)
    arms = trained_like(x)
    found = evaluate_model(arms, model, site, source, mean=x.mean(0), tokens=10**6)["topk"]
    document = torch.arange(7).div(2, rounding_mode="floor")[:, None].expand(7, CONTEXT)
    l0 = arms["topk"].encode(x).l0().double()
    expected = torch.zeros(4, dtype=torch.float64).index_add(0, document[source.keep], l0)
    torch.testing.assert_close(found.by_document["l0"][:, 0], expected)
    assert found.by_document["l0"][:, 1].tolist() == torch.bincount(document[source.keep]).tolist()
    scored = source.keep[:, :-1]
    assert found.by_document["ce_clean"][:, -1].tolist() == torch.bincount(document[:, :-1][scored]).tolist()
    for name, sums in found.by_document.items():
        assert float(Metric.registry.named(name).of(sums.sum(0))) == pytest.approx(found.values[name], rel=1e-9)  # pyright: ignore


def test_many_arms_in_several_groups_are_the_same_as_in_one(
    model: LlamaForCausalLM, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Contexts()
    x = kept_activations(model, site, source)
    arms = trained_like(x)
    whole = evaluate_model(arms, model, site, source, mean=x.mean(0), tokens=30)
    monkeypatch.setattr("assay.analysis.variants.BUDGET", 2 * CONTEXT * VOCABULARY)
    pairs = evaluate_model(arms, model, site, source, mean=x.mean(0), tokens=30)
    monkeypatch.setattr("assay.analysis.variants.BUDGET", CONTEXT * VOCABULARY)
    single = evaluate_model(arms, model, site, source, mean=x.mean(0), tokens=30)
    for name in arms:
        assert (pairs[name].shared_prefix, single[name].shared_prefix) == (True, False)
        same(whole[name], pairs[name])
        same(whole[name], single[name])


def test_exactly_as_many_tokens_as_asked_whatever_the_batch(model: LlamaForCausalLM, site: Site) -> None:
    source = Contexts()
    x = kept_activations(model, site, source)
    told: list[tuple[int, int]] = []
    plain, inner = PlainModel(model), Site(f"model.{site.path}")
    one, three = (
        evaluate_model(
            {"a": identity()},
            plain,
            inner,
            source,
            mean=x.mean(0),
            tokens=21,
            batch_contexts=contexts,
            progress=lambda done, total: told.append((done, total)),
        )["a"]
        for contexts in (1, 3)
    )
    same(one, three)
    assert one.tokens == 21
    assert told[-1] == (21, 21)
    assert [done for done, _ in told] != [21, 21]


def test_a_source_that_is_too_short_is_evaluated_whole(model: LlamaForCausalLM, site: Site) -> None:
    source = Contexts(2)
    found = evaluate_model({"a": identity()}, model, site, source, mean=torch.zeros(D), tokens=10**9)
    assert found["a"].tokens == int(source.keep.sum())


def test_no_tokens_at_all_leave_every_number_undefined(model: LlamaForCausalLM, site: Site) -> None:
    for found in (
        evaluate_model({"a": identity()}, model, site, Contexts(0), mean=torch.zeros(D), tokens=5)["a"],
        evaluate_model({"a": identity()}, model, site, Contexts(), mean=torch.zeros(D), tokens=0)["a"],
        evaluate({"a": identity()}, [])["a"],
    ):
        assert {value for name, value in found.values.items() if Metric.registry.named(name).reads != "weights"} == {
            None
        }
        assert (found.tokens, found.predictions) == (0, 0)


def test_only_last_positions_leave_predictions_undefined(model: LlamaForCausalLM, site: Site) -> None:
    source = Contexts()
    source.keep[:] = False
    source.keep[:, -1] = True
    found = evaluate_model({"a": identity()}, model, site, source, mean=torch.zeros(D), tokens=100)["a"]
    assert (found.tokens, found.predictions, found.values["ce_clean"], found.values["l0"]) == (7, 0, None, D)


def test_padding_is_not_predicted(model: LlamaForCausalLM, site: Site) -> None:
    class Padded(Contexts):
        def inputs(self, start: int, stop: int) -> Inputs:
            inputs = super().inputs(start, stop)
            real = torch.ones_like(inputs.keep).long()
            real[:, 6:] = 0
            return Inputs({**inputs.arguments, "attention_mask": real}, inputs.keep & (real == 1), inputs.origin)

    source = Padded()
    found = evaluate_model({"a": identity()}, model, site, source, mean=torch.zeros(D), tokens=1000)["a"]
    assert found.shared_prefix is True
    assert found.predictions == int(source.keep[:, 1:5].sum())
    assert found.values["kl"] == pytest.approx(0, abs=1e-5)


def test_the_model_is_evaluated_without_dropout_and_left_as_it_was(model: LlamaForCausalLM, site: Site) -> None:
    model.config.attention_dropout = 0.9
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.9
    model.train()
    found = evaluate_model({"a": identity()}, model, site, Contexts(), mean=torch.zeros(D), tokens=20)["a"]
    assert found.values["kl"] == pytest.approx(0, abs=1e-5)
    assert all(module.training for module in model.modules())


def test_a_model_in_half_precision_is_measured(model: LlamaForCausalLM, site: Site) -> None:
    found = evaluate_model({"a": identity()}, model.bfloat16(), site, Contexts(), mean=torch.zeros(D), tokens=20)["a"]
    assert found.shared_prefix is True
    assert found.values["loss_recovered_zero"] == pytest.approx(1, abs=0.01)


def test_batches_do_not_change_the_numbers_of_activations() -> None:
    x = 50 + torch.randn(500, D, generator=torch.Generator().manual_seed(0))
    arms = trained_like(x)
    whole, split = evaluate(arms, [x]), evaluate(arms, x.split(33))
    for name in arms:
        same(whole[name], split[name])
        assert whole[name].shared_prefix is None
        assert set(whole[name].values) == {
            each for each in Metric.registry.names() if Metric.registry.named(each).reads != "predictions"
        }


def test_only_the_metrics_that_were_asked_for(model: LlamaForCausalLM, site: Site) -> None:
    x = torch.randn(5, D, generator=torch.Generator().manual_seed(0))
    found = evaluate({"a": identity()}, [x], metrics=["l0"])["a"]
    assert found.values == {"l0": D}
    assert found.density is None
    inside = evaluate_model({"a": identity()}, model, site, Contexts(), mean=x[0], tokens=9, metrics=["kl", "l0"])["a"]
    assert set(inside.values) == {"kl", "l0"}


def test_wrong_names_and_shapes_are_refused_with_advice(model: LlamaForCausalLM, site: Site) -> None:
    x = torch.zeros(2, D)
    with pytest.raises(UnknownName, match="Did you mean 'cosine'"):
        evaluate({"a": identity()}, [x], metrics=["cosin"])
    with pytest.raises(ConfigError, match="'kl' reads a model's predictions"):
        evaluate({"a": identity()}, [x], metrics=["l0", "kl"])
    with pytest.raises(ShapeMismatch, match="3 wide"):
        evaluate({"a": identity()}, [x[:, :3]])
    with pytest.raises(ConfigError, match="gives no logits"):
        evaluate_model({"a": identity()}, model.model, Site("layers.1"), Contexts(), mean=x[0], tokens=9)


def test_a_source_without_token_ids_is_refused(model: LlamaForCausalLM, site: Site) -> None:
    source = TensorSource(inputs_embeds=torch.zeros(2, CONTEXT, D), positions=CONTEXT)
    with pytest.raises(ConfigError, match="the source gives inputs_embeds"):
        evaluate_model({"a": identity()}, model, site, source, mean=torch.zeros(D), tokens=9)
